# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""WANs and LANs."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.values import check_interface, check_name, is_network, read_networks, shorten
from .services import NO_SERVICES, describe_services
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .services import LanServices

#: The largest private block is fc00::/7.
SHORTEST_LAN = 7


@dataclass(frozen=True)
class Wan:
    interface: str
    mss: str = "pmtu"  # pmtu, keep, or a number of bytes
    carried_from: t.Tuple[str, ...] = ()  # sources of forwarded packets that carry its traffic over another link


@dataclass(frozen=True)
class Lan:
    """If ``networks`` is None, they are read from its interfaces."""

    name: str
    interfaces: t.Tuple[str, ...]
    networks: t.Optional[t.Tuple[str, ...]] = None
    reaches: t.Tuple[str, ...] = ()
    spoof_check: bool = True
    services: LanServices = NO_SERVICES

    @property
    def named_networks(self) -> t.Tuple[str, ...]:
        """Those that were declared, or found."""
        return self.networks or ()


def read_wan(index: int, raw: t.Mapping[str, t.Any], mss: str, problems: Problems) -> Wan:
    where = "wans[{0}]".format(index)
    check_interface(where, raw["interface"], problems)
    given, there = raw.get("mss"), where + ": carried_from"
    sources = read_networks(there, raw.get("carried_from"), problems)
    _check_breadth(there, sources, "name the address that carries this WAN", problems)
    return Wan(raw["interface"], mss if given is None else read_mss(where + ": mss", given, problems), sources)


def _check_breadth(where: str, networks: t.Iterable[str], remedy: str, problems: Problems) -> None:
    for net in networks:
        if int(net.split("/")[1]) < SHORTEST_LAN:
            problems.add(where, "{0} covers most of the Internet; {1}".format(net, remedy))


def read_mss(where: str, raw: str, problems: Problems) -> str:
    """pmtu, keep, or bytes. RFC 9293 section 3.7.1 assumes 536 by default; no kernel sends less than 88."""
    if raw in ("pmtu", "keep"):
        return raw
    if raw.isascii() and raw.isdigit() and len(raw) <= 5 and 88 <= int(raw) <= 65495:
        return str(int(raw))
    problems.add(where, "'{0}' is not pmtu, keep or a number of bytes from 88 to 65495".format(shorten(raw)))
    return "pmtu"


def read_lan(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Lan:
    where = "lans[{0}] '{1}'".format(index, shorten(raw["name"]))
    check_name(where, raw["name"], problems)
    if is_network(raw["name"]):
        problems.add(where, "name '{0}' looks like an address; give the LAN another name".format(shorten(raw["name"])))
    if not raw["interfaces"]:
        problems.add(where, "interfaces is empty; name at least one LAN interface")
    for name in raw["interfaces"]:
        check_interface(where, name, problems)
    networks = raw.get("networks")
    if networks is not None and not networks:
        problems.add(where, "networks is empty; list networks, or leave it out to use the interfaces' own")
    read = None if networks is None else read_networks(where + ": networks", networks, problems)
    _check_breadth(where + ": networks", read or (), "name the networks behind the LAN", problems)
    return Lan(
        name=raw["name"],
        interfaces=tuple(raw["interfaces"]),
        networks=read,
        reaches=tuple(raw.get("reaches") or ()),
        spoof_check=raw["spoof_check"],
    )


def describe_lan(lan: Lan) -> str:
    return "{0} on {1}, reaches {2}{3}{4}".format(
        listed(lan.named_networks),
        listed(lan.interfaces),
        listed(lan.reaches, "no other LAN"),
        "" if lan.spoof_check else ", sources not checked",
        describe_services(lan.services),
    )


def describe_wan(wan: Wan) -> str:
    return wan.interface + (", carried from {0}".format(listed(wan.carried_from)) if wan.carried_from else "")


def describe_mss(wan: Wan) -> str:
    return {"pmtu": "clamped to the path MTU", "keep": "left alone"}.get(wan.mss, wan.mss)
