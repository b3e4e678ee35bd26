# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A remote gateway and its operator, who uses OpenSSH through the WAN, as with a jump host: a change that cuts them
off is rolled back, whatever happens to the operator in the meantime."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from fault_table import record
from unhurried import wait_until

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/lab"
HASTE = (ROOT / "tests/quick/sitecustomize.py").read_text()
LAB = "confirm"
ADDRESS, OPERATOR = "198.51.100.2", "198.51.100.1"
#: Two ways to cut yourself off with a valid change: new connections to port 22 now end in the LAN.
CUTS: dict[str, dict[str, t.Any]] = {
    "port forward": {"port_forwards": [{"name": "oops", "port": 22, "to": "192.168.1.11"}]},
    "static": {
        "nat": [{"name": "oops", "action": "static", "source": "192.168.1.11", "to": ADDRESS}, {"name": "rest"}]
    },
}
#: The operator's address now belongs to the gateway, so no answer leaves, not even on open connections.
NO_WAY_BACK = {"nat": [{"name": "oops", "action": "snat", "to": OPERATOR, "to_address": "add"}]}
GOOD = {"wans": [{"interface": "wan0"}], "lans": [{"name": "office", "interfaces": ["office0"]}]}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the lab is rootful"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="not installed: ssh"),
]


def shell(node: str, script: str) -> str:
    argv = ["podman", "exec", "--interactive", f"{LAB}-{node}", "sh", "-e"]
    return subprocess.run(argv, input=script, text=True, check=True, capture_output=True).stdout


#: The operator's address, with ssh through the WAN's node.
CLIENT = r"[0-9a-f.:]+"


