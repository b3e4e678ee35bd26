# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Our own code as files: what identifies it, and a part of it in an archive that Python can run."""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import typing as t
import zipfile

#: The archive does not depend on when it was made.
ALWAYS = (1980, 1, 1, 0, 0, 0)


def code_parts() -> t.List[t.List[t.Any]]:
    """What identifies our code: each file with a value that changes when the file does."""
    loader = globals().get("__loader__")
    digest, archive = getattr(loader, "digest", ""), getattr(loader, "archive", "")
    if digest:
        return [[digest]]  # the controller knows
    if archive:
        # Ansible packs a module's files; the checksums of the members are stable, that of the archive is not.
        with zipfile.ZipFile(archive) as pack:
            parts = pack.infolist()
        return sorted([each.filename, each.CRC] for each in parts if each.filename.startswith("ansible_collections/"))
    found = []
    for folder, _folders, names in os.walk(_root()):
        for name in names:
            if name.endswith(".py"):
                known = os.stat(os.path.join(folder, name))
                found.append([name, known.st_size, known.st_mtime_ns])
    return sorted(found)


def packed(before: str, names: t.Iterable[str]) -> str:
    """These files of module_utils, compiled, as package ``ipmasq`` in a zip archive, after a text.

    To be written as text. Another version of Python refuses them.
    """
    made = io.BytesIO()
    made.write(before.encode("utf-8"))
    with zipfile.ZipFile(made, "a") as pack:
        pack.writestr(zipfile.ZipInfo("ipmasq/__init__.pyc", ALWAYS), _compiled(compile("", "ipmasq", "exec")))
        for name in names:
            pack.writestr(zipfile.ZipInfo("ipmasq/{0}.pyc".format(name), ALWAYS), _compiled(_code(name)))
    return made.getvalue().decode("utf-8", "surrogateescape")


def _compiled(code: t.Any) -> bytes:
    """As a file of Python, without the time of a source, because there is none (PEP 552)."""
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _code(name: str) -> t.Any:
    """From whatever has loaded this file: Python, Ansible's archive or our own."""
    full = "{0}.{1}".format(__name__.rpartition("._base.")[0], name.replace("/", "."))
    full = full[: -len(".__init__")] if full.endswith(".__init__") else full
    spec = importlib.util.find_spec(full)
    return t.cast("t.Any", spec).loader.get_code(full)


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
