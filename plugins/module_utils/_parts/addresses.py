# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Addresses that links need for NAT, when they appear.

An added address receives packets but is never chosen as a source address. In IPv4 it has scope host, which the kernel
never selects (inet_select_addr, even if it is the first address of a link: measured, Linux 6.18). In IPv6 it is
deprecated from the start (RFC 6724, rule 3). Both answer ARP and neighbour discovery like any other address.

Rules match interfaces by name and need no address. Therefore addresses follow the rules: in a run, at boot and with
every link that appears later. The gateway does not wait for an absent link.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError
from .._base.values import is_plain_link
from .._facts.links import read_facts
from .._resolve.added import added_addresses
from .part import NOTHING, Delta, Part, Shell, stem

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._facts.links import Facts
    from .._resolve.resolved import Resolved
    from .part import Scene

#: After the name of the link. IFNAMSIZ - 1, include/uapi/linux/if.h; a longer name leaves no room for it.
LABEL, LONGEST = ":nat", 15
#: Of the script that serves existing links: every file with this ending is run for each link that appears.
ENDING = ".links"
#: As the lines of boot_text have it.
ADDRESS = re.compile(r"ip address replace (\S+) dev (\S+)")
#: Interface and address with prefix length.
Pairs = t.Tuple[t.Tuple[str, str], ...]


@dataclass(frozen=True)
class Addresses:
    needed: Pairs = ()
    found: Pairs = ()  # those that existed before the first run and stay on removal


def addresses_of(gateway: Resolved, known: Addresses, facts: Facts, others: t.Sequence[Addresses] = ()) -> Addresses:
    """What a resolved gateway needs. ``known`` is what it needed so far, ``others`` what other instances need."""
    added = (pair for item in gateway.nat for pair in added_addresses(gateway, item))
    needed = tuple(dict.fromkeys((name, str(ipaddress.ip_network(address))) for name, address in added))
    ours = {pair for each in others for pair in each.needed if pair not in each.found}
    there = set(_present(needed, facts)) - set(known.needed) - ours
    return Addresses(needed, tuple(pair for pair in needed if pair in there or pair in known.found))


def _present(addresses: t.Iterable[t.Tuple[str, str]], facts: Facts) -> t.List[t.Tuple[str, str]]:
    """The addresses that the interfaces already have, with any prefix length."""
    there = {(interface.name, address) for interface in facts.interfaces for address in interface.addresses}
    return [(name, address) for name, address in addresses if (name, address.split("/")[0]) in there]


@dataclass(frozen=True)
class Steps:
    """What to change on existing links."""

    add: Pairs = ()
    remove: Pairs = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)

    @property
    def lines(self) -> t.List[str]:
        lines = ["+ {0}: address {1}".format(*pair) for pair in self.add]
        return lines + ["- {0}: address {1}".format(*pair) for pair in self.remove]


def steps(old: Addresses, new: Addresses, facts: Facts, others: t.Sequence[Addresses] = ()) -> Steps:
    """An address that several instances added stays until the last of them is removed."""
    names = {interface.name for interface in facts.interfaces if is_plain_link(interface.name)}
    have = set(_present(new.needed, facts))
    gone = _no_longer_needed(old, new, others)
    add = tuple(pair for pair in new.needed if pair not in have and pair[0] in names)
    return Steps(add, tuple(_present(gone, facts)))


def _no_longer_needed(old: Addresses, new: Addresses, others: t.Sequence[Addresses]) -> t.List[t.Tuple[str, str]]:
    kept = {*new.needed, *old.found, *(pair for each in others for pair in each.needed)}
    return [pair for pair in old.needed if pair not in kept]


def _clearing(name: str, address: str) -> str:
    """A line of shell that removes an address if it is there in the way we add it: others may have it by now."""
    mark = "deprecated" if ":" in address else "scope host"
    gone = "! ip -o address show dev {0} to {1} 2> /dev/null | grep -q '{2}' || ip address del {1} dev {0}"
    return gone.format(name, address, mark)


