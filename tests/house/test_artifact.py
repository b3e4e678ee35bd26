# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as a user gets it: built, installed into an empty folder, and run from there by full names."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import typing as t

import pytest
import yaml
from project import PLAYBOOKS, ROOT

if t.TYPE_CHECKING:
    from project import Installed

PLUGINS = [
    (kind, path.stem)
    for kind, folder in (("module", "modules"), ("filter", "filter"))
    for path in sorted((ROOT / "plugins" / folder).glob("[a-z]*.py"))
]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
NEEDED = {
    "README.md",
    "LICENSE",
    "meta/runtime.yml",
    "requirements.txt",
    "changelogs/changelog.yaml",
    "tests/config.yml",
}
UNWANTED = (
    ".git",
    ".venv",
    ".cache",
    ".ci",
    ".ansible/",
    ".config",
    "benchmarks/",
    "molecule/",
    "tools/",
    "tests/",
    "docs/images/",
    "docs/performance/",
    "pyproject.toml",
)
#: What other tools' tests need: the oldest Python of managed hosts, and what ansible-test must skip.
WANTED = {"tests/config.yml", "tests/sanity"}


def test_there_is_something_to_try() -> None:
    assert "site" in PLAYBOOKS
    assert ("module", "gateway") in PLUGINS
    assert {"gateway", "lan_client", "lab"} <= set(ROLES)


def test_what_is_in_it(installed: Installed) -> None:
    with tarfile.open(installed.tarball) as tar:
        names = set(tar.getnames())
    assert names >= NEEDED
    unwanted = [name for name in names if name.startswith(UNWANTED) and not name.startswith(tuple(WANTED))]
    assert not [name for name in unwanted if name.rstrip("/") != "tests"]
    assert not [name for name in names if name.endswith((".pyc", ".tar.gz"))]


def test_it_is_small(installed: Installed) -> None:
    """Galaxy refuses 20 MB; ours is text."""
    assert installed.tarball.stat().st_size < 1_000_000


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbook_by_its_full_name(installed: Installed, playbook: str) -> None:
    assert str(installed.path / "playbooks" / f"{playbook}.yml") in installed.playbooks


@pytest.mark.parametrize(("kind", "name"), PLUGINS, ids=["-".join(each) for each in PLUGINS])
def test_plugin_has_its_documentation(installed: Installed, kind: str, name: str) -> None:
    names = [f"ipmasq.linux.{each}" for of, each in PLUGINS if of == kind]
    shown = installed.documentation(kind, *names)[f"ipmasq.linux.{name}"]
    assert shown["doc"]["filename"].startswith(str(installed.path))
    assert shown["doc"]["short_description"]
    assert shown["examples"].strip()
    assert shown["return"]


@pytest.mark.parametrize("role", ROLES)
def test_role_has_its_documentation(installed: Installed, role: str) -> None:
    shown = installed.documentation("role", *(f"ipmasq.linux.{each}" for each in ROLES))[f"ipmasq.linux.{role}"]
    assert shown["path"].startswith(str(installed.path))
    # Our own checks say more, so a role describes its variables where Ansible does not check them first.
    (entry,) = shown["entry_points"].items()
    assert entry[0] != "main" and entry[1]["options"]


def test_site_runs_where_there_is_nothing_to_do(installed: Installed) -> None:
    """Empty groups: the playbook loads its roles and their plugins, and reaches its end."""
    (installed.folder / "hosts.ini").write_text("[gateways]\n[lan_clients]\n", encoding="utf-8")
    installed.run("ansible-playbook", "-i", "hosts.ini", "ipmasq.linux.site")


@pytest.mark.parametrize(
    ("engine", "collection"),
    [("podman", "containers.podman"), ("docker", "community.docker")],
    ids=["podman", "docker"],
)
def test_lab_names_the_collection_that_it_lacks(installed: Installed, engine: str, collection: str) -> None:
    """Its first step, with only ansible-core and our collection installed."""
    role = installed.path / "roles" / "lab"
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8"))
    topology = {name: defaults[f"lab_{name}"] for name in ("name", "release", "networks", "nodes")}
    topology.update(engine=engine, directory=str(installed.folder / "lab"), collections=[str(installed.collections)])
    # -S: without the collections of the package ansible.
    check = [sys.executable, "-S", str(role / "files/lab-wire"), "--topology", "-", "check"]
    done = subprocess.run(check, input=json.dumps(topology), text=True, capture_output=True, check=False)
    assert done.returncode != 0
    assert f"run: ansible-galaxy collection install {collection}" in done.stderr
    (first, *_others) = yaml.safe_load((role / "tasks/present.yml").read_text(encoding="utf-8"))
    assert "'check'" in first["ansible.builtin.command"]["argv"]
