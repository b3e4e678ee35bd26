# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""WANs and LANs that the user did not name: chosen once, remembered by name, and never changed silently.

The choice depends on state that a cable, a lease or one packet of a LAN client can change between two runs, so a later
run keeps what the first one chose. An absent link stays chosen; a new candidate is an error.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.net import matches_any, matches_name
from .._base.values import is_plain_link, is_private, shorten
from .._facts.links import manager_of
from .._intent.conflicts import ONE_CARD
from .._intent.sides import Lan, Wan

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._facts.links import Facts, Interface
    from .._intent.gateway import Gateway
    from .._intent.neighbour import Neighbour
    from .resolved import ResolvedLan

#: LAN to the networks that were last read from its links.
Networks = t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]


@dataclass(frozen=True)
class Chosen:
    """What a run chose, as kernel names; empty where the user named them."""

    wans: t.Tuple[str, ...] = ()
    lans: t.Tuple[str, ...] = ()
    networks: Networks = ()

    def to_yaml(self) -> str:
        """The equivalent role variables, on one line."""
        wans = ", ".join("{{interface: {0}}}".format(name) for name in self.wans)
        lans = ", ".join("{{name: {0}, interfaces: [{0}]}}".format(name) for name in self.lans)
        parts = ["gateway_wans: [{0}]".format(wans)] if wans else []
        parts += ["gateway_lans: [{0}]".format(lans)] if lans else []
        return "{{{0}}}".format(", ".join(parts))


NOTHING = Chosen()


class Choosing:
    """One run's choice. ``known`` is the remembered one."""

    def __init__(
        self,
        facts: Facts,
        known: Chosen,
        neighbours: t.Sequence[Neighbour],
        problems: Problems,
        notes: t.List[str],
    ) -> None:
        self._facts, self._known, self._neighbours = facts, known, neighbours
        self._problems, self._notes = problems, notes

    def wans(self, gateway: Gateway) -> t.Tuple[Wan, ...]:
        """Every link with a default route, except LANs and links whose route only an advertisement set."""
        facts, known = self._facts, self._known.wans
        inside = [name for lan in gateway.named_lans for name in lan.interfaces]
        advertised = rogue_links(facts, self._known.lans)
        found = tuple(name for name in facts.default_routes if name not in advertised and not matches_any(inside, name))
        new = [name for name in found if name not in known]
        if known and new:
            self._otherwise("wans", "a default route through {0}".format(_listed(new)), Chosen(known), Chosen(found))
        elif not known and not found:
            self._problems.add("wans", self._no_wan())
        for name in known or found:
            if not is_plain_link(name):
                self._problems.add(
                    "wans", "'{0}' is a name that rules cannot contain; rename that link".format(shorten(name))
                )
            why = (
                "chosen because it has the default route"
                if name in found
                else "chosen earlier; it has no default route now"
            )
            self._notes.append("WAN {0}: {1}".format(name, why))
        return tuple(Wan(name, gateway.mss) for name in known or found)

    def _no_wan(self) -> str:
        if not self._facts.default_routes:
            return "there is no default route to find the WAN by; name the WAN, such as [{interface: ppp0}]"
        return "the default route uses {0}, an interface of a LAN; name the WAN, such as {1}; {2}".format(
            _listed(self._facts.default_routes), "[{interface: ppp0}]", ONE_CARD
        )

    def lans(self, wans: t.Tuple[Wan, ...]) -> t.Tuple[Lan, ...]:
        """Every other link with a private network that nothing else owns. Their networks are read later."""
        known = self._known.lans
        found, left = [], []
        for interface in self._facts.interfaces:
            private = [net for net in interface.behind if is_private(net)]
            if not private or any(matches_name(wan.interface, interface.name) for wan in wans):
                continue
            why = self._why_no_lan(interface, wans)
            if why and interface.name not in known:
                left.append("{0}: not used as a LAN: {1}".format(shorten(interface.name), why))
                continue
            found.append(interface.name)
            self._notes.append("LAN {0}: chosen because it has {1}".format(interface.name, ", ".join(private)))
        self._notes += left
        new = [name for name in found if name not in known]
        if known and new:
            reason = "a private network on {0}".format(_listed(new))
            self._otherwise("lans", reason, Chosen(lans=known), Chosen(lans=tuple(found)))
        elif not known and not found:
            sentence = "no other interface has a private network; name the LAN, its interfaces and networks"
            self._problems.add("lans", "; ".join([sentence, *left]))
        away = [name for name in known if name not in found]
        self._notes += ["LAN {0}: chosen earlier; it has no private network now".format(name) for name in away]
        self._tell_carriers(wans, known or found)
        return tuple(Lan(name, (name,)) for name in known or found)

    def _why_no_lan(self, interface: Interface, wans: t.Tuple[Wan, ...]) -> str:
        facts = self._facts
        owner = manager_of(interface) or self._instance_of(interface.name)
        if owner:
            return "it belongs to {0}".format(owner)
        if not is_plain_link(interface.name):
            return "rules cannot contain its name"
        if interface.name in facts.default_routes and interface.name not in rogue_links(facts, ()):
            return "it has a default route"
        wire = facts.named(facts.wire_of(interface))
        if interface.master or wire:
            where = "a port of {0}" if interface.master else "on the wire of {0}"
            return "it is " + where.format(interface.master or interface.parent)
        if interface.name in _carriers(facts, wans):
            return "it carries a WAN (possibly to a modem); add it to lans if it has hosts"
        why = facts.why_of_containers(interface)
        return "it may be a container manager's bridge ({0}); if it is a LAN, name all LANs".format(why) if why else ""

    def _instance_of(self, name: str) -> str:
        """The other instance that has this link in a LAN."""
        for each in self._neighbours:
            if any(matches_name(pattern, name) for _lan, names in each.lans for pattern in names):
                return "instance " + each.instance
        return ""

    def _tell_carriers(self, wans: t.Tuple[Wan, ...], lans: t.Sequence[str]) -> None:
        """A link that carries user-space PPP looks like any other."""
        dialled = [each.name for wan in wans for each in self._facts.meant_by(wan.interface) if each.kind == "ppp"]
        if dialled and lans and not self._facts.carriers:
            self._notes.append(
                "cannot determine which link carries {0}; if it is among {1}, name the LANs and leave it out".format(
                    _listed(dialled), _listed(lans)
                )
            )

    def _otherwise(self, option: str, reason: str, so_far: Chosen, now: Chosen) -> None:
        self._problems.add(
            option,
            "chosen so far: {0}; this run would choose {1}, because there is {2}; write down the one you mean, or run "
            "once with choice=renew".format(so_far.to_yaml(), now.to_yaml(), reason),
        )


