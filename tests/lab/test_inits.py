# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose first process is sysvinit or OpenRC: the gateway works after a boot, and is removed without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

ROLE = Path(__file__).resolve().parents[2] / "roles/lab"
OPENRC = "bookworm,sysvinit-core,openrc"
PACKAGES = {"sysvinit": "bookworm,sysvinit-core", "OpenRC on Debian": OPENRC, "OpenRC": OPENRC}
#: Debian's OpenRC boots without the runlevel "boot", and has the tools of sysvinit; Alpine's and Gentoo's do otherwise.
AS_ALPINE = "rm /usr/sbin/update-rc.d; sed -i 's/^exec.*/openrc sysinit; exec openrc boot/' /etc/init.d/rcS"
GATEWAY = {
    "wans": [{"interface": "wan0"}],
    "lans": [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}],
    "nat": [
        {"name": "own", "action": "static", "source": "192.168.1.10", "to": "198.51.100.9", "to_address": "add"},
        {"name": "rest"},
    ],
}
#: Interfaces of a container disappear with its namespace.
WIRE = "ip link add wan0 type veth peer name p0; ip link add lan0 type veth peer name p1; ip link set wan0 up; "
WIRE += "ip address add 198.51.100.2/24 dev wan0; ip address add 192.168.1.1/24 dev lan0; ip link set lan0 up"
FENCE = "nft list table inet ipmasq-fence 2> /dev/null | grep -c 'flags owner'"
KILL = "pkill -9 -x nft"
#: Everything under /etc, except for what changes whenever a container starts.
FILES = "find /etc -type f | grep -v -e mtab -e resolv -e adjtime -e '/etc/.pwd' -e /.depend | sort | xargs md5sum"
FILES += "; find /etc -type l | sort"
#: insserv writes the same dependencies in another order after a service has come and gone.
FILES += "; cat /etc/init.d/.depend.* 2> /dev/null | tr ' ' '\\n' | sort"
CONNECTION = os.environ.get("IPMASQ_LAB_CONNECTION", "containers.podman.podman")
#: Only for what starts a container: without options, tests/quick/podman answers "exec" at once.
RUNC = ("--runtime", "runc")


class Machine:
    """A container that boots."""

    def __init__(self, image: str, name: str, systemd: bool = False) -> None:
        self.name, self.systemd = name, systemd
        self.remove()
        self.podman(
            *RUNC, "run", "--detach", "--systemd=always" if systemd else "--systemd=false", "--name", name,
            "--network", "none", "--privileged",
            "--ulimit", "nofile=16384:16384", "--ulimit", "nproc=30000:30000", "--entrypoint", '["/sbin/init"]', image,
        )  # fmt: skip
        self.booted()

    def podman(self, *words: str) -> str:
        done = subprocess.run(["podman", *words], text=True, capture_output=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def sh(self, command: str) -> str:
        return self.podman("exec", self.name, "sh", "-ec", command)

    def booted(self) -> None:
        """In runlevel 2, with no boot script still running."""
        if self.systemd:
            up = "case $(systemctl is-system-running) in running | degraded) exit ;; esac"
            self.sh("for n in $(seq 300); do {0}; sleep 0.3; done; exit 1".format(up))
            return
        deadline = time.monotonic() + 90
        while self.sh("runlevel || true; pgrep -x 'rc|openrc' || true").split() != ["N", "2"]:
            assert time.monotonic() < deadline, self.podman("logs", self.name)
            time.sleep(0.3)

    def remove(self) -> None:
        subprocess.run(["podman", "rm", "--force", "--time", "0", self.name], capture_output=True, check=False)

    def boot(self) -> None:
        # "podman restart" gives up on a container that does not die within seconds, as on a busy machine.
        subprocess.run(["podman", "stop", "--time", "2", self.name], capture_output=True, check=False)
        self.podman("wait", self.name)
        self.podman(*RUNC, "start", self.name)
        self.booted()

    def apply(self, **options: t.Any) -> dict[str, t.Any]:
        done = subprocess.run(
            [
                "ansible", "all", "-i", f"{self.name},", "-c", CONNECTION, "-m", "ipmasq.linux.gateway",
                "-a", json.dumps(options), "-e", "ansible_python_interpreter=/usr/bin/python3",
            ],
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert " => {" in done.stdout, done.stdout + done.stderr
        return t.cast("dict[str, t.Any]", json.loads(done.stdout[done.stdout.index("{") :]))


def image_with(packages: str) -> str:
    build = [sys.executable, str(ROLE / "files/lab-image"), packages]
    done = subprocess.run(build, text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no image with {packages}: {done.stderr.strip().splitlines()[-1]}")
    (image,) = json.loads(done.stdout)["images"].values()
    return str(image)


@pytest.fixture(params=PACKAGES)
def machine(request: t.Any) -> t.Iterator[Machine]:
    made = Machine(image_with(PACKAGES[request.param]), "ipmasq-init-" + request.param.lower().replace(" ", "-"))
    try:
        if request.param == "OpenRC":
            made.sh(AS_ALPINE)
        yield made
    finally:
        made.remove()


def test_a_gateway_is_there_after_a_boot(machine: Machine) -> None:
    before = machine.sh(FILES)
    machine.sh(WIRE)
    done = machine.apply(**GATEWAY)
    assert done["changed"], done
    assert "+ service ipmasq: enabled" in done["differences"]
    second = machine.apply(**GATEWAY)
    assert not second["changed"], second
    assert machine.sh(FENCE).strip() == "1"
    machine.sh(KILL)
    machine.sh(f"for n in $(seq 50); do sleep 0.1; {FENCE} && exit; done")
    rules = machine.sh("nft list table inet ipmasq | sed 's/counter packets.*bytes [0-9]*//'")

    machine.boot()
    assert machine.sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert machine.sh("nft list table inet ipmasq | sed 's/counter packets.*bytes [0-9]*//'") == rules
    assert machine.sh(FENCE).strip() == "1"
    # Here the links come back after init starts; an init that finds them has the addresses at once.
    machine.sh(WIRE)
    machine.sh("service ipmasq-links restart > /dev/null")
    assert "198.51.100.9/32" in machine.sh("ip address show wan0")

    assert machine.apply(state="absent")["changed"]
    assert machine.sh(FILES) == before
    machine.boot()
    assert machine.sh("cat /proc/sys/net/ipv4/ip_forward; nft list tables").split() == ["0"]


@pytest.mark.parametrize("machine", ["sysvinit"], indirect=True)
def test_a_damaged_state_does_not_route(machine: Machine) -> None:
    machine.sh(WIRE)
    assert machine.apply(**GATEWAY)["changed"]
    machine.sh("truncate -s 100 /etc/ipmasq/default.nft; echo net.ipv4.ip_forward=1 > /etc/sysctl.d/10-forward.conf")
    machine.boot()
    assert machine.sh("cat /proc/sys/net/ipv4/ip_forward; nft list tables").split() == [
        "0",
        "table",
        "inet",
        "ipmasq-fence",
    ]
