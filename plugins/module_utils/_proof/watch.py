# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Send what was broken once more, and write down what meets the packets: traces, counters, filters of tc."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from . import counters, setting, trace
from .ground import asked

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._base.sockets import Netlink
    from .loop import Loop

#: The tables of iptables-legacy that are in use; a listing of others would load their modules.
LEGACY = {"ip": "/proc/net/ip_tables_names", "ip6": "/proc/net/ip6_tables_names"}
PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}
WAYS = ("ingress", "egress")
#: Seconds in which counters show whether others move them.
REST = 0.1

Filters = t.Dict[t.Tuple[str, ...], t.Tuple[int, str]]

Send = t.Callable[[t.Callable[[], None]], None]


@dataclass(frozen=True)
class Evidence:
    """What the host wrote down while packets passed."""

    traced: bool = False  # whether the kernel tells; silence says nothing otherwise
    flights: t.Tuple[trace.Flight, ...] = ()
    before: t.Mapping[str, counters.Counts] = field(default_factory=dict)  # by family, of iptables-legacy
    after: t.Mapping[str, counters.Counts] = field(default_factory=dict)
    filters: t.Mapping[t.Tuple[str, str], t.Tuple[str, ...]] = field(default_factory=dict)  # of tc, that met packets
    shared: bool = False  # by packets of several promises, so that counters say nothing about one of them


class Watch:
    """Use it once for each time that packets are sent."""

    def __init__(self, loop: Loop, places: t.Sequence[str], host: Host) -> None:
        self._host, self._places = host, places
        self._loop = loop
        self._kernel: t.Optional[Netlink] = None
        self._hooks: t.List[t.Tuple[str, str]] = []  # of tc, where filters may be
        self.legacy = {family: program for family, program in self._legacy() if program}

    def begin(self, lines: t.Sequence[str]) -> None:
        self._hooks = self._with_filters()
        self._kernel = self._loop.trace(lines)

    def end(self) -> None:
        if self._kernel:
            self._kernel.__exit__()

    def during(self, send: Send, shared: bool = False) -> Evidence:
        """``send`` sends packets, and calls what it gets now and then, as the kernel's news want to be read."""
        told: t.List[trace.Event] = []

        def listen() -> None:
            data = self._kernel.heard() if self._kernel else b""
            while data:
                told.extend(trace.events(data))
                data = self._kernel.heard() if self._kernel else b""

        before, filters = {} if shared else self._counts(), self._filters()
        send(listen)
        listen()
        after = {} if shared else self._counts()
        flights, met = tuple(trace.flights(told)), taken(filters, self._filters())
        return Evidence(bool(self._kernel), flights, before, after, met, shared)

    def alone(self, send: Send) -> Evidence:
        """The same for one packet; only counters that nobody else moves."""
        rest = self._counts()
        self._host.sleep(REST)
        found = self.during(send)
        known = {family: (rest.get(family, {}), found.before.get(family, {})) for family in found.after}
        return replace(found, after={of: counters.moved_once(*known[of], each) for of, each in found.after.items()})

    def _legacy(self) -> t.Iterator[t.Tuple[str, str]]:
        for family, path in LEGACY.items():
            if (self._host.read(path) or "").split():
                names = (PROGRAMS[family] + "-legacy-save", PROGRAMS[family] + "-save")
                yield family, next((name for name in names if self._host.which(name)), "")

    def _counts(self) -> t.Dict[str, counters.Counts]:
        return {family: counters.read(self._host.run([program, "-c"]).out) for family, program in self.legacy.items()}

    def _filters(self) -> Filters:
        found: Filters = {}
        for place, way in self._hooks:
            for each in asked(self._host, "tc", "-s", "-j", "filter", "show", "dev", place, way):
                found.update(_counted(place, way, each))
        return found

    def _with_filters(self) -> t.List[t.Tuple[str, str]]:
        kinds = ("clsact", "ingress")
        hooked = {str(each.get("dev")) for each in asked(self._host, "tc", "-j", "qdisc") if each.get("kind") in kinds}
        return [(place, way) for place in self._places if place in hooked for way in WAYS]


def _counted(place: str, way: str, each: t.Mapping[str, t.Any]) -> Filters:
    """A filter that does something, with how often it has."""
    options = each.get("options") or {}
    actions = options.get("actions") or []
    if any(str(action.get("to_dev")).startswith(setting.DEVICE) for action in actions):
        return {}
    if not actions and each.get("kind") != "bpf":
        return {}
    count = sum(int((action.get("stats") or {}).get("packets", 0)) for action in actions) if actions else -1
    done = ", ".join(map(_in_words, actions)) or str(options.get("bpf_name", ""))
    words = "protocol {0}, pref {1}, {2}: {3}".format(each.get("protocol"), each.get("pref"), each.get("kind"), done)
    return {(place, way, words, str(options.get("fh", options.get("handle", "")))): (count, words)}


def _in_words(action: t.Mapping[str, t.Any]) -> str:
    kind = str(action.get("kind", "?"))
    if kind == "mirred":
        return "{0} to {1}".format(action.get("mirred_action"), action.get("to_dev"))
    return "{0} {1}".format(kind, (action.get("control_action") or {}).get("type", "")).strip()


def taken(before: Filters, after: Filters) -> t.Dict[t.Tuple[str, str], t.Tuple[str, ...]]:
    """By interface and way: the filters that have met packets meanwhile, or that do not count."""
    found: t.Dict[t.Tuple[str, str], t.Tuple[str, ...]] = {}
    for key, (count, words) in after.items():
        if count < 0 or count > before.get(key, (0, ""))[0]:
            found[key[0], key[1]] = (*found.get((key[0], key[1]), ()), words)
    return found
