# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our own code as files."""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
import zipfile

from ansible_collections.ipmasq.linux.plugins.module_utils._base import pack

UTILS = pathlib.Path(pack.__file__).resolve().parents[1]


def test_what_stands_for_the_code_is_steady():
    assert pack.code_parts() == pack.code_parts()
    assert "repeat.py" in [part[0] for part in pack.code_parts()]


def test_the_archive_has_the_files_as_they_are_behind_the_text():
    text = pack.packed("# ü\n", ["_base/__init__", "_base/errors"])
    assert text == pack.packed("# ü\n", ["_base/__init__", "_base/errors"])
    data = text.encode("utf-8", "surrogateescape")
    assert data.startswith("# ü\n".encode())
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.namelist() == ["ipmasq/__init__.py", "ipmasq/_base/__init__.py", "ipmasq/_base/errors.py"]
        assert found.read("ipmasq/_base/errors.py") == (UTILS / "_base/errors.py").read_bytes()


PROGRAM = """
import sys
sys.path.insert(0, {0!r})
from ansible_collections.ipmasq.linux.plugins.module_utils._base import pack
assert [part[0].rpartition("/")[2] for part in pack.code_parts()] == ["__init__.py"] * 5 + ["errors.py", "pack.py"]
assert all(isinstance(part[1], int) for part in pack.code_parts())
sys.stdout.write(str(len(pack.packed("", ["_base/errors"]))))
"""


def test_it_finds_them_in_the_archive_of_a_module(tmp_path):
    archive = tmp_path / "module.zip"
    with zipfile.ZipFile(archive, "w") as made:
        folder = ""
        for name in ("ansible_collections", "ipmasq", "linux", "plugins", "module_utils"):
            folder += name + "/"
            made.writestr(folder + "__init__.py", "")
        for name in ("__init__", "errors", "pack"):
            made.write(str(UTILS / "_base" / (name + ".py")), folder + "_base/" + name + ".py")
        made.writestr("ansible/module_utils/basic.py", "")
    program = PROGRAM.format(str(archive)).replace("* 5", "* 6")
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == str(len(pack.packed("", ["_base/errors"]))), done.stderr
