# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Which port forwards and 1:1 items a packet's destination is for, and whom they lead it to."""

from __future__ import annotations

import typing as t

from .._base.net import family_of, is_suffix, matches_name
from .._base.prefix import neutral_pairs
from .._base.values import hosts_with, networks_of
from .._intent.conflicts import is_pinhole
from .._proof.model import within
from .._proof.oracle import moved
from .._proof.places import of_family
from .._resolve.rivals import mapped

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.forward import PortForward
    from .._intent.nat import NatItem
    from .._proof.oracle import Oracle
    from .._proof.packets import Packet
    from .trip import Planner


class Aims:
    def __init__(self, planner: Planner, oracle: Oracle, packet: Packet) -> None:
        self.planner, self.oracle, self.packet = planner, oracle, packet
        self.gateway, self.ground = planner.gateway, planner.ground

    def own(self, link: str) -> t.Tuple[str, ...]:
        return self.ground.addresses.get(link, ())

    def forwards(self, wan: str) -> t.Iterator[PortForward]:
        """The forwards that a packet is for, from a WAN; without ``wan``, from inside."""
        return (item for item in self.gateway.port_forwards if self._asked(item, wan))

    def _asked(self, item: PortForward, wan: str) -> bool:
        packet = self.packet
        named = item.to and family_of(item.to[0]) == packet.family and packet.protocol in item.protocol
        if not named or not any(first <= packet.dport <= last for first, last in item.port):
            return False
        if item.wan and not any(matches_name(item.wan, name) for name in ([wan] if wan else self._wans_with_target())):
            return False
        return self._for_client(item, wan) and self._for_target(item, wan)

    def _for_client(self, item: PortForward, wan: str) -> bool:
        """A forward may name clients outside, or inside."""
        inside = [net for lan in self.gateway.lans for net in lan.networks]
        if wan and inside and within(self.packet.source, inside):
            return False
        return not item.source or within(self.packet.source, of_family(item.source, self.packet.family) or ("::/128",))

    def _for_target(self, item: PortForward, wan: str) -> bool:
        target = self.packet.target
        if is_pinhole(self.gateway, item):
            return within(target, self.servers(item))
        if item.destination:
            return within(target, item.destination)
        taken = mapped(self.gateway, item, self.packet.family)
        return target in self._possible(wan) and not (taken and within(target, taken))

    def _possible(self, wan: str) -> t.Collection[str]:
        """From outside, any address of this host; from inside, those of WANs."""
        if wan:
            return self.ground.own
        return {address for name in self.planner.wans for address in self.own(name)}

    def _wans_with_target(self) -> t.List[str]:
        return [name for name in self.planner.wans if self.packet.target in self.own(name)]

    def servers(self, item: PortForward) -> t.Tuple[str, ...]:
        networks = [net for lan in self.gateway.lans for net in lan.networks]
        found = (hosts_with(to, networks) if is_suffix(to) else networks_of(to) for to in item.to)
        return tuple(net.split("/")[0] if net.endswith(("/32", "/128")) else net for nets in found for net in nets)

    def server_port(self, item: PortForward) -> int:
        port = self.packet.dport
        first = next(first for first, last in item.port if first <= port <= last)
        return port if item.to_port is None else item.to_port + port - first

    # --- 1:1 ----------------------------------------------------------------------------------------------------------

    def mapping(self, wan: str = "") -> t.List[NatItem]:
        """The 1:1 items that the packet's destination is an outside address of."""
        packet = self.packet
        return [
            item
            for item in self.gateway.nat
            if item.action in ("static", "prefix")
            and self.inner(item)
            and (not wan or not item.wan or matches_name(item.wan, wan))
            and (not wan or not item.destination or within(packet.source, item.destination))
        ]

    def inner(self, item: NatItem) -> str:
        """The address inside that an outside address leads to."""
        outer, theirs = self.packet.target, item.to[0]
        lans = [net for lan in self.gateway.lans for net in lan.networks]
        own = next((net for net in self.oracle.sources_of(item) if family_of(net) == family_of(theirs)), theirs)
        pairs = neutral_pairs(own, theirs, lans) if item.action == "prefix" else [(own, theirs)]
        return next((moved(outer, other, one) for one, other in pairs if within(outer, (other,))), "")
