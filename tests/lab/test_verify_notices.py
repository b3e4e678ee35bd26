# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tests with which molecule judges a gateway: they pass on a hand-made one, and each detects its own fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ROLE = REPOSITORY / "roles/lab"
VERIFY = REPOSITORY / "molecule/shared/tests/gateway/test_packets.py"
LAB = "notices"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: enters the namespaces of containers"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
]

# The four classic lines, in both families.
BY_HAND = """
set -e
sysctl --quiet --write net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for tool in iptables ip6tables; do
    $tool -F FORWARD; $tool -t nat -F POSTROUTING
    $tool -t nat -A POSTROUTING -o wan0 -j MASQUERADE
    $tool -A FORWARD -m conntrack --ctstate INVALID -j DROP
    $tool -A FORWARD ! -i wan0 -o wan0 -j ACCEPT
    $tool -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    $tool -P FORWARD DROP
done
conntrack -F 2>/dev/null
"""
CLIENTS = {
    "office1": "ip route replace default via 192.168.1.1; ip -6 route replace default via fd00:1::1",
    "guest1": "ip route replace default via 192.168.2.1",
}

# What is done to the gateway, and the tests that must then fail.
FAULTS = [
    ("iptables -t nat -F POSTROUTING", "test_tcp_leaves_as_the_gateway and 192.0.2.10"),
    ("iptables -t nat -F POSTROUTING", "test_udp_leaves_as_the_gateway and 192.0.2.11"),
    ("iptables -t nat -F POSTROUTING", "test_icmp_gets_an_answer and 192.0.2.10"),
    ("ip6tables -t nat -F POSTROUTING", "test_tcp_leaves_as_the_gateway and 2001"),
    ("ip6tables -t nat -F POSTROUTING", "test_udp_leaves_as_the_gateway and 2001"),
    ("sysctl -w net.ipv4.ip_forward=0", "test_icmp_gets_an_answer and 192.0.2.10"),
    # It appears with an address of the gateway, but not with the declared one.
    ("iptables -t nat -I POSTROUTING -o wan0 -j SNAT --to 192.168.1.1", "test_the_web_server_saw_only_gateways"),
    ("iptables -P FORWARD ACCEPT", "test_wan_cannot_open_a_connection and 192.168.1.11"),
    ("ip6tables -P FORWARD ACCEPT", "test_wan_cannot_open_a_connection and fd00"),
    ("iptables -I FORWARD -i guests0 -o office0 -j ACCEPT", "test_lans_cannot_reach_each_other and guest1-office1"),
    ("iptables -I FORWARD -p icmp -j ACCEPT", "test_lans_cannot_reach_each_other and office1-guest1"),
]
# One leaked packet is enough, whatever happened to the connection.
LEAKS = [
    ("iptables", "private_v4", "192.0.2.10"),
    ("ip6tables", "private_v6", "2001:db8:200::10"),
]


def shell(node: str, script: str) -> None:
    argv = ["podman", "exec", "--interactive", f"{LAB}-{node}", "sh"]
    subprocess.run(argv, input=script, text=True, check=True, capture_output=True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    folder = tmp_path_factory.mktemp("notices")
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    nodes = [node for node in defaults["lab_nodes"] if node["name"] != "office2"]
    build = [sys.executable, str(ROLE / "files/lab-image"), "bookworm"]
    images = json.loads(subprocess.run(build, text=True, check=True, stdout=subprocess.PIPE).stdout)["images"]
    topology = {"name": LAB, "engine": "podman", "networks": defaults["lab_networks"], "nodes": nodes, "images": images}
    (folder / "topology.json").write_text(json.dumps(topology))
    wire = [str(ROLE / "files/lab-wire"), "--topology", str(folder / "topology.json")]
    try:
        subprocess.run([*wire, "up"], check=True, stdout=subprocess.PIPE)
        for node, script in CLIENTS.items():
            shell(node, f"echo nameserver 192.0.2.10 >/etc/resolv.conf; {script}")
        yield folder
    finally:
        subprocess.run([*wire, "down"], check=True, stdout=subprocess.PIPE)


@pytest.fixture
def gateway(directory: Path) -> None:  # the lab must be up
    shell("gateway", BY_HAND)


def verify(directory: Path, which: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-k", which, str(VERIFY)]
    environment = {**os.environ, "LAB_DIRECTORY": str(directory)}
    return subprocess.run(argv, env=environment, cwd=VERIFY.parent, text=True, check=False, capture_output=True)


@pytest.mark.usefixtures("gateway")
def test_a_gateway_made_by_hand_passes(directory: Path) -> None:
    result = verify(directory)
    assert result.returncode == 0, result.stdout


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(("fault", "which"), FAULTS, ids=[f"{which}: {fault}" for fault, which in FAULTS])
def test_a_fault_is_noticed(directory: Path, fault: str, which: str) -> None:
    shell("gateway", f"{fault}; conntrack -F 2>/dev/null")
    result = verify(directory, which)
    # 1: tests ran and failed. Anything else is not a verdict (5: none ran).
    assert result.returncode == 1, result.stdout
    assert "1 failed" in result.stdout, result.stdout


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(("tool", "counter", "reflector"), LEAKS, ids=[counter for _tool, counter, _reflector in LEAKS])
def test_the_witness_counts_a_leak(tool: str, counter: str, reflector: str) -> None:
    shell("gateway", f"{tool} -t nat -F POSTROUTING; conntrack -F 2>/dev/null")
    shell("wan", "nft reset counters table inet witness")
    shell("office1", f"ping -c 1 -W 1 {reflector} || true")
    argv = ["podman", "exec", f"{LAB}-wan", "nft", "--json", "list", "counter", "inet", "witness", counter]
    shown = json.loads(subprocess.run(argv, text=True, check=True, stdout=subprocess.PIPE).stdout)
    assert [entry["counter"]["packets"] for entry in shown["nftables"] if "counter" in entry] == [1]
