# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topology that cannot be built is refused whole, in words that say what to change."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[2] / "roles/lab"
sys.path.insert(0, str(ROLE / "files"))

import lab_topology

DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())


def topology() -> dict[str, t.Any]:
    return {
        "name": "test",
        "release": "bookworm",
        "networks": copy.deepcopy(DEFAULTS["lab_networks"]),
        "nodes": copy.deepcopy(DEFAULTS["lab_nodes"]),
    }


def problems(raw: dict[str, t.Any]) -> list[str]:
    with pytest.raises(lab_topology.TopologyError) as caught:
        lab_topology.parse(raw)
    return caught.value.problems


GATEWAY, OFFICE1, WAN = 0, 1, 4

# What is set, and what is then said. The path leads through the default topology.
TEST_PROBLEMS = [
    (("name",), "Lab!", "lab_name: name 'Lab!' is not possible"),
    (("release",), "sid", "lab_release: release 'sid' is not known; choose one of bullseye, bookworm, trixie"),
    (("networks", 1, "name"), "wan", "lab_networks: network name 'wan' appears twice"),
    (("networks", 1, "name"), "sixteen-letters-", "lab_networks[1]: name 'sixteen-letters-' is not possible"),
    (("networks", 1, "prefixes"), ["192.168.1.1/24"], "lab_networks[1] 'office': '192.168.1.1/24' is not a network"),
    (("networks", 1, "mtu"), 9000, "lab_networks[1]: unknown option 'mtu'; known are name, prefixes"),
    (("nodes",), [], "lab_nodes: a lab needs at least one node"),
    (("nodes", OFFICE1, "name"), "office2", "lab_nodes: node name 'office2' appears twice"),
    (("nodes", OFFICE1, "name"), "fabric", "lab_nodes[1] 'fabric': this name belongs to the lab's own switch"),
    (("nodes", OFFICE1, "name"), "Office_1", "lab_nodes[1]: name 'Office_1' is not possible"),
    (("nodes", OFFICE1, "release"), "buzz", "lab_nodes[1] 'office1': release 'buzz' is not known"),
    (("nodes", OFFICE1, "manager"), "wicked", "lab_nodes[1] 'office1': manager 'wicked' is not known"),
    (("nodes", OFFICE1, "groups"), ["a-b"], "lab_nodes[1] 'office1': group 'a-b' is not possible"),
    (("nodes", OFFICE1, "services"), ["mail"], "lab_nodes[1] 'office1': service 'mail' is not known"),
    (("nodes", OFFICE1, "packages"), ["Ufw"], "lab_nodes[1] 'office1': package 'Ufw' is not possible"),
    (("nodes", OFFICE1, "gateway"), ["10.0.0.1"], "gateway 10.0.0.1 is in no network that the node has an address in"),
    (("nodes", GATEWAY, "gateway"), ["198.51.100.1", "198.51.100.3"], "a gateway of family 'IPv4' appears twice"),
    (
        ("nodes", OFFICE1, "interfaces", 0, "network"),
        "cellar",
        "lab_nodes[1] 'office1' interfaces[0]: network 'cellar' is not one of lab_networks (wan, office, guests)",
    ),
    (
        ("nodes", OFFICE1, "interfaces", 0, "name"),
        "interface-number",
        "lab_nodes[1] 'office1' interfaces[0]: interface name 'interface-number' is not possible; Linux takes up to 15",
    ),
    (("nodes", OFFICE1, "interfaces", 0, "name"), "a/b", "interface name 'a/b' is not possible"),
    (("nodes", OFFICE1, "interfaces", 0, "name"), "lo", "put its addresses under `loopback`"),
    (("nodes", GATEWAY, "interfaces", 0, "name"), "office0", "interface name 'office0' appears twice"),
    (("nodes", OFFICE1, "interfaces", 0, "addresses"), ["10.9.9.9"], "10.9.9.9 is not in network 'office'"),
    (("nodes", OFFICE1, "interfaces", 0, "addresses"), ["192.168.1.0"], "192.168.1.0 is the network or broadcast"),
    (("nodes", OFFICE1, "interfaces", 0, "addresses"), ["192.168.1"], "'192.168.1' is not an IP address"),
    (
        ("nodes", OFFICE1, "interfaces", 0, "addresses"),
        ["192.168.1.12"],
        "lab_nodes: 192.168.1.12 is used twice on network 'office' (by office1 and office2)",
    ),
    (("nodes", OFFICE1, "loopback"), ["192.0.2.10"], "192.0.2.10 is used twice as a loopback address"),
]


