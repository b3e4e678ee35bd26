# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which gateway a LAN client uses, through which interface. Pure."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass, field

from .._base.net import is_address
from .._managers.seen import VERSIONS

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._managers.seen import Address, Seen

OPTION = {4: "gateway", 6: "gateway6"}
NONE = "none"


@dataclass(frozen=True)
class Candidate:
    """A gateway that may be this host's."""

    name: str
    declared: t.Tuple[str, ...] = ()  # its addresses that take precedence
    addresses: t.Tuple[str, ...] = ()
    asked: bool = True  # nobody else knows any more of its addresses
    mirrored: bool = False  # the host that asked it reached itself


@dataclass(frozen=True)
class Wish:
    """The options."""

    gateways: t.Mapping[int, str]  # by the version of IP: an address, NONE, or empty to find it
    interface: str = ""
    dns: t.Tuple[str, ...] = ()
    replace_default: bool = False
    skip_unmanaged: bool = False
    candidates: t.Tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Chosen:
    gateways: t.Mapping[int, str] = field(default_factory=dict)
    interface: str = ""
    notes: t.Tuple[str, ...] = ()
    ask: t.Tuple[str, ...] = ()  # gateways whose addresses are not known yet


def read_wish(params: t.Mapping[str, t.Any], problems: Problems) -> Wish:
    """The wish of checked options."""
    for server in params["dns"] or ():
        if not is_address(server):
            problems.add("dns", "{0!r} is not an IP address".format(server))
    return Wish(
        gateways={4: params["gateway"].strip(), 6: params["gateway6"].strip()},
        interface=params["interface"].strip(),
        dns=tuple(params["dns"] or ()),
        replace_default=params["replace_default"],
        skip_unmanaged=params["unmanaged"] == "skip",
        candidates=tuple(_candidate(each, problems) for each in params["gateways"] or ()),
    )


def _candidate(item: t.Mapping[str, t.Any], problems: Problems) -> Candidate:
    name = item["name"]
    found = {key: tuple(_plain(each) for each in item[key] or ()) for key in ("declared", "addresses")}
    for address in dict.fromkeys(found["declared"] + found["addresses"]):
        if not is_address(address):
            where = "gateway_addresses of {0}".format(name)
            problems.add(where, "{0!r} is not an IP address".format(address))
    own = {key: tuple(_short(each) for each in addresses if is_address(each)) for key, addresses in found.items()}
    return Candidate(name, own["declared"], own["addresses"], item["asked"], item["mirrored"])


def _plain(address: t.Any) -> str:
    return str(address).split("/", 1)[0]


def _short(address: str) -> str:
    return str(ipaddress.ip_address(address))


def choose(wish: Wish, seen: Seen, problems: Problems) -> Chosen:
    """Adds every obstacle to ``problems``."""
    return _Choice(wish, seen, problems).made()


