# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/small-office.md, as it is: a bare machine, ten lines, and an office that has the Internet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

PAGE = (Path(__file__).resolve().parents[2] / "docs/small-office.md").read_text()
LAB = "smalloffice"
FILE = "/var/lib/prometheus/node-exporter/ipmasq-default.prom"
PACKAGES = ["dnsmasq-base", "udhcpc"]
LEASE = """
ip link set lan0 down
{0}
ip link set lan0 up
busybox udhcpc -i lan0 -f -n -q -t 10 -T 1 -x hostname:$(hostname) > /dev/null 2>&1
ip -4 -o addr show lan0
ip route
cat /etc/resolv.conf
"""
#: dnsmasq takes the documentation's networks for private ones, so the Internet has another server.
INTERNET = """
ip addr add 9.9.9.9/32 dev lo
echo 9.9.9.9 www.example >> /etc/ipmasq-lab/hosts
systemctl restart lab-dns
"""
FETCH = "import urllib.request as r; print(r.urlopen('http://www.example/', timeout=10).read().decode())"
#: Each port answers with its own number.
SERVES = """
import select, socket
places = {}
for kind, port in ((socket.SOCK_STREAM, 443), (socket.SOCK_STREAM, 22), (socket.SOCK_DGRAM, 51820)):
    place = socket.socket(socket.AF_INET, kind)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("", port))
    if kind == socket.SOCK_STREAM:
        place.listen(5)
    places[place] = str(port).encode()
while True:
    for place in select.select(list(places), [], [])[0]:
        if place.type == socket.SOCK_DGRAM:
            place.sendto(places[place], place.recvfrom(9)[1])
        else:
            client = place.accept()[0]
            client.settimeout(5)
            client.recv(9)
            client.sendall(places[place])
            client.close()
"""
ASKS = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
client = socket.socket(socket.AF_INET, kind)
client.settimeout(float(sys.argv[4]))
try:
    client.connect((sys.argv[2], int(sys.argv[3])))
    client.send(b"x")
    print(client.recv(9).decode())
except OSError:
    print("nothing")
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a lab"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
]


def node(name: str, network: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "interfaces": [{"name": "lan0", "network": network}], "packages": PACKAGES, **more}


def lab(folder: Path) -> dict[str, t.Any]:
    """The machine that the page asks for, with the addresses of its /etc/network/interfaces."""
    inside = re.findall(r"iface (\w+) inet static\n\s+address ([0-9.]+)/24", PAGE)
    assert [name for name, _address in inside] == ["lan0", "lan1", "guest0"]
    networks = [{"name": name, "prefixes": [address.rpartition(".")[0] + ".0/24"]} for name, address in inside]
    ours = [{"name": name, "network": name, "addresses": [address]} for name, address in inside]
    outside = {"name": "wan0", "network": "wan", "addresses": ["198.51.100.2"]}
    gateway = {"name": "gateway", "host": "gw.example.net", "groups": ["gateways"], "interfaces": [outside, *ours]}
    wan = {"name": "wan0", "network": "wan", "addresses": ["198.51.100.1"]}
    return {
        "lab_name": LAB,
        "lab_directory": str(folder / "lab"),
        "lab_networks": [{"name": "wan", "prefixes": ["198.51.100.0/24"]}, *networks],
        "lab_nodes": [
            {**gateway, "gateway": ["198.51.100.1"]},
            node("pc", "lan0"),
            node("nas", "lan0"),
            node("phone", "lan1"),
            node("guest", "guest0"),
            {"name": "wan", "services": ["web", "dns"], "interfaces": [wan], "loopback": ["192.0.2.10", "192.0.2.11"]},
        ],
    }


