# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The commands that systemd runs for a service: those of its unit and of all drop-ins, in systemd's order."""

from __future__ import annotations

import posixpath
import typing as t

from .._base.errors import GatewayError
from .units import UNITS

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

#: What a text has in place of bytes that are not UTF-8.
UNREADABLE = "\ufffd"


class Commands(t.NamedTuple):
    """What remains of all assignments to one key; not ``sure`` if one of them cannot be copied as it is."""

    lines: t.Tuple[str, ...] = ()
    sure: bool = True


class _Line(t.NamedTuple):
    section: str
    key: str
    value: str
    sure: bool


class Service:
    """A service that is installed: its unit, and the drop-ins that apply to it.

    Of files with the same name, the first folder's counts; an empty one, or a link to /dev/null, hides the others.
    """

    def __init__(self, name: str, unit: str, ours: t.Collection[str], host: Sight) -> None:
        self._name, self._host = name, host
        self._unit = _read(unit, host)
        found: t.Dict[str, str] = {}
        for folder in self._folders():
            for path in host.find(folder + "/*.conf"):
                if path not in ours:
                    found.setdefault(posixpath.basename(path), path)
        self.drop_ins = tuple(found[each] for each in sorted(found, key=str.encode))

    def commands(self, key: str, before: str) -> Commands:
        """Those that apply as far as the drop-ins whose names sort before this one."""
        texts = [self._unit] + [_read(path, self._host) for path in self.drop_ins if _is_before(path, before)]
        commands = Commands()
        for line in (line for text in texts for line in text):
            if line.section == "Service" and line.key == key:
                sure = commands.sure and line.sure
                commands = Commands((*commands.lines, line.value), sure) if line.value else Commands()
        return commands

    def behind(self, name: str) -> t.Iterator[t.Tuple[str, t.FrozenSet[str], t.FrozenSet[str]]]:
        """Drop-ins whose names sort after this one, with the keys that they set and those that they clear first."""
        for path in self.drop_ins:
            if not _is_before(path, name):
                lines = [line for line in _read(path, self._host) if line.section == "Service"]
                yield (
                    path,
                    frozenset(line.key for line in lines),
                    frozenset(line.key for line in lines if not line.value),
                )

    def _folders(self) -> t.List[str]:
        """Those of the service, of its other names, of names that begin alike (``a-.service.d``), and of all services.

        A name of its section Install counts if the link is there.
        """
        others = [
            name
            for line in self._unit
            if (line.section, line.key) == ("Install", "Alias")
            for name in line.value.split()
        ]
        own = self._name + ".service"
        names = [own] + [
            each
            for each in others
            if any(posixpath.basename(self._host.link(folder + each)) == own for folder in UNITS)
        ]
        found = []
        for name in names:
            stem = name[: -len(".service")]
            starts = [stem[: at + 1] for at in range(len(stem) - 2, 0, -1) if stem[at] == "-"]
            found += ["{0}{1}.service.d".format(folder, each) for folder in UNITS for each in (stem, *starts)]
        return found + [folder + "service.d" for folder in UNITS]


def find(name: str, ours: t.Collection[str], host: Sight) -> t.Optional[Service]:
    """A service; None if it is not installed. ``ours`` are drop-ins that are not read."""
    places = ["{0}{1}.service".format(folder, name) for folder in UNITS]
    unit = next((path for path in places if host.exists(path)), "")
    return Service(name, unit, ours, host) if unit else None


def _is_before(path: str, name: str) -> bool:
    return posixpath.basename(path).encode() < name.encode()


def _read(path: str, host: Sight) -> t.List[_Line]:
    try:
        return list(_lines(host.read(path) or ""))
    except GatewayError:
        return []  # systemd does not read it either, such as a folder


def _lines(text: str) -> t.Iterator[_Line]:
    """The assignments in a unit's file. One that continues on the next line is not sure: releases differ."""
    section, begun = "", ""
    for line in text.split("\n"):
        told = line.strip()
        if told.startswith(("#", ";")):
            continue
        whole = begun + told
        if (len(told) - len(told.rstrip("\\"))) % 2:
            begun = whole[:-1] + "\n"
            continue
        if not begun and told.startswith("["):
            section = told.strip("[]")
        elif "=" in whole:
            key, _equals, value = whole.partition("=")
            yield _Line(section, key.strip(), value.strip(), not begun and UNREADABLE not in value)
        begun = ""
