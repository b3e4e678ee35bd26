# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Our own code as files: what identifies it, and a part of it in an archive that Python can run."""

from __future__ import annotations

import io
import os
import typing as t
import zipfile

#: The archive does not depend on when it was made.
ALWAYS = (1980, 1, 1, 0, 0, 0)


def code_parts() -> t.List[t.List[t.Any]]:
    """What identifies our code: each file with a value that changes when the file does."""
    archive = getattr(globals().get("__loader__"), "archive", "")
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
    """These files of module_utils as package ``ipmasq`` in a zip archive, behind a text. To be written as text."""
    made = io.BytesIO()
    made.write(before.encode("utf-8"))
    with zipfile.ZipFile(made, "a") as pack:
        pack.writestr(zipfile.ZipInfo("ipmasq/__init__.py", ALWAYS), b"")
        for name in names:
            pack.writestr(zipfile.ZipInfo("ipmasq/{0}.py".format(name), ALWAYS), _source(name))
    return made.getvalue().decode("utf-8", "surrogateescape")


def _source(name: str) -> bytes:
    # The loader reads files as well as Ansible's archive.
    return t.cast("bytes", globals()["__loader__"].get_data(os.path.join(_root(), *"{0}.py".format(name).split("/"))))


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
