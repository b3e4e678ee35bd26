# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node may be besides plain cables: one lab with all of it, and cables that are pulled out and put in again."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from unhurried import wait_until

ROLE = Path(__file__).resolve().parents[2] / "roles/lab"
QUICK = Path(__file__).resolve().parents[1] / "quick"
LAB = "wires"
TOPOLOGY = """
lab_networks:
  - {name: uplink, p2p: true}
  - {name: office, prefixes: [10.1.0.0/24, "fd00:1::/64"], mtu: 9000}
lab_nodes:
  - name: gw
    host: gw1.example.net
    groups: [gateways]
    interfaces:
      - {name: ppp0, network: uplink, addresses: [198.51.100.2, "2001:db8::2"], mtu: 1492}
      - {name: lan0, network: office}
      - {name: lan1, network: office}
      - {name: br0, bridge: [lan0], addresses: [10.1.0.1, "fd00:1::1"]}
    gateway: [198.51.100.1, "2001:db8::1"]
    routes: [{to: 10.9.0.0/16, via: 10.1.0.9}]
    sysctl: {net.ipv4.ip_forward: 1, net.ipv4.conf.ppp0.rp_filter: 1}
    files:
      - {path: /etc/motd, content: "A gateway\\n"}
      - {path: /usr/local/bin/hello, content: "#!/bin/sh\\necho hello\\n", mode: "0755"}
      - {path: /lib/hello/said, content: "here, too\\n", mode: "0600"}
      - {path: /var/tmp/.hello, content: "and here\\n"}
  - name: branch
    host: branch.example.net
    groups: [gateways]
    manager: ifupdown
    interfaces:
      - {name: peer0, network: uplink, addresses: [198.51.100.1, "2001:db8::1"]}
      - {name: lan0, network: office}
      - {name: br0, bridge: [lan0], addresses: [10.1.0.9]}
    loopback: [192.0.2.10, "2001:db8:2::10"]
    gateway: [198.51.100.2]
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: enters the namespaces of containers"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
]


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "lab.yml").write_text(TOPOLOGY)

    def play(self, *more: str) -> str:
        argv = ["ansible-playbook", "ipmasq.linux.lab", "-e", "@lab.yml", "-e", f"lab_name={LAB}"]
        argv += ["-e", f"lab_directory={self.folder}/lab", *more]
        done = subprocess.run(argv, cwd=self.folder, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wire(self, *words: str) -> tuple[int, str]:
        argv = [sys.executable, str(self.folder / "lab/lab-wire"), *words]
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
        return done.returncode, done.stdout or done.stderr

    def sh(self, node: str, command: str) -> str:
        argv = ["podman", "exec", f"{LAB}-{node}", "sh", "-c", command]
        return subprocess.run(argv, text=True, capture_output=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp(LAB))
    try:
        made.play()
        yield made
    finally:
        made.play("-e", "lab_state=absent")


def test_every_node_is_as_described(lab: Lab) -> None:
    # Under both managers: a link with a peer, the default route by it, and a bridge with the addresses of its port.
    assert "10.1.0.1/24" in lab.sh("gw", "ip -br address show br0") and "fd00:1::1/64" in lab.sh(
        "gw", "ip -br a show br0"
    )
    assert "198.51.100.2 peer 198.51.100.1/32" in lab.sh("gw", "ip address show ppp0")
    assert "198.51.100.1 peer 198.51.100.2/32" in lab.sh("branch", "ip address show peer0")
    assert "default via 198.51.100.1 dev ppp0" in lab.sh("gw", "ip route")
    assert "default via 198.51.100.2 dev peer0" in lab.sh("branch", "ip route")
    assert "10.9.0.0/16 via 10.1.0.9 dev br0" in lab.sh("gw", "ip route")
    for node in ("gw", "branch"):
        assert "master br0" in lab.sh(node, "ip link show lan0")
    # By use: packets of 9000 in the LAN, of 1492 outside, and IPv6 over the link with peers.
    assert ", 0% packet loss" in lab.sh("gw", "ping -c1 -W3 -M do -s 8972 10.1.0.9")
    assert ", 0% packet loss" in lab.sh("gw", "ping -c1 -W3 192.0.2.10") + lab.sh("gw", "ping -c1 -W3 2001:db8:2::10")
    assert "mtu 1492" in lab.sh("gw", "ip link show ppp0")
    # Kernel and files.
    assert lab.sh("gw", "sysctl -n net.ipv4.ip_forward net.ipv4.conf.ppp0.rp_filter").split() == ["1", "1"]
    assert lab.sh("branch", "sysctl -n net.ipv4.ip_forward") == "0"
    assert lab.sh("gw", "cat /etc/motd; /usr/local/bin/hello; hostname") == "A gateway\nhello\ngw"
    assert lab.sh("gw", "cat /usr/lib/hello/said /var/tmp/.hello; stat -c %a /lib/hello /lib/hello/said /var/tmp") == (
        "here, too\nand here\n755\n600\n1777"
    )
    assert lab.sh("gw", "readlink /lib") == "usr/lib"
    # Ansible knows hosts by the names that the user's inventory has.
    inventory = yaml.safe_load((lab.folder / "lab/inventory.yml").read_text())["all"]
    assert set(inventory["hosts"]) == set(inventory["children"]["gateways"]["hosts"]) == {
        "gw1.example.net", "branch.example.net",
    }  # fmt: skip
    assert "changed=0" in lab.play()


def test_a_node_that_was_made_and_never_started_has_its_files(lab: Lab) -> None:
    raw = json.loads((lab.folder / "lab/topology.json").read_text())
    loader = importlib.machinery.SourceFileLoader("lab_wire", str(lab.folder / "lab/lab-wire"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lab_wire", loader))
    sys.modules["lab_wire"] = module
    loader.exec_module(module)
    wire = module.Wire(module.lab_topology.parse(raw), module.Engine("podman"), raw["images"])
    wire.remove(["gw"])
    wire.create("gw")
    assert lab.sh("gw", "hostname") == ""
    rc, told = lab.wire("up")
    assert rc == 0 and told.startswith("start gw\n"), told
    assert lab.sh("gw", "cat /etc/motd; hostname; cat /etc/hostname") == "A gateway\ngw\ngw"
    assert "198.51.100.2 peer 198.51.100.1/32" in lab.sh("gw", "ip address show ppp0")


def test_a_cable_is_pulled_out_and_put_in(lab: Lab) -> None:
    assert lab.wire("unplug", "gw", "ppp0") == (0, "unplug gw ppp0\n")
    assert lab.wire("unplug", "gw1.example.net", "ppp0") == (0, "nothing to do\n")
    # The interface stays, without a carrier, and systemd-networkd removes the routes.
    assert "NO-CARRIER" in lab.sh("gw", "ip link show ppp0")
    wait_until(lambda: "dev ppp0" not in lab.sh("gw", "ip route"), "there is still a route", 20)
    _rc, told = lab.wire("status")
    assert f"gw      running  {LAB}-gw  ppp0 out, lan0 in, lan1 in" in told.splitlines()
    status = json.loads(lab.wire("--json", "status")[1])
    assert status["gw"]["cables"] == {"ppp0": "out", "lan0": "in", "lan1": "in"}
    assert lab.wire("plug", "gw1.example.net", "ppp0") == (0, "plug gw ppp0\n")
    assert ", 0% packet loss" in lab.sh("gw", "ping -c1 -W3 192.0.2.10")

    # The role puts everything right, too.
    lab.wire("unplug", "gw", "lan1")
    assert "changed=1" in lab.play() and "lan1 in" in lab.wire("status")[1]


def test_what_cannot_be_done_is_one_sentence(lab: Lab) -> None:
    assert lab.wire("plug", "gw", "eth7") == (1, "lab-wire: gw has no cable eth7 (there are lan0, lan1, ppp0)\n")
    assert lab.wire("unplug", "gw", "br0") == (1, "lab-wire: gw has no cable br0 (there are lan0, lan1, ppp0)\n")
    assert lab.wire("unplug", "pc", "eth0") == (1, "lab-wire: no such node: pc (there are branch, gw)\n")
    rc, said = lab.wire("plug", "gw")
    assert rc == 2 and said.endswith("plug which cable? lab-wire plug NODE INTERFACE\n")


#: What a command sees of where it runs. Only the cgroup may differ.
SURROUNDINGS = """
env | sort; pwd; id; hostname; grep Cap /proc/self/status
for one in mnt uts ipc net pid user; do readlink /proc/self/ns/$one; done
cat; exit 7
"""


def test_the_quick_podman_of_the_tests_gives_what_podman_gives(lab: Lab) -> None:
    folders = [each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != QUICK]
    itself = shutil.which("podman", path=os.pathsep.join(folders))

    def told(podman: str | Path, *words: str) -> tuple[int, str]:
        done = subprocess.run([str(podman), *words], text=True, capture_output=True, check=False, input="asked")
        return done.returncode, done.stdout

    node = f"{LAB}-gw"
    for words in ((node,), ("--interactive", node), ("-i", node), ("--user", "root", node)):
        command = ("exec", *words, "sh", "-c", SURROUNDINGS)
        assert told(QUICK / "podman", *command) == told(itself, *command)
    assert told(QUICK / "podman", "mount", node) == told(itself, "mount", node)
    assert told(QUICK / "podman", "exec", node, "no-such-program")[0] == 127
    assert told(QUICK / "podman", "exec", f"{LAB}-nobody", "true") == told(itself, "exec", f"{LAB}-nobody", "true")
    # It knows a node again after a restart, when every process is another one.
    assert lab.wire("reboot", "gw")[0] == 0
    command = ("exec", node, "readlink", "/proc/self/ns/net")
    assert told(QUICK / "podman", *command) == told(itself, *command)


#: What a module sees of where it runs, and what it answers.
MODULE = """
import os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({})
spaces = {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns") if name != "cgroup"}
module.exit_json(answer="first", env=dict(os.environ), place=os.getcwd(), ids=os.getresuid(), spaces=spaces)
"""


def test_the_quick_connection_of_the_tests_gives_what_podman_gives(lab: Lab) -> None:
    quick, inventory = lab.folder / "tests/quick", lab.folder / "lab/inventory.yml"
    shutil.copytree(QUICK, quick)
    told = lab.folder / "library/told.py"
    told.parent.mkdir()
    env = {**os.environ, "ANSIBLE_LIBRARY": str(told.parent), "ANSIBLE_CONNECTION_PLUGINS": str(quick / "connection")}

    def run(module: str, connection: str) -> list[str]:
        argv = ["ansible", "all", "-i", str(inventory), "-m", module, "-e", f"ansible_connection={connection}", "-o"]
        done = subprocess.run(argv, env=env, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return sorted(done.stdout.splitlines())

    told.write_text(MODULE)
    kept = lab.folder / ".cache/compiled-modules"
    for module in ("told", "ipmasq.linux.gateway_info"):
        plain = run(module, "containers.podman.podman")
        assert len(plain) == 2 and len(list(kept.glob(f"*.{module.rpartition('.')[2]}-*"))) == 0
        assert run(module, "quick") == plain
        (here,) = kept.glob(f"*.{module.rpartition('.')[2]}-*")
        compiled = here.stat().st_ino
        # The second time with what the first has compiled, also on a host that has not seen it.
        lab.sh("branch", "rm -r /var/cache/ipmasq-quick")
        assert run(module, "quick") == plain
        assert here.stat().st_ino == compiled
    told.write_text(MODULE.replace("first", "other"))
    assert all('"answer": "other"' in line for line in run("told", "quick"))
