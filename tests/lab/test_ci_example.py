# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""examples/ci as a user has it: a copy elsewhere, the collection from its tarball, the commands of its README. It
passes unchanged, and fails for a declaration, or a rule, that does not do what its tests expect."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t

import pytest
import yaml
from house.project import ROOT, Installed

if t.TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "examples/ci"
BLOCKS = re.findall(r"^```console\n(.*?)^```", (EXAMPLE / "README.md").read_text(), re.DOTALL | re.MULTILINE)
FIRST, LATER = ([re.sub(r"\s{2,}# .*", "", line[2:]) for line in block.splitlines()] for block in BLOCKS[:2])


class Repository:
    """A copy of the example, and a user who has installed what its first commands install."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateways"
        shutil.copytree(EXAMPLE, self.path)
        self.env = {**Installed(folder).env, "PY_COLORS": "0", "ANSIBLE_FORCE_COLOR": "0"}

    def run(self, start: str) -> tuple[int, str]:
        """Exit code and output of the command in the README that begins with this text."""
        (command,) = [line for line in LATER if line.startswith(start)]
        done = subprocess.run(
            ["sh", "-ec", command], cwd=self.path, env=self.env, text=True, capture_output=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, start: str) -> str:
        code, output = self.run(start)
        assert code == 0, output
        return output


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Repository]:
    made = Repository(tmp_path_factory.mktemp("ci"))
    yield made
    made.must("molecule destroy")


def test_workflow_runs_what_the_readme_says() -> None:
    workflow = yaml.safe_load((EXAMPLE / ".github/workflows/ci.yml").read_text())
    (script,) = [step["run"] for step in workflow["jobs"]["gateways"]["steps"] if "run" in step]
    assert script.splitlines() == FIRST
    assert FIRST[-1] == "molecule test"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the lab is rootful")
@pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman")
def test_green_as_it_stands_and_red_for_what_it_tests(repository: Repository) -> None:
    tests = len(re.findall(r"^def test_", (EXAMPLE / "tests/test_gateway.py").read_text(), re.MULTILINE))
    assert repository.must("molecule test").count(f"{tests} passed") == 2  # before and after the power cycle
    repository.must("ansible-playbook")

    declared = repository.path / "group_vars/gateways.yml"
    declared.write_text(
        declared.read_text().replace("interfaces: [guest0]", "interfaces: [guest0]\n    reaches: [office]")
    )
    repository.must("molecule converge")
    code, output = repository.run("pytest tests")
    assert (code, re.findall(r"^FAILED \S+::(\w+)", output, re.MULTILINE)) == (
        1,
        ["test_guests_do_not_reach_the_office"],
    )

    subprocess.run(["podman", "exec", "ci-gw1", "nft", "delete", "table", "inet", "ipmasq"], check=True)
    code, output = repository.run("ansible-playbook")
    assert code == 2 and "as_applied" in output, output
