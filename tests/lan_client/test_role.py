# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role lan_client on real hosts, one per Debian release and manager: applied, kept across a reboot, and removed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
CONNECTION = os.environ.get("IPMASQ_LAB_CONNECTION", "containers.podman.podman")
LAB = f"lanclient{os.getpid()}"

# All clients in one network. The gateway serves DNS, so the resolver is tested in use.
TOPOLOGY = """
lab_networks:
  - {name: office, prefixes: [192.168.1.0/24, "fd00:1::/64"]}
  - {name: spare, prefixes: [192.168.9.0/24]}
lab_nodes:
  - name: gateway
    groups: [gateways]
    interfaces:
      - {name: office0, network: office, addresses: [192.168.1.1, "fd00:1::1"]}
      - {name: wan0, network: spare}
    loopback: [203.0.113.1, "2001:db8::1"]
  - name: deb12
    groups: [lan_clients]
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.12, "fd00:1::12"]}]
  - name: deb13
    groups: [lan_clients]
    release: trixie
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.13, "fd00:1::13"]}]
  - name: deb11
    groups: [lan_clients]
    release: bullseye
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.11, "fd00:1::11"]}]
  - name: ifup12
    groups: [lan_clients]
    manager: ifupdown
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.22, "fd00:1::22"]}]
  - name: net12
    groups: [leased]
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.41]}]
  - name: ifu12
    groups: [leased]
    manager: ifupdown
    packages: [isc-dhcp-client]
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.42]}]
  - name: nm12
    groups: [leased]
    manager: networkmanager
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.43, "fd00:1::43"]}]
  - name: plan12
    groups: [leased]
    manager: netplan
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.44, "fd00:1::44"]}]
  - name: dh12
    groups: [leased]
    manager: dhcpcd
    interfaces: [{name: lan0, network: office, addresses: [192.168.1.45, "fd00:1::45"]}]
  - name: foreign
    groups: [other_clients]
    interfaces:
      - {name: lan0, network: office, addresses: [192.168.1.30]}
      - {name: lan1, network: spare, addresses: [192.168.9.30]}
    gateway: [192.168.9.1]
"""
CLIENTS = ["deb12", "deb13", "deb11", "ifup12"]
#: How each of these takes its address from a DHCP server instead.
LEASED = {
    "net12": r"printf '[Match]\nName=lan0\n[Network]\nDHCP=ipv4\n' >/etc/systemd/network/10-lan0.network; "
    "networkctl reload",
    "ifu12": r"ifdown lan0; printf 'auto lan0\niface lan0 inet dhcp\n' >/etc/network/interfaces; ifup lan0",
    "nm12": "nmcli connection modify lan0 ipv4.addresses '' ipv4.method auto; nmcli connection up lan0",
    "plan12": "netplan set ethernets.lan0.addresses=null; netplan set ethernets.lan0.dhcp4=true; "
    "netplan set 'ethernets.lan0.addresses=[fd00:1::44/64]'; netplan generate; networkctl reload",
    "dh12": "sed -i '/static ip_address/d' /etc/dhcpcd.conf; systemctl restart dhcpcd",
}
ABSENT = "lan_client_state=absent"
DNS = "{lan_client_dns: [192.168.1.1]}"

#: Packets to an address that only the gateway has, and a name that only its server knows.
ALL_THROUGH_OURS = """
ip route get 203.0.113.1 | grep -q 'via 192.168.1.1 '
ping -c1 -W3 -q 203.0.113.1 && getent ahostsv4 www.example.org | grep -q 203.0.113.1
"""
# Whatever the role may touch. Times are left out, because a removal writes files anew.
STATE = """
ip -4 route; ip -6 route show default; ip -o address show scope global | sed 's/valid_lft.*//' | sort
where="/etc/systemd /etc/network /etc/resolv* /etc/ipmasq /etc/NetworkManager /etc/netplan /etc/dhcp* /usr/lib/dhcpcd"
where=$(ls -d $where 2>/dev/null || true)
find $where -exec stat -c '%n %F %a %u %g' {} + | sort
find $where -type f -exec md5sum {} + | sort
"""


