# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit tests of module code on every supported Python and ansible-core that this machine has.

A Python that is too old for a controller still runs modules: for it, ansible-core's module_utils come from the wheel.
The oldest Python runs all tests, and the newest all but the two longest, which are about text and about rules, not
about Python: the one about rules alone runs 11 lines of 19,577. What exists in both exists in those between them, which
only run what depends on ansible-core: the modules. Of a test's parameters, each of them tries every fourth, and each
others: together, the oldest and the newest run 17,728 of the 17,914 lines that all parameters run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Member:
    python: str
    core: str
    #: What the tests need there; hypothesis has dropped the oldest Pythons, so pip takes the last version that fits.
    packages: tuple[str, ...] = ("pytest", "hypothesis", "pyyaml")


#: Each supported Python and core once. 2.17 runs modules on 3.7 and later, 2.19 on 3.8, 2.21 on 3.9.
MEMBERS = (Member("3.7", "2.17"), Member("3.9", "2.19"), Member("3.13", "2.21"))
#: Nothing but modules imports ansible-core: test_architecture.py.
MODULES = ("tests/unit/plugins/modules",)
ALL = ("tests/unit/plugins/module_utils", *MODULES)
LONGEST = tuple(f"--ignore=tests/unit/plugins/module_utils/test_{name}.py" for name in ("hostile_text", "properties"))


def find_interpreter(version: str) -> str:
    """The path of this Python: on PATH, or one that pyenv keeps; empty if there is none."""
    candidates = [shutil.which(f"python{version}") or ""]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
        candidates += [str(path) for path in sorted(Path(root, "versions").glob(f"{version}.*/bin/python"))]
    for candidate in candidates:
        # A shim of pyenv may be on PATH for a version that is not installed.
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    return ""


def members() -> list[tuple[Member, str, tuple[str, ...]]]:
    """With the path of each Python, empty if this machine lacks it, and the tests that it runs."""
    found = [(member, find_interpreter(member.python)) for member in MEMBERS]
    present = [member for member, interpreter in found if interpreter]
    runs: dict[Member, tuple[str, ...]] = dict.fromkeys(MEMBERS, MODULES)
    runs.update(dict.fromkeys(present[-1:], (*ALL, *LONGEST)))
    runs.update(dict.fromkeys(present[:1], ALL))
    return [(member, interpreter, runs[member]) for member, interpreter in found]


def command(member: Member, interpreter: str, tests: tuple[str, ...], root: Path) -> tuple[list[str], dict[str, str]]:
    """The command that runs the tests, and its environment. Creates the virtual environment if it is missing."""
    folder = root / ".cache" / "unit" / f"{member.python}-{member.core}"
    python = folder / "bin" / "python"
    stamp = folder / ".ipmasq"
    wanted = hashlib.sha256(repr(member).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="ascii") != wanted:
        subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
        _pip(python, "install", "--no-compile", *member.packages)
        stamp.write_text(wanted, encoding="ascii")
    paths = [root / ".cache" / "collections", root / "tests", _core(member.core, root)]
    return [str(python), "-m", "pytest", "-q", *tests], {"PYTHONPATH": os.pathsep.join(str(path) for path in paths)}


def _core(version: str, root: Path) -> Path:
    """An unpacked wheel of ansible-core."""
    folder = root / ".cache" / "unit" / f"core-{version}"
    if not folder.exists():
        download = root / ".cache" / "unit" / "wheels"
        _pip(
            root / ".venv" / "bin" / "python",
            "download", "--no-deps", "--ignore-requires-python", "--dest", str(download), f"ansible-core=={version}.*",
        )  # fmt: skip
        wheel = max(download.glob(f"ansible_core-{version}.*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)
