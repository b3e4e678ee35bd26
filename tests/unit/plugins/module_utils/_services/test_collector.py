# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collector, given what a host has; tests/integration/test_metrics.py gives it real rules and packets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._services import collector, samples

NFT = """table inet ipmasq {
\tchain between {
\t\tct state established counter packets 7 bytes 700 accept comment "ipmasq:default/answers"
\t\tiifname "wan0" counter packets 3 bytes 120 drop comment "ipmasq:default/closed"
\t\tiifname "wan0" limit rate 1/minute counter packets 9 bytes 9 log prefix "x drop " comment "ipmasq:default/closed"
\t\tiifname "lan0" jump other comment "ipmasq:default/lan/office"
\t\tiifname "lan0" counter packets 9007199254740 bytes 90071992547409 accept comment "ipmasq:default/lan/office"
\t\tcounter packets 5 bytes 5 accept comment "ipmasq:other/lan/office"
\t\tcounter packets 5 bytes 5 accept
%s\t}
}
"""
SAVED = """# Generated
*filter
:IPMASQ-TO - [0:0]
[7:700] -A IPMASQ-TO -m conntrack --ctstate ESTABLISHED -m comment --comment "ipmasq:default/answers" -j ACCEPT
[3:120] -A IPMASQ-TO -i wan0 -m comment --comment "ipmasq:default/closed" -j DROP
[4:160] -A IPMASQ-TO -i lan0 -m comment --comment ipmasq:default/lan/office -j ACCEPT
[9:9] -A IPMASQ-TO -i lan0 -m comment --comment ipmasq:default/lan/office -j IPMASQ-OTHER
COMMIT
"""
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


class Machine:
    def __init__(self, root) -> None:
        self.root, self.folder = root, root / "textfiles"
        for folder in ("bin", "etc/ipmasq", "run/ipmasq/", "var/lib/ipmasq"):
            (root / folder).mkdir(parents=True)
        self.program("nft", '[ "$1" = --version ] && echo 1.0.6 || cat {0}/rules'.format(root))
        self.program("iptables-nft-save", '[ "$1" = --version ] && echo 1.8.9 || cat {0}/saved'.format(root))
        self.program("ip6tables-nft-save", "true")
        self.put("rules", NFT % "")
        self.put("saved", SAVED)
        self.put("etc/ipmasq/default.json", ' "collection": "1.2.3",\n  "at": "2026-11-29T12:00:00Z",\n')
        self.put("etc/ipmasq/default.sums", "# complete\n")
        self.conf()
        text = collector.TEXT.replace("\nPATH=", "\nPATH={0}/bin:".format(root))
        self.put("etc/ipmasq/metrics", text)

    def conf(self, *more, backend="nft"):
        lines = ("# head", "folder {0}".format(self.folder), "backend " + backend, *more)
        self.put("etc/ipmasq/default.metrics", "".join(line + "\n" for line in lines))

    def put(self, path, text):
        (self.root / path).write_text(text)

    def connections(self, count, *lines):
        """In place of what the kernel tracks."""
        for name in ("nf_conntrack_count", "nf_conntrack_max"):
            self.put("bin/" + name, "{0}\n".format(count))
        self.put("connections", "".join(line + "\n" for line in lines))
        self.program("conntrack", "cat {0}/connections".format(self.root))
        text = (self.root / "etc/ipmasq/metrics").read_text()
        self.put("etc/ipmasq/metrics", text.replace("/proc/sys/net/netfilter", str(self.root / "bin")))

    def program(self, name, text):
        self.put("bin/" + name, "#!/bin/sh\n{0}\n".format(text))
        (self.root / "bin" / name).chmod(0o755)

    def does(self, word="write", shell=("sh",)):
        words = [*shell, str(self.root / "etc/ipmasq/metrics"), word, "default"]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def written(self, shell=("sh",)):
        done = self.does(shell=shell)
        assert (done.returncode, done.stderr) == (0, "")
        text = (self.folder / "ipmasq-default.prom").read_text()
        samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {re.sub(r'gateway="default",?', "", key)[len("ipmasq_") :]: value for key, _space, value in samples}


