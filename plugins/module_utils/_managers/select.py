# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which network manager is in charge of an interface, and what to do by hand for one that we cannot configure."""

from __future__ import annotations

import typing as t

from .dhcpcd import Dhcpcd
from .ifupdown import Ifupdown
from .netplan import Netplan
from .network_manager import NetworkManager
from .networkd import Networkd

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .manager import Manager
    from .seen import Address

#: In the order of asking: NetworkManager keeps others off its interfaces, and dhcpcd may be a helper of ifupdown.
MANAGERS: t.Tuple[Manager, ...] = (NetworkManager(), Networkd(), Netplan(), Ifupdown(), Dhcpcd())
#: What shows that it runs, and what to do by hand.
OTHERS = {
    "connman": ("/run/connman", "with `connmanctl config {service} --{ipv} manual {address} {netmask} {gateway}`"),
    "wicked": (
        "/run/wicked",
        "with the line `default {gateway} - {interface}` in /etc/sysconfig/network/ifroute-{interface}",
    ),
}


def manager_of(interface: str, sight: Sight) -> t.Optional[Manager]:
    return next((each for each in MANAGERS if each.manages(interface, sight)), None)


def by_hand(own: Address, mac: str, gateway: str, sight: Sight) -> t.Tuple[str, str]:
    """Who is in charge instead, and how to set the default route there."""
    name = next((name for name, (mark, _how) in OTHERS.items() if sight.exists(mark)), "")
    if not name:
        return "nothing that lan_client knows", "where its address is configured"
    words = {"gateway": gateway, "interface": own.interface, "ipv": "ipv{0}".format(own.version)}
    words.update(address=own.local, netmask=own.netmask if own.version == 4 else str(own.length))
    if name == "connman":
        words["service"] = _service(mac, sight)
    return name, OTHERS[name][1].format(**words)


def _service(mac: str, sight: Sight) -> str:
    """connman's name of a connection, which contains the link's hardware address."""
    digits = mac.replace(":", "")
    names = [line.split()[-1] for line in sight.ask(["connmanctl", "services"]).out.splitlines() if line.split()]
    return next((name for name in names if digits and "_{0}_".format(digits) in name), "SERVICE")