class Operator:
    """Runs playbooks against the gateway, over SSH only."""

    def __init__(self, folder: Path, wire: list[str]) -> None:
        self.folder, self.wire = folder, wire
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.public = key.with_suffix(".pub").read_text()
        # Otherwise ssh waits for hours on a connection that the other end has forgotten.
        options = [
            "ServerAliveInterval=3",
            "ServerAliveCountMax=4",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ]

        def host(address: str, through: str) -> dict[str, str]:
            proxy = f"ProxyCommand='podman exec --interactive {LAB}-{through} nc %h %p'"
            return {
                "ansible_host": address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(key),
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": " ".join(f"-o {option}" for option in [*options, proxy]),
            }

        inventories = {
            "inventory.yml": {"gateways": {"hosts": {"gateway": host(ADDRESS, "wan")}}},
            "desk.yml": {"gateways": {"hosts": {"office1": host("127.0.0.1", "office1")}}},
            "office.yml": {"gateways": {"hosts": {"office1": host("192.168.1.11", "wan")}}},
        }
        for name, inventory in inventories.items():
            (folder / name).write_text(yaml.safe_dump(inventory))
        self.inventory = "inventory.yml"

    @contextlib.contextmanager
    def at(self, inventory: str) -> t.Iterator[None]:
        """Meanwhile, everything is done on that inventory's host."""
        self.inventory, before = inventory, self.inventory
        try:
            yield
        finally:
            self.inventory = before

    def start(self, options: dict[str, t.Any], module: str = "gateway", **env: str) -> subprocess.Popen[str]:
        """A play that has been on the host before it makes the change, so that a connection is open."""
        tasks = [{"ansible.builtin.ping": None}, {f"ipmasq.linux.{module}": options}]
        (self.folder / "play.yml").write_text(
            yaml.safe_dump([{"hosts": "gateways", "gather_facts": False, "tasks": tasks}])
        )
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.folder / self.inventory), str(self.folder / "play.yml")],
            env={**os.environ, "ANSIBLE_TIMEOUT": "2", "ANSIBLE_NOCOLOR": "1", **env},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def apply(self, options: dict[str, t.Any], module: str = "gateway", **env: str) -> tuple[int, str]:
        process = self.start(options, module, **env)
        out, _nothing = process.communicate(timeout=180)
        return process.returncode, out

    def confirm(self, *words: str) -> tuple[int, str]:
        """The playbook for changes that wait for a person. What it says, in one line."""
        argv = ["ansible-playbook", "-i", str(self.folder / self.inventory), "ipmasq.linux.confirm"]
        argv += ["-e", "ansible_become=false", *words]
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
        return done.returncode, " ".join(done.stdout.split())

    def holds(self) -> str:
        # Sorted, because a fence that is renewed moves to the end of the ruleset.
        tables = "nft list tables | sort | while read -r _ family name; do nft -s list table $family $name; done"
        return shell("gateway", tables + "; cat /etc/ipmasq/*.json 2>/dev/null || true")

    def told(self, last: int) -> list[str]:
        """What the gateway wrote to the journal."""
        return shell("gateway", f"journalctl -t ipmasq -o cat --no-pager -n {last}").splitlines()

    def pending(self, node: str = "gateway", instance: str = "default") -> bool:
        return instance in shell(node, "ls /run/ipmasq 2>/dev/null || true").split()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Operator]:
    folder = tmp_path_factory.mktemp(LAB)
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    nodes = [node for node in defaults["lab_nodes"] if node["name"] in ("gateway", "office1", "wan")]
    networks = [network for network in defaults["lab_networks"] if network["name"] in ("wan", "office", "guests")]
    build = [sys.executable, str(ROLE / "files/lab-image"), "bookworm"]
    images = json.loads(subprocess.run(build, text=True, check=True, stdout=subprocess.PIPE).stdout)["images"]
    topology = {"name": LAB, "engine": "podman", "networks": networks, "nodes": nodes, "images": images}
    (folder / "topology.json").write_text(json.dumps(topology))
    wire = [str(ROLE / "files/lab-wire"), "--topology", str(folder / "topology.json")]
    try:
        subprocess.run([*wire, "up"], check=True, stdout=subprocess.PIPE)
        made = Operator(folder, wire)
        for node in ("gateway", "office1"):
            # Modules come by SSH, more than a hundred times: what Python compiles of them is kept there, too.
            shell(node, f"cat > /etc/python3.11/sitecustomize.py << 'END'\n{HASTE}\nEND")
        shell(
            "gateway",
            f"ssh-keygen -A; mkdir -p -m 700 ~/.ssh; echo '{made.public}' > ~/.ssh/authorized_keys;"
            "systemctl enable --now ssh",
        )
        yield made
    finally:
        subprocess.run([*wire, "down"], check=True, stdout=subprocess.PIPE)


@pytest.fixture
def operator(lab: Operator) -> Operator:
    """With a working, confirmed gateway."""
    rc, out = lab.apply(GOOD)
    assert rc == 0, out
    return lab


#: A ControlPath in ssh_args comes before any that Ansible chooses.
OWN_PLACE = "-o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/tmp/own-%C"
#: what is set, and how many new connections that makes: the play comes by the one that is still open, if it finds it
HABITS = [({}, 1), ({"ANSIBLE_PIPELINING": "1"}, 1), ({"ANSIBLE_SSH_ARGS": OWN_PLACE}, 2)]


@pytest.mark.parametrize(("habit", "connections"), HABITS, ids=["usual", "pipelining", "own place"])
def test_a_good_change_is_confirmed_by_a_connection_of_its_own(
    operator: Operator, habit: dict[str, str], connections: int
) -> None:
    count = "journalctl -u ssh --no-pager -o cat | grep -c 'Accepted publickey'"
    before = int(shell("gateway", count))
    seconds = 100 + len(str(habit))
    rc, out = operator.apply(dict(GOOD, timeouts={"udp": seconds}), **habit)
    assert rc == 0 and "changed=1" in out, out
    assert not operator.pending()
    assert int(shell("gateway", count)) - before == connections
    assert f'["net/netfilter/nf_conntrack_udp_timeout", "{seconds}"]' in operator.holds()
    changed, confirmed = operator.told(2)
    assert re.match(rf"default: changed by root from {CLIENT}, awaits confirmation until [0-9:]+: ", changed)
    assert f"timeouts: icmp 60 s icmpv6 60 s udp {seconds} s" in changed
    assert re.fullmatch(rf"default: confirmed by root from {CLIENT}, over a new connection", confirmed)