def full(machine):
    """With everything that there can be."""
    nat = '\t\tcounter packets 1 bytes 1 {0} comment "ipmasq:default/{1}"\n'
    rules = [("masquerade", "nat/default"), ("dnat ip to 192.168.1.5", "port_forward/web"), ("accept", "outbound/web")]
    rules += [("drop", reason) for reason in ("guard", "invalid", "spoofed/wan0", "isolation", "undeclared")]
    machine.put("rules", NFT % "".join(nat.format(*each) for each in rules))
    machine.conf("address 203.0.113.20", "range office 192.168.1.10-192.168.1.19")
    machine.connections(1000)
    proof = {
        "at": "2026-11-29T13:00:00Z",
        "counts": {"holds": 31, "broken": 1, "unmeasurable": 4},
        "broken": ["x is broken: y"],
    }
    machine.put("run/ipmasq/default.proof", json.dumps(proof))
    assert machine.does("record").returncode == 0
    machine.put("etc/ipmasq/default.sysctl", "net/ipv4/ip_forward 1\n")
    machine.written()
    return machine


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_in_every_shell(machine, shell):
    found = machine.written(shell)
    assert found['build_info{version="1.2.3",backend="nft"}'] == "1"
    assert found["applied_timestamp_seconds{}"] == "1795953600"
    assert found['item_packets_total{kind="lan",item="office",action="accept"}'] == "9007199254740"
    assert found['item_bytes_total{kind="lan",item="office",action="accept"}'] == "90071992547409"
    assert found['item_packets_total{kind="answers",item="",action="accept"}'] == "7"
    assert found['stopped_packets_total{reason="closed",link=""}'] == "3"
    assert found['stopped_bytes_total{reason="closed",link=""}'] == "120"
    assert found["items_left_out{}"] == "0" and found["change_pending{}"] == "0"


def test_what_iptables_saves(machine):
    machine.conf(backend="iptables-nft")
    found = machine.written()
    assert found['item_packets_total{kind="lan",item="office",action="accept"}'] == "4"
    assert found['item_bytes_total{kind="answers",item="",action="accept"}'] == "700"
    assert found['stopped_packets_total{reason="closed",link=""}'] == "3"


def test_every_metric_has_its_type_and_they_come_together(machine):
    machine.written()
    names = []
    for line in (machine.folder / "ipmasq-default.prom").read_text().splitlines():
        told = re.match(r"# (HELP|TYPE) ipmasq_(\w+) (.+)$", line)
        name = told.group(2) if told else re.match(r"ipmasq_(\w+)\{", line).group(1)
        if told and told.group(1) == "TYPE":
            assert told.group(3) == samples.METRICS[name][0]
        if names[-1:] != [name]:
            names.append(name)
    assert len(names) == len(set(names)) and set(names) <= set(samples.METRICS)
    assert [name for name in names if name.endswith("_total")] == [
        name for name in names if samples.METRICS[name][0] == "counter"
    ]


def test_items_are_bounded(machine):
    rule = '\t\tcounter packets 1 bytes 1 accept comment "ipmasq:default/port_forward/web{0}"\n'
    machine.put("rules", NFT % "".join(rule.format(number) * 2 for number in range(samples.MOST_ITEMS + 10)))
    found = machine.written()
    items = [key for key in found if key.startswith('item_packets_total{kind="port_forward')]
    # The LAN and the answers are items, too.
    assert len(items) == samples.MOST_ITEMS - 2 and found["items_left_out{}"] == "12"
    assert {found[key] for key in items} == {"2"}


def test_the_last_proof(machine):
    names = ["lan office reaches wan0 (tcp, IPv4)", "port forward 'web' from wan0 [tcp]", "lan b\u00fcro \\ reaches"]
    broken = ['{0} is broken: nothing arrived; why "x"'.format(name) for name in names]
    proof = {"at": "2026-11-29T13:00:00Z", "seconds": 0.4, "counts": {"holds": 31, "broken": 2, "unmeasurable": 4}}
    machine.put("run/ipmasq/default.proof", json.dumps(dict(proof, broken=broken)))
    found = machine.written()
    assert found["proof_timestamp_seconds{}"] == "1795957200"
    outcomes = [found['proof_promises{{outcome="{0}"}}'.format(each)] for each in ("holds", "broken", "unmeasurable")]
    assert outcomes == ["31", "2", "4"]
    told = [key.partition('promise="')[2][:-2] for key in found if key.startswith("proof_broken")]
    assert told == [*names[:2], "lan b?ro ? reaches"]
    machine.put(
        "run/ipmasq/default.proof", json.dumps(dict(proof, broken=["p{0} is broken: x".format(n) for n in range(40)]))
    )
    assert len([key for key in machine.written() if key.startswith("proof_broken")]) == samples.MOST_BROKEN
    machine.put("run/ipmasq/default.proof", json.dumps(dict(proof, broken=[])))
    assert not [key for key in machine.written() if key.startswith("proof_broken")]
    machine.put("run/ipmasq/default.proof", "{damaged")
    assert "proof_timestamp_seconds{}" not in machine.written()


