# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/rfc.md and the tests that it rests on: each line names its test, and each RFC test has a line."""

from __future__ import annotations

import re

from project import ROOT

TESTS = ROOT / "tests" / "integration"
PAGE = (ROOT / "docs" / "rfc.md").read_text(encoding="utf-8")
LINES = [line for line in PAGE.splitlines() if re.match(r"\| (REQ-)?\d", line)]


def named(line: str) -> tuple[str, str]:
    ((file, test),) = re.findall(r"`(test_\w+\.py)::(test_\w+)` \|$", line)
    return file, test


def test_every_line_names_a_test_that_is_there() -> None:
    assert len(LINES) >= 35
    for line in LINES:
        file, test = named(line)
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE), line


def test_every_line_says_whether_it_holds() -> None:
    for line in LINES:
        assert re.match(r"(holds|cannot|given up|the gateway)", line.split(" | ")[1]), line


def test_every_test_has_its_line() -> None:
    tests = set(re.findall(r"^def (test_\w+)\(", (TESTS / "test_rfc.py").read_text(encoding="utf-8"), re.MULTILINE))
    assert tests <= {test for _file, test in map(named, LINES)}