@pytest.mark.parametrize("cut", CUTS)
def test_a_change_that_cuts_the_operator_off_is_taken_back(operator: Operator, cut: str) -> None:
    before, start = operator.holds(), time.monotonic()
    rc, out = operator.apply(dict(GOOD, confirm_timeout=8, **CUTS[cut]))
    took = time.monotonic() - start
    assert rc == 2, out
    assert "rolled back: no new connection reached this host within 8 s" in " ".join(out.split()), out
    assert operator.holds() == before
    record("ssh cut off by the change", "before")
    assert took < 8 + 5 + 20, took  # the last attempt to connect, and the start of Ansible on a busy machine
    rc, out = operator.apply(GOOD)
    assert rc == 0 and "changed=0" in out, out


def test_a_change_that_takes_the_operators_route_is_taken_back(operator: Operator) -> None:
    """Not even the module's answer comes through: the operator is told that the host does not answer."""
    before, start = operator.holds(), time.monotonic()
    process = operator.start(dict(GOOD, confirm_timeout=8, **NO_WAY_BACK))
    wait_until(operator.pending, "nothing waits", 30)
    assert OPERATOR in shell("gateway", "sleep 2; ip -o address show dev wan0")
    wait_until(lambda: not operator.pending(), "it still waits", 30)
    assert time.monotonic() - start < 8 + 5 + 20
    assert operator.holds() == before
    assert OPERATOR not in shell("gateway", "ip -o address show dev wan0")
    record("ssh cut off by the change", "before")
    out, _nothing = process.communicate(timeout=60)
    assert process.returncode == 4 and "UNREACHABLE" in out, out
    rc, out = operator.apply(GOOD)
    assert rc == 0 and "changed=0" in out, out


def test_a_default_route_that_cuts_the_operator_off_is_taken_back(lab: Operator) -> None:
    """The operator reaches a LAN's host through its gateway; the host's answers now go to an address of nobody."""
    rc, out = lab.apply({"state": "absent"})
    assert rc == 0, out
    shell("gateway", "sysctl -qw net.ipv4.ip_forward=1")
    shell("wan", f"ip route replace 192.168.1.0/24 via {ADDRESS}")
    keys = f"ssh-keygen -A; mkdir -p -m 700 ~/.ssh; echo '{lab.public}' > ~/.ssh/authorized_keys"
    file, route = "/etc/systemd/network/10-lan0.network", r"\n[Route]\nGateway=192.168.1.1\nMetric=100\n"
    shell("office1", f"{keys}; systemctl start ssh; cp -p {file} /root; printf '{route}' >>{file}; networkctl reload")
    wait_until(lambda: "metric 100" in shell("office1", "ip route"), "no route", 10)
    look = "ip route; ls -d /etc/ipmasq || true; find /etc/systemd/network -type f -exec md5sum {} + | sort"
    before, start = shell("office1", look), time.monotonic()
    wins = {"gateway6": "none", "replace_default": True, "confirm_timeout": 8}
    with lab.at("office.yml"):
        rc, out = lab.apply({**wins, "gateway": "192.168.1.99"}, "lan_client")
        # Not even the module's answer comes through until the old route is there again.
        assert rc in (2, 4), out
        assert "rolled back: no new connection reached this host" in " ".join(out.split()) or "UNREACHABLE" in out
        assert time.monotonic() - start < 8 + 5 + 25
        wait_until(lambda: not lab.pending("office1", "lan_client"), "it still waits", 30)
        assert shell("office1", look) == before
        rc, out = lab.apply({**wins, "gateway": "192.168.1.1"}, "lan_client")
        assert rc == 0 and "changed=1" in out, out
        assert "default via 192.168.1.1 dev lan0 proto static" in shell("office1", "ip route show default")
        rc, out = lab.apply({"state": "absent"}, "lan_client")
        assert rc == 0 and "changed=1" in out, out
    assert shell("office1", look) == before
    shell("office1", f"systemctl stop ssh; mv /root/10-lan0.network {file}; networkctl reload")
    shell("wan", "ip route del 192.168.1.0/24")
    shell("gateway", "sysctl -qw net.ipv4.ip_forward=0")


