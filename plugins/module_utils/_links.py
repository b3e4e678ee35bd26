# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What single links need when they appear: addresses for NAT, and a place in the flowtable.

An added address receives packets but is never chosen as a source address. In IPv4 it has scope host, which the kernel
never selects (inet_select_addr, even if it is the first address of a link: measured, Linux 6.18). In IPv6 it is
deprecated from the start (RFC 6724, rule 3). Both answer ARP and neighbour discovery like any other address.

Rules match interfaces by name and need neither. Therefore both follow the rules: in a run, at boot and with every link
that appears later. The gateway does not wait for an absent link.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ._backend.nftables import flowtable
from ._errors import GatewayError
from ._facts import read_facts
from ._part import NOTHING, Delta, Part, Shell, stem
from ._resolve.added import added_addresses
from ._rules import matches_name
from ._values import is_plain_link

if t.TYPE_CHECKING:  # pragma: no cover
    from ._facts import Facts
    from ._host import Host, Sight
    from ._part import Scene
    from ._resolve.resolved import Resolved

#: After the name of the link. IFNAMSIZ - 1, include/uapi/linux/if.h; a longer name leaves no room for it.
LABEL, LONGEST = ":nat", 15
#: As the lines of boot_text have it.
ADDRESS = re.compile(r"ip address replace (\S+) dev (\S+)")
#: Interface and address with prefix length.
Addresses = t.Tuple[t.Tuple[str, str], ...]


@dataclass(frozen=True)
class Links:
    addresses: Addresses = ()
    found: Addresses = ()  # addresses that existed before the first run and stay on removal
    offload: t.Tuple[str, ...] = ()  # names and patterns of the flowtable's interfaces

    def __bool__(self) -> bool:
        return bool(self.addresses or self.offload)


def links_of(gateway: Resolved, known: Links, facts: Facts, others: t.Sequence[Links] = ()) -> Links:
    """What a resolved gateway needs. ``known`` is what it needed so far, ``others`` what other instances need."""
    added = (pair for item in gateway.nat for pair in added_addresses(gateway, item))
    addresses = tuple(dict.fromkeys((name, str(ipaddress.ip_network(address))) for name, address in added))
    ours = {pair for each in others for pair in each.addresses if pair not in each.found}
    there = set(_present(addresses, facts)) - set(known.addresses) - ours
    devices: t.Tuple[str, ...] = ()
    if gateway.offload != "none":
        devices = tuple(wan.interface for wan in gateway.wans)
        devices += tuple(name for lan in gateway.lans for name in lan.interfaces)
    found = tuple(pair for pair in addresses if pair in there or pair in known.found)
    return Links(addresses, found, devices)


def _present(addresses: t.Iterable[t.Tuple[str, str]], facts: Facts) -> t.List[t.Tuple[str, str]]:
    """The addresses that the interfaces already have, with any prefix length."""
    there = {(interface.name, address) for interface in facts.interfaces for address in interface.addresses}
    return [(name, address) for name, address in addresses if (name, address.split("/")[0]) in there]


@dataclass(frozen=True)
class Steps:
    """What to change on existing links."""

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
    """``offloaded`` are the interfaces of the flowtable; None if there is none.

    An address that several instances added stays until the last of them is removed.
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


def boot_text(links: Links, into_flowtable: str) -> str:
    """Shell lines that set up existing links; ``into_flowtable`` is for the link ``$link``."""
    lines = [
        # A link that does not exist has no switches.
        "[ ! -e /proc/sys/net/ipv4/conf/{0} ] || {1}".format(name, " ".join(adding(name, address)))
        for name, address in links.addresses
    ]
    if links.offload:
        lines += [
            "while IFS=': ' read -r link _counters; do",
            '    case "$link" in',
            "    *[!A-Za-z0-9_.@-]*) ;;  # rules cannot contain this name",
            "    {0}) {1} ;;".format("|".join(links.offload), into_flowtable),
            "    esac",
            "done < /proc/net/dev",
        ]
    return "".join(line + "\n" for line in lines)


class _LinksPart(Part[Links]):
    """After the rules, because a load creates the flowtable anew."""

    endings = (".links",)

    def want(self, gateway: Resolved, was: Links, scene: Scene, sight: Sight) -> t.Tuple[Links, t.Tuple[str, ...]]:
        facts = scene.facts or read_facts(sight)
        return links_of(gateway, was, facts, [self.of(other) for other in scene.others]), ()

    def salvage(self, instance: str, sight: Sight) -> Links:
        text = sight.read(stem(instance) + ".links") or ""
        written = [(name, address) for address, name in ADDRESS.findall(text)]
        return Links(tuple(pair for pair in written if is_silent(*pair, sight)))

    def plan(self, was: Links, want: Links, scene: Scene, sight: Sight) -> Delta:
        if not scene.facts:
            return NOTHING
        offloaded = flowtable.devices(scene.backend, scene.listing)
        found = steps(was, want, offloaded, scene.facts, [self.of(other) for other in scene.others])
        return Delta(tuple(found.lines), found, cuts=True) if found else NOTHING

    def apply(self, delta: Delta, want: Links, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if delta.do:
            set_addresses(delta.do.add, delta.do.remove, host)
        if scene.backend and want.offload:
            offloaded = flowtable.devices(scene.backend, scene.backend.read(host, scene.instance))
            missing = steps(Links(), want, offloaded, read_facts(host)).devices
            if missing:
                flowtable.add(scene.instance, missing, host)
        return ()

    def restore(self, delta: Delta, was: Links, want: Links, scene: Scene, sight: Sight) -> Shell:
        found = delta.do or Steps()
        gone = "{{ ip address del {1} dev {0} || ! ip -o address show dev {0} to {1} | grep -q .; }} 2> /dev/null"
        lines = [gone.format(*pair) for pair in found.add] + [" ".join(adding(*pair)) for pair in found.remove]
        if was.offload:
            # The table is created anew, with its devices.
            lines.append(_serve(scene.instance))
        return Shell(tuple(lines))

    def settle(self, want: Links, scene: Scene) -> t.Tuple[str, ...]:
        # A link that appeared while the change was pending has not been set up.
        return (_serve(scene.instance),) if want else ()

    def boot(self, want: Links, scene: Scene) -> t.Mapping[str, str]:
        if not want:
            return {}
        return {".links": boot_text(want, flowtable.line(scene.instance))}


def _serve(instance: str) -> str:
    return "sh {0}.links".format(stem(instance))


LINKS = _LinksPart("links", Links())