def test_leases_of_each_range(machine):
    machine.conf(
        "range office 192.168.1.10-192.168.1.19", "range office 192.168.1.30", "range guests 192.168.2.9-192.168.3.1"
    )
    later = int(time.time()) + 1000
    lines = [(later, "192.168.1.10"), (0, "192.168.1.19"), (later - 5000, "192.168.1.12"), (later, "192.168.1.20"),
             (later, "192.168.1.30"), (later, "192.168.3.0")]  # fmt: skip
    leases = "".join("{0} 52:54:00:00:00:01 {1} * *\n".format(*each) for each in lines)
    machine.put("var/lib/ipmasq/default.leases", leases + "duid 00:01\n{0} 1 192.168.1.11 * 00\n".format(later))
    found = machine.written()
    used = {key.partition("range=")[2].strip('"}'): (found[key], found[key.replace("leases", "addresses")])
            for key in found if key.startswith("dhcp_leases")}  # fmt: skip
    assert used == {
        "192.168.1.10-192.168.1.19": ("2", "10"),
        "192.168.1.30": ("1", "1"),
        "192.168.2.9-192.168.3.1": ("1", "249"),
    }
    (machine.root / "var/lib/ipmasq/default.leases").unlink()
    assert machine.written()['dhcp_leases{lan="office",range="192.168.1.30"}'] == "0"


UDP = "udp 17 29 src=192.168.1.{0} dst=9.9.9.9 sport=5{1} dport=53 src=9.9.9.9 dst={2} sport=53 dport={1} mark=0 use=1"
TCP = UDP.replace("udp 17 29", "tcp 6 431999 ESTABLISHED").replace(" mark", " [ASSURED] mark")


def test_ports_of_each_address_once(machine):
    """Two clients have the same port if they talk to different servers."""
    machine.conf("address 203.0.113.20", "address 203.0.113.21")
    lines = [(UDP, 5, 1024, "203.0.113.20"), (UDP, 6, 1024, "203.0.113.20"), (UDP, 5, 1025, "203.0.113.20"),
             (TCP, 5, 1024, "203.0.113.20"), (UDP, 5, 1024, "203.0.113.99")]  # fmt: skip
    machine.connections(5, *(form.format(*rest) for form, *rest in lines))
    found = machine.written()
    name = 'nat_ports_used{{address="203.0.113.2{0}",protocol="{1}"}}'
    assert [found[name.format(*each)] for each in ((0, "tcp"), (0, "udp"), (1, "tcp"), (1, "udp"))] == list("1200")
    machine.connections(samples.MOST_CONNECTIONS + 1)
    assert not [key for key in machine.written() if key.startswith("nat_ports_used")]


def test_an_update_of_the_tools_is_no_drift(machine):
    assert machine.does("record").returncode == 0
    assert machine.written()['as_applied{what="rules"}'] == "1"
    machine.put("rules", NFT % "\t\taccept\n")
    assert machine.written()['as_applied{what="rules"}'] == "0"
    machine.program("nft", '[ "$1" = --version ] && echo 1.1.3 || cat {0}/rules'.format(machine.root))
    assert 'as_applied{what="rules"}' not in machine.written()


def test_a_gateway_whose_table_is_gone(machine):
    machine.does("record")
    machine.put("rules", "")
    found = machine.written()
    assert found['as_applied{what="rules"}'] == "0" and not [key for key in found if key.startswith("item_packets")]


def test_a_gateway_that_has_none(machine):
    (machine.root / "etc/ipmasq/default.metrics").unlink()
    for word in ("write", "record"):
        assert machine.does(word).returncode == 0
    assert not machine.folder.exists()
    assert machine.does("help").returncode == 3


@pytest.mark.skipif(not shutil.which("setsid"), reason="no setsid")
def test_without_systemd_a_loop_writes_them(machine):
    assert machine.does("start").returncode == 0
    file, group = machine.folder / "ipmasq-default.prom", machine.root / "run/ipmasq/default.metering"
    first = int(group.read_text())
    deadline = time.monotonic() + 20
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert file.exists()
    machine.does("start")
    second = int(group.read_text())
    assert first != second
    machine.does("stop")
    while time.monotonic() < deadline:
        try:
            os.killpg(second, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    for each in (first, second):
        with pytest.raises(ProcessLookupError):
            os.killpg(each, 0)
    assert not group.exists()


def test_every_metric_is_written(tmp_path):
    """tests/house/test_monitoring.py compares alerts and dashboard with this."""
    lines = (full(Machine(tmp_path)).folder / "ipmasq-default.prom").read_text().splitlines()
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == {
        "ipmasq_" + name for name in samples.METRICS
    }
