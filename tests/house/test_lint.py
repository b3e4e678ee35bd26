# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What make lint looks at, besides the working tree."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import typing as t

from project import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import test as stages  # tools/test.py

if t.TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from project import Installed


def test_licences_and_documentation_are_those_of_the_tarball(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of the working tree, in which a file may be there that the tarball lacks."""
    commands = []

    def run(_outcome: object, *command: str, cwd: Path = ROOT, **_env: str) -> None:
        if "build" in command:
            (stages.CACHE / "tarball").mkdir(parents=True)
            (stages.CACHE / "tarball/ipmasq-linux-1.0.0.tar.gz").write_bytes(installed.tarball.read_bytes())
        commands.append((command, cwd))

    monkeypatch.setattr(stages, "run", run)
    monkeypatch.setattr(stages, "CACHE", tmp_path)
    stages.tarball(stages.Outcome("lint"), tmp_path / "tree")
    unpacked = tmp_path / "tarball/ansible_collections/ipmasq/linux"
    reuse, docs = commands[-2:]
    assert reuse[0][0] == "reuse" and reuse[1] == unpacked
    assert docs[0][0] == "antsibull-docs" and docs[0][-1] == str(unpacked)
    with tarfile.open(installed.tarball) as tar:
        assert all((unpacked / name).exists() for name in tar.getnames())
    # reuse reads what git does not ignore: all but the two files without a licence.
    ignored = ["git", "ls-files", "--others", "--ignored", "--exclude-standard"]
    said = subprocess.run(ignored, cwd=unpacked, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["FILES.json", "MANIFEST.json"]
