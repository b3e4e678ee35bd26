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


@dataclass(frozen=True)
class Route:
    """A default route."""

    gateway: str
    dev: str
    metric: int = 0
    protocol: str = "static"
    onlink: bool = False
    prefsrc: str = ""

    @property
    def version(self) -> int:
        return 6 if ":" in self.gateway else 4

    @property
    def key(self) -> t.Tuple[str, str, int]:
        return (self.gateway, self.dev, self.metric)

    @property
    def words(self) -> t.List[str]:
        """As the program ``ip route`` takes and shows them."""
        words = ["default"]
        words += ["via", self.gateway] if self.gateway else []
        words += ["dev", self.dev] if self.dev else []
        words += ["proto", self.protocol] if self.protocol else []
        words += ["src", self.prefsrc] if self.prefsrc else []
        words += ["metric", str(self.metric)] if self.metric else []
        return words + (["onlink"] if self.onlink else [])

    def __str__(self) -> str:
        return " ".join(self.words)

    def command(self, action: str) -> t.List[str]:
        return ["ip", "-{0}".format(self.version), "route", action, *self.words]

    def line(self, action: str) -> str:
        """The command for a shell, because the kernel accepts nearly any character in a link's name."""
        return " ".join(shlex.quote(word) for word in self.command(action))

    @classmethod
    def parse(cls, text: str) -> Route:
        words = text.split()
        pairs = dict(zip(words[1::2], words[2::2]))
        return cls(
            gateway=pairs.get("via", ""),
            dev=pairs.get("dev", ""),
            metric=int(pairs.get("metric", 0)),
            protocol=pairs.get("proto", ""),
            onlink=words[-1] == "onlink",
            prefsrc=pairs.get("src", ""),
        )

    @classmethod
    def of_kernel(cls, raw: t.Mapping[str, t.Any]) -> Route:
        return cls(
            gateway=raw.get("gateway") or raw.get("via", {}).get("host", ""),
            dev=raw.get("dev", ""),
            metric=int(raw.get("metric", 0)),
            protocol=raw.get("protocol", ""),
            onlink="onlink" in raw.get("flags", []),
            prefsrc=raw.get("prefsrc", ""),
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
        """The default routes except those by these gateways and interfaces."""
        found = [route for route in self.routes if route.version == version]
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
        # A host without IPv6 has no answer.
        out = sight.ask(["ip", "-j", "-{0}".format(version), "route", "show", "default"]).out
        found += [Route.of_kernel(raw) for raw in json.loads(out.strip() or "[]")]
    return tuple(found)


def _addresses(links: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[Address]:
    for link in links:
        for info in link.get("addr_info", []):
            known = info.get("family") in ("inet", "inet6") and "local" in info
            if link.get("ifname", "lo") != "lo" and info.get("scope") == "global" and known:
                yield Address(link["ifname"], info["local"], int(info["prefixlen"]), bool(info.get("dynamic")))
