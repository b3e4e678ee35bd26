# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check of our English can go red: for each entry of tools/words.yml, for proselint and for codespell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from project import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import prose

if TYPE_CHECKING:
    from pathlib import Path

WORDS = prose.words()
WRONG = [(word, sentence) for word in WORDS for sentence in word.wrong]
RIGHT = [(word, sentence) for word in WORDS for sentence in word.right]


@pytest.mark.parametrize("word, sentence", WRONG, ids=[sentence for _word, sentence in WRONG])
def test_a_wrong_sentence_is_found_on_one_line_and_on_two(word: prose.Word, sentence: str) -> None:
    assert word.never.search(sentence)
    assert word.never.search(sentence.replace(" ", "\n    "))


@pytest.mark.parametrize("word, sentence", RIGHT, ids=[sentence for _word, sentence in RIGHT])
def test_a_right_sentence_is_left_alone(word: prose.Word, sentence: str) -> None:
    assert not word.never.search(sentence)


FILES = {
    "page.md": "# Title\n\nThe way back is `no way back`.\n\n```\nway back\n```\n",
    "comment.py": "x = 1\ny = 2  # The way\n# back.\n",
    "message.py": 'raise ValueError(\n    "the rules, the way "\n    f"back {way_back}"\n)\n',
    "docstring.py": '\n\n"""The way back."""\n',
    "tasks.yml": "---\n# …\n- name: The way back\n",
    "script": "#!/bin/sh\n\n# The way back\n",
}


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_file_is_read(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    assert prose.main([str(path)]) == 1
    expected = 2 if name in ("comment.py", "message.py") else 3
    assert [line for line in capsys.readouterr().out.splitlines() if "way back" in line] == [
        f'{path}:{expected}: "way back": write rollback'
    ]


def test_inline_code_of_a_page_stands_for_a_noun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\n\nA packet leaves by `wan0`.\nIt is sorted by `wan0`.\n", encoding="utf-8")
    assert prose.main([str(path)]) == 1
    (found,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(path))]
    assert found == f'{path}:3: "leaves by ______": write through, over or on (a link, port or connection)'


@pytest.mark.parametrize(
    "program, text", [("proselint", "A very unique gateway.\n"), ("codespell", "A gatway that recieves packets.\n")]
)
def test_the_programs_are_asked(program: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    assert prose.main([str(path)]) == 1
    assert f"{path}:1: {program}: " in capsys.readouterr().out


def test_names_and_code_are_not_english(tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text("way = back = very = 1\nrecieve = {'very': way}\n", encoding="utf-8")
    assert prose.main([str(path)]) == 0


def test_every_kind_of_text_of_the_project_is_read() -> None:
    read = {prose.short(path) for path in prose.files()}
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "docs/security.md",
        "plugins/modules/gateway.py",
        "plugins/module_utils/_change/engine.py",
        "roles/gateway/tasks/main.yml",
        "roles/lab/files/lab-wire",
        "tools/setup",
        "molecule/default/molecule.yml",
    } <= read