def test_spoof_protection_cuts_nobody_off(operator: Operator) -> None:
    """An operator in a network that no LAN declares: the check of LAN sources applies only to forwarded packets."""
    lan = {"name": "oops", "interfaces": ["wan0"], "networks": ["10.9.9.0/24"]}
    rc, out = operator.apply({"wans": [{"interface": "office0"}], "lans": [lan], "confirm_timeout": 8})
    assert rc == 0 and "changed=1" in out, out
    assert not operator.pending()


def test_a_single_item_that_cuts_the_operator_off_is_taken_back(operator: Operator) -> None:
    before = operator.holds()
    item = {"instance": "lines", "name": "ssh", "in_interface": "wan0", "protocol": "tcp", "port": 22}
    rc, out = operator.apply(dict(item, to="192.168.1.11", confirm_timeout=8), "port_forward")
    assert rc == 2 and "rolled back: no new connection reached this host within 8 s" in " ".join(out.split()), out
    assert operator.holds() == before
    record("ssh cut off by the change", "before")
    # A change that does not is confirmed over the same path.
    for state in ("present", "absent"):
        rc, out = operator.apply(dict(item, port=2222, to="192.168.1.11", state=state), "port_forward")
        assert rc == 0 and "changed=1" in out, out
    assert operator.holds() == before


def test_a_killed_operator_is_a_way_back(operator: Operator) -> None:
    before = operator.holds()
    process = operator.start(dict(GOOD, confirm_timeout=6, **CUTS["static"]))
    # The timer is armed a moment before anything is changed.
    wait_until(lambda: operator.pending() and operator.holds() != before, "nothing waits", 30)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert operator.pending()
    described = shell("gateway", "systemctl show -p Description ipmasq-rollback-default.timer")
    assert "Rollback of the NAT gateway's change to default, unless confirmed until" in described
    wait_until(lambda: not operator.pending(), "it still waits", 6 + 5)
    assert operator.holds() == before
    (told,) = operator.told(1)
    assert re.match(rf"default: rolled back: nobody confirmed the change by root from {CLIENT} before [0-9:]+$", told)
    record("controller killed (SIGKILL) between load and confirmation", "before")


def test_a_reboot_is_a_way_back(operator: Operator) -> None:
    before = operator.holds()
    rc, out = operator.apply(dict(GOOD, confirm_by="person", confirm_timeout=600, timeouts={"udp": 55}))
    assert rc == 0 and operator.pending(), out
    subprocess.run([*operator.wire, "reboot", "gateway"], check=True, stdout=subprocess.PIPE)
    assert not operator.pending()
    assert shell("gateway", "systemctl is-active ipmasq.service").strip() == "active"
    assert operator.holds() == before
    record("node rebooted between load and confirmation", "before")


def test_of_two_operators_one_wins(operator: Operator) -> None:
    rc, out = operator.apply(dict(GOOD, confirm_by="person", confirm_timeout=600, timeouts={"udp": 66}))
    assert rc == 0, out
    rc, out = operator.apply(dict(GOOD, timeouts={"udp": 77}))
    assert rc == 2 and "awaits confirmation until" in " ".join(out.split()), out
    rc, out = operator.confirm("-e", "confirm_state=reverted")
    assert rc == 0 and "changed=1" in out, out
    rc, out = operator.apply(dict(GOOD, timeouts={"udp": 77}))
    assert rc == 0 and "changed=1" in out, out
    record("a second controller while a change waits", "after")


