# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""examples/ci as a user has it: a copy elsewhere, the collection from its tarball, the commands of its README. It
passes unchanged, and fails for a declaration that its own promise forbids, and for a foreign rule."""

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


def test_it_is_short() -> None:
    """At most 60 lines of YAML, beside the workflow."""
    files = [path for path in EXAMPLE.rglob("*.yml") if ".github" not in path.parts]
    lines = [line.strip() for path in files for line in path.read_text().splitlines()]
    written = [line for line in lines if line and line != "---" and not line.startswith("#")]
    assert 40 < len(written) <= 60


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def in_node(node: str, *argv: str, text: str = "") -> str:
    done = subprocess.run(
        ["podman", "exec", "--interactive", f"ci-{node}", *argv], input=text, text=True, check=True, capture_output=True
    )
    return done.stdout


def ran() -> list[str]:
    """Which programs the unit of the reflector has run, in this boot of its host; it runs no longer."""
    assert in_node("internet", "systemctl", "list-units", "--no-legend", "--all", "ipmasq-reflector*") == ""
    assert in_node("internet", "sh", "-c", "ls /run/ipmasq-reflector.* 2> /dev/null || true") == ""
    told = in_node("internet", "journalctl", "-b", "-o", "verbose", "--no-pager", "-u", "ipmasq-reflector.service")
    return sorted({name for name in ("reflector.py", "turnserver") if name in told})


def broken(output: str) -> list[tuple[str, str]]:
    """The lines of the last table that say so: host and promise."""
    return re.findall(r"(gw1|desk1|guest1) +broken +(\S.*?)  ", output)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the lab is rootful")
@pytest.mark.skipif(shutil.which("podman") is None, reason="not installed: podman")
def test_green_as_it_stands_and_red_for_what_is_wrong(repository: Repository) -> None:
    # Before and after the power cycle.
    assert len(re.findall(r"[0-9]{2,} holds, 0 broken", repository.must("molecule test"))) == 2

    change(
        repository.path / "group_vars/gateways.yml", "interfaces: [guest0]", "interfaces: [guest0], reaches: [office]"
    )
    change(
        repository.path / "molecule/default/inventory/hosts.yml",
        "reflector_addresses:",
        "reflector_coturn: true, reflector_addresses:",
    )
    repository.must("molecule converge")
    # What the clients asked: our reflector in a transient unit, at which nothing is left.
    assert ran() == ["reflector.py"]
    in_node("gw1", "nft", "-f", "-", text=THEIRS)
    code, output = repository.run("molecule verify")
    assert ran() == ["reflector.py", "turnserver"]
    wrong = broken(output)
    assert code and ("gw1", "guests reach no other LAN") in wrong, output
    # Somebody else's rule: the loop finds it, and names it, and so does the client.
    assert "inet theirs" in output, output
    assert [host for host, promise in wrong if promise == "udp over IPv4"] == ["desk1"], output


#: A rule that no look at policies finds.
THEIRS = """\
table inet theirs {
    chain forward { type filter hook forward priority 5; iifname "office0" meta l4proto udp drop; }
}
"""
