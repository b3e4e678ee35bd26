# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people copy: the examples, and playbooks on pages. Ansible and ansible-lint read them, the module reads their
variables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from project import OUR_PROGRAMS, ROOT

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import read_gateway
from ansible_collections.ipmasq.linux.plugins.plugin_utils import arguments

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway

BASIC = ROOT / "examples/basic"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: Pages leave out the names of plays.
NAMED = "- name: Shown on a page\n"
#: A task without a play is part of an implied one.
PLAY = f"{NAMED}  hosts: gateways\n  become: true\n  tasks:\n"
#: Rows that belong to no item.
NO_COUNTERS = {"jump", "lookup", "set"}
COLLECTIONS = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"), "NO_COLOR": "1"}


def read(*command: str, cwd: Path) -> str:
    program = [f"{OUR_PROGRAMS}/{command[0]}", *command[1:]]
    done = subprocess.run(program, cwd=cwd, env=COLLECTIONS, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_basic_is_complete() -> None:
    assert "ipmasq.linux" in (BASIC / "requirements.yml").read_text()
    listed = read("ansible-playbook", "site.yml", "--list-hosts", cwd=BASIC)
    for host in ("gw1.example.net", "desk1", "desk2"):
        assert host in listed
    read("ansible-playbook", "site.yml", "--syntax-check", cwd=BASIC)


def declared_by(variables: dict[str, Any]) -> Gateway:
    """The gateway of these variables of the role, which are all for it, and right."""
    options = {name[len("gateway_") :]: each for name, each in variables.items() if name.startswith("gateway_")}
    written = {name: each for name, each in options.items() if not (isinstance(each, str) and "{{" in each)}
    options, problems = arguments.read(MODULES["gateway"], written)
    checked = ArgumentSpecValidator(MODULES["gateway"]).validate(options)
    gateway, found = read_gateway(checked.validated_parameters)
    assert not [*problems, *checked.error_messages, *found]
    return gateway


def test_basic_declares_a_gateway() -> None:
    gateway = declared_by(yaml.safe_load((BASIC / "group_vars/gateways.yml").read_text()))
    assert [lan.name for lan in gateway.lans or ()] == ["office"]
    assert gateway.port_forwards[0].hairpin


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("roles/*/README.md"))]


def playbooks() -> list[tuple[str, str]]:
    """Every play and every task that a page shows."""
    found = []
    for page in pages():
        for number, block in enumerate(BLOCK.findall(page.read_text())):
            if re.search(r"^- hosts:", block, re.MULTILINE):
                text = re.sub(r"^- hosts:", f"{NAMED}  hosts:", block, flags=re.MULTILINE)
            elif re.search(r"^  (hosts|ansible\.builtin\.import_playbook):", block, re.MULTILINE):
                text = block
            elif re.match(r" *- name: [A-Z]", block):
                text = PLAY + textwrap.indent(textwrap.dedent(block), "    ").rstrip() + "\n"
            else:
                continue
            found.append((f"{page.parent.name}-{page.stem}-{number}.yml", "---\n" + text))
    return found


def test_playbooks_of_pages_can_be_read(tmp_path: Path) -> None:
    found = playbooks()
    assert len(found) >= 12
    for name, text in found:
        (tmp_path / name).write_text(text)
    read("ansible-playbook", "-i", "localhost,", "--syntax-check", *[name for name, _text in found], cwd=tmp_path)


BLOCKS_OF_PAGES = [
    pytest.param(block, id=f"{page.parent.name}/{page.stem}-{number}")
    for page in pages()
    for number, block in enumerate(BLOCK.findall(page.read_text()))
]


@pytest.mark.parametrize("block", BLOCKS_OF_PAGES)
def test_what_a_page_shows_can_be_copied(block: str) -> None:
    """It is YAML, and what it says of a gateway is taken as it is."""
    shown = yaml.safe_load(textwrap.dedent(block))
    if isinstance(shown, dict) and any(name.startswith("gateway_") for name in shown):
        declared_by(shown)


def lint(repository: Path) -> None:
    """As its owner would: in a repository of git, with the strictest profile."""
    subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
    subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
    command = [f"{OUR_PROGRAMS}/ansible-lint", "--offline", "--nocolor", "--profile", "production"]
    env = {**COLLECTIONS, "PATH": f"{OUR_PROGRAMS}:{os.environ['PATH']}"}
    env["ANSIBLE_COLLECTIONS_PATH"] += f":{sysconfig.get_path('purelib')}"  # awx.awx, for those who have AWX
    done = subprocess.run(command, cwd=repository, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_fleet_joins_a_repository_and_overwrites_nothing(tmp_path: Path) -> None:
    """docs/fleets.md, line by line, in examples/basic; beside it what our pages show."""
    before = {path.name for path in (ROOT / "examples/fleet").iterdir()}
    mine = tmp_path / "mine"
    shutil.copytree(BASIC, mine)
    (mine / "canary.yml").write_text("---\n- name: One of my own\n  hosts: canaries\n  gather_facts: false\n")
    held = {path: path.read_text() for path in mine.rglob("*") if path.is_file()}
    copies = re.findall(r"^\$ (cp .*?)(?:  +#.*)?$", (ROOT / "docs/fleets.md").read_text(), re.MULTILINE)
    assert copies
    for command in copies:
        # Some versions of cp end with 1 where they left a file as it was.
        subprocess.run(
            ["sh", "-c", command], cwd=mine, env={**os.environ, "fleet": str(ROOT / "examples/fleet")}, check=False
        )
    assert {path: path.read_text() for path in held} == held
    copied = {path.name for path in mine.iterdir()} & before
    assert copied >= {"drift.yml", "awx.yml", "pull.yml", "execution-environment.yml", "gateway-pull.timer"}
    # What only a new repository needs.
    assert before - copied == {"collections", "hosts.yml"}
    # In one file, as each costs a start of Ansible.
    (mine / "pages.yml").write_text("---\n" + "\n".join(text.removeprefix("---\n") for _name, text in playbooks()))
    lint(mine)


def test_ci_passes_ansible_lint(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples/ci", tmp_path / "mine")
    lint(tmp_path / "mine")


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_index_names_every_page(page: str) -> None:
    if page != "README.md":
        assert f"]({page})" in (ROOT / "docs/README.md").read_text()


def test_every_counter_has_its_line() -> None:
    """And every line its counter: what rules are called, in the golden cases, which have every kind of item."""
    page = (ROOT / "docs/troubleshooting.md").read_text().partition("## What each counter means")[2]
    cells = re.findall(r"^\| (`[^|]*) \|", page, flags=re.MULTILINE)
    described = {name for cell in cells for name in re.findall(r"`([a-z_]+)(?:/[A-Z]+)?`", cell)}
    comments = re.compile(r"ipmasq:[a-z0-9_]+/([a-z_]+)")
    listed = [path.read_text() for path in (ROOT / "tests/unit/golden").glob("*/*") if path.name != "gateway.yml"]
    keys = {key for text in listed for key in comments.findall(text)} - NO_COUNTERS
    assert len(keys) > 15
    assert keys == described
