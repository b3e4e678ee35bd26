# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Our own code in memory: from sources that the controller has sent, or from a file that an earlier run has compiled.

Python reads this file by itself, before anything of ours can be imported, so it imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import marshal
import sys
import typing as t
import zlib
from importlib.machinery import ModuleSpec, SourcelessFileLoader

PACKAGE = "ipmasq"
#: The exit code for "this cannot be run here": nothing has been touched.
CANNOT = 3
#: Ends the lines for the shell at the beginning of a file.
END = b"\n\0\n"
#: Bytes of a digest.
DIGEST = 64
#: What Python does first with such a file. The digest comes before everything that reads the rest.
START = """\
import hashlib, marshal, sys, zlib
data = open(sys.argv[1], "rb").read().partition({end!r})[2]
if hashlib.sha256(data[{digest}:]).hexdigest().encode() != data[:{digest}]:
    sys.exit({cannot})
found = marshal.loads(zlib.decompress(data[{digest}:]))
if found["python"] != sys.version:
    sys.exit({cannot})
names = dict(__name__="ipmasq._base.boot")
exec(marshal.loads(found["codes"]["_base/boot"]), names)
names["compiled"](found)
""".format(end=END, digest=DIGEST, cannot=CANNOT)


class Archive(SourcelessFileLoader):
    """Finds and loads all of our files. They are in memory, because a newer run may replace the file meanwhile."""

    #: Whether the host has no such file yet.
    new = True

    def __init__(self, digest: str, codes: t.Dict[str, bytes], sources: t.Mapping[str, str]) -> None:
        super().__init__(PACKAGE, PACKAGE)
        #: What identifies the code.
        self.digest = digest
        self._codes, self._sources = codes, sources

    def find_spec(self, name: str, _path: t.Any = None, _target: t.Any = None) -> t.Optional[ModuleSpec]:
        """What Python asks for each import."""
        key = self._key(name)
        if not key:
            return None
        return ModuleSpec(name, self, origin=key, is_package=key.endswith("__init__"))

    def get_code(self, fullname: str) -> t.Any:
        return self._code(self._key(fullname))

    def to_keep(self) -> bytes:
        """What was needed, compiled, and the other sources, as a file that ``START`` reads."""
        self._code("_base/boot")
        left = {key: text for key, text in self._sources.items() if key not in self._codes}
        kept = {"python": sys.version, "digest": self.digest, "codes": self._codes, "sources": left}
        data = zlib.compress(marshal.dumps(kept), 1)
        return END + hashlib.sha256(data).hexdigest().encode("ascii") + data

    def _key(self, name: str) -> str:
        if name.partition(".")[0] != PACKAGE:
            return ""
        path = name[len(PACKAGE) + 1 :].replace(".", "/")
        keys = ((path + "/" if path else "") + "__init__", path)
        return next((key for key in keys if key in self._codes or key in self._sources), "")

    def _code(self, key: str) -> t.Any:
        if key in self._codes:
            return marshal.loads(self._codes[key])  # noqa: S302 - root has written it
        code = compile(self._sources[key], "{0}/{1}.py".format(PACKAGE, key), "exec", dont_inherit=True)
        self._codes[key] = marshal.dumps(code)
        return code


def sent(length: int) -> None:
    """Run from standard input: so many bytes of sources, then the options."""
    found = json.loads(zlib.decompress(sys.stdin.buffer.read(length)).decode("utf-8"))
    _run(Archive(found["digest"], {}, found["sources"]))


def compiled(found: t.Mapping[str, t.Any]) -> None:
    """Run what is in a file, with the options from standard input."""
    archive = Archive(found["digest"], found["codes"], found["sources"])
    archive.new = False
    _run(archive)


def _run(archive: Archive) -> None:
    sys.meta_path.insert(0, archive)
    direct = importlib.import_module(PACKAGE + "._change.direct")
    sys.stdout.write(direct.main(json.loads(sys.stdin.buffer.read().decode("utf-8")), archive))
    sys.stdout.flush()