def rogue_links(facts: Facts, lans: t.Iterable[str]) -> t.List[str]:
    """LAN links whose only default route comes from router advertisements, which any host there can send.

    A link that is not a chosen LAN counts if it has a private IPv4 address and only advertised default routes.
    """
    found = []
    for name in facts.default_routes:
        advertised = all(route.protocol == "ra" for route in facts.routes if route.interface == name)
        interface = facts.named(name)
        private = any(
            is_private(address) for address in (interface.addresses if interface else ()) if ":" not in address
        )
        if advertised and (private or name in lans):
            found.append(name)
    return found


def _carriers(facts: Facts, wans: t.Iterable[Wan]) -> t.Set[str]:
    """The links below the WANs: for PPPoE from the kernel's list, for a VLAN its parent."""
    links = [each for wan in wans for each in facts.meant_by(wan.interface)]
    under = {each.parent for each in links if each.parent}
    if any(each.kind == "ppp" for each in links):
        under |= set(facts.carriers)
    for _step in range(8):
        under |= {each.parent for each in facts.interfaces if each.name in under and each.parent}
    return under


def remembered(gateway: Gateway, lans: t.Sequence[ResolvedLan], wans: t.Sequence[Wan]) -> Chosen:
    """What a run with these options must remember."""
    return Chosen(
        wans=tuple(wan.interface for wan in wans) if gateway.wans is None else (),
        lans=tuple(lan.name for lan in lans) if gateway.lans is None else (),
        networks=tuple((lan.name, lan.networks) for lan in lans if lan.follows),
    )


def _listed(names: t.Iterable[str]) -> str:
    return ", ".join(shorten(name) for name in names)
