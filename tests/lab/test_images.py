# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of labs: how they go away, and what a package that Debian does not have is told to the user."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "roles/lab/files/lab-image"
#: Of the lab, in the order in which they must go: what is made of another image goes before that.
OURS = (
    "localhost/ipmasq-lab-with:bookworm-0123456789ab-ba9876543210",
    "localhost/ipmasq-lab:bookworm-0123456789ab",
    "localhost/ipmasq-lab:trixie-fedcba987654",
)
#: Of somebody else, however much alike.
OTHERS = (
    "docker.io/library/debian:bookworm",
    "localhost/ipmasq-lab:mine",
    "localhost/ipmasq-lab-mine:bookworm-0123456789ab",
    "example.net/localhost/ipmasq-lab:bookworm-0123456789ab",
)


def program(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """With the engine of this folder in place of the machine's."""
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C"}
    return subprocess.run([sys.executable, str(PROGRAM), *words], text=True, check=False, capture_output=True, env=env)


def engine(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text("#!/bin/sh\n" + script)
    (folder / name).chmod(0o755)


@pytest.fixture
def podman(tmp_path: Path) -> t.Iterator[Path]:
    """The real podman, with a storage of its own."""
    # Without the quick one of these tests, which would look for podman in the PATH and find the script below.
    places = [part for part in os.environ["PATH"].split(":") if Path(part).resolve() != ROOT / "tests/quick"]
    itself = shutil.which("podman", path=":".join(places))
    if itself is None or os.geteuid() != 0:
        pytest.skip("needs podman, as root")
    with tempfile.TemporaryDirectory(prefix="prune") as run:  # podman wants no more than 50 characters
        words = [itself, "--root", f"{tmp_path}/root", "--runroot", run, "--storage-driver", "vfs"]
        engine(tmp_path, "podman", f'exec {shlex.join(words)} "$@"\n')
        yield tmp_path / "podman"
        subprocess.run([str(tmp_path / "podman"), "rm", "--all", "--force"], check=False, capture_output=True)


def test_prune_removes_what_the_lab_made_and_nothing_else(podman: Path) -> None:
    def call(*words: str) -> list[str]:
        done = subprocess.run([str(podman), *words], text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    archive = podman.parent / "image.tar"
    for number, name in enumerate([*OURS, *OTHERS]):
        with tarfile.open(archive, "w") as tar:  # one that no other image is
            entry = tarfile.TarInfo("etc/name")
            entry.size = len(str(number))
            tar.addfile(entry, io.BytesIO(str(number).encode()))
        call("import", str(archive), name)
    call("tag", OURS[1], "localhost/kept:1")
    call("create", "--name", "user", "--network", "none", OURS[2], "true")

    def names() -> set[str]:
        return set(call("images", "--format", "{{.Repository}}:{{.Tag}}"))

    everything = names()
    assert everything == {*OURS, *OTHERS, "localhost/kept:1"}
    foretold = program(podman.parent, "prune", "--check")
    assert foretold.returncode == 0, foretold.stderr
    assert foretold.stdout.splitlines() == [f"would remove {name}" for name in OURS]
    assert names() == everything

    done = program(podman.parent, "prune")
    assert done.returncode == 0, done.stderr
    *removed, kept = done.stdout.splitlines()
    assert removed == [f"removed {name}" for name in OURS[:2]]
    assert kept.startswith(f"kept {OURS[2]}: ") and len(kept) > len(f"kept {OURS[2]}: ")
    assert names() == everything - {*OURS[:2]}
    call("rm", "user")
    assert program(podman.parent, "prune").stdout == f"removed {OURS[2]}\n"
    assert names() == {*OTHERS, "localhost/kept:1"}
    assert program(podman.parent, "prune").stdout == "no image of a lab is here\n"


def test_make_clean_prunes() -> None:
    """Only looked at: run here, it would take away the images of everybody's labs."""
    shown = subprocess.run(["make", "-n", "clean"], cwd=ROOT, text=True, check=True, capture_output=True).stdout
    assert "roles/lab/files/lab-image prune" in shown
    assert shown.index("lab-image prune") < shown.index("rm -rf .venv")


#: An engine whose build runs the real apt, as the layer with packages does. Every image seems to be there but that one.
BUILDS = """
case "$*" in
  "image inspect localhost/ipmasq-lab-with:"*) exit 1 ;;
  *packages=*) apt-get --simulate install --no-install-recommends --assume-yes no-such-package-a no-such-package-b
     echo "Error: building at STEP \\"RUN apt-get install\\": while running runtime: exit status 100" >&2; exit 100 ;;
esac
"""
#: What apt says of a package that others name and nobody has, in its old and its new quotes.
SAYS = """
case "$*" in
  "image inspect localhost/ipmasq-lab-with:"*) exit 1 ;;
  *packages=*) echo "E: Package {0} has no installation candidate" >&2; exit 100 ;;
esac
"""


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (BUILDS, "no-such-package-a and no package no-such-package-b"),
        (SAYS.format("'no-such-package-a'"), "no-such-package-a"),
        (SAYS.format("no-such-package-a"), "no-such-package-a"),
    ],
    ids=["apt", "new quotes", "no quotes"],
)
def test_a_package_that_debian_does_not_have_is_one_sentence(tmp_path: Path, script: str, names: str) -> None:
    if script == BUILDS and shutil.which("apt-get") is None:
        pytest.skip("not installed: apt")
    engine(tmp_path, "podman", script)
    done = program(tmp_path, "bookworm,no-such-package-a,no-such-package-b")
    assert done.returncode == 1
    said = f"lab-image: packages: bookworm has no package {names}; look it up with: apt-cache search NAME"
    assert done.stderr.splitlines()[-1] == said
