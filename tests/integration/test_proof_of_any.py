# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No false alarms: whatever is declared, a sound gateway has no broken promise.

``IPMASQ_EXAMPLES=350 pytest tests/integration/test_proof_of_any.py`` proves 350 gateways on each backend.
"""

from __future__ import annotations

import contextlib
import ipaddress
import pathlib

import sandbox
from hypothesis import Phase, given, reject, settings
from sandbox import ip_batch, raise_loopback, sh

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import links as facts
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import DECLARATION
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.prove import prove
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import declared
from ansible_collections.ipmasq.linux.tests.unit import strategies

#: Rules of others that let everything through, as on most hosts.
OTHERS = """
nft add table inet other
nft 'add chain inet other f {type filter hook forward priority 0; policy accept;}'
nft add rule inet other f ct state established,related counter accept
nft 'add chain inet other n {type nat hook postrouting priority 90;}'
nft add rule inet other n ip saddr 172.31.255.0/24 masquerade
tc qdisc add dev lo clsact
"""
#: A network that nobody declares, and one of a manager's.
UNDECLARED = {"mgmt9": "10.254.9.1/24", "docker0": "172.31.254.1/24"}


def wire(params: dict) -> None:
    """Links with the first address of each network; every neighbour that the declaration names is there."""
    raise_loopback()
    pathlib.Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0", encoding="ascii")
    lines = [
        line for name, own in UNDECLARED.items() for line in (*veth(name), "addr add {0} dev {1}".format(own, name))
    ]
    for lan in params["lans"]:
        links = [name.replace("*", "7") for name in lan["interfaces"]]
        lines += [line for name in links for line in veth(name)]
        for index, net in enumerate(map(ipaddress.ip_network, lan["networks"])):
            link = links[index % len(links)]
            if net.num_addresses > 1:
                lines.append("addr add {0}/{1} dev {2}".format(net[1], net.prefixlen, link) + quick(net))
            else:
                lines.append("route add {0} dev {1}".format(net, link))
        for server in {to for item in params["port_forwards"] or () for to in item["to"] if "/" not in to}:
            if any(ipaddress.ip_address(server) in ipaddress.ip_network(net) for net in lan["networks"]):
                lines += ["neigh replace {0} lladdr 02:00:00:00:00:22 dev {1}".format(server, name) for name in links]
    for index, wan in enumerate(params["wans"]):
        name = wan["interface"].replace("*", "7")
        lines += veth(name)
        v4, v6 = "203.0.{0}.".format(120 + index), "2001:db8:ff{0:02x}::".format(index)
        lines += ["addr add {1}2/24 dev {0}".format(name, v4), "addr add {1}2/64 dev {0} nodad".format(name, v6)]
        for every, hop in (("0.0.0.0/0", v4 + "1"), ("::/0", v6 + "1")):
            lines.append("neigh replace {1} lladdr 02:00:00:00:00:11 dev {0}".format(name, hop))
            lines.append("route add {0} via {1} dev {2} metric {3}".format(every, hop, name, 100 + index))
    ip_batch(*lines)


def veth(name: str) -> list:
    peer = "z" + name[:12]
    plug = "link add {0} type veth peer name {1}".format(name, peer)
    return [plug, "link set {0} up".format(name), "link set {0} up".format(peer)]


def quick(net) -> str:
    return " nodad" if net.version == 6 else ""


def test_a_sound_gateway_has_no_broken_promise(gate):
    held = []

    @settings(parent=strategies.drawn(12), phases=[Phase.generate])  # shrinking takes minutes
    @given(params=strategies.gateways())
    def holds(params):
        own = sandbox.Namespace()
        with own.inside(), contextlib.closing(own):
            wire(params)
            sh(OTHERS)
            given = {key: value for key, value in params.items() if key not in ("backend", "state")}
            try:
                gate.apply(**given)
            except GatewayError:
                reject()
            gateway = declared.read(DECLARATION.of(gate.state(given["instance"])).intent)
            report = prove(gateway, facts.read_facts(gate.host), gate.host)
            gate.absent(given["instance"])
            assert report.broken == (), (report.broken, params)
            held.append(report.counts["holds"])

    holds()
    # Nothing can be measured where the only network of the only LAN is one address.
    assert len([count for count in held if count > 10]) > len(held) / 2
