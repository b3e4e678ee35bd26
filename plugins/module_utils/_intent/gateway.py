# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A whole gateway."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .metrics import NO_METRICS
from .nat import NatItem
from .services import NO_DNS, NO_SERVICES
from .timers import DEFAULT_TIMEOUTS

if t.TYPE_CHECKING:  # pragma: no cover
    from .forward import PortForward
    from .helper import HelperItem
    from .metrics import Metrics
    from .multicast import Multicast
    from .outbound import Outbound
    from .services import Dns
    from .sides import Lan, Wan
    from .timers import Timeouts
    from .traffic import Traffic

#: Optional lists of items, and how error messages name an item.
ITEM_KINDS = ("nat", "port_forwards", "outbound", "multicast", "input_allow", "helpers")


@dataclass(frozen=True)
class Gateway:
    """A whole gateway as it was declared. If ``wans`` or ``lans`` is None, they are chosen on the host."""

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
    managed_links: t.Tuple[str, ...] = ()  # left to a manager, beside those that are known by their names
    drop_bogons: bool = False
    input: str = "open"
    input_allow: t.Tuple[Traffic, ...] = ()
    input_controller_ports: t.Optional[t.Tuple[int, ...]] = None  # None: every port of an SSH server
    dns: Dns = NO_DNS
    helpers: t.Tuple[HelperItem, ...] = ()
    conntrack_max: str = "keep"  # keep, auto, or a number of connections
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    offload: str = "none"
    log: t.Tuple[str, ...] = ()
    log_prefix: str = "ipmasq "
    log_rate: str = "10/minute"
    metrics: Metrics = NO_METRICS
    unsound: t.FrozenSet[str] = frozenset()  # invalid items, such as "nat[2]"

    @property
    def named_wans(self) -> t.Tuple[Wan, ...]:
        """Those that were declared, or chosen."""
        return self.wans or ()

    @property
    def named_lans(self) -> t.Tuple[Lan, ...]:
        return self.lans or ()

    @property
    def serves(self) -> bool:
        """Whether LANs may have services."""
        return any(lan.services != NO_SERVICES for lan in self.named_lans)

    def sound(self, kind: str) -> t.List[t.Tuple[int, t.Any]]:
        """The valid items of a list with their indexes."""
        items = enumerate(getattr(self, kind))
        return [(index, item) for index, item in items if "{0}[{1}]".format(kind, index) not in self.unsound]