# --- Another host answers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(lab: Operator) -> None:
    """The host that the change of CUTS leads to: same user, same key, same programs, as in most fleets."""
    shell(
        "office1",
        f"ip route replace default via 192.168.1.1; ssh-keygen -A; mkdir -p -m 700 ~/.ssh;"
        f"echo '{lab.public}' > ~/.ssh/authorized_keys; systemctl enable --now ssh",
    )


@pytest.mark.usefixtures("desk")
def test_another_host_that_answers_confirms_nothing(operator: Operator) -> None:
    """Neither the change here nor one of its own that waits there, of an instance of the same name."""
    lan = {"name": "home", "interfaces": ["home0"], "networks": ["10.77.0.0/24"]}
    own = {"wans": [{"interface": "office0"}], "lans": [lan], "confirm_by": "person", "confirm_timeout": 900}
    with operator.at("desk.yml"):
        rc, out = operator.apply(own)
        assert rc == 0 and operator.pending("office1"), out
    waits = shell("office1", "find /run/ipmasq/default -type f | sort | xargs cat")
    before = operator.holds()
    try:
        rc, out = operator.apply(dict(GOOD, confirm_timeout=12, **CUTS["port forward"]))
        said = " ".join(out.split())
        assert rc == 2, out
        assert "rolled back: no new connection reached this host within 12 s" in said, out
        assert "office1 (192.168.1.11) answered in its place" in said, out
        assert operator.holds() == before
        assert shell("office1", "find /run/ipmasq/default -type f | sort | xargs cat") == waits
    finally:
        with operator.at("desk.yml"):
            rc, out = operator.confirm("-e", "confirm_state=reverted")
    assert rc == 0 and "changed=1" in out, out
    assert not operator.pending("office1")
    said = shell("office1", "journalctl -t ipmasq -o cat --no-pager")
    assert "default: changed" in said and "default: confirmed" not in said


def test_a_change_that_packets_refute_is_rolled_back_at_once(operator: Operator) -> None:
    """The operator gets through, and the LAN does not: somebody's rule, which no look at policies finds."""
    theirs = "nft add table inet other; nft 'add chain inet other f {type filter hook forward priority 5;}'; "
    theirs += "nft add rule inet other f iifname office0 meta l4proto tcp drop"
    rc, out = operator.apply(dict(GOOD, state="absent"))
    assert rc == 0, out
    shell("gateway", theirs)
    before = operator.holds()
    try:
        rc, out = operator.apply(GOOD)
        said = " ".join(out.split())
        assert rc == 2, out
        broken = "proof: office reaches the Internet through wan0 (tcp, IPv4) is broken: nothing came out of wan0"
        assert broken in said, out
        assert "the host is as it was before" in said and "Traceback" not in said, out
        assert operator.holds() == before
    finally:
        shell("gateway", "nft delete table inet other")
    rc, out = operator.apply(GOOD)
    assert rc == 0 and "proof: " not in out, out


def test_a_late_and_an_empty_confirmation_fail_and_say_so(operator: Operator) -> None:
    before = operator.holds()
    rc, out = operator.apply(dict(GOOD, confirm_by="person", confirm_timeout=6, timeouts={"udp": 55}))
    assert rc == 0, out
    wait_until(lambda: not operator.pending(), "it still waits", 30)
    assert operator.holds() == before
    rc, said = operator.confirm()
    assert rc == 2, said
    assert re.search(r"too late, the change to 'default' was rolled back at [0-9:]+", said), said
    # Of an instance that has never changed.
    rc, said = operator.confirm("-e", "gateway_instance=two")
    assert rc == 2 and "no change to 'two' awaits confirmation" in said, said
