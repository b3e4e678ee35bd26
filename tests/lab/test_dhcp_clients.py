# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Computers as people have them, each configured by another program, are plugged into a LAN that the gateway serves."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import typing as t

import pytest
import yaml
from unhurried import wait_until

if t.TYPE_CHECKING:
    from pathlib import Path

LAB = "dhcpclients"
NETWORKD = """\
[Match]
Name=lan0
[Network]
DHCP=ipv4
IPv6AcceptRA=yes
[DHCPv4]
UseDomains=yes
"""
INTERFACES = """\
auto lo
iface lo inet loopback
auto lan0
iface lan0 inet dhcp
iface lan0 inet6 auto
"""
CONNECTION = """\
[connection]
id=lan0
type=ethernet
interface-name=lan0
[ipv4]
method=auto
[ipv6]
method=auto
addr-gen-mode=eui64
"""
NETPLAN = """\
network:
  version: 2
  ethernets:
    lan0: {dhcp4: true, accept-ra: true, dhcp4-overrides: {use-domains: true}}
"""
#: Client to its manager, further packages, the manager's file, and a command that prints what it was told about names.
CLIENTS = {
    "networkd": ("networkd", [], "/etc/systemd/network/10-lan0.network", NETWORKD, "cat /run/systemd/netif/state"),
    "dhclient": ("ifupdown", ["isc-dhcp-client"], "/etc/network/interfaces", INTERFACES, "cat /etc/resolv.conf"),
    "nm": (
        "networkmanager",
        [],
        "/etc/NetworkManager/system-connections/lan0.nmconnection",
        CONNECTION,
        "nmcli -f IP4 device show lan0",
    ),
    "netplan": ("netplan", [], "/etc/netplan/10-lab.yaml", NETPLAN, "cat /run/systemd/netif/state"),
    "dhcpcd": ("dhcpcd", [], "/etc/dhcpcd.conf", "nodev\nhostname\nallowinterfaces lan0\n", "cat /etc/resolv.conf"),
}
#: Plugged into a LAN where addresses of IPv6 are given out, and nothing of IPv4: the same programs and files.
MANAGED = {"networkd6": "networkd", "dhcpcd6": "dhcpcd"}
#: Clients of Debian 13; the others have Debian 12.
NEWER = ("networkd", "nm", "dhcpcd")
#: Their programs refuse, or complain otherwise.
MODES = {"networkmanager": "0600", "netplan": "0600"}
GATEWAY = {
    "gateway_wans": ["wan0"],
    "gateway_lans": [
        {"name": "office", "interfaces": ["lan0"], "dhcp": {"lease": "2m"}},
        {"name": "managed", "interfaces": ["lan1"], "ra": "managed", "dns": True},
    ],
    "gateway_ipv6": "masquerade",
    "gateway_dns_domain": "office.example",
    "gateway_dns_upstream": ["198.51.100.1"],
}
#: The address for a name, from the end of the answer.
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
labels = b"".join(bytes([len(each)]) + each.encode() for each in sys.argv[1].split("."))
client.sendto(b"ab" + bytes([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + labels + bytes([0, 0, 1, 0, 1]), ("192.168.1.1", 53))
print(socket.inet_ntoa(client.recv(999)[-4:]))
"""
STATE = "ip -4 -o addr show lan0; ip -6 -o addr show lan0 scope global; ip route; ip -6 route"
#: Name and end of each lease.
LEASES = "awk '$3 ~ /^192/ {print $4, $1}' /var/lib/ipmasq/default.leases"
#: Address and end of each lease of IPv6.
LEASES6 = "awk '$3 ~ /^fd00:2:/ {print $3, $1}' /var/lib/ipmasq/default.leases"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a lab"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
]


def computer(name: str, like: str, network: str) -> dict[str, t.Any]:
    manager, packages, path, text, _told = CLIENTS[like]
    return {
        "name": name,
        "release": "trixie" if like in NEWER else "bookworm",
        "manager": manager,
        "packages": packages,
        "interfaces": [{"name": "lan0", "network": network}],
        "files": [{"path": path, "content": text, "mode": MODES.get(manager, "0644")}],
    }


def topology(folder: Path) -> dict[str, t.Any]:
    lan = {"name": "office", "prefixes": ["192.168.1.0/24", "fd00:1::/64"]}
    managed = {"name": "managed", "prefixes": ["192.168.2.0/24", "fd00:2::/64"]}
    wan = {"name": "wan", "prefixes": ["198.51.100.0/24", "2001:db8:100::/64"]}
    outside = {"name": "wan0", "network": "wan", "addresses": ["198.51.100.2", "2001:db8:100::2"]}
    inside = {"name": "lan0", "network": "office", "addresses": ["192.168.1.1", "fd00:1::1"]}
    other = {"name": "lan1", "network": "managed", "addresses": ["192.168.2.1", "fd00:2::1"]}
    gateway = {"name": "gateway", "groups": ["gateways"], "packages": ["dnsmasq-base"]}
    gateway["interfaces"] = [outside, inside, other]
    clients = [computer(name, name, "office") for name in CLIENTS]
    clients += [computer(name, like, "managed") for name, like in MANAGED.items()]
    provider = {"name": "wan0", "network": "wan", "addresses": ["198.51.100.1", "2001:db8:100::1"]}
    return {
        "lab_name": LAB,
        "lab_directory": str(folder / "lab"),
        "lab_networks": [wan, lan, managed],
        "lab_nodes": [
            {**gateway, "gateway": ["198.51.100.1", "2001:db8:100::1"]},
            *clients,
            {"name": "wan", "services": ["echo"], "interfaces": [provider], "loopback": ["192.0.2.10"]},
        ],
    }


class Plugged:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "lab.yml").write_text(yaml.safe_dump(topology(folder)))
        (folder / "gateway.yml").write_text(yaml.safe_dump(GATEWAY))

    def playbook(self, *words: str) -> None:
        done = subprocess.run(
            ["ansible-playbook", *words], cwd=self.folder, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def sh(self, name: str, script: str) -> str:
        words = ["podman", "exec", f"{LAB}-{name}", "sh", "-c", script]
        return subprocess.run(words, text=True, capture_output=True, check=False).stdout

    def address(self, name: str, family: int) -> str:
        """The one that the gateway gave it, or told it to make; empty if there is none yet."""
        found = re.findall(r"inet6? (\S+)/\d+", self.sh(name, STATE))
        ours = [each for each in found if ipaddress.ip_address(each) in NETWORKS[family]]
        return ours[0] if ours else ""

    def leases(self) -> dict[str, int]:
        lines = (line.split() for line in self.sh("gateway", LEASES).splitlines())
        return {name: int(end) for name, end in lines}

    def leases6(self) -> dict[str, int]:
        lines = (line.split() for line in self.sh("gateway", LEASES6).splitlines())
        return {str(ipaddress.ip_address(address)): int(end) for address, end in lines}

    def managed(self, name: str) -> str:
        """The address that the gateway gave out by DHCPv6, once there is a route, too."""
        state = self.sh(name, STATE)
        found = re.findall(r"inet6 (fd00:2::1[0-9a-f]{3})/\d+", state)
        return found[0] if found and re.search(r"default .*via fe80::\S+ dev lan0", state) else ""

    def named(self, name: str) -> str:
        """The address that the gateway knows by a name."""
        words = ["podman", "exec", f"{LAB}-nm", "python3", "-c", ASK, name]
        return subprocess.run(words, text=True, capture_output=True, check=False).stdout.strip()

    def reboot(self, *names: str) -> None:
        words = [str(self.folder / "lab/lab-wire"), "reboot", *names]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def ready(self, name: str) -> bool:
        state = self.sh(name, STATE)
        routes = "default via 192.168.1.1 dev lan0" in state and re.search(r"default .*via fe80::\S+ dev lan0", state)
        return bool(self.address(name, 4) and self.address(name, 6) and routes)


NETWORKS = {4: ipaddress.ip_network("192.168.1.0/24"), 6: ipaddress.ip_network("fd00:1::/64")}


@pytest.fixture
def plugged(tmp_path: Path) -> t.Iterator[Plugged]:
    made = Plugged(tmp_path)
    try:
        made.playbook("ipmasq.linux.lab", "-e", "@lab.yml")
        made.playbook("-i", "lab/inventory.yml", "ipmasq.linux.site", "-e", "@gateway.yml")
        yield made
    finally:
        made.playbook("ipmasq.linux.lab", "-e", "@lab.yml", "-e", "lab_state=absent")


def test_each_gets_addresses_routes_and_names_and_keeps_them(plugged: Plugged) -> None:
    plugged.reboot(*CLIENTS, *MANAGED)
    for name, (_manager, _packages, _path, _text, told) in CLIENTS.items():
        wait_until(lambda name=name: plugged.ready(name), f"addresses and routes of {name}", 120)
        said = plugged.sh(name, told)
        # dhcpcd leaves out the server's IPv4 address if it has IPv6 ones.
        assert "office.example" in said and ("192.168.1.1" in said or "fd00:1::1" in said), (name, said)
        assert " 0% packet loss" in plugged.sh(name, "ping -c 1 -W 5 192.0.2.10"), name
    addresses = {name: plugged.address(name, 4) for name in CLIENTS}
    assert len(set(addresses.values())) == len(CLIENTS)
    # Each has told the gateway its name.
    assert {name: plugged.named(f"{name}.office.example") for name in CLIENTS} == addresses

    given = {}
    for name, like in MANAGED.items():
        wait_until(lambda name=name: plugged.managed(name), f"the address of {name} by DHCPv6", 120)
        given[name] = plugged.managed(name)
        assert "fd00:2::1" in plugged.sh(name, CLIENTS[like][-1]), name
        assert " 0% packet loss" in plugged.sh(name, "ping -c 1 -W 5 2001:db8:100::1"), name
    first = plugged.leases6()
    assert set(first) == set(given.values()) and len(first) == len(MANAGED)

    # They renew their leases after a minute, and the gateway has been away meanwhile.
    before = plugged.leases()
    assert set(before) == set(CLIENTS)
    plugged.reboot("gateway")
    # Those of IPv6 have 22 minutes until then.
    wait_until(lambda: "default" in plugged.sh("dhcpcd6", "dhcpcd -N lan0; ip -6 route"), "a route after the boot", 60)
    again = given["dhcpcd6"]
    wait_until(lambda: plugged.leases6().get(again, 0) > first[again], "a renewed lease of IPv6", 60)
    assert {name: plugged.managed(name) for name in MANAGED} == given
    wait_until(lambda: all(end > before[name] for name, end in plugged.leases().items()), "renewed leases", 180)
    assert {name: plugged.address(name, 4) for name in CLIENTS} == addresses
    assert [name for name in CLIENTS if not plugged.ready(name)] == []