class _Choice:
    def __init__(self, wish: Wish, seen: Seen, problems: Problems) -> None:
        self._wish, self._seen, self._problems = wish, seen, problems
        self._own = {address.local for address in seen.addresses}
        self._found = self._candidates()
        self._declared = {address for each in wish.candidates for address in each.declared}
        self._interface = ""
        self._gateways: t.Dict[int, str] = {}
        self._notes: t.List[str] = []

    def _candidates(self) -> t.Dict[str, str]:
        """Addresses of gateways with their names, without addresses of this host itself, such as those of bridges that
        container managers create on every machine.
        """
        found: t.Dict[str, str] = {}
        for each in self._wish.candidates:
            for address in each.declared + each.addresses:
                if address not in self._own:
                    found.setdefault(address, each.name)
        return found

    def made(self) -> Chosen:
        wish, seen = self._wish, self._seen
        if wish.interface and wish.interface not in seen.interfaces:
            known = ", ".join(seen.interfaces) or "none but lo"
            self._problems.add(
                "interface", "there is no interface {0!r} on this host (it has {1})".format(wish.interface, known)
            )
            return Chosen()
        for version in VERSIONS:
            self._choose_family(version)
        ask: t.Tuple[str, ...] = ()
        if not self._gateways and not self._problems.found:
            ask = self._nothing_chosen()
        return Chosen(self._gateways, self._interface, tuple(self._notes), ask)

    def _nothing_chosen(self) -> t.Tuple[str, ...]:
        if set(self._wish.gateways.values()) == {NONE}:
            self._problems.add(
                OPTION[4], "is none, as is the one for IPv6, so there is nothing to do; set state=absent to remove all"
            )
            return ()
        ask = tuple(each.name for each in self._wish.candidates if not each.asked)
        if not ask:
            self._none_found()
        return ask

    def _choose_family(self, version: int) -> None:
        """Choose the gateway of this family and the interface towards it, unless there is none, or a problem."""
        wanted = self._wish.gateways[version]
        if wanted == NONE:
            return
        gateway = self._named(version, wanted) if wanted else self._reached(version)
        interface = self._towards(version, gateway) if gateway else ""
        if not interface:
            return
        if version == 6 and not wanted and self._advertised(interface):
            self._notes.append(
                "IPv6 is left unchanged: {0} learns its default route from router advertisements".format(interface)
            )
            return
        self._interface = interface
        self._gateways[version] = gateway

    def _named(self, version: int, wanted: str) -> str:
        """The gateway that the user has named, if it is possible."""
        name = OPTION[version]
        if not is_address(wanted, version):
            self._problems.add(name, "{0!r} is not an IPv{1} address".format(wanted, version))
            return ""
        address = _short(wanted)
        if address in self._own:
            self._problems.add(name, "{0} is an address of this host itself".format(address))
            return ""
        if not self.places(address):
            own = ", ".join(str(own) for own in self._seen.addresses if own.version == version)
            own = own or "it has no IPv{0} address".format(version)
            self._problems.add(name, "{0} is in none of this host's networks ({1})".format(address, own))
            return ""
        return address

    def _reached(self, version: int) -> str:
        """The one gateway address that this host can reach."""
        reached = {address: self.places(address) for address in self._found if is_address(address, version)}
        if self._interface:
            here = self._interface
            reached = {x: [own for own in found if own.interface == here] for x, found in reached.items()}
        matches = [address for address, places in reached.items() if places]
        # A declared address, such as one of VRRP, takes precedence over the router's own address beside it.
        matches = [address for address in matches if address in self._declared] or matches
        if len(matches) > 1:
            several = ", ".join("{0} of {1}".format(address, self._found[address]) for address in matches)
            sentence = "several addresses of gateways are in networks of this host ({0}); set {1} to one of them"
            self._problems.add(OPTION[version], sentence.format(several, OPTION[version]))
        return matches[0] if len(matches) == 1 else ""

    def places(self, address: str) -> t.List[Address]:
        """The host's own addresses whose networks contain this address."""
        return places(self._seen, address, self._wish.interface)

    def _towards(self, version: int, gateway: str) -> str:
        """The interface towards the gateway: the same for both families, because one file configures one interface."""
        interfaces = sorted({own.interface for own in self.places(gateway)})
        if self._interface in interfaces:
            return self._interface
        if self._interface:
            self._problems.add(
                OPTION[version],
                "{0} is reached through {1}, the IPv4 gateway through {2}; only one interface can be set up".format(
                    gateway, interfaces[0], self._interface
                ),
            )
            return ""
        if len(interfaces) > 1:
            sentence = "{0} is in the networks of {1}; set interface to one of them"
            self._problems.add("interface", sentence.format(gateway, " and ".join(interfaces)))
            return ""
        return interfaces[0]

    def _advertised(self, interface: str) -> bool:
        return any(interface in route.links and route.protocol == "ra" for route in self._seen.others(6, ()))

    def _none_found(self) -> None:
        if not self._wish.candidates:
            self._problems.add("gateways", "there is no gateway to choose from; set gateway to its address")
            return
        mirrored = [each.name for each in self._wish.candidates if each.mirrored]
        if mirrored:
            self._problems.add(
                "gateways",
                "asked {0}, but the client that asked reached itself: a variable of their connection is a template of "
                "inventory_hostname; write it for each host, or set gateway_addresses for them".format(
                    " and ".join(mirrored)
                ),
            )
            return
        own = ", ".join(map(str, self._seen.addresses)) or "none"
        found = ["{0} of {1}".format(address, name) for address, name in self._found.items()]
        self._problems.add(
            "gateways",
            "none of them has an address in a network of this host; set gateway to its address (own addresses: {0}; "
            "gateways: {1})".format(own, ", ".join(found) or "none of them answered"),
        )


def places(seen: Seen, address: str, interface: str = "") -> t.List[Address]:
    """The host's own addresses whose networks contain this address."""
    return [
        own
        for own in seen.addresses
        if interface in ("", own.interface) and own.holds(address) and own.local != address
    ]
