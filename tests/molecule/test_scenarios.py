# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each molecule scenario is one test: molecule test -s NAME, with its steps shown as they come."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
#: Scenarios with other programs on the gateway have a separate stage.
NEIGHBOURS = [name for name in ALL if name.startswith("neighbour_")]
#: What molecule merges before a scenario's own file: what all share, and what those with a neighbour share.
BASE = ("--base-config", ".config/molecule/config.yml")
NEIGHBOUR_BASE = (*BASE, "--base-config", ".config/molecule/neighbour.yml")
SCENARIOS = [name for name in ALL if name not in (*NEIGHBOURS, "vm")]
STEP = re.compile(r"(?:INFO|ERROR|WARNING|CRITICAL).*|(?:PLAY|TASK) \[.*")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab of molecule's scenarios is rootful: run as root"),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
]


def test_there_are_scenarios() -> None:
    assert {"default", "iptables", "iptables_legacy"} <= set(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    run(scenario, BASE)


@pytest.mark.parametrize("scenario", NEIGHBOURS)
def test_neighbour(scenario: str) -> None:
    run(scenario, NEIGHBOUR_BASE)


def run(scenario: str, base: tuple[str, ...]) -> None:
    env = {**os.environ, "MOLECULE_GLOB": "molecule/*/molecule.yml", "NO_COLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    process = subprocess.Popen(
        ["molecule", *base, "test", "--scenario-name", scenario],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    start, log = time.monotonic(), []
    assert process.stdout
    for line in process.stdout:
        log.append(line)
        if "PLAY [" in line or "Executing" in line or "Running" in line:
            print(f"  {time.monotonic() - start:4.0f} s  {line.strip()[:100]}", flush=True)
    assert process.wait() == 0, "".join(log)
