# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every Python that make test starts imports this first.

Ansible's programs keep most of what they load and end soon: to look for garbage as often as Python does by itself costs
them up to a tenth of their processor time, and to look through everything at their end as much or more. Each of them
finds out anew which files a module consists of (see built_modules.py), and each module comes as an archive, whose files
Python compiles anew: half of its processor time. Each start of Ansible parses the same 300 kB of YAML, which takes a
fifth of its processor time. While Ansible waits for a host, it looks for an answer a thousand times each second.
"""

from __future__ import annotations

import _imp
import atexit
import gc
import io
import marshal
import os
import sys
import zipimport

TYPE_CHECKING = False  # every Python would pay for the import
if TYPE_CHECKING:
    import typing as t

gc.set_threshold(50_000, 20, 100)
# Registered first, so it runs last: what is there at the end is no longer looked at.
atexit.register(gc.freeze)

QUICK = os.path.dirname(os.path.abspath(__file__))
#: By the version of Python: another one has other bytecode.
CACHE, TAG = os.path.join(QUICK, "..", "..", ".cache"), sys.implementation.cache_tag or "none"
COMPILED, PARSED = os.path.join(CACHE, "compiled-archives", TAG), os.path.join(CACHE, "parsed-yaml", TAG)
#: Bytes of YAML from which it is worth keeping what they say: Ansible's own settings and routes.
LONG = 50_000


def keep_what_is_compiled() -> None:
    """As Python keeps what it compiles of files, and by their content, as its own option for that does."""
    compile_anew = zipimport._compile_source  # type: ignore[attr-defined]

    def kept_or_compiled(path: str, source: bytes) -> t.Any:
        place = os.path.join(COMPILED, _imp.source_hash(len(source), source).hex())
        try:
            with open(place, "rb") as kept:
                code = marshal.loads(kept.read())  # noqa: S302 - written below
        except (OSError, EOFError, ValueError):
            code = compile_anew(path, source)
            keep(place, marshal.dumps(code))
        else:
            _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
        return code

    zipimport._compile_source = kept_or_compiled  # type: ignore[attr-defined]
    get, found = zipimport._get_module_code, {}  # type: ignore[attr-defined]

    def get_once(archive: t.Any, name: str) -> t.Any:
        """Python gets the code of each module twice: when it looks for the module, only to learn its file's name."""
        key = archive, name
        return found.pop(key) if key in found else found.setdefault(key, get(archive, name))

    zipimport._get_module_code = get_once  # type: ignore[attr-defined]


def parse_once(yaml: t.Any) -> None:
    """What the loaders for plain values make of a long text, by its content; each caller gets values of its own."""
    load = yaml.load
    plain = {getattr(yaml, name): name for name in ("CBaseLoader", "CSafeLoader") if hasattr(yaml, name)}

    def kept_or_parsed(stream: t.Any, Loader: t.Any) -> t.Any:  # noqa: N803 - its name there
        text = content_of(stream) if Loader in plain else b""
        if len(text) < LONG:
            return load(stream, Loader)
        place = os.path.join(PARSED, plain[Loader] + _imp.source_hash(len(text), text).hex())
        try:
            with open(place, "rb") as kept:
                return marshal.loads(kept.read())  # noqa: S302 - written below
        except (OSError, EOFError, ValueError):
            value = load(stream, Loader)
        try:
            content = marshal.dumps(value)
        except ValueError:
            return value  # it has a date, for one
        keep(place, content)
        return value

    yaml.load = kept_or_parsed


def content_of(stream: t.Any) -> bytes:
    """Without moving on in a file; nothing for what cannot be read twice."""
    if isinstance(stream, (bytes, str)):
        return stream if isinstance(stream, bytes) else stream.encode("utf-8", "surrogatepass")
    if not isinstance(stream, io.BufferedReader) or not stream.seekable():
        return b""
    before = stream.tell()
    content = stream.read()
    stream.seek(before)
    return content


def keep(place: str, content: bytes) -> None:
    """Readers find all of it or nothing."""
    new = f"{place}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(new, "wb") as file:
            file.write(content)
        os.replace(new, place)
    except OSError:
        pass  # somebody else's folder


def build_once(module_common: t.Any) -> None:
    import built_modules  # noqa: PLC0415 - every Python would pay for it

    built_modules.hasten(module_common)


def wait_calmly(constants: t.Any) -> None:
    constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.01


class Parts:
    """Waits for parts of Ansible; most programs never import them."""

    def __init__(self) -> None:
        self.hastened = {
            "yaml": parse_once,
            "ansible.executor.module_common": build_once,
            "ansible.constants": wait_calmly,
        }

    def find_spec(self, name: str, _path: t.Any = None, _target: t.Any = None) -> t.Any:
        hasten = self.hastened.pop(name, None)
        if hasten is None:
            return None
        from importlib.util import find_spec  # noqa: PLC0415 - as above

        spec: t.Any = find_spec(name)
        load = spec.loader.exec_module

        def load_and_hasten(module: t.Any) -> None:
            load(module)
            hasten(module)

        spec.loader.exec_module = load_and_hasten
        return spec


sys.meta_path.insert(0, Parts())
if hasattr(zipimport, "_compile_source"):  # it is Python's own since 3.8
    keep_what_is_compiled()