@pytest.mark.parametrize(("path", "value", "said"), TEST_PROBLEMS, ids=[said for _path, _value, said in TEST_PROBLEMS])
def test_problem(path: tuple[t.Any, ...], value: t.Any, said: str) -> None:
    raw = topology()
    place: t.Any = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(said in problem for problem in problems(raw)), problems(raw)


def test_all_problems_come_together() -> None:
    raw = topology()
    raw["nodes"][OFFICE1]["interfaces"][0]["network"] = "cellar"
    raw["nodes"][WAN]["services"] = ["mail"]
    raw["networks"][2]["prefixes"] = ["nonsense"]
    # The fourth: without its prefix the guests' network no longer holds the two addresses on it.
    assert len(problems(raw)) == 5


def test_defaults_are_possible() -> None:
    lab = lab_topology.parse(topology())
    assert [node.name for node in lab.nodes] == ["gateway", "office1", "office2", "guest1", "wan"]
    assert lab.reflectors == ["192.0.2.10", "192.0.2.11", "2001:db8:200::10", "2001:db8:200::11"]


def test_two_sites_may_use_the_same_addresses() -> None:
    raw = topology()
    raw["networks"].append({"name": "office-b", "prefixes": ["192.168.1.0/24"]})
    raw["nodes"].append(
        {"name": "b", "interfaces": [{"name": "lan0", "network": "office-b", "addresses": ["192.168.1.11"]}]}
    )
    assert len(lab_topology.parse(raw).nodes) == 6


def test_networkd_files() -> None:
    lab = lab_topology.parse(topology())
    files = lab_topology.node_files(lab, lab.nodes[GATEWAY])
    wan = files["etc/systemd/network/10-wan0.network"]
    assert "Address=198.51.100.2/24\nAddress=2001:db8:100::2/64\nGateway=198.51.100.1\nGateway=2001:db8:100::1\n" in wan
    assert "Gateway" not in files["etc/systemd/network/10-office0.network"]
    assert "Address=192.0.2.10/32" in lab_topology.node_files(lab, lab.nodes[WAN])["etc/systemd/network/10-lo.network"]


def test_packages_are_an_image_of_their_own() -> None:
    raw = topology()
    raw["nodes"][GATEWAY]["packages"] = ["ufw", "fail2ban"]
    lab = lab_topology.parse(raw)
    assert [node.image for node in lab.nodes[:2]] == ["bookworm,fail2ban,ufw", "bookworm"]


def test_ifupdown_files() -> None:
    raw = topology()
    raw["nodes"][GATEWAY]["manager"] = "ifupdown"
    lab = lab_topology.parse(raw)
    text = lab_topology.node_files(lab, lab.nodes[GATEWAY])["etc/network/interfaces"]
    assert "iface wan0 inet static\n    address 198.51.100.2/24\n    gateway 198.51.100.1\n" in text
    assert (
        "iface wan0 inet6 static\n    address 2001:db8:100::2/64\n    dad-attempts 0\n    gateway 2001:db8:100::1\n"
        in text
    )
    assert lab_topology.node_links(lab.nodes[GATEWAY])["etc/systemd/system/systemd-networkd.service"] == "/dev/null"


def test_names_and_addresses_of_cables() -> None:
    cables = [cable for node in lab_topology.parse(topology()).nodes for cable in node.cables]
    assert all(len(cable.port) <= 15 for cable in cables)
    assert len({cable.port for cable in cables}) == len({cable.mac("test") for cable in cables}) == len(cables)


def test_inventory() -> None:
    shown = lab_topology.inventory(lab_topology.parse(topology()), "docker", "/lab")["all"]
    assert set(shown["children"]) == {"gateways", "lan_clients", "wan_servers"}
    assert set(shown["children"]["lan_clients"]["hosts"]) == {"office1", "office2", "guest1"}
    assert shown["hosts"]["guest1"]["ansible_host"] == "test-guest1"
    assert shown["vars"]["ansible_connection"] == "community.docker.docker"


def test_argument_specs_know_the_same_choices() -> None:
    spec = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    node = spec["lab_nodes"]["options"]
    assert tuple(node["services"]["choices"]) == lab_topology.SERVICES
    assert tuple(node["release"]["choices"]) == tuple(spec["lab_release"]["choices"]) == lab_topology.RELEASES
    assert tuple(node["manager"]["choices"]) == lab_topology.MANAGERS
    assert set(spec) == set(DEFAULTS)


def test_the_tool_says_every_problem() -> None:
    raw = topology()
    raw["nodes"][OFFICE1]["name"] = "fabric"
    raw["nodes"][OFFICE1]["groups"] = ["a-b"]
    argv = [sys.executable, str(ROLE / "files/lab-wire"), "--topology", "-", "check"]
    result = subprocess.run(argv, input=json.dumps(raw), text=True, check=False, capture_output=True)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 2)
