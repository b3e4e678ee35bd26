# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The services of LANs on this host: what was left out is chosen from their networks, and everything is checked."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from .._base.net import network
from .._intent.services import DNS_SERVER, NO_SERVICES, LanServices, spans
from .._intent.wording import listed
from .choice import rogue_links

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._facts.links import Facts
    from .._intent.services import Dhcp, Dns
    from .resolved import ResolvedLan

    Net = ipaddress.IPv4Network
    Lans = t.Tuple[ResolvedLan, ...]

#: The longest prefix of a network that has room for a gateway and a client.
LONGEST = 30
#: In a range that was not declared.
MOST = 1000


def with_services(lans: Lans, dns: Dns, facts: Facts, problems: Problems) -> Lans:
    """The LANs with what their services come to."""
    found = tuple(
        replace(lan, services=_Serving("lans[{0}] '{1}'".format(index, lan.name), lan, facts, problems).services())
        if lan.services != NO_SERVICES
        else lan
        for index, lan in enumerate(lans)
    )
    _check_dns(found, dns, facts, problems)
    return found


class _Serving:
    """One LAN on its links."""

    def __init__(self, where: str, lan: ResolvedLan, facts: Facts, problems: Problems) -> None:
        self._where, self._lan, self._facts, self._problems = where, lan, facts, problems
        self._links = [link for pattern in lan.interfaces for link in facts.meant_by(pattern)]
        self._own = {address for link in self._links for address in link.addresses}

    def services(self) -> LanServices:
        declared = self._lan.services
        dhcp, dns = declared.dhcp, declared.dns
        if dns is None:
            dns = dhcp is not None and not any(name in DNS_SERVER for name, _value in dhcp.options)
        return LanServices(self._dhcp(dhcp) if dhcp else None, self._ra(declared), True if dns else None)

    def _add(self, option: str, sentence: str) -> None:
        self._problems.add("{0}: {1}".format(self._where, option), sentence)

    def _dhcp(self, dhcp: Dhcp) -> Dhcp:
        nets = self._networks()
        if not nets:
            return dhcp
        own = {int(ipaddress.ip_address(each)) for each in self._own if ":" not in each}
        reserved = {int(ipaddress.ip_address(each.address)) for each in dhcp.reserve}
        self._check_reservations(dhcp, nets)
        if dhcp.range and not self._check_ranges(dhcp, nets):
            return dhcp
        wanted = spans(dhcp.range) or [_chosen(net) for net in nets]
        if not any(_around(span, own | reserved) for span in wanted):
            self._add("dhcp", "every address of its range is the gateway's own or reserved; give it a larger range")
        # dnsmasq itself leaves out reserved addresses, and takes another reservation without a restart.
        return replace(dhcp, range=tuple(each for span in wanted for each in _around(span, own)))

    def _networks(self) -> t.List[Net]:
        """The IPv4 networks in which clients get addresses: of each link the first one that has room."""
        all4 = [t.cast("Net", network(net)) for net in self._lan.networks if ":" not in net]
        if not all4:
            self._add("dhcp", "the LAN has no IPv4 network; add one to its networks, or remove dhcp")
            return []
        near = [[net for net in all4 if _has(net, link.addresses)] for link in self._links] if self._links else [all4]
        if not any(near):
            told = "no interface of the LAN has an address in {0}, so nobody there can be served; give {1} one"
            self._add("dhcp", told.format(listed([str(net) for net in all4]), listed(self._lan.interfaces)))
            return []
        roomy = [[net for net in nets if net.prefixlen <= LONGEST] for nets in near]
        found = list(dict.fromkeys(nets[0] for nets in roomy if nets))
        if not found:
            told = "{0} has no room for clients; use a network of /30 or larger, or remove dhcp"
            self._add("dhcp", told.format(listed([str(net) for nets in near for net in nets])))
        return found

    def _check_ranges(self, dhcp: Dhcp, nets: t.Sequence[Net]) -> bool:
        sound, numbers = True, spans(dhcp.range)
        for shown, (first, last) in zip(dhcp.range, numbers):
            if not any(_first(net) <= first and last <= _last(net) for net in nets):
                example = _text(_chosen(nets[0]))
                told = "{0} is outside {1}; choose addresses in it, such as {2}"
                self._add("dhcp: range", told.format(shown, listed([str(net) for net in nets]), example))
                sound = False
        ordered = sorted(zip(numbers, dhcp.range))
        for (one, shown), (other, theirs) in zip(ordered, ordered[1:]):
            if other[0] <= one[1]:
                self._add("dhcp: range", "{0} and {1} overlap; make one range of them".format(shown, theirs))
                sound = False
        return sound

    def _check_reservations(self, dhcp: Dhcp, nets: t.Sequence[Net]) -> None:
        for each in dhcp.reserve:
            number = int(ipaddress.ip_address(each.address))
            if each.address in self._own:
                told = "{0} is the gateway's own address; reserve another one for {1}"
                self._add("dhcp: reserve", told.format(each.address, each.mac))
            elif not any(_first(net) <= number <= _last(net) for net in nets):
                told = "{0} is outside {1}; reserve an address in it for {2}"
                self._add("dhcp: reserve", told.format(each.address, listed([str(net) for net in nets]), each.mac))

    def _ra(self, declared: LanServices) -> str:
        all6 = [net for net in self._lan.networks if ":" in net]
        roomy = [net for link in self._links for net in link.networks if ":" in net and net.endswith("/64")]
        if declared.ra == "":
            chosen = "slaac" if declared.dhcp and all6 and (roomy or not self._links) else ""
            if chosen:
                self._check_alone()
            return chosen
        if declared.ra == "off":
            return ""
        if not all6:
            self._add("ra", "the LAN has no IPv6 network; add one to its networks, or set ra to off")
        elif self._links and not roomy:
            told = "no interface of the LAN has an address in an IPv6 network of /64; give {0} one, or set ra to off"
            self._add("ra", told.format(listed(self._lan.interfaces)))
        return declared.ra

    def _check_alone(self) -> None:
        """Hosts would send what leaves the LAN to either router, and this one loses its route to the other."""
        for name in rogue_links(self._facts, [link.name for link in self._links]):
            if any(link.name == name for link in self._links):
                told = (
                    "another host sends router advertisements on {0} (there is an IPv6 default route through it), and "
                    "with dhcp this gateway would send its own; set ra to off, or to slaac if both are to be routers"
                )
                self._add("ra", told.format(name))


