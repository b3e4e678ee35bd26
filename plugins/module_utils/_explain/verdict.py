# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What the declaration says about one packet: whether it passes, by which item, and as what. It never reads a rule."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.values import is_private
from .._intent.conflicts import is_pinhole
from .._proof.model import Come, within
from .._proof.oracle import Oracle, matches
from .._proof.places import is_public, request
from .._resolve.around import sites_of
from .aims import Aims
from .trip import HERE, LAN, NOWHERE, OTHER, WAN, Side

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.forward import PortForward
    from .._intent.nat import NatItem
    from .._proof.packets import Packet
    from .._resolve.resolved import Resolved
    from .trip import Planner, Trip


@dataclass(frozen=True)
class Said:
    """``passes`` None: the declaration says nothing about it. ``come``: what comes out, if it is forwarded."""

    passes: t.Optional[bool]
    words: str
    items: t.Tuple[str, ...] = ()
    come: t.Optional[Come] = None
    out: t.Optional[Side] = None  # where it goes in the end
    others: t.Tuple[Side, ...] = ()  # where it might go as well
    ports: str = ""  # what happens to the source port


def said(planner: Planner, trip: Trip) -> Said:
    judge = _Judge(planner, trip)
    return {LAN: judge.from_lan, WAN: judge.from_wan, OTHER: judge.from_other, NOWHERE: judge.from_nowhere}[
        trip.inn.kind
    ]()