def set_addresses(add: Pairs, remove: Pairs, host: Host) -> None:
    """Add and remove addresses. It is not an error if that is already done: a timer may have rolled back before."""
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
    """The command that adds an address which is never used as a source.

    Programs that set the one address of a link by ioctl (pppd, ifconfig, udhcpc) replace what has the link's own label.
    """
    if ":" in address:
        return ["ip", "address", "replace", address, "dev", name, "preferred_lft", "0"]
    label = ["label", name + LABEL] if len(name + LABEL) <= LONGEST else []
    return ["ip", "address", "replace", address, "dev", name, *label, "scope", "host"]


def is_silent(name: str, address: str, host: Sight) -> bool:
    """Whether a link has this address in the way we add it, so that it is most likely ours."""
    found = host.ask(["ip", "-o", "address", "show", "dev", name, "to", address]).out
    return address in found and ("deprecated" if ":" in address else "scope host") in found


def _is_gone(name: str, address: str, host: Sight) -> bool:
    found = host.ask(["ip", "-o", "address", "show", "dev", name, "to", address])
    return found.rc == 0 and not found.out.strip()


def boot_text(needed: Pairs) -> str:
    """Shell lines for the links that exist."""
    return "".join(
        # A link that does not exist has no switches.
        "[ ! -e /proc/sys/net/ipv4/conf/{0} ] || {1}\n".format(name, " ".join(adding(name, address)))
        for name, address in needed
    )


class _AddressesPart(Part[Addresses]):
    endings = (ENDING,)
    linked = True

    def want(
        self, gateway: Resolved, was: Addresses, scene: Scene, sight: Sight
    ) -> t.Tuple[Addresses, t.Tuple[str, ...]]:
        facts = scene.facts or read_facts(sight)
        return addresses_of(gateway, was, facts, [self.of(other) for other in scene.others]), ()

    def salvage(self, instance: str, sight: Sight) -> Addresses:
        text = sight.read(stem(instance) + ENDING) or ""
        written = [(name, address) for address, name in ADDRESS.findall(text)]
        return Addresses(tuple(pair for pair in written if is_silent(*pair, sight)))

    def plan(self, was: Addresses, want: Addresses, scene: Scene, sight: Sight) -> Delta:
        if not scene.facts:
            return NOTHING
        found = steps(was, want, scene.facts, [self.of(other) for other in scene.others])
        return Delta(tuple(found.lines), found, cuts=True) if found else NOTHING

    def apply(self, delta: Delta, want: Addresses, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if delta.do:
            set_addresses(delta.do.add, delta.do.remove, host)
        return ()

    def restore(self, delta: Delta, was: Addresses, want: Addresses, scene: Scene, sight: Sight) -> Shell:
        found = delta.do or Steps()
        gone = "{{ ip address del {1} dev {0} || ! ip -o address show dev {0} to {1} | grep -q .; }} 2> /dev/null"
        lines = [gone.format(*pair) for pair in found.add] + [" ".join(adding(*pair)) for pair in found.remove]
        return Shell(tuple(lines))

    def settle(self, was: Addresses, want: Addresses, scene: Scene) -> t.Tuple[str, ...]:
        # A link that appeared while the change was pending has been set up as before: it lacks what is new, and any
        # link may have what is no longer needed.
        gone = _no_longer_needed(was, want, [self.of(other) for other in scene.others])
        lines = ["sh {0}{1}".format(stem(scene.instance), ENDING)] if want.needed else []
        return tuple(lines + [_clearing(*pair) for pair in gone])

    def boot(self, want: Addresses, scene: Scene) -> t.Mapping[str, str]:
        return {ENDING: boot_text(want.needed)} if want.needed else {}


ADDRESSES = _AddressesPart("addresses", Addresses())
