# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files in examples/fleet that only other programs can judge: those of systemd, ansible-builder, and AWX."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from project import OUR_PROGRAMS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILES = ROOT / "examples/fleet"


def output(*command: str, cwd: Path = FILES) -> str:
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not installed: systemd-analyze")
def test_units(tmp_path: Path) -> None:
    for path in FILES.glob("gateway-pull.*"):
        # Where there is no ansible-pull, systemd would say so.
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/bin/ansible-pull", "/bin/true"))
    units = sorted(str(path) for path in tmp_path.iterdir())
    assert [path.rpartition(".")[2] for path in units] == ["service", "timer"]
    assert output("systemd-analyze", "verify", *units) == ""


@pytest.mark.skipif(shutil.which("ansible-builder") is None, reason="not installed: ansible-builder")
def test_execution_environment(tmp_path: Path) -> None:
    output("ansible-builder", "create", "--context", str(tmp_path))
    assert "COPY --from=galaxy" in (tmp_path / "Containerfile").read_text()
    assert "ipmasq.linux" in (tmp_path / "_build/requirements.yml").read_text()


def test_playbooks_can_be_read() -> None:
    playbooks = ["awx.yml", "canary.yml", "drift.yml", "pull.yml", "site.yml"]
    output(f"{OUR_PROGRAMS}/ansible-playbook", "-i", "hosts.yml", "--syntax-check", *playbooks)


def test_awx_knows_every_word() -> None:
    """Its modules are not run here; their documentation says what they take."""
    (play,) = yaml.safe_load((FILES / "awx.yml").read_text())
    tasks = [(name, options) for task in play["tasks"] for name, options in task.items() if name != "name"]
    assert tasks
    names = sorted({name for name, _options in tasks})
    known = json.loads(output(f"{OUR_PROGRAMS}/ansible-doc", "--json", *names))
    for name, options in tasks:
        assert set(options) <= set(known[name]["doc"]["options"]), name
        for option, value in options.items():
            choices = known[name]["doc"]["options"][option].get("choices")
            assert not choices or value in choices, (name, option)
