# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topology that cannot be built is refused as a whole, with messages that say what to change."""

from __future__ import annotations

import copy
import json
import os
import re
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


def wire(action: str, raw: dict[str, t.Any], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROLE / "files/lab-wire"), "--topology", "-", action]
    env = {**os.environ, **environment}
    return subprocess.run(argv, input=json.dumps(raw), text=True, check=False, capture_output=True, env=env)


GATEWAY, OFFICE1, WAN = 0, 1, 4
VLAN = {"name": "wan0.30", "vlan": 30, "parent": "wan0", "network": "office", "addresses": ["192.168.1.1"]}
LAN0 = {"name": "lan0", "network": "office", "addresses": ["192.168.1.11"]}
BRIDGE = {"name": "br0", "bridge": ["lan0"]}

# What is set, and the message. The path is in the default topology.
TEST_PROBLEMS = [
    (("name",), "Lab!", "lab_name: name 'Lab!' is not possible"),
    (("release",), "sid", "lab_release: release 'sid' is not known; choose one of bullseye, bookworm, trixie"),
    (("networks", 1, "name"), "wan", "lab_networks: network name 'wan' appears twice"),
    (("networks", 1, "name"), "sixteen-letters-", "lab_networks[1]: name 'sixteen-letters-' is not possible"),
    (("networks", 1, "prefixes"), ["192.168.1.1/24"], "lab_networks[1] 'office': '192.168.1.1/24' is not a network"),
    (("networks", 1, "mut"), 9000, "lab_networks[1] 'office': has no option mut; did you mean mtu?"),
    (("networks", 1, "mtu"), "big", "lab_networks[1] 'office': mtu 'big' is not possible; Linux takes 68 to 65535"),
    (("networks", 1, "mtu"), 600, "lab_nodes[0] 'gateway' interfaces[1] 'office0': mtu 600 is too small for IPv6"),
    (("networks", 1, "p2p"), "maybe", "lab_networks[1] 'office': p2p 'maybe' is neither true nor false"),
    (("networks", 1, "p2p"), True, "'office': a point-to-point link has two ends, and this one 3: gateway office0"),
    (("nodes", OFFICE1, "host"), "a b", "lab_nodes[1] 'office1': host 'a b' is not possible; an inventory name has"),
    (("nodes", OFFICE1, "host"), "office2", "lab_nodes: inventory name 'office2' appears twice"),
    (("nodes", OFFICE1, "routes"), [{"to": "10.0.0.0/8", "via": "10.9.9.9"}], "route to 10.0.0.0/8 via 10.9.9.9 is in"),
    (("nodes", OFFICE1, "routes"), [{"to": "0.0.0.0/0", "via": "192.168.1.1"}], "write it as `gateway: [192.168.1.1]`"),
    (("nodes", OFFICE1, "routes"), [{"to": "fd00::/8", "via": "192.168.1.1"}], "are of different families"),
    (
        ("nodes", OFFICE1, "routes"),
        [{"to": "10.0.0.0/8"}],
        "lab_nodes[1] 'office1' routes[0]: None is not an IP address",
    ),
    (
        ("nodes", OFFICE1, "sysctl"),
        {"kernel.panic": 1},
        "'kernel.panic' is not possible; only those that begin with net.",
    ),
    (("nodes", OFFICE1, "sysctl"), {"net.a": "1\n2"}, "sysctl net.a: the value '1\\n2' is not possible"),
    (("nodes", OFFICE1, "sysctl"), ["net.a=1"], "is not a mapping; write `sysctl: {net.ipv4.ip_forward: 1}`"),
    (("nodes", OFFICE1, "files"), [{"path": "etc/x"}], "files[0]: path 'etc/x' is not possible; it begins with /"),
    (("nodes", OFFICE1, "files"), [{"path": "/etc/../x"}], "path '/etc/../x' is not possible"),
    (("nodes", OFFICE1, "files"), [{"path": "/run/x"}], "/run/x would be gone when the node boots"),
    (("nodes", OFFICE1, "files"), [{"path": "/x", "content": {"a": 1}}], "the content of /x is not text"),
    (("nodes", OFFICE1, "files"), [{"path": "/x", "mode": 0o644}], "mode 420 is not possible; write it in quotes"),
    (("nodes", OFFICE1, "interfaces", 0, "vlan"), 30, "'lan0': a VLAN needs both: its number as vlan"),
    (("nodes", GATEWAY, "interfaces", 1, "parent"), "wan0", "'office0': a VLAN needs both"),
    (("nodes", GATEWAY, "interfaces", 1), dict(VLAN, vlan=5000), "vlan 5000 is not possible; there are 1 to 4094"),
    (("nodes", GATEWAY, "interfaces", 1), dict(VLAN, parent="wan7"), "is made of 'wan7', which is not an interface"),
    (
        ("nodes", GATEWAY, "interfaces", 1),
        VLAN,
        "'office': its ends (gateway wan0.30, office1 lan0, office2 lan0) do not",
    ),
    (("nodes", OFFICE1, "interfaces"), [LAN0, BRIDGE], "'lan0' is a port of 'br0'; give its addresses to the bridge"),
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


OFFICE1_PLAIN = {"name": "office1", "groups": ["lan_clients"]}
# What is set, and every problem: one mistake has one message.
SHAPES = [
    (("state",), "presnt", "lab_state: state 'presnt' is not known; choose one of present, absent"),
    (("engine",), "dokcer", "lab_engine: engine 'dokcer' is not known; choose one of podman, docker"),
    (("image_source",), "auot", "lab_image_source: image source 'auot' is not known; choose one of auto, registry"),
    (("release",), "sid", "lab_release: release 'sid' is not known; choose one of bullseye, bookworm, trixie"),
    (("nodes",), OFFICE1_PLAIN, "lab_nodes: is a single item, but must be a list; put '- ' in front of it"),
    (("nodes",), "office1", "lab_nodes: 'office1' is not a list; write an item as {name: …, …}"),
    (("nodes", OFFICE1), "office1", "lab_nodes[1]: 'office1' is not an item; write an item as {name: …, …}"),
    (("networks",), {"name": "wan"}, "lab_networks: is a single item, but must be a list; put '- ' in front of it"),
    (("networks", 1), "office", "lab_networks[1]: 'office' is not an item; write an item as {name: …, …}"),
    (("nodes", OFFICE1), {"names": "office1"}, "lab_nodes[1]: has no option names; did you mean name?"),
    (
        ("nodes", OFFICE1),
        {"name": "office1", "interface": [LAN0], "gateway": "192.168.1.1"},
        "lab_nodes[1] 'office1': has no option interface; did you mean interfaces?",
    ),
    (
        ("nodes", OFFICE1),
        {"name": "office1", "colour": "red"},
        "lab_nodes[1] 'office1': has no option colour; the options are name, host, release, manager, groups, services",
    ),
    (
        ("nodes", OFFICE1, "interfaces", 0),
        {"name": "lan0", "netwrk": "office"},
        "lab_nodes[1] 'office1' interfaces[0] 'lan0': has no option netwrk; did you mean network?",
    ),
    (
        ("nodes", OFFICE1, "interfaces"),
        "lan0",
        "lab_nodes[1] 'office1' interfaces: 'lan0' is not a list; write an item as {name: …, …}",
    ),
    (
        ("nodes", OFFICE1, "routes"),
        [{"to": "10.0.0.0/8", "by": "192.168.1.1", "via": "192.168.1.1"}],
        "lab_nodes[1] 'office1' routes[0]: has no option by; the options are to, via",
    ),
    (("nodes", OFFICE1, "groups"), {"a": 1}, "lab_nodes[1] 'office1' groups: {'a': 1} is not a list"),
    (("nodes", OFFICE1, "services"), True, "lab_nodes[1] 'office1' services: True is not a list"),
]


@pytest.mark.parametrize(("path", "value", "said"), SHAPES, ids=[said for _path, _value, said in SHAPES])
def test_one_mistake_has_one_message(path: tuple[t.Any, ...], value: t.Any, said: str) -> None:
    raw = topology()
    place: t.Any = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (problem,) = problems(raw)
    assert problem.startswith(said)


def test_a_single_word_is_a_list_of_one() -> None:
    raw = topology()
    raw["nodes"][OFFICE1].update(groups="lan_clients, desks", gateway="192.168.1.1", packages="ufw")
    raw["networks"][2]["prefixes"] = "192.168.2.0/24"
    node = lab_topology.parse(raw).nodes[OFFICE1]
    assert (node.groups, node.packages) == (("lan_clients", "desks"), ("ufw",))
    assert [str(address) for address in node.gateways] == ["192.168.1.1"]


def test_an_unknown_engine_is_one_sentence_for_a_removal_too() -> None:
    result = wire("down", {"name": "x", "engine": "dokcer"}, {})
    said = "lab-wire: lab_engine: engine 'dokcer' is not known; choose one of podman, docker\n"
    assert (result.returncode, result.stderr) == (1, said)


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


def test_topologies_of_the_page_are_possible() -> None:
    page = (ROLE.parents[1] / "docs/lab.md").read_text()
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "lab_nodes:" in text]
    labs = [
        lab_topology.parse({"name": "x", "networks": each["lab_networks"], "nodes": each["lab_nodes"]})
        for each in shown
    ]
    assert [len(lab.nodes) for lab in labs] == [3, 1]


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