def _has(net: Net, addresses: t.Iterable[str]) -> bool:
    return any(":" not in each and ipaddress.ip_address(each) in net for each in addresses)


def _first(net: Net) -> int:
    return int(net.network_address) + 1


def _last(net: Net) -> int:
    return int(net.broadcast_address) - 1


def _chosen(net: Net) -> t.Tuple[int, int]:
    """The range of a network for which none was declared: of a /24, .100 to .250; at most MOST addresses."""
    size = net.num_addresses
    first = int(net.network_address) + max(1, min(100, size * 2 // 5))
    return first, min(int(net.network_address) + size - 2 - size // 64, first + MOST - 1)


def _around(span: t.Tuple[int, int], taken: t.Collection[int]) -> t.List[str]:
    """What is left of a range without these addresses."""
    found, first = [], span[0]
    for hole in [*sorted(each for each in taken if span[0] <= each <= span[1]), span[1] + 1]:
        if first < hole:
            found.append(_text((first, hole - 1)))
        first = hole + 1
    return found


def _text(span: t.Tuple[int, int]) -> str:
    return "{0}-{1}".format(*(ipaddress.IPv4Address(each) for each in span))


def _check_dns(lans: Lans, dns: Dns, facts: Facts, problems: Problems) -> None:
    """No question goes round in a circle, and no option is without effect."""
    served = [lan for lan in lans if lan.services.dns]
    if not served:
        if dns.upstream:
            problems.add("dns_upstream", "has no effect, because no LAN has DNS; set dns to true in a LAN")
        if dns.domain and not any(lan.services for lan in lans):
            problems.add("dns_domain", "has no effect, because no LAN has services; set dhcp or dns to true in a LAN")
        return
    links = [link for lan in served for pattern in lan.interfaces for link in facts.meant_by(pattern)]
    own = {address for link in links for address in link.addresses}
    for server in dns.upstream:
        address, _hash, port = server.partition("#")
        if address in own and port in ("", "53"):
            problems.add(
                "dns_upstream", "{0} is this gateway, which would ask itself; name another server".format(server)
            )
    if not dns.upstream and facts.resolvers and own >= set(facts.resolvers):
        told = "/etc/resolv.conf names only this gateway itself ({0}); name the servers to ask here"
        problems.add("dns_upstream", told.format(listed(facts.resolvers)))