class _Judge:
    def __init__(self, planner: Planner, trip: Trip) -> None:
        self.planner, self.trip = planner, trip
        self.gateway: Resolved = planner.gateway
        self.ground = planner.ground
        self.oracle = Oracle(self.gateway, self.ground)
        asked = trip.question
        self.packet: Packet = request(asked.source, asked.target, asked.protocol, asked.port)
        self.aims = Aims(planner, self.oracle, self.packet)

    # --- From a LAN ---------------------------------------------------------------------------------------------------

    def from_lan(self) -> Said:
        lan, out = self.trip.inn.lan, self.trip.out
        if not lan:
            return self.from_nowhere()
        if lan.spoof_check and not within(self.packet.source, lan.networks or ("::/128",)):
            words = "{0} is in no network of LAN {1} ({2}), so its packets are dropped as spoofed"
            return Said(False, words.format(self.packet.source, lan.name, ", ".join(lan.networks) or "none"))
        to = {HERE: self._here_from_lan, LAN: self._between, WAN: self._leave}
        return self._hairpin() or (to[out.kind](out) if out.kind in to else self._elsewhere(out))

    def _elsewhere(self, out: Side) -> Said:
        """Nowhere, or to a link that is not declared."""
        return Said(False, out.why, out=out) if out.kind == NOWHERE else self._undeclared(out, self.packet.target)

    def _hairpin(self) -> t.Optional[Said]:
        for item in self.aims.forwards(""):
            if item.hairpin and not is_pinhole(self.gateway, item):
                sources = self._hairpin_sources(item)
                return self._forwarded(item, "port forward '{0}', through its hairpin,".format(item.name), sources)
        for mapped in self.aims.mapping():
            if mapped.hairpin:
                return self._mapped(mapped, (self.packet.target,))
            if mapped.action == "static":
                words = (
                    "{0} stands for a server (nat '{1}'), which refuses clients inside; set hairpin: true on that item"
                )
                return Said(False, words.format(self.packet.target, mapped.name), ("nat/" + mapped.name,))
        return None

    def _hairpin_sources(self, item: PortForward) -> t.Tuple[str, ...]:
        if item.hairpin_source == "external":
            return (self.packet.target,)
        links = [self.planner.after(server).link for server in self.aims.servers(item)]
        ground, family = self.ground, self.packet.family
        return tuple(each for link in links for each in ground.masquerading(link, family, anywhere=True))

    def _here_from_lan(self, out: Side) -> Said:
        closed = next(self.aims.forwards(""), None)
        words = "it is for this gateway itself, which is open to its LANs"
        if closed:
            more = "; port forward '{0}' is for clients outside only, unless it has hairpin: true"
            return Said(True, words + more.format(closed.name), out=out)
        return Said(True, words, out=out)

    def _between(self, out: Side) -> Said:
        lan, other = self.trip.inn.lan, out.lan
        come = Come((out.link,), (self.packet.source,), (self.packet.target,), self.packet.dport)
        if lan and other and lan.name == other.name:
            return Said(True, "both are in LAN {0}".format(lan.name), come=come, out=out)
        if lan and other and other.name in lan.reaches:
            return Said(True, "LAN {0} reaches LAN {1}".format(lan.name, other.name), come=come, out=out)
        words = "LAN {0} does not reach LAN {1}; to let it, add {1} to reaches of {0}"
        return Said(False, words.format(lan.name if lan else "", other.name if other else ""), out=out)

    def _leave(self, out: Side) -> Said:
        if self.gateway.drop_bogons and not is_public(self.packet.target) and not self._exempted():
            words = "{0} never appears on the Internet, and drop_bogons rejects it; exempt it if it is behind a VPN"
            return Said(False, words.format(self.packet.target), out=out)
        verdict = self.oracle.leaves(self.packet, out.link)
        rule = self.oracle.filtered(self.packet, out.link)
        if rule and rule.action != "accept":
            words = "outbound '{0}' says {1}".format(rule.name, rule.action)
            return Said(False, words, verdict.items, out=out)
        item = self.oracle.translated(self.packet, out.link)
        if not verdict.sources and item:
            words = "nat '{0}' translates it, but {1} has no {2} address"
            return Said(False, words.format(item.name, out.link, self._family()), verdict.items, out=out)
        if not verdict.sources:
            words = "no nat item matches it, and a LAN's source never leaves untranslated (the guard); add a nat item"
            return Said(False, words, verdict.items, out=out)
        come = Come((out.link,), verdict.sources, (self.packet.target,), self.packet.dport)
        words = "nat '{0}' ({1})".format(item.name, item.action) if item else "it leaves as it is, without a nat item"
        if rule:
            words = "outbound '{0}' lets it out, and {1}".format(rule.name, words)
        return Said(True, words, verdict.items, come, out, ports=_ports(item))

    def _family(self) -> str:
        return "IPv6" if self.packet.version == 6 else "IPv4"

    def _exempted(self) -> bool:
        kept = [net for item in self.gateway.nat if item.action == "exempt" for net in item.destination]
        return bool(kept) and within(self.packet.target, kept)

    def _undeclared(self, out: Side, beyond: str) -> Said:
        """Between a declared link and one that is not. ``beyond``: the address behind the latter."""
        if self.gateway.undeclared == "leave":
            return Said(None, "{0} is not declared, and undeclared: leave leaves that alone".format(out.link), out=out)
        if self.gateway.around.leaves(out.link):
            if LAN in (self.trip.inn.kind, self.trip.out.kind) and not within(beyond, sites_of(self.gateway)):
                words = "{0} is left to its manager only for private networks, and for public ones that were behind it "
                words += "at the last run; {1} is in none of them, so {0} may be a way to the Internet; declare {0}"
                return Said(False, words.format(out.link, beyond), out=out)
            return Said(None, "{0} belongs to a container, VM or VPN manager, which decides".format(out.link), out=out)
        words = "{0} is neither a WAN nor a LAN, and new connections between it and what is declared are dropped; "
        more = "declare {0}, or set undeclared: leave"
        return Said(False, (words + more).format(out.link), out=out)

    # --- From outside -------------------------------------------------------------------------------------------------

    def from_wan(self) -> Said:
        out, to = self.trip.out, {HERE: self._here_from_wan, LAN: self._inside, WAN: self._through}
        return self._led_in() or (to[out.kind](out) if out.kind in to else self._elsewhere(out))

    def _led_in(self) -> t.Optional[Said]:
        """By a port forward or a 1:1 item."""
        wan, sources = self.trip.inn.link, (self.packet.source,)
        forward, mapped = next(self.aims.forwards(wan), None), next(iter(self.aims.mapping(wan)), None)
        if (forward or mapped) and self.gateway.drop_bogons and not is_public(self.packet.source):
            words = "{0} never appears on the Internet, and drop_bogons drops what comes from there"
            return Said(False, words.format(self.packet.source))
        if forward:
            return self._forwarded(forward, "port forward '{0}'".format(forward.name), sources)
        if mapped and not mapped.inbound:
            words = "{0} stands for a server (nat '{1}'), but not for connections from outside (inbound: false)"
            return Said(False, words.format(self.packet.target, mapped.name), ("nat/" + mapped.name,))
        return self._mapped(mapped, sources) if mapped else None

    @staticmethod
    def _inside(out: Side) -> Said:
        words = "nothing enters LAN {0} from outside but port forwards and 1:1 items, and none matches this packet"
        return Said(False, words.format(out.lan.name if out.lan else ""), out=out)

    @staticmethod
    def _through(out: Side) -> Said:
        return Said(False, "it comes from a WAN and would leave through one; nothing passes that way", out=out)

    def _here_from_wan(self, here: Side) -> Said:
        packet, gateway, wan = self.packet, self.gateway, self.trip.inn.link
        controller = self._controller()
        hidden = is_private(packet.target) and packet.target not in self.aims.own(wan) and not controller
        if hidden and gateway.undeclared == "drop":
            words = "{0} is a private address of this gateway on another link than {1}, and closed from outside"
            return Said(False, words.format(packet.target, wan), out=here)
        if gateway.input != "protect":
            words = "no port forward matches it, so it is for this gateway itself, which input: open leaves open"
            return Said(True, words, out=here)
        return self._protected(wan, controller)

    def _protected(self, link: str, controller: bool) -> Said:
        packet, here = self.packet, Side(HERE)
        if packet.protocol == "icmp" or controller:
            what = "the port that Ansible uses" if controller else "ICMP that a gateway needs"
            return Said(True, "it is for this gateway itself, and {0} stays open".format(what), out=here)
        for item in self.gateway.input_allow:
            if matches(item, packet, link, item.source or ("0.0.0.0/0", "::/0")):
                words = "input_allow '{0}' lets it in to this gateway itself".format(item.name)
                return Said(True, words, ("input_allow/" + item.name,), out=here)
        words = "it is for this gateway itself, which is closed (input: protect), and no input_allow item matches it"
        return Said(False, words, out=here)

    # --- From a link that is not declared -----------------------------------------------------------------------------

    def from_other(self) -> Said:
        inn, out = self.trip.inn, self.trip.out
        if out.kind == HERE:
            closed = self.gateway.input == "protect" and not self.gateway.around.leaves(inn.link)
            open_words = "it is for this gateway itself, which is open there"
            return self._protected(inn.link, self._controller()) if closed else Said(True, open_words, out=out)
        if out.kind == OTHER:
            words = "neither {0} nor {1} is declared, so the declaration says nothing about it"
            return Said(None, words.format(inn.link, out.link), out=out)
        return Said(False, out.why, out=out) if out.kind == NOWHERE else self._undeclared(inn, self.packet.source)

    def _controller(self) -> bool:
        return self.packet.protocol == "tcp" and self.packet.dport in self.gateway.controller_ports

    def from_nowhere(self) -> Said:
        return Said(False, self.trip.inn.why, out=self.trip.out)

    # --- Items that translate the destination -------------------------------------------------------------------------

    def _forwarded(self, item: PortForward, who: str, sources: t.Tuple[str, ...]) -> Said:
        servers, key = self.aims.servers(item), ("port_forward/" + item.name,)
        if set(servers) & self.ground.own:
            return Said(True, who + " sends it to this gateway itself", key, out=Side(HERE))
        if not servers:
            return Said(False, who + " matches it, but no LAN has an address of its server now", key)
        sides = [self.planner.after(server.split("/")[0]) for server in servers]
        port = self.aims.server_port(item)
        come = Come(tuple(dict.fromkeys(side.link for side in sides if side.link)), sources, servers, port)
        if not come.places:
            return Said(False, who + " matches it, but " + sides[0].why, key, out=sides[0])
        words = "{0} leads it to {1} port {2}".format(who, " or ".join(servers[:4]), port)
        return Said(True, words, key, come, sides[0], tuple(sides[1:8]))

    def _mapped(self, item: NatItem, sources: t.Tuple[str, ...]) -> Said:
        inner = self.aims.inner(item)
        side = self.planner.after(inner)
        words = "nat '{0}' leads it to {1}".format(item.name, inner)
        if side.kind == HERE:
            words = "{0}, which is an address of this gateway itself, and closed".format(words)
            return Said(False, words, ("nat/" + item.name,))
        come = Come((side.link,), sources, (inner,), self.packet.dport)
        return Said(bool(side.link), words if side.link else side.why, ("nat/" + item.name,), come, side)


def _ports(item: t.Optional[NatItem]) -> str:
    """What happens to the source port."""
    if item is None or item.action in ("exempt", "static", "prefix"):
        return "unchanged"
    if item.to_port:
        return "one of {0}-{1}".format(*item.to_port)
    return "random" if item.random else "unchanged unless another flow has it"
