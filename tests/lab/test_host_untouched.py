# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine under a lab is the same before, during and after: addresses, routes, rules, filters, every sysctl."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LAB = "untouched"
CLONE_NEWNET, SO_NETNS_COOKIE = 0x40000000, 71

# Counters that the kernel itself changes, even on an idle machine. Everything else must stay the same.
MOVING_SYSCTLS = {
    "fs.aio-nr",
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.quota.cache_hits",
    "fs.quota.drops",
    "fs.quota.lookups",
    "fs.quota.reads",
    "fs.quota.syncs",
    "fs.quota.writes",
    "fs.quota.allocated_dquots",
    "fs.quota.free_dquots",
    "kernel.ns_last_pid",
    "kernel.pty.nr",
    "kernel.random.entropy_avail",
    "kernel.random.uuid",
    "net.netfilter.nf_conntrack_count",
}

VIEWS = ("ip route", "ip -6 route", "ip address", "ip rule", "ip -6 rule", "nft", "iptables", "ip6tables", "sysctl")

missing = [tool for tool in ("podman", "ansible-playbook", "nft", "iptables-save", "unshare") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: reads the host's filters and enters namespaces"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]


def output(*argv: str) -> str:
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout


def without_lifetimes(text: str) -> t.Any:
    """`ip -json` without the clocks of leases and router advertisements."""

    def clean(entry: dict[str, t.Any]) -> dict[str, t.Any]:
        return {
            key: value
            for key, value in entry.items()
            if key not in ("valid_life_time", "preferred_life_time", "expires")
        }

    return json.loads(text or "[]", object_hook=clean)


def without_counters(text: str) -> str:
    lines = (re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#"))
    return "\n".join(lines)


def sysctls(text: str) -> dict[str, str]:
    pairs = (line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return {key: value for key, value in pairs if key not in MOVING_SYSCTLS}


def snapshot(*prefix: str) -> dict[str, t.Any]:
    """What the kernel would tell anyone about this host; prefix: a command that enters another namespace."""
    state: dict[str, t.Any] = {
        f"ip {words}": without_lifetimes(output(*prefix, "ip", "-json", *words.split()))
        for words in ("route", "-6 route", "address", "rule", "-6 rule")
    }
    state["nft"] = output(*prefix, "nft", "--stateless", "list", "ruleset")
    state["iptables"] = without_counters(output(*prefix, "iptables-save"))
    state["ip6tables"] = without_counters(output(*prefix, "ip6tables-save"))
    # sysctl ends with an error where single keys cannot be read.
    state["sysctl"] = sysctls(
        subprocess.run([*prefix, "sysctl", "-a"], text=True, check=False, capture_output=True).stdout
    )
    assert set(state) == set(VIEWS)
    return state


def load_kernel_modules() -> None:
    """Kernel modules add sysctls, so before the first snapshot use in a namespace everything that the lab will use."""
    script = """
        ip link add a type veth peer name b && ip link add c type bridge
        nft 'table inet t { chain c { type nat hook postrouting priority 100; masquerade; }; }'
        for tool in iptables ip6tables; do
            $tool -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT && $tool -t nat -A POSTROUTING -j MASQUERADE
        done
    """
    subprocess.run(["unshare", "--net", "sh", "-c", script], check=False, capture_output=True)


def network_namespaces() -> set[int]:
    """Every namespace that a process or a mount keeps alive."""
    mounts = re.findall(r"net:\[\d+\] (\S+)", Path("/proc/self/mountinfo").read_text())
    found = {}
    for place in [*Path("/proc").glob("[0-9]*/ns/net"), *map(Path, mounts)]:
        with contextlib.suppress(OSError):  # ended meanwhile
            found.setdefault(place.stat().st_ino, place)
    return {identity(place) for place in found.values()}


def identity(namespace: Path) -> int:
    """A number that no other namespace ever has, unlike that of its file; 0 if it has gone meanwhile."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError), open(namespace, "rb") as file, open(writer, "wb") as pipe:
            if ctypes.CDLL(None).setns(file.fileno(), CLONE_NEWNET) == 0:
                pipe.write(socket.socket(socket.AF_UNIX).getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, "rb") as pipe:
        return int.from_bytes(pipe.read(), sys.byteorder)


class Lab:
    def __init__(self, folder: Path) -> None:
        self.directory = folder / "lab"
        collections = folder / "ansible_collections/ipmasq"
        collections.mkdir(parents=True)
        (collections / "linux").symlink_to(REPOSITORY)
        self.environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_NOCOLOR": "1"}

    def play(self, state: str, *, check: bool = False) -> int:
        """Run the playbook; returns how many tasks changed something."""
        argv = ["ansible-playbook", "ipmasq.linux.lab", "-e", f"lab_name={LAB} lab_state={state}"]
        argv += ["-e", f"lab_directory={self.directory}", *(["--check"] if check else [])]
        result = subprocess.run(argv, env=self.environment, text=True, check=False, capture_output=True)
        assert result.returncode == 0, result.stdout + result.stderr
        found = re.search(r"^localhost .* changed=(\d+)", result.stdout, re.MULTILINE)
        assert found, result.stdout
        return int(found[1])

    def wire(self, *words: str) -> t.Any:
        return json.loads(output(sys.executable, str(self.directory / "lab-wire"), "--json", *words))


def containers() -> list[str]:
    listed = output("podman", "ps", "--all", "--format", "{{.Names}}").split()
    return [name for name in listed if name.startswith(f"{LAB}-")]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    """The whole life of a lab, recorded for the tests below."""
    lab = Lab(tmp_path_factory.mktemp("untouched"))
    load_kernel_modules()
    told: dict[str, t.Any] = {"lab": lab, "volumes before": output("podman", "volume", "ls", "--quiet")}
    told["before"] = snapshot()
    told["check of a new lab"] = (lab.play("present", check=True) > 0, containers(), lab.directory.exists())
    try:
        told["first up"] = lab.play("present")
        told["up"] = snapshot()
        told["containers"] = containers()
        pids = output("podman", "inspect", "--format", "{{.State.Pid}}", *told["containers"]).split()
        told["namespaces"] = {identity(Path(f"/proc/{pid}/ns/net")) for pid in pids}
        told["namespaces up"] = network_namespaces()
        told["states"] = [
            output("podman", "exec", name, "systemctl", "is-system-running").strip()
            for name in told["containers"]
            if not name.endswith("-fabric")
        ]
        told["second up"] = lab.play("present")
        output("podman", "restart", f"{LAB}-gateway")
        told["check of a repair"] = lab.play("present", check=True)
        told["repair"] = lab.play("present")
        told["cables"] = lab.wire("status")["gateway"]["cables"]
        lab.wire("reboot", "gateway", "office1")
        told["rebooted"] = snapshot()
    finally:
        told["down"] = lab.play("absent")
    told["second down"] = lab.play("absent")
    told["after"] = snapshot()
    return told


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("moment", ["up", "rebooted", "after"])
def test_host_is_as_before(story: dict[str, t.Any], moment: str, view: str) -> None:
    assert story[moment][view] == story["before"][view]


def test_every_node_boots_without_a_failed_unit(story: dict[str, t.Any]) -> None:
    assert story["states"] == ["running"] * 5


def test_check_mode_announces_and_does_nothing(story: dict[str, t.Any]) -> None:
    assert story["check of a new lab"] == (True, [], False)


def test_up_twice_changes_nothing(story: dict[str, t.Any]) -> None:
    assert (story["first up"] > 0, story["second up"]) == (True, 0)


def test_up_repairs_what_a_restart_took_away(story: dict[str, t.Any]) -> None:
    assert (story["check of a repair"], story["repair"]) == (1, 1)
    assert story["cables"] == {"wan0": "in", "office0": "in", "guests0": "in"}


def test_down_leaves_nothing_behind(story: dict[str, t.Any]) -> None:
    assert story["down"] > 0
    assert story["second down"] == 0
    assert len(story["containers"]) == len(story["namespaces"]) == 6
    assert story["namespaces"] <= story["namespaces up"] - {0}
    assert not containers()
    assert not story["namespaces"] & network_namespaces()
    assert output("podman", "volume", "ls", "--quiet") == story["volumes before"]
    assert not story["lab"].directory.exists()
    assert not list(Path("/var/tmp").glob("ipmasq-lab-*"))  # noqa: S108


CHANGES = [
    ("ip route", "ip route add 203.0.113.0/24 dev lo"),
    ("ip -6 route", "ip route add 2001:db8:9::/64 dev lo"),
    ("ip address", "ip link add x type bridge"),
    ("ip rule", "ip rule add from 203.0.113.1 table 9"),
    ("ip -6 rule", "ip -6 rule add from 2001:db8::1 table 9"),
    ("nft", "nft add table inet x"),
    ("iptables", "iptables -A FORWARD -j DROP"),
    ("ip6tables", "ip6tables -A FORWARD -j DROP"),
    ("sysctl", "sysctl -q -w net.ipv4.ip_forward=1"),
]


@pytest.mark.parametrize(("view", "change"), CHANGES, ids=[view for view, _change in CHANGES])
def test_the_snapshot_sees_a_change(view: str, change: str) -> None:
    """In a separate namespace, or the test itself would change the host."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        enter = ("nsenter", "--target", str(holder.pid), "--net")
        before = snapshot(*enter)
        assert snapshot(*enter) == before
        output(*enter, *change.split())
        assert snapshot(*enter)[view] != before[view]
        holder.stdin.close()
