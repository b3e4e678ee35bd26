# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Check port forwards against the networks of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base.net import family_of, is_suffix
from .._base.values import networks_of, overlaps
from .._intent.conflicts import is_pinhole
from .check_nat import ends_of_link
from .inside import inside, outside_sources

if TYPE_CHECKING:
    from .._base.errors import Problems
    from .._intent.forward import PortForward
    from .missed import Missed
    from .resolved import Resolved


def check_forwards(gateway: Resolved, problems: Problems, missed: Missed) -> None:
    known = ", ".join("{0} {1}".format(lan.name, " ".join(lan.networks[:3])) for lan in gateway.lans)
    for index, item in gateway.sound("port_forwards"):
        where = "port_forwards[{0}] '{1}'".format(index, item.name)
        found = [inside(gateway).find(server) for server in item.to]
        for server, place in zip(item.to, found):
            if is_suffix(server):
                _check_suffix(where, server, gateway, problems)
            elif not place and missed.told(where, "to " + server, server, known):
                continue
            elif not place:
                problems.add(where, "to {0} is not in any LAN ({1})".format(server, known))
            elif server in ends_of_link(place[1]):
                problems.add(
                    where,
                    "to {0} is the network or broadcast address of LAN {1}; name a host address".format(
                        server, place[0].name
                    ),
                )
        _check_sources(where, item, gateway, problems)
        if len({place[0].name for place in found if place}) > 1:
            problems.add(where, "to lists servers in different LANs; they must share one LAN")
        if is_pinhole(gateway, item):
            _check_pinhole(where, item, problems)


def _check_sources(where: str, item: PortForward, gateway: Resolved, problems: Problems) -> None:
    families = {family_of(server) for server in item.to}
    if (
        item.hairpin
        and item.source
        and not overlaps(item.source, [net for lan in gateway.lans for net in lan.networks])
    ):
        problems.add(
            where,
            "hairpin has no effect, because no source is in a LAN; add the inside clients to source, or leave "
            "hairpin out",
        )
    if not item.hairpin and all(outside_sources(gateway, item, family) is None for family in families):
        problems.add(
            where,
            "has no effect, because every source is in a LAN; add the clients outside to source, or set hairpin for "
            "those inside",
        )


def _check_pinhole(where: str, item: PortForward, problems: Problems) -> None:
    if item.to_port not in (None, item.port[0][0] if item.port else None):
        problems.add(where, "to {0} is routed, not translated, so to_port cannot differ from port".format(item.to[0]))
    if item.destination and not _asked_for(item):
        problems.add(
            where,
            "to {0} is routed, not translated; clients connect to it, not to destination {1}".format(
                item.to[0], item.destination[0]
            ),
        )


def _asked_for(item: PortForward) -> bool:
    return not is_suffix(item.to[0]) and bool(overlaps(networks_of(item.to[0]), item.destination))


def _check_suffix(where: str, server: str, gateway: Resolved, problems: Problems) -> None:
    """A suffix is for servers whose prefix changes, so it must identify the LAN by itself."""
    places = inside(gateway).ending_in(server)
    names = list(dict.fromkeys(lan.name for lan, _net in places))
    if gateway.ipv6 != "route":
        problems.add(
            where,
            "to {0} is a suffix, for routed servers only, but ipv6 is {1}; write the server's full address".format(
                server, gateway.ipv6
            ),
        )
    elif not names and not any(lan.follows for lan in gateway.lans):
        problems.add(
            where, "to {0} is not in any LAN: none has a global IPv6 network with such addresses".format(server)
        )
    elif len(names) > 1:
        problems.add(
            where,
            "to {0} could be in LANs {1}; extend the mask to the subnet ID, such as "
            "0:0:0:1::11/::ff:ffff:ffff:ffff:ffff".format(server, " and ".join(names)),
        )
