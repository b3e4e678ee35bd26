# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sent to a container, before a module: see connection/quick.py."""

import _imp
import atexit
import marshal
import os
import sys
import zipimport


def keep_what_is_compiled(module: str, folder: str) -> None:
    """What Python compiles of the archive that the module comes in, by its content."""
    name = f"{module}-{sys.implementation.cache_tag}"
    place = f"{folder}/{name}"
    kept, used, anew = {}, {}, []
    try:
        with open(place, "rb") as file:
            kept = marshal.load(file)  # noqa: S302 - written below
    except (OSError, EOFError, ValueError, TypeError):
        pass
    compile_anew = zipimport._compile_source  # type: ignore[attr-defined]

    def kept_or_compiled(path, source):
        key = _imp.source_hash(len(source), source)
        if key in kept:
            code = marshal.loads(kept[key])  # noqa: S302 - as above
            _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
            used[key] = kept[key]
        else:
            code = compile_anew(path, source)
            used[key] = marshal.dumps(code)
            anew.append(key)
        return code

    get, found = zipimport._get_module_code, {}  # type: ignore[attr-defined]

    def get_once(archive, name):
        # Python gets the code of each module twice: when it looks for the module, only to learn its file's name.
        key = archive, name
        return found.pop(key) if key in found else found.setdefault(key, get(archive, name))

    def keep():
        # A run that does something else needs other files. Those of earlier content go when there are too many.
        known = {**kept, **used} if len(kept) < 2 * len(used) + 100 else used
        part = f"{folder}/.{name}.{os.getpid()}"
        try:
            os.makedirs(folder, exist_ok=True)
            with open(part, "wb") as file:
                marshal.dump(known, file)
            os.replace(part, place)
        except OSError:
            pass  # not root

    zipimport._compile_source = kept_or_compiled  # type: ignore[attr-defined]
    zipimport._get_module_code = get_once  # type: ignore[attr-defined]
    atexit.register(lambda: anew and keep())
