# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the project, and the collection as a user gets it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sysconfig
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def files_of_project() -> list[Path]:
    """What git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({ROOT / name for name in listed if name and (ROOT / name).is_file()})


PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
#: Where ansible-playbook and its siblings are in the virtual environment.
OUR_PROGRAMS = sysconfig.get_path("scripts")


class Installed:
    """The collection, built, and installed from the tarball into a folder that holds nothing else."""

    def __init__(self, folder: Path, programs: str = OUR_PROGRAMS) -> None:
        self.folder = folder
        self.collections = folder / "collections"
        site_packages = sysconfig.get_path("purelib")
        self.env = {
            # Its dependencies come from the package ansible; our own working tree must not be found.
            "ANSIBLE_COLLECTIONS_PATH": f"{self.collections}:{site_packages}",
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": f"{programs}:{os.environ['PATH']}",
            # What make test hastens Python and Ansible by; it holds nothing of the collection.
            "PYTHONPATH": str(ROOT / "tests" / "quick"),
        }
        self.run("ansible-galaxy", "collection", "build", "--output-path", str(folder), str(ROOT))
        (self.tarball,) = folder.glob("ipmasq-linux-*.tar.gz")
        self.run("ansible-galaxy", "collection", "install", "--offline", "--no-deps", str(self.tarball))
        self.path = self.collections / "ansible_collections" / "ipmasq" / "linux"

    @functools.cached_property
    def playbooks(self) -> str:
        """What Ansible says about the syntax of all of them, in one run."""
        names = [f"ipmasq.linux.{name}" for name in PLAYBOOKS]
        return self.run("ansible-playbook", *names, "--syntax-check", "-i", "localhost,")

    @functools.lru_cache  # noqa: B019 - there is one for each module of tests
    def documentation(self, kind: str, *names: str) -> dict[str, t.Any]:
        """Of several plugins of a kind, or roles, in one run."""
        found: dict[str, t.Any] = json.loads(self.run("ansible-doc", "--json", "--type", kind, *names))
        return found

    def run(self, *command: str) -> str:
        """What a command prints; it must not fail."""
        done = self.try_to_run(*command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def try_to_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        # The program is looked for on our own PATH, not on the one that it gets.
        program = shutil.which(command[0], path=self.env["PATH"])
        return subprocess.run(
            [program or command[0], *command[1:]],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