SITE = {
    "name": "site",
    "networks": [
        {"name": "uplink", "p2p": True},
        {"name": "trunk", "mtu": 9000},
        {"name": "iot", "prefixes": ["10.3.0.0/24"]},
        {"name": "office", "prefixes": ["10.1.0.0/24"]},
    ],
    "nodes": [
        {
            "name": "gw",
            "host": "gw1.example.net",
            "interfaces": [
                {"name": "ppp0", "network": "uplink", "addresses": ["198.51.100.2", "2001:db8::2"]},
                {"name": "trunk0", "network": "trunk"},
                {"name": "trunk0.30", "vlan": 30, "parent": "trunk0", "network": "iot", "addresses": ["10.3.0.1"]},
                {"name": "lan0", "network": "office"},
                {"name": "br0", "bridge": ["lan0"], "addresses": ["10.1.0.1"]},
            ],
            "gateway": ["198.51.100.1"],
            "routes": [{"to": "10.9.0.0/16", "via": "10.1.0.9"}],
        },
        {"name": "isp", "interfaces": [{"name": "peer0", "network": "uplink", "addresses": ["198.51.100.1"]}]},
    ],
}


def test_links_that_a_node_makes_itself() -> None:
    """As systemd-networkd reads them. A kernel without VLANs never gets to see them."""
    lab = lab_topology.parse(SITE)
    gateway = lab.nodes[0]
    files = {path.rpartition("/10-")[2]: text for path, text in lab_topology.node_files(lab, gateway).items()}
    assert "[Address]\nAddress=198.51.100.2/32\nPeer=198.51.100.1/32\n" in files["ppp0.network"]
    # The other end has no IPv6 address.
    assert "\nAddress=2001:db8::2/128\n" in files["ppp0.network"]
    assert "[Route]\nGateway=198.51.100.1\nGatewayOnLink=yes\n" in files["ppp0.network"]
    assert "\nVLAN=trunk0.30\n" in files["trunk0.network"] and "\nBridge=br0\n" in files["lan0.network"]
    assert files["trunk0.30.netdev"] == "[NetDev]\nName=trunk0.30\nKind=vlan\n\n[VLAN]\nId=30\n"
    assert files["br0.netdev"] == "[NetDev]\nName=br0\nKind=bridge\n"
    assert "\nAddress=10.1.0.1/24\n" in files["br0.network"]
    assert "[Route]\nGateway=10.1.0.9\nDestination=10.9.0.0/16\n" in files["br0.network"]
    assert [(cable.interface, cable.mtu) for cable in gateway.cables] == [("ppp0", 0), ("trunk0", 9000), ("lan0", 0)]
    shown = lab_topology.inventory(lab, "podman", "/lab")["all"]["hosts"]
    assert (shown["gw1.example.net"]["ansible_host"], shown["gw1.example.net"]["lab_node"]) == ("site-gw", "gw")


