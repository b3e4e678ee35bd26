# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release, made in a clone: what is tagged, what is built, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import typing as t

import pytest
import yaml
from project import OUR_PROGRAMS, ROOT

if t.TYPE_CHECKING:
    from pathlib import Path

VERSION = "1.0.0"


def git(clone: Path, *words: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run(["git", *who, *words], cwd=clone, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The working tree, committed."""
    place = tmp_path / "linux"
    git(ROOT, "clone", "--quiet", str(ROOT), str(place))
    names = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, names):
        source = ROOT / name
        if source.is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(source.read_bytes())
            (place / name).chmod(source.stat().st_mode)
        else:
            (place / name).unlink(missing_ok=True)
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--allow-empty", "--message", "as it is")
    return place


def release(clone: Path, version: str = VERSION) -> subprocess.CompletedProcess[str]:
    who = {f"GIT_{role}_{what}": "somebody" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **who, "PATH": f"{OUR_PROGRAMS}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(clone / "tools/release"), version], cwd=clone, env=env, capture_output=True, text=True, check=False
    )


def test_a_release(clone: Path) -> None:
    (clone / "stray").mkdir()  # git does not see it, and the tarball must not either
    (clone / "stray" / "secret.pyc").write_text("no")
    done = release(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(clone, "describe", "--tags").strip() == VERSION
    assert git(clone, "status", "--porcelain") == ""
    assert f"ansible-galaxy collection publish .cache/dist/ipmasq-linux-{VERSION}.tar.gz" in done.stdout
    with tarfile.open(clone / f".cache/dist/ipmasq-linux-{VERSION}.tar.gz") as tar:
        names = tar.getnames()
        info = json.load(tar.extractfile("MANIFEST.json"))["collection_info"]
        entry = yaml.safe_load(tar.extractfile("changelogs/changelog.yaml"))["releases"][VERSION]
    assert info["version"] == VERSION
    assert entry["changes"]["minor_changes"] or entry["changes"]["major_changes"]
    assert "CHANGELOG.md" in names
    assert not [name for name in names if name.startswith("stray")]
    # Once more is refused, as the tag is there.
    assert "the tag 1.0.0 exists" in release(clone).stderr


def test_what_is_refused(clone: Path) -> None:
    assert "name the version" in release(clone, "").stderr
    (clone / "README.md").write_text("changed")
    assert "not committed" in release(clone).stderr
    git(clone, "checkout", "README.md")
    git(clone, "rm", "--quiet", *[str(path) for path in (clone / "changelogs/fragments").glob("*.yml")])
    git(clone, "commit", "--quiet", "--message", "nothing to tell")
    assert "there is nothing to release" in release(clone).stderr
    assert git(clone, "tag") == ""