class Office:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "lab.yml").write_text(yaml.safe_dump(lab(folder)))

    def run(self, *words: str) -> str:
        env = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(words, cwd=self.folder, env=env, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def playbook(self, *words: str) -> str:
        return self.run("ansible-playbook", *words)

    def sh(self, name: str, script: str) -> str:
        return self.run("podman", "exec", f"{LAB}-{name}", "sh", "-c", script)

    def asks(self, name: str, address: str, port: int, kind: str = "tcp", wait: float = 5) -> str:
        words = ["podman", "exec", f"{LAB}-{name}", "python3", "-c", ASKS, kind, address, str(port), str(wait)]
        return self.run(*words).strip()


@pytest.fixture
def office(tmp_path: Path) -> t.Iterator[Office]:
    made = Office(tmp_path)
    try:
        made.playbook("ipmasq.linux.lab", "-e", "@lab.yml")
        yield made
    finally:
        made.playbook("ipmasq.linux.lab", "-e", "@lab.yml", "-e", "lab_state=absent")


def test_the_page(office: Office) -> None:
    hosts, declaration = (re.findall(rf"```{kind}\n# (\S+)\n(.*?)```", PAGE, re.DOTALL) for kind in ("ini", "yaml"))
    for path, text in hosts + declaration:
        (office.folder / path).parent.mkdir(exist_ok=True)
        (office.folder / path).write_text(text)
    assert [path for path, _text in hosts + declaration] == ["hosts.ini", "group_vars/gateways.yml"]
    assert len(declaration[0][1].splitlines()) == 10
    (command,) = re.findall(r"^\$ (ansible-playbook .*ipmasq.linux.site)$", PAGE, re.MULTILINE)
    # How the lab's machine is reached is the only addition.
    words = command.split() + ["-i", "lab/inventory.yml"]
    office.sh("wan", INTERNET)
    office.sh("gateway", "echo nameserver 192.0.2.10 > /etc/resolv.conf")
    office.run(*words)

    pc = office.sh("pc", LEASE.format(""))
    nas = office.sh("nas", LEASE.format("ip link set lan0 address 52:54:00:12:34:56"))
    phone, guest = office.sh("phone", LEASE.format("")), office.sh("guest", LEASE.format(""))
    assert "inet 192.168.1.20/24" in nas
    for told, network in ((pc, 1), (phone, 2), (guest, 3)):
        given = re.search(rf"inet 192\.168\.{network}\.(\d+)/24", told)
        assert given and 100 <= int(given.group(1)) <= 250, told
        assert f"default via 192.168.{network}.1" in told and f"nameserver 192.168.{network}.1" in told, told

    for name in ("pc", "phone", "guest"):
        assert office.run("podman", "exec", f"{LAB}-{name}", "python3", "-c", FETCH).startswith("198.51.100.2 ")
    assert "192.168.1.20" in office.sh("pc", "getent ahostsv4 nas.home.arpa")

    office.run("podman", "exec", "--detach", f"{LAB}-nas", "python3", "-c", SERVES)
    office.sh("nas", "for n in $(seq 100); do ss -Hltnu | grep -q :51820 && exit; sleep 0.1; done; exit 1")
    forwarded = [(443, "tcp"), (2222, "tcp"), (51820, "udp")]
    assert [office.asks("wan", "198.51.100.2", *each) for each in forwarded] == ["443", "22", "51820"]
    assert office.asks("pc", "192.168.1.20", 443) == "443"
    for name in ("guest", "phone"):
        assert office.asks(name, "192.168.1.20", 443, wait=2) == "nothing"
    assert office.asks("wan", "198.51.100.2", 53, wait=1) == "nothing"

    metrics = office.sh("gateway", f"for n in $(seq 50); do [ -s {FILE} ] && exec cat {FILE}; sleep 0.2; done; exit 1")
    for what in ("rules", "switches", "files"):
        assert f'ipmasq_as_applied{{gateway="default",what="{what}"}} 1' in metrics
    again = office.run(*words)
    assert re.search(r"gw\.example\.net +: ok=\d+ +changed=0 ", again), again
