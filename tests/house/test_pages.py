# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pages name exists: headings that links lead to, playbooks, modules, variables, and messages of the code."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING

import pytest
import yaml
from project import PLAYBOOKS, ROOT

from ansible_collections.ipmasq.linux.plugins.module_utils._base import journal
from ansible_collections.ipmasq.linux.plugins.module_utils._base.origin import Origin
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import timer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/ci/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]*)#([^)\s]+)\)")
VARIABLE = re.compile(r"(?<![\w./-])(?:gateway|lan_client)_[a-z0-9_]*[a-z0-9]")
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
#: Variables that are not options: what roles return, and what an inventory may say of a gateway.
OTHER_VARIABLES = {"gateway_result", "lan_client_result", "gateway_addresses"}


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = HEADING.findall(FENCED.sub("", path.read_text(encoding="utf-8")))
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", each).lower() for each in headings]
    return {re.sub(r"[^\w\- ]", "", each).strip().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_to_headings(page: Path) -> None:
    links = [(page.parent / target if target else page, anchor) for target, anchor in LINK.findall(TEXTS[page])]
    assert [f"{short(path.resolve())}#{anchor}" for path, anchor in links if anchor not in anchors(path)] == []


def commands() -> Iterator[tuple[Path, str]]:
    for page, text in TEXTS.items():
        for block in CONSOLE.findall(text):
            for command in re.findall(r"^[$#] (ansible(?:-playbook)? .*)$", block, re.MULTILINE):
                yield page, command


def test_a_command_names_the_inventory_that_it_needs() -> None:
    asked = [(page, each) for page, each in commands() if re.search(r"^ansible |\bipmasq\.linux\.(?!lab\b)\w", each)]
    assert len(asked) > 15
    assert [f"{short(page)}: {each}" for page, each in asked if " -i " not in each] == []


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_playbooks_modules_and_roles_exist(page: Path) -> None:
    named = set(re.findall(r"\bipmasq\.linux\.(\w+)", TEXTS[page]))
    run = set(re.findall(r"ansible-playbook\b[^`\n]*?\bipmasq\.linux\.(\w+)", TEXTS[page]))
    assert named - {*PLAYBOOKS, *MODULES, *ROLES} == set()
    assert run - set(PLAYBOOKS) == set()


def variables() -> set[str]:
    found = set(OTHER_VARIABLES) | set(MODULES)
    for role in ROLES:
        specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
        found |= {name for spec in specs.values() for name in spec["options"]}
    return found


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_variables_exist(page: Path) -> None:
    code = [*re.findall(r"`([^`\n]+)`", FENCED.sub("", TEXTS[page])), *FENCED.findall(TEXTS[page])]
    named = {name for each in code for name in VARIABLE.findall(each)}
    assert named - variables() == set()


def test_the_roles_result_has_all_its_keys() -> None:
    """tools/generate.py writes those that the module documents; the others are Ansible's, or of failures."""
    page = TEXTS[ROOT / "docs/playbooks.md"].partition("## The role's result\n")[2]
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    tree = ast.parse((ROOT / "plugins/module_utils/_change/telling.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    dicts = [
        next(node for node in ast.walk(function) if isinstance(node, ast.Dict))
        for function in functions
        if function.name in ("to_dict", "gateway_values")
    ]
    keys = {key.value for each in dicts for key in each.keys if isinstance(key, ast.Constant)}
    assert len(keys) > 7
    assert keys | {"warnings", "proof", "pending", "problems", "msg", "missing_programs"} <= described


# --- Why a change was rolled back -------------------------------------------------------------------------------------

SECTION = TEXTS[ROOT / "docs/troubleshooting.md"].partition("## A change was rolled back\n")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if line.startswith("| ")][1:]
JOURNAL, RUN = ([each for row in ROWS for each in re.findall(r"`([^`]+)`", row[column])] for column in (0, 1))
SOURCES = [
    *sorted((ROOT / "plugins/module_utils/_rollback").glob("*.py")),
    *(
        ROOT / "plugins/module_utils" / name
        for name in ("_base/journal.py", "_change/proving.py", "_change/persist.py")
    ),
    ROOT / "plugins/plugin_utils/confirming.py",
]


def messages(path: Path) -> list[str]:
    """All strings, with … in place of what is put in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [re.sub(r"\{\w*\}", "…", each) for each in found]


MESSAGES = [each for path in SOURCES for each in messages(path)]


def is_like(said: str, shown: list[str]) -> bool:
    return any(re.fullmatch(re.escape(each).replace("…", ".*"), said) for each in shown)


@pytest.mark.parametrize("shown", [*JOURNAL, *RUN])
def test_every_reason_is_what_the_code_says(shown: str) -> None:
    for part in re.split("…|[:;] ", shown):
        words = part.strip(" ()")
        assert not words or any(words in each for each in MESSAGES), words


def test_every_reason_of_the_code_has_its_row() -> None:
    assert len(ROWS) >= 7
    by = Origin("alice", "192.0.2.1")
    reasons = [timer.reason(timer.Confirmation(30, "token", until), by) for until in ("14:05:30", "")]
    said = [shlex.split(each)[0] for each in reasons]
    late = next(each for each in MESSAGES if each.startswith("the change was rolled back before it was complete"))
    said += [journal.failed(by.words, [problem]) for problem in (late, "proof: office reaches ppp0 is broken: nothing")]
    assert [each for each in said if not is_like(each, JOURNAL)] == []
    ended = [each for each in messages(SOURCES[-1]) if re.match("(not )?rolled back: .|not confirmed: this", each)]
    assert len(ended) >= 3
    told = [*RUN, *re.findall(r"`([^`]+)`", SECTION.rpartition("\n\n")[2])]
    assert [each for each in ended if not is_like(each, told + [row + "…" for row in RUN])] == []
