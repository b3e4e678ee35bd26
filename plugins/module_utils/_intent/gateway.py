# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A whole gateway."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .forward import describe_port_forward
from .helper import describe_helper
from .input import describe_allow
from .multicast import describe_multicast
from .nat import NatItem, describe_nat
from .outbound import describe_outbound
from .sides import describe_lan, describe_mss
from .timers import DEFAULT_TIMEOUTS, describe_timeouts
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .forward import PortForward
    from .helper import HelperItem
    from .multicast import Multicast
    from .neighbour import Neighbour
    from .outbound import Outbound
    from .sides import Lan, Wan
    from .timers import Timeouts
    from .traffic import Traffic

#: Optional lists of items, and how error messages name an item.
ITEM_KINDS = ("nat", "port_forwards", "outbound", "multicast", "input_allow", "helpers")
#: WAN, or "" for all WANs together, to the networks in which this host's addresses do not belong to that WAN.
Elsewhere = t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]


@dataclass(frozen=True)
class Around:
    """What the rules need to know about the rest of the host; filled in by _around.py."""

    managed: t.Tuple[str, ...] = ()  # links of container, VM and VPN managers: patterns, and names found in this run
    apart: t.Tuple[str, ...] = ()  # links with such names that are not theirs, or that have a default route
    ways_out: t.Tuple[str, ...] = ()  # undeclared links with a default route
    neighbours: t.Tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Gateway:
    """A whole gateway. If ``wans`` or ``lans`` is None, they are chosen on the host."""

    instance: str = "default"
    choice: str = "keep"  # for omitted wans and lans: keep what an earlier run chose, or renew
    wans: t.Optional[t.Tuple[Wan, ...]] = None
    lans: t.Optional[t.Tuple[Lan, ...]] = None
    nat: t.Tuple[NatItem, ...] = (NatItem("default"),)
    port_forwards: t.Tuple[PortForward, ...] = ()
    outbound: t.Tuple[Outbound, ...] = ()
    multicast: t.Tuple[Multicast, ...] = ()
    profile: str = "peer_to_peer"
    ipv6: str = "route"
    mss: str = "pmtu"
    undeclared: str = "drop"
    drop_bogons: bool = False
    input: str = "open"
    input_allow: t.Tuple[Traffic, ...] = ()
    input_controller_ports: t.Optional[t.Tuple[int, ...]] = None  # None: every port of an SSH server
    controller_ports: t.Tuple[int, ...] = (22,)  # the ports that stay open
    own_servers: t.Tuple[str, ...] = ()  # port forward servers that are addresses of this host
    helpers: t.Tuple[HelperItem, ...] = ()
    conntrack_max: str = "keep"  # keep, auto, or a number of connections
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    offload: str = "none"
    log: t.Tuple[str, ...] = ()
    log_prefix: str = "ipmasq "
    log_rate: str = "10/minute"
    elsewhere: Elsewhere = ()  # filled in only where a rule needs it
    around: Around = Around()
    unsound: t.FrozenSet[str] = frozenset()  # invalid items, such as "nat[2]"

    def sound(self, kind: str) -> t.List[t.Tuple[int, t.Any]]:
        """The valid items of a list with their indexes."""
        items = enumerate(getattr(self, kind))
        return [(index, item) for index, item in items if "{0}[{1}]".format(kind, index) not in self.unsound]

    def only_sound(self) -> Gateway:
        parts = {kind: tuple(item for _index, item in self.sound(kind)) for kind in ITEM_KINDS}
        return replace(self, unsound=frozenset(), **t.cast("t.Any", parts))


def describe_gateway(gateway: Gateway) -> t.List[str]:
    lines = ["wan {0}".format(wan.interface) for wan in gateway.wans or ()]
    lines += ["lan {0}: {1}".format(lan.name, describe_lan(lan)) for lan in gateway.lans or ()]
    lines += ["nat {0}: {1}".format(item.name, describe_nat(item)) for item in gateway.nat]
    lines += ["port_forward {0}: {1}".format(item.name, describe_port_forward(item)) for item in gateway.port_forwards]
    lines += ["outbound {0}: {1}".format(item.name, describe_outbound(item)) for item in gateway.outbound]
    lines += ["multicast {0}: {1}".format(item.name, describe_multicast(item)) for item in gateway.multicast]
    if gateway.profile != Gateway.profile:
        lines.append("profile: {0}".format(gateway.profile))
    lines.append("ipv6: {0}".format(gateway.ipv6))
    for wan in gateway.wans or ():
        lines.append("mss on {0}: {1}".format(wan.interface, describe_mss(wan)))
    if gateway.undeclared != Gateway.undeclared:
        lines.append("undeclared: left alone")
    if gateway.drop_bogons:
        lines.append("bogons: dropped")
    if gateway.input == "protect":
        ports = listed([str(port) for port in gateway.controller_ports], "none")
        final = ", no other" if gateway.input_controller_ports is not None else ""
        lines.append("input: protected, open for SSH: {0}{1}".format(ports, final))
    lines += ["input_allow {0}: {1}".format(item.name, describe_allow(item)) for item in gateway.input_allow]
    lines += ["helper {0}: {1}".format(item.name, describe_helper(item)) for item in gateway.helpers]
    if gateway.conntrack_max != "keep":
        lines.append("conntrack_max: {0}".format(gateway.conntrack_max))
    lines.append("timeouts: {0}".format(describe_timeouts(gateway.timeouts)))
    if gateway.offload != "none":
        lines.append("offload: {0}".format(gateway.offload))
    if gateway.log:
        words = (listed(gateway.log), gateway.log_rate, gateway.log_prefix)
        lines.append("log: {0}, up to {1} each, as '{2}'".format(*words))
    return lines
