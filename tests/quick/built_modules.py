# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a module consists of, kept from one run of Ansible to the next.

Ansible sends a module to a host together with all files that it imports, and all that these import. To find them, every
run parses 200 files of ours for each module, which takes half a second of processor time. Here it does so once for the
same content: what is kept goes by a digest of the module and of everything that it could import.
"""

from __future__ import annotations

import hashlib
import inspect
import marshal
import os
import sys
import tempfile
import typing as t
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "built-modules"
#: Of Ansible's function. In a version where it has others, it stays as it is.
PARAMETERS = ["name", "module_fqn", "module_data", "zf", "date_time", "extension_manager"]
OURS, ANSIBLES = "ansible_collections.ipmasq.linux.plugins.modules.", "ansible.modules."


def hasten(common: t.Any) -> None:
    """``common`` is Ansible's module_common."""
    find = getattr(common, "recursive_finder", None)
    if find is None or list(inspect.signature(find).parameters) != PARAMETERS:
        return

    def kept_or_found(
        name: str, module_fqn: str, module_data: t.Any, zf: t.Any, date_time: t.Any, extension_manager: t.Any
    ) -> t.Any:
        wanted = (name, module_fqn, module_data, zf, date_time, extension_manager)
        # Extensions are debuggers and coverage, with files of their own.
        place = None if extension_manager.extension_names else place_of(common, module_fqn, module_data)
        if place is None:
            return find(*wanted)
        try:
            profile, files = marshal.loads(place.read_bytes())  # noqa: S302 - written below
        except OSError:
            metadata = find(*wanted)
            keep(place, (metadata.serialization_profile, [(each.filename, zf.read(each)) for each in zf.infolist()]))
            return metadata
        for path, content in files:
            zf.writestr(common._make_zinfo(path, date_time, zf=zf), content)
        return common.ModuleMetadataV1(serialization_profile=profile)

    common.recursive_finder = kept_or_found


def place_of(common: t.Any, module_fqn: str, module_data: t.Any) -> Path | None:
    """None if the module might import what is neither Ansible's nor ours."""
    core = os.path.realpath(common._MODULE_UTILS_PATH)
    others = [path for path in common.module_utils_loader._get_paths(subdirs=False) if os.path.realpath(path) != core]
    origin = common.Origin.get_tag(module_data)
    if not module_fqn.startswith((OURS, ANSIBLES)) or any(map(os.path.isdir, others)) or not (origin and origin.path):
        return None
    digest = hashlib.blake2b(repr((sys.version, common.__version__, core)).encode() + module_data, digest_size=16)
    if module_fqn.startswith(OURS):
        collection = Path(origin.path).parents[2]
        for path in [*sorted((collection / "plugins/module_utils").rglob("*.py")), collection / "meta/runtime.yml"]:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(collection)} {len(content)}\n".encode() + content)
    return FOLDER / f"{module_fqn}-{digest.hexdigest()}"


def keep(place: Path, what: t.Any) -> None:
    """In place of what was kept for other content."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=FOLDER, prefix=".", delete=False) as new:
        new.write(marshal.dumps(what))
    for old in FOLDER.glob(place.name.rpartition("-")[0] + "-*"):
        old.unlink(missing_ok=True)
    os.replace(new.name, place)
