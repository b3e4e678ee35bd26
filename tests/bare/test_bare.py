# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bare machine: Debian's minimal system, git, make, python3 and ca-certificates.

It runs a clone, `make setup`, `make demo`, a bench, and the first test of every stage, so that programs that we once
installed here cannot hide a missing step. With IPMASQ_BARE_ALL=1 it also runs all of `make test`. The machine is a
folder with its own namespaces for mounts and processes. It shares the network of this machine, because it has to fetch
packages.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import test as stages  # tools/test.py

RELEASES = os.environ.get("IPMASQ_BARE_RELEASES", "bookworm trixie").split()
HAS = "git,make,python3,ca-certificates"
#: How pip reaches its index depends on this machine, and applies to the bare one as well.
SETTINGS = [Path("/etc/pip.conf"), Path("/etc/xdg/pip"), Path("/etc/ssl/certs/ca-certificates.crt")]
PASSED_ON = ("PIP_", "HTTP", "NO_PROXY")
FIRST_TESTS = {
    "lint": "make lint",
    "sanity": "make sanity",
    "unit": "{pytest} tests/unit -x --maxfail=1 -k test_golden",
    "house": "{pytest} tests/house/test_artifact.py",
    "integration": "{pytest} tests/integration/test_packets.py tests/integration/test_services.py -k 'nft or ftp'",
    "lab": "{pytest} tests/lab/test_topology.py tests/lab/test_snapshot.py",
    "lan_client": "{pytest} tests/lan_client -k there_and_back",
    "molecule": "{pytest} tests/molecule -k default",
}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a system"),
]


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, *, check: bool = True) -> str:
        """What a command prints on the machine, in the clone."""
        # Its root is a mount, because podman remounts it.
        steps = [
            "mount --make-rprivate /",
            f"mount --bind {self.root} {self.root}",
            f"cd {self.root}",
            "mount --rbind /dev dev; mount --rbind /sys sys; mount -t proc proc proc",
            "pivot_root . mnt",
            "umount -l /mnt",
            'exec chroot . sh -c "$1"',
        ]
        inside = f"cd /root/linux && export HOME=/root PATH=$PATH:/usr/sbin:/sbin && {command}"
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"]
        env = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
        env.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8")
        done = subprocess.run(
            [*argv, "; ".join(steps), "sh", inside], env=env, capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{command}\n{output[-8000:]}"
        return output


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Machine]:
    root = tmp_path_factory.mktemp(request.param) / "root"
    sources = ROOT / "roles/lab/files/lab-image"
    make = f"import runpy, sys; print(runpy.run_path({str(sources)!r})['host_mirror']() or '')"
    mirror = subprocess.run([sys.executable, "-c", make], capture_output=True, text=True, check=True).stdout.strip()
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={HAS}", request.param, str(root)]
    subprocess.run([*command, *([mirror] if mirror else [])], check=True)
    for place in SETTINGS:
        if place.is_dir():
            shutil.copytree(place, root / place.relative_to("/"))
        elif place.exists():
            shutil.copy(place, root / place.relative_to("/"))
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root / "root/linux")], check=True)
    yield Machine(root)
    shutil.rmtree(root, ignore_errors=True)


def test_setup(machine: Machine) -> None:
    said = machine.run("make setup")
    assert "setup: installing system packages" in said
    # The second time there is nothing to do.
    assert machine.run("make setup").strip() == ""


def test_demo(machine: Machine) -> None:
    said = machine.run("make demo; demo=$?; make down; exit $demo")
    assert said.count("masquerade ───► 198.51.100.2") == 3, said[-4000:]
    assert said.count("masquerade ───► 2001:db8:100::2") == 2, said[-4000:]
    assert "lab ipmasq: gone" in said


def test_first_bench(machine: Machine) -> None:
    """It finds what it needs. Its budgets are for a machine that does nothing else."""
    said = machine.run("make bench-quick BENCHES=sessions", check=False)
    assert "bench: installing system packages" in said
    assert "sessions │ done after" in said, said[-4000:]


@pytest.mark.parametrize("stage", sorted(FIRST_TESTS))
def test_first_test_of_a_stage(machine: Machine, stage: str) -> None:
    pytest_here = "env PYTHONPATH=.cache/collections:tests PATH=$PWD/.venv/bin:$PATH .venv/bin/python -m pytest -q -x"
    said = machine.run(FIRST_TESTS[stage].format(pytest=pytest_here))
    passed = re.search(r"(\d+) passed", said)
    assert stage in ("lint", "sanity") or (passed and int(passed.group(1)) > 0), said[-4000:]


@pytest.mark.skipif(not os.environ.get("IPMASQ_BARE_ALL"), reason="takes as long as make test: set IPMASQ_BARE_ALL=1")
def test_everything(machine: Machine) -> None:
    said = machine.run("make test")
    assert "FAILED" not in said.rpartition("══ summary")[2], said[-8000:]


def test_every_stage_is_tried() -> None:
    assert set(FIRST_TESTS) | {"neighbours", "vm", "bare"} == set(stages.STAGES)
