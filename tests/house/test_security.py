# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tests that docs/security.md names exist, and no task of ours passes a variable to a shell."""

from __future__ import annotations

import ast
import re

import pytest
import yaml
from project import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
TASKS = sorted([*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "roles").glob("*/handlers/*.yml")]) + sorted(
    (ROOT / "playbooks").glob("*.yml")
)


#: A file of the role.
FIXED = re.compile(r"\{\{ lookup\('ansible\.builtin\.file', '[\w.]+'\) \}\}")


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda each: each.rsplit("/", 1)[-1])
def test_every_test_that_the_page_names_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_the_page_names_tests() -> None:
    assert len(NAMED) >= 15
    assert "docs/security.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def commands(tasks):
    """Modules that start a program, with their arguments."""
    for task in tasks or ():
        for word, value in task.items():
            if word in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always", "handlers"):
                yield from commands(value)
            elif re.search(r"(^|\.)(shell|raw|script|expect|command)$", word):
                yield word, value


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_task_gives_a_variable_to_a_shell(path) -> None:
    for word, value in commands(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert word == "ansible.builtin.command"
        words = value.get("argv")
        assert words, "a command line is a list of words"
        if isinstance(words, list) and words[0] in ("sh", "bash", "/bin/sh"):
            assert words[1] == "-c"
            assert FIXED.fullmatch(words[2]), "a script is a file of the role, without variables in it"