def play(**extra: t.Any) -> str:
    role = {"role": "ipmasq.linux.lan_client", "tags": ["lan_client"]}
    return yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": [role], **extra}])


@dataclass(frozen=True)
class Ran:
    rc: int
    out: str

    def counts(self, word: str) -> dict[str, int]:
        recap = re.findall(rf"^(\S+) +: .*?\b{word}=(\d+)", self.out, re.MULTILINE)
        return {host: int(count) for host, count in recap}

    def settled(self, hosts: list[str]) -> bool:
        return self.rc == 0 and self.counts("changed") == dict.fromkeys(hosts, 0)


@dataclass(frozen=True)
class Lab:
    folder: Path
    # Where the role's last run was not an absent one.
    left: set[str] = field(default_factory=set)

    def ansible(self, *words: str) -> Ran:
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "500"}
        environment["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join(
            [str(COLLECTION / ".cache/collections"), *sys.path[1:]]
        )
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        done = subprocess.run(
            ["ansible-playbook", *words], env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    def role(self, hosts: list[str], *words: str, play: str = play(), inventory: str = "") -> Ran:
        (self.folder / "play.yml").write_text(play)
        where = inventory or str(self.folder / "lab/inventory.yml")
        if "--check" not in words:
            self.left.difference_update(hosts)
            self.left.update([] if ABSENT in words else hosts)
        return self.ansible("-i", where, "-l", ",".join(hosts), "play.yml", *words)

    def sh(self, node: str, command: str) -> str:
        done = subprocess.run(
            ["podman", "exec", f"{LAB}-{node}", "sh", "-ec", command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{node}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def states(self, nodes: list[str]) -> dict[str, str]:
        return {node: self.sh(node, STATE) for node in nodes}

    def reboot(self, *nodes: str) -> None:
        tool = str(self.folder / "lab/lab-wire")
        done = subprocess.run([tool, "reboot", *nodes], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"reboot {nodes}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    if not shutil.which("podman"):
        pytest.skip("podman is not installed: the role lan_client is not tested on hosts")
    if os.geteuid() != 0:
        pytest.skip("not root: the role lan_client is not tested on hosts")
    folder = tmp_path_factory.mktemp("lan_client")
    (folder / "topology.yml").write_text(TOPOLOGY)
    (folder / "ansible.cfg").write_text("[defaults]\n")
    here = Lab(folder)
    words = ["ipmasq.linux.lab", "-e", f"lab_name={LAB}", "-e", f"lab_directory={folder}/lab", "-e", "@topology.yml"]
    try:
        up = here.ansible(*words)
        assert up.rc == 0, up.out
        known = folder / "lab/inventory.yml"
        known.write_text(known.read_text().replace("containers.podman.podman", CONNECTION))
        # A DNS server, and a resolver with lines to keep.
        here.sh("gateway", "systemd-run -q dnsmasq -k --no-resolv --address=/www.example.org/203.0.113.1")
        for node in CLIENTS:
            here.sh(node, r"printf 'search example.org\nnameserver 9.9.9.9\n' >/etc/resolv.conf")
        yield here
    finally:
        here.ansible(*words, "-e", "lab_state=absent")


@pytest.fixture
def clean(lab: Lab) -> t.Iterator[Lab]:
    """A lab whose clients a test may leave in any state that the role can revert."""
    yield lab
    if lab.left:
        back = lab.role(sorted(lab.left), "-e", ABSENT)
        assert back.rc == 0, back.out


@contextlib.contextmanager
def marker(lab: Lab, node: str, make: str, remove: str) -> t.Iterator[None]:
    lab.sh(node, make)
    try:
        yield
    finally:
        lab.sh(node, remove)


def test_there_and_back(lab: Lab) -> None:
    before = lab.states(CLIENTS)

    foretold = lab.role(CLIENTS, "-e", DNS, "--check", "--diff")
    assert foretold.rc == 0, foretold.out
    assert lab.states(CLIENTS) == before
    assert "+default via 192.168.1.1 dev lan0 proto static" in foretold.out
    assert "+DNS server 192.168.1.1" in foretold.out

    first = lab.role(CLIENTS, "-e", DNS)
    assert first.rc == 0, first.out
    assert first.counts("changed") == foretold.counts("changed")
    during = lab.states(CLIENTS)
    for node in CLIENTS:
        assert "default via 192.168.1.1 dev lan0 proto static" in during[node]
        assert "default via fd00:1::1 dev lan0 proto static" in during[node]
        # In use: a name from the gateway's server, and addresses that only the default routes reach.
        assert "203.0.113.1" in lab.sh(node, "getent ahostsv4 www")
        lab.sh(node, "ping -c1 -W3 -q 203.0.113.1 && ping -c1 -W3 -q 2001:db8::1")

    assert lab.role(CLIENTS, "-e", DNS, "--check").settled(CLIENTS)
    assert lab.role(CLIENTS, "-e", DNS, "--tags", "lan_client", play=play(strategy="free")).settled(CLIENTS)

    lab.reboot(*CLIENTS)
    assert lab.states(CLIENTS) == during
    assert lab.role(CLIENTS, "-e", DNS).settled(CLIENTS)

    assert lab.role(CLIENTS, "-e", ABSENT, "--check").rc == 0
    assert lab.states(CLIENTS) == during
    back = lab.role(CLIENTS, "-e", ABSENT)
    assert back.rc == 0, back.out
    assert lab.states(CLIENTS) == before
    assert lab.role(CLIENTS, "-e", ABSENT).settled(CLIENTS)


def leases(lab: Lab) -> int:
    return int(lab.sh("gateway", "grep -c DHCPACK /var/log/dhcp").strip())


def test_a_lease_brings_neither_route_nor_servers_back(clean: Lab) -> None:
    """The DHCP server names another gateway and another DNS server, and its leases are renewed every few seconds."""
    lab, nodes = clean, sorted(LEASED)
    server = "systemd-run -q dnsmasq -k --port=0 --log-facility=/var/log/dhcp --dhcp-range=192.168.1.41,192.168.1.45,2m"
    for node in nodes:
        # A node is up once it has the address that the lab knows.
        mac, address = lab.sh(node, "cat /sys/class/net/lan0/address; ip -o -4 address show dev lan0").split("\n")[:2]
        server += f" --dhcp-host={mac},{re.findall(r'inet ([0-9.]+)', address)[0]}"
    server += " --dhcp-option=3,192.168.1.254 --dhcp-option=6,192.168.1.254"
    server += " --dhcp-option-force=option:T1,5 --dhcp-option-force=option:T2,60"
    lab.sh("gateway", f"touch /var/log/dhcp; {server}")
    for node in nodes:
        lab.sh(node, LEASED[node])
    time.sleep(5)
    before = lab.states(nodes)
    for node in nodes:
        assert "default via 192.168.1.254 dev lan0" in before[node], before[node]
    servers = {node: lab.sh(node, "cat /etc/resolv.conf") for node in nodes}

    wins = '{"lan_client_dns": ["192.168.1.1"], "lan_client_replace_default": true}'
    foretold = lab.role(nodes, "-e", wins, "--check")
    assert foretold.counts("changed") == dict.fromkeys(nodes, 1), foretold.out
    assert lab.states(nodes) == before
    done = lab.role(nodes, "-e", wins)
    assert done.rc == 0, done.out
    for node in nodes:
        lab.sh(node, ALL_THROUGH_OURS)

    acknowledged = leases(lab)
    time.sleep(15)
    assert leases(lab) >= acknowledged + len(nodes), "nobody has renewed a lease"
    for node in nodes:
        lab.sh(node, ALL_THROUGH_OURS)
    assert lab.role(nodes, "-e", wins).settled(nodes)

    lab.reboot(*nodes)
    time.sleep(5)
    for node in nodes:
        lab.sh(node, ALL_THROUGH_OURS)
    again = lab.role(nodes, "-e", wins)
    assert again.settled(nodes), again.out

    assert lab.role(nodes, "-e", ABSENT).rc == 0
    after = lab.states(nodes)
    for node in nodes:
        assert after[node].splitlines() == before[node].splitlines(), node
    assert {node: lab.sh(node, "cat /etc/resolv.conf") for node in nodes} == servers


def test_lost_route_and_changed_gateway(clean: Lab) -> None:
    nodes = ["deb12", "deb13", "ifup12"]
    assert clean.role(nodes).rc == 0
    for node in nodes:
        clean.sh(node, "ip route del default")
    foretold = clean.role(nodes, "--check")
    assert foretold.counts("changed") == dict.fromkeys(nodes, 1), foretold.out
    assert clean.role(nodes).counts("changed") == dict.fromkeys(nodes, 1)
    for node in nodes:
        assert "via 192.168.1.1 " in clean.sh(node, "ip route show default")

    clean.sh("gateway", "ip address add 192.168.1.2/24 dev office0")
    assert clean.role(nodes, "-e", "lan_client_gateway=192.168.1.2 lan_client_gateway6=none").rc == 0
    for node in nodes:
        assert "via 192.168.1.2 " in clean.sh(node, "ip route show default")
        assert len(clean.sh(node, "ip route show default").splitlines()) == 1
        assert clean.sh(node, "ip -6 route show default") == ""
    clean.sh("gateway", "ip address del 192.168.1.2/24 dev office0")


def test_gateways_are_asked_once_for_all_clients_and_not_at_all_after_their_own_run(clean: Lab) -> None:
    """The inventory is silent, and knows how to reach its hosts by a template of their names, as those of fleets do."""
    inventory = yaml.safe_load((clean.folder / "lab/inventory.yml").read_text())
    hosts, groups = inventory["all"]["hosts"], inventory["all"]["children"]
    inventory["all"]["vars"]["ansible_host"] = "{{ lab_name }}-{{ container | default(inventory_hostname) }}"
    # Two more names of the same gateway, so that three are asked.
    for alias in ("gw-b", "gw-c"):
        hosts[alias] = {"container": "gateway"}
        groups["gateways"]["hosts"][alias] = None
    for host in hosts.values():
        for known in ("ansible_host", "lab_addresses", "lab_interfaces"):
            host.pop(known, None)
    silent = clean.folder / "silent.yml"
    silent.write_text(yaml.safe_dump(inventory))
    asked = re.compile(r"^ok: \[(\S+) -> (\S+)\(", re.MULTILINE)

    done = clean.role(CLIENTS, inventory=str(silent))
    assert done.rc == 0, done.out
    # Three questions, and not three from each of four clients.
    (client,) = {client for client, _gateway in asked.findall(done.out)}
    assert sorted(asked.findall(done.out)) == [(client, name) for name in ("gateway", "gw-b", "gw-c")], done.out
    for node in CLIENTS:
        assert "via 192.168.1.1 " in clean.sh(node, "ip route show default")
    # Whichever client is first, none of the others needs one of its own.
    done = clean.role(CLIENTS, play=play(strategy="free"), inventory=str(silent))
    assert done.settled(CLIENTS), done.out

    # In one run with the gateway, nobody is asked: its result holds its addresses.
    assert clean.role(CLIENTS, "-e", ABSENT).rc == 0
    clean.left.update(CLIENTS)
    gateway = "{gateway_wans: [wan0], gateway_lans: [{name: office, interfaces: [office0]}]}"
    where = ["-i", str(silent), "ipmasq.linux.site", "-l", "gateway," + ",".join(CLIENTS)]
    try:
        done = clean.ansible(*where, "-e", gateway)
        assert done.rc == 0, done.out
        assert " -> " not in done.out, done.out
        for node in CLIENTS:
            assert "via 192.168.1.1 " in clean.sh(node, "ip route show default")
    finally:
        gone = clean.ansible(*where, "-e", gateway, "-e", "gateway_state=absent", "-t", "gateway")
    assert gone.rc == 0, gone.out

    # What the inventory says goes before it, and is enough.
    inventory["all"]["children"]["gateways"]["vars"] = {"gateway_addresses": ["192.168.1.1"]}
    silent.write_text(yaml.safe_dump(inventory))
    done = clean.role(["deb12"], "-e", "lan_client_gateway6=fd00:1::1", inventory=str(silent))
    assert " -> " not in done.out
    assert done.settled(["deb12"]), done.out


def test_other_manager(lab: Lab) -> None:
    """networkd has ended, and connman runs."""
    before = lab.states(["deb12"])
    make = "mkdir -p /run/connman; systemctl stop systemd-networkd.socket systemd-networkd"
    with marker(lab, "deb12", make, "rmdir /run/connman; systemctl start systemd-networkd; sleep 1"):
        refused = lab.role(["deb12"])
        assert refused.rc != 0
        assert "lan0 is managed by connman, and lan_client can configure only NetworkManager" in refused.out
        assert "connmanctl config SERVICE --ipv4 manual 192.168.1.12 255.255.255.0 192.168.1.1" in refused.out
        assert "set lan_client_unmanaged to skip" in refused.out
        assert refused.counts("changed") == {"deb12": 0}
        skipped = lab.role(["deb12"], "-e", "lan_client_unmanaged=skip")
        assert skipped.settled(["deb12"]), skipped.out
        assert "[WARNING]: lan0 is managed by connman" in skipped.out
        lab.left.discard("deb12")
    assert lab.states(["deb12"]) == before


def test_foreign_default_route(lab: Lab) -> None:
    before = lab.states(["foreign"])
    refused = lab.role(["foreign"])
    assert refused.rc != 0
    assert "already has the IPv4 default route `default via 192.168.9.1 dev lan1 proto static`" in refused.out
    # It has metric 0, which nothing can outrank.
    refused = lab.role(["foreign"], "-e", "lan_client_replace_default=true")
    assert "has the highest priority there is" in refused.out
    assert lab.states(["foreign"]) == before

    file = "/etc/systemd/network/10-lan1.network"
    route = r"[Route]\nGateway=192.168.9.1\nMetric=100\n"
    lab.sh("foreign", f"sed -i /^Gateway=/d {file}; printf '{route}' >>{file}; networkctl reload; sleep 1")
    before = lab.states(["foreign"])
    assert "metric 100" in before["foreign"]
    done = lab.role(["foreign"], "-e", "lan_client_replace_default=true")
    assert done.rc == 0, done.out
    assert "dev lan0" in lab.sh("foreign", "ip route get 203.0.113.1")
    assert lab.role(["foreign"], "-e", "lan_client_replace_default=true").settled(["foreign"])
    assert lab.role(["foreign"], "-e", ABSENT).rc == 0
    assert lab.states(["foreign"]) == before


def test_ifupdown_replaces_the_stanzas_own_gateway(clean: Lab) -> None:
    stanza = "/etc/network/interfaces"
    clean.sh("ifup12", f"cp -p {stanza} /root/interfaces")
    clean.sh("ifup12", f"sed -i 's,^    address 192.*,&\\n    gateway 192.168.1.254,' {stanza}; ifdown lan0; ifup lan0")
    before = clean.states(["ifup12"])
    assert "default via 192.168.1.254" in before["ifup12"]
    assert "set lan_client_replace_default" in clean.role(["ifup12"]).out
    assert clean.states(["ifup12"]) == before

    done = clean.role(["ifup12"], "-e", "lan_client_replace_default=true")
    assert done.rc == 0, done.out
    during = clean.states(["ifup12"])
    assert "default via 192.168.1.1 " in during["ifup12"]
    clean.reboot("ifup12")
    assert clean.states(["ifup12"]) == during
    assert clean.role(["ifup12"], "-e", "lan_client_replace_default=true").settled(["ifup12"])

    assert clean.role(["ifup12"], "-e", ABSENT).rc == 0
    assert clean.states(["ifup12"]) == before
    clean.sh("ifup12", f"mv /root/interfaces {stanza}; ip route del default")


def test_resolved(clean: Lab) -> None:
    """Debian 11 has systemd-resolved in the package systemd, and therefore in the lab's image."""
    clean.sh("deb11", "systemctl start systemd-resolved; cp -p /etc/resolv.conf /root/resolv.conf")
    clean.sh("deb11", "ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf")
    try:
        before = clean.states(["deb11"])
        done = clean.role(["deb11"], "-e", DNS)
        assert done.rc == 0, done.out
        assert "192.168.1.1" in clean.sh("deb11", "resolvectl dns lan0")
        assert clean.role(["deb11"], "-e", DNS).settled(["deb11"])
        assert clean.role(["deb11"], "-e", ABSENT).rc == 0
        assert clean.states(["deb11"]) == before
        assert "192.168.1.1" not in clean.sh("deb11", "resolvectl dns lan0")
    finally:
        clean.sh("deb11", "systemctl stop systemd-resolved; rm /etc/resolv.conf; mv /root/resolv.conf /etc/resolv.conf")


def test_a_change_that_nobody_confirms_is_rolled_back(lab: Lab) -> None:
    nodes = ["deb12", "ifup12"]
    before = lab.states(nodes)
    waits = {"lan_client_confirm_by": "person", "lan_client_confirm_timeout": 8, "lan_client_dns": ["192.168.1.1"]}
    done = lab.role(nodes, "-e", json.dumps(waits))
    assert done.rc == 0, done.out
    for node in nodes:
        assert "via 192.168.1.1 " in lab.sh(node, "ip route show default")
        assert "192.168.1.1" not in lab.sh(node, "cat /etc/resolv.conf")
    time.sleep(10)
    assert lab.states(nodes) == before

    # A reboot is a rollback, too.
    assert lab.role(nodes, "-e", json.dumps({**waits, "lan_client_confirm_timeout": 600})).rc == 0
    refused = lab.role(nodes)
    assert "a change to 'lan_client' awaits confirmation until" in refused.out
    lab.reboot(*nodes)
    assert lab.states(nodes) == before
    lab.left.difference_update(nodes)


def test_a_change_that_a_person_confirms_stays(clean: Lab) -> None:
    assert clean.role(["deb12"], "-e", "lan_client_confirm_by=person").rc == 0
    confirm = [
        {"hosts": "all", "gather_facts": False, "tasks": [{"ipmasq.linux.gateway_confirm": {"instance": "lan_client"}}]}
    ]
    done = clean.role(["deb12"], play=yaml.safe_dump(confirm))
    assert done.rc == 0, done.out
    clean.reboot("deb12")
    assert clean.role(["deb12"]).settled(["deb12"])


def test_bad_variables_come_together(lab: Lab) -> None:
    refused = lab.role(["deb12"], "-e", "lan_client_gateway=10.9.9.9", "-e", "{lan_client_dns: [dns.example.org]}")
    assert refused.rc != 0
    assert "lan_client_gateway: 10.9.9.9 is in none of this host's networks (lan0 192.168.1.12/24)" in refused.out
    assert "lan_client_dns: 'dns.example.org' is not an IP address" in refused.out
    assert refused.counts("changed") == {"deb12": 0}
