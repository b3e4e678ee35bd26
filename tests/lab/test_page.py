# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook of docs/lab.md, as it is there: from nothing to a tested gateway, and back to nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/lab.md"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a lab"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman"),
]


def containers() -> list[str]:
    argv = ["podman", "ps", "--all", "--format", "{{.Names}}"]
    listed = subprocess.run(argv, text=True, check=True, capture_output=True).stdout.split()
    return [name for name in listed if name.startswith("trial-")]


def test_the_playbook_of_the_page(tmp_path: Path) -> None:
    section = PAGE.read_text().partition("## The shortest test of a gateway")[2].partition("\n## ")[0]
    playbook, with_variables = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert len(playbook.splitlines()) <= 30
    # The second block is one of the plays, with a variable of the gateway.
    play = with_variables.partition("  vars:\n")[0]
    assert playbook.count(play) == 1
    (tmp_path / "lab.yml").write_text(playbook.replace(play, with_variables))
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "ANSIBLE_NOCOLOR": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            ["ansible-playbook", *words], cwd=tmp_path, env=env, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert not containers()
    try:
        out = run("lab.yml", "--diff")
        asked = out.partition("TASK [See the gateway's address outside]")[2].partition("\n\n")[0]
        assert re.findall(r"^ok: \[(\w+)\]", asked, re.MULTILINE) and asked.count("ok: [") == 3, out
        assert "+outbound web: accept" in out
        assert not containers() and not (tmp_path / "cache/ipmasq-lab/trial").exists()
    finally:
        if containers():
            run("ipmasq.linux.lab", "-e", "lab_name=trial", "-e", "lab_state=absent")
