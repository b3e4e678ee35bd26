# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a LAN client looks like: its addresses, and its default routes."""

from __future__ import annotations

import ipaddress
import json
import shlex
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

VERSIONS = (4, 6)
#: The metric of a default route without any other.
USUAL = {4: 0, 6: 1024}
#: The first word of a route that leads nowhere.
NOWHERE = ("blackhole", "prohibit", "throw", "unreachable")
#: What ``ip route`` shows and takes, beside the words that make a route another one.
BESIDE = (
    "scope", "mtu", "advmss", "window", "rtt", "rttvar", "ssthresh", "cwnd", "reordering", "hoplimit", "initcwnd",
    "initrwnd", "features", "quickack", "congctl", "rto_min", "fastopen_no_cookie", "pref",
)  # fmt: skip
#: What ``ip route`` shows of a next hop, and does not take.
STATES = ("dead", "linkdown", "notify", "offload", "pervasive", "rt_offload", "rt_trap", "trap", "unresolved")
#: A route of the kernel's own has the lowest priority there is, and leads nowhere.
LAST = 2**32 - 1


@dataclass(frozen=True)
class Route:
    """A default route."""

    gateway: str
    dev: str
    metric: int = 0
    protocol: str = "static"
    onlink: bool = False
    prefsrc: str = ""
    family: int = 0  # if the gateway does not tell it: there may be none, as in a tunnel
    kind: str = ""  # of a route that leads nowhere
    beside: t.Tuple[str, ...] = ()  # other words, as "mtu 1400", and at last several next hops

    @property
    def version(self) -> int:
        return self.family or (6 if ":" in self.gateway else 4)

    @property
    def key(self) -> t.Tuple[int, str, str, int]:
        return (self.version, self.gateway, self.dev, self.metric)

    @property
    def links(self) -> t.Tuple[str, ...]:
        """Of several next hops, those of each."""
        return (self.dev, *(self.beside[place + 1] for place, word in enumerate(self.beside) if word == "dev"))

    @property
    def via(self) -> t.List[str]:
        family = ["inet6"] if ":" in self.gateway and self.version == 4 else []
        return ["via", *family, self.gateway] if self.gateway else []

    @property
    def words(self) -> t.List[str]:
        """As the program ``ip route`` takes and shows them."""
        words = [*([self.kind] if self.kind else []), "default", *self.via]
        words += ["dev", self.dev] if self.dev else []
        words += ["proto", self.protocol] if self.protocol else []
        words += ["src", self.prefsrc] if self.prefsrc else []
        words += ["metric", str(self.metric)] if self.metric else []
        return words + (["onlink"] if self.onlink else []) + list(self.beside)

    def __str__(self) -> str:
        return " ".join(self.words)

    def command(self, action: str) -> t.List[str]:
        return ["ip", "-{0}".format(self.version), "route", action, *self.words]

    def line(self, action: str) -> str:
        """The command for a shell, because the kernel accepts nearly any character in a link's name."""
        return " ".join(shlex.quote(word) for word in self.command(action))

    @classmethod
    def parse(cls, text: str, version: int = 0) -> Route:
        """As ``ip route`` shows it. Its JSON lacks what is locked, and units. ``version`` 0: that of the gateway."""
        words = text.split()
        kind = words.pop(0) if words[:1] and words[0] in NOWHERE else ""
        pairs: t.Dict[str, str] = {}
        beside: t.List[str] = []
        onlink = False
        while words:
            word = words.pop(0)
            onlink = onlink or word == "onlink"
            if word == "nexthop":
                beside += [word, *(each for each in words if each not in STATES)]
                break
            if word in BESIDE:
                value = words[: 2 if words[:1] == ["lock"] else 1]
                del words[: len(value)]
                # It is always locked, and ip does not take the word.
                value = value[1:] if word == "rto_min" and len(value) == 2 else value
                beside += [word, *value] if [word, *value] != ["pref", "medium"] else []
            elif word in ("via", "dev", "proto", "src", "metric") and words:
                del words[: 1 if word == "via" and words[0] in ("inet", "inet6") else 0]
                pairs[word] = words.pop(0)
        gateway = pairs.get("via", "")
        return cls(
            gateway=gateway,
            dev=pairs.get("dev", ""),
            metric=int(pairs.get("metric", 0)),
            protocol=pairs.get("proto", ""),
            onlink=onlink,
            prefsrc=pairs.get("src", ""),
            family=version if version != (6 if ":" in gateway else 4) else 0,
            kind=kind,
            beside=tuple(beside),
        )


Routes = t.Tuple[Route, ...]


@dataclass(frozen=True)
class Address:
    interface: str
    local: str
    length: int
    dynamic: bool = False

    @property
    def version(self) -> int:
        return 6 if ":" in self.local else 4

    @property
    def netmask(self) -> str:
        return str(ipaddress.ip_interface("{0}/{1}".format(self.local, self.length)).netmask)

    def holds(self, address: str) -> bool:
        """Whether an address is in the same network."""
        if (":" in address) != (self.version == 6):
            return False
        network = ipaddress.ip_network("{0}/{1}".format(self.local, self.length), strict=False)
        return ipaddress.ip_address(address) in network

    def __str__(self) -> str:
        return "{0} {1}/{2}".format(self.interface, self.local, self.length)


@dataclass(frozen=True)
class Seen:
    addresses: t.Tuple[Address, ...]
    interfaces: t.Tuple[str, ...]  # all but lo
    routes: Routes
    macs: t.Mapping[str, str]

    def others(self, version: int, ours: t.Collection[t.Tuple[str, str]]) -> t.List[Route]:
        """The default routes except those through these gateways and interfaces, and those for want of another."""
        found = [route for route in self.routes if route.version == version]
        found = [route for route in found if not route.kind or route.metric <= USUAL[version]]
        return [route for route in found if (route.gateway, route.dev) not in ours]


def read_seen(sight: Sight) -> Seen:
    try:
        links = json.loads(sight.ask(["ip", "-j", "address", "show"]).out)
    except ValueError:
        raise GatewayError(
            "`ip -j address show` on this host printed no JSON: iproute2 is missing there, or older than 4.14"
        ) from None
    return Seen(
        addresses=tuple(_addresses(links)),
        interfaces=tuple(link["ifname"] for link in links if link.get("ifname", "lo") != "lo"),
        routes=read_routes(sight),
        macs={link["ifname"]: link.get("address", "") for link in links if "ifname" in link},
    )


def read_routes(sight: Sight) -> Routes:
    found: t.List[Route] = []
    for version in VERSIONS:
        # A host without IPv6 has no answer. Several next hops of a route are on lines of their own.
        out = sight.ask(["ip", "-{0}".format(version), "route", "show", "default"]).out.replace("\n\t", " ")
        found += [Route.parse(line, version) for line in out.splitlines() if line.strip()]
    return tuple(route for route in found if route.metric != LAST)


def _addresses(links: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[Address]:
    for link in links:
        for info in link.get("addr_info", []):
            known = info.get("family") in ("inet", "inet6") and "local" in info
            if link.get("ifname", "lo") != "lo" and info.get("scope") == "global" and known:
                yield Address(link["ifname"], info["local"], int(info["prefixlen"]), bool(info.get("dynamic")))