MANAGED = {
    "networkmanager": ("etc/NetworkManager/system-connections/lan0.nmconnection", "\nmethod=manual\naddress1="),
    "netplan": ("etc/netplan/10-lab.yaml", "      addresses:\n"),
    "dhcpcd": ("etc/dhcpcd.conf", "\nstatic ip_address="),
}


@pytest.mark.parametrize("manager", MANAGED)
def test_files_of_other_managers(manager: str) -> None:
    raw = topology()
    raw["nodes"][OFFICE1]["manager"] = manager
    lab = lab_topology.parse(raw)
    node = lab.nodes[OFFICE1]
    path, text = MANAGED[manager]
    files = lab_topology.node_files(lab, node)
    assert text in files[path]
    assert not any(path.startswith("etc/systemd/network/") for path in files)
    assert lab_topology.MANAGER_PACKAGES[manager][0] in node.image.split(",")
    networkd = lab_topology.node_links(node).get("etc/systemd/system/systemd-networkd.service")
    assert networkd == (None if manager == "netplan" else "/dev/null")
    assert lab_topology.node_modes(node) == ({} if manager == "dhcpcd" else {path: 0o600})


@pytest.mark.parametrize("manager", MANAGED)
def test_other_managers_have_plain_interfaces(manager: str) -> None:
    raw = topology()
    raw["nodes"][WAN]["manager"] = manager
    (said,) = problems(raw)
    assert f"manager {manager} configures addresses and default routes of plain interfaces here; choose" in said


