# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our own code as files."""

from __future__ import annotations

import importlib.util
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


def test_the_archive_has_the_files_compiled_behind_the_text(tmp_path):
    text = pack.packed("# ü\n", ["_base/__init__", "_base/errors"])
    assert text == pack.packed("# ü\n", ["_base/__init__", "_base/errors"])
    data = text.encode("utf-8", "surrogateescape")
    assert data.startswith("# ü\n".encode())
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.namelist() == ["ipmasq/__init__.pyc", "ipmasq/_base/__init__.pyc", "ipmasq/_base/errors.pyc"]
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    assert names(archive) == ["GatewayError", "MissingProgram"]
    # Of another Python, whose code would be something else
    archive.write_bytes(data.replace(importlib.util.MAGIC_NUMBER, b"\0\0\r\n"))
    assert names(archive) == "refused"


def names(archive):
    """What a Python of its own finds in the archive."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); from ipmasq._base import errors; print(*dir(errors))"
    argv = [sys.executable, "-I", "-S", "-c", program, str(archive)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # Python 3.7 goes on to look for a file that it can read.
    if "bad magic number" in done.stderr or "can't find module" in done.stderr:
        return "refused"
    return [name for name in done.stdout.split() if name in ("GatewayError", "MissingProgram")] or done.stderr


PROGRAM = """
import sys
sys.path.insert(0, {0!r})
from ansible_collections.ipmasq.linux.plugins.module_utils._base import pack
assert [part[0].rpartition("/")[2] for part in pack.code_parts()] == ["__init__.py"] * 6 + ["errors.py", "pack.py"]
assert all(isinstance(part[1], int) for part in pack.code_parts())
sys.stdout.buffer.write(pack.packed("", ["_base/__init__", "_base/errors"]).encode("utf-8", "surrogateescape"))
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
    program = PROGRAM.format(str(archive))
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=False)
    assert not done.stderr, done.stderr.decode()
    (tmp_path / "left").write_bytes(done.stdout)
    assert names(tmp_path / "left") == ["GatewayError", "MissingProgram"]


def test_the_controller_may_know_what_stands_for_the_code(monkeypatch):
    class Loader:
        digest = "1f"

    monkeypatch.setattr(pack, "__loader__", Loader())
    assert pack.code_parts() == [["1f"]]
