# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What single links need whenever they appear: addresses for NAT, and their place in the flowtable.

An added address is one to be asked at, and never one to speak from: in IPv4 it has the scope of the host, which the
kernel takes for no destination (inet_select_addr, also where it is the first that a link has: measured, Linux 6.18); in
IPv6 it is deprecated from the start (RFC 6724, rule 3). Both answer ARP and neighbour discovery like any other.

Rules know interfaces by name and need neither. So these two come after the rules, now, at boot and with every link that
comes later, and a link that is not there is none the gateway waits for.
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass

from ._errors import GatewayError
from ._resolve import added_addresses
from ._rules import matches_name
from ._values import is_plain_link

if t.TYPE_CHECKING:  # pragma: no cover
    from ._facts import Facts
    from ._host import Host
    from ._intent import Gateway

#: Interface and address, the latter with its length.
Addresses = t.Tuple[t.Tuple[str, str], ...]


@dataclass(frozen=True)
class Links:
    addresses: Addresses = ()
    found: Addresses = ()  # those that had been there before the first run, and stay when we go
    offload: t.Tuple[str, ...] = ()  # interfaces of the flowtable, names and patterns

    def __bool__(self) -> bool:
        return bool(self.addresses or self.offload)


def links_of(gateway: Gateway, known: Links, facts: Facts, others: t.Sequence[Links] = ()) -> Links:
    """What a resolved gateway wants of its links. ``known`` is what it wanted so far, ``others`` what instances do."""
    added = (pair for item in gateway.nat for pair in added_addresses(gateway, item))
    addresses = tuple(dict.fromkeys((name, str(ipaddress.ip_network(address))) for name, address in added))
    ours = {pair for each in others for pair in each.addresses if pair not in each.found}
    there = set(_present(addresses, facts)) - set(known.addresses) - ours
    devices: t.Tuple[str, ...] = ()
    if gateway.offload != "none":
        devices = tuple(wan.interface for wan in gateway.wans or ())
        devices += tuple(name for lan in gateway.lans or () for name in lan.interfaces)
    found = tuple(pair for pair in addresses if pair in there or pair in known.found)
    return Links(addresses, found, devices)


def _present(addresses: t.Iterable[t.Tuple[str, str]], facts: Facts) -> t.List[t.Tuple[str, str]]:
    """Those of these addresses that the interface has, whatever their length is there."""
    there = {(interface.name, address) for interface in facts.interfaces for address in interface.addresses}
    return [(name, address) for name, address in addresses if (name, address.split("/")[0]) in there]


@dataclass(frozen=True)
class Steps:
    """What is to be done to links that are there."""

    add: Addresses = ()
    remove: Addresses = ()
    devices: t.Tuple[str, ...] = ()  # into the flowtable

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.devices)

    @property
    def lines(self) -> t.List[str]:
        lines = ["+ {0}: address {1}".format(*pair) for pair in self.add]
        lines += ["- {0}: address {1}".format(*pair) for pair in self.remove]
        return lines + ["+ {0}: connections offloaded".format(name) for name in self.devices]


def steps(
    old: Links, new: Links, offloaded: t.Optional[t.Set[str]], facts: Facts, others: t.Sequence[Links] = ()
) -> Steps:
    """``offloaded`` are the interfaces that the flowtable has, None if there is none.

    An address that another instance has added, too, stays until the last of them goes.
    """
    names = {interface.name for interface in facts.interfaces if is_plain_link(interface.name)}
    have = set(_present(new.addresses, facts))
    kept = {*new.addresses, *old.found, *(pair for each in others for pair in each.addresses)}
    gone = [pair for pair in old.addresses if pair not in kept]
    devices = [
        name
        for name in sorted(names)
        if any(matches_name(pattern, name) for pattern in new.offload) and name not in (offloaded or ())
    ]
    return Steps(
        add=tuple(pair for pair in new.addresses if pair not in have and pair[0] in names),
        remove=tuple(_present(gone, facts)),
        devices=tuple(devices),
    )


def set_addresses(add: Addresses, remove: Addresses, host: Host) -> None:
    """What is so already is no error: a timer may have rolled back before."""
    for verb, pairs in (("replace", add), ("del", remove)):
        for name, address in pairs:
            words = adding(name, address) if verb == "replace" else ["ip", "address", "del", address, "dev", name]
            done = host.run(words)
            if done.rc != 0 and not (verb == "del" and _is_gone(name, address, host)):
                raise GatewayError(
                    "{0}: address {1} cannot be {2}: {3}".format(
                        name, address, "removed" if verb == "del" else "added", done.err.strip()
                    )
                )


def adding(name: str, address: str) -> t.List[str]:
    """The words that add an address which nobody speaks from."""
    silent = ["preferred_lft", "0"] if ":" in address else ["scope", "host"]
    return ["ip", "address", "replace", address, "dev", name, *silent]


def is_silent(name: str, address: str, host: Host) -> bool:
    """Whether a link has this address as we add them, so that it is most likely ours."""
    found = host.run(["ip", "-o", "address", "show", "dev", name, "to", address]).out
    return address in found and ("deprecated" if ":" in address else "scope host") in found


def _is_gone(name: str, address: str, host: Host) -> bool:
    found = host.run(["ip", "-o", "address", "show", "dev", name, "to", address])
    return found.rc == 0 and not found.out.strip()


def boot_text(links: Links, into_flowtable: str) -> str:
    """Lines of shell that do this to the links that are there, the latter for the link ``$link``."""
    lines = [
        # A link that is not there has no switches either.
        "[ ! -e /proc/sys/net/ipv4/conf/{0} ] || {1}".format(name, " ".join(adding(name, address)))
        for name, address in links.addresses
    ]
    if links.offload:
        lines += [
            "while IFS=': ' read -r link _counters; do",
            '    case "$link" in',
            "    *[!A-Za-z0-9_.@-]*) ;;  # no name that can stand in a rule",
            "    {0}) {1} ;;".format("|".join(links.offload), into_flowtable),
            "    esac",
            "done < /proc/net/dev",
        ]
    return "".join(line + "\n" for line in lines)