def test_links_that_a_node_makes_itself_by_ifupdown() -> None:
    raw = copy.deepcopy(SITE)
    raw["nodes"][0]["manager"] = "ifupdown"
    lab = lab_topology.parse(raw)
    text = lab_topology.node_files(lab, lab.nodes[0])["etc/network/interfaces"]
    assert "up ip address add 198.51.100.2/32 peer 198.51.100.1 dev ppp0\n" in text
    assert "up ip route add default via 198.51.100.1 dev ppp0\n" in text
    assert "pre-up ip link add link trunk0 name trunk0.30 type vlan id 30\n" in text
    # Its ports are there before a bridge.
    bridge = text.partition("auto br0\n")[2]
    assert bridge.index("pre-up ip link set dev lan0 master br0 up") < bridge.index("address 10.1.0.1/24")
    assert "up ip route add 10.9.0.0/16 via 10.1.0.9 dev br0\n" in bridge


@pytest.mark.parametrize(
    ("code", "said"), [(0, ""), (9, ""), (8, "this machine's kernel has no VLANs, and trunk0.30 of gw")]
)
def test_a_kernel_without_vlans_is_named_before_anything_is_built(tmp_path: Path, code: int, said: str) -> None:
    """Whatever this machine's kernel has: 0 where it has VLANs, 8 where it has none, 9 where nobody can say."""
    (tmp_path / "unshare").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "unshare").chmod(0o755)
    result = wire("check", SITE, {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (result.returncode, said in result.stderr) == (1 if said else 0, True), result.stderr
    assert not said or "run the lab where `modprobe 8021q` works, or give the interface a cable" in result.stderr


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_a_missing_engine_is_named_with_the_command_that_installs_it(tmp_path: Path, engine: str) -> None:
    package = {"podman": "podman", "docker": "docker.io"}[engine]
    argv = [sys.executable, str(ROLE / "files/lab-image"), "--engine", engine, "bookworm"]
    result = subprocess.run(argv, text=True, check=False, capture_output=True, env={"PATH": str(tmp_path)})
    assert result.returncode == 1
    assert result.stderr == f"lab-image: {engine} is not installed; install it: apt-get install {package}\n"


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
    (entry,) = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"].values()
    spec = entry["options"]
    network, node = spec["lab_networks"]["options"], spec["lab_nodes"]["options"]
    assert tuple(spec["lab_state"]["choices"]) == lab_topology.STATES
    assert tuple(spec["lab_engine"]["choices"]) == tuple(lab_topology.CONNECTIONS)
    assert tuple(spec["lab_image_source"]["choices"]) == lab_topology.SOURCES
    assert tuple(node["services"]["choices"]) == lab_topology.SERVICES
    assert tuple(node["release"]["choices"]) == tuple(spec["lab_release"]["choices"]) == lab_topology.RELEASES
    assert tuple(node["manager"]["choices"]) == lab_topology.MANAGERS
    assert set(spec) == set(DEFAULTS)
    assert tuple(node) == lab_topology.NODE_OPTIONS
    assert tuple(network) == lab_topology.NETWORK_OPTIONS
    assert tuple(node["interfaces"]["options"]) == lab_topology.INTERFACE_OPTIONS


def test_the_tool_says_every_problem() -> None:
    raw = topology()
    raw["nodes"][OFFICE1]["name"] = "fabric"
    raw["nodes"][OFFICE1]["groups"] = ["a-b"]
    result = wire("check", raw, {})
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 2)
