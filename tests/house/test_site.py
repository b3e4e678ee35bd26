# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guides as make docs puts them on the site: pictures are there, and links have their targets, anchors included."""

from __future__ import annotations

import functools
import re
import sys
import typing as t

import pytest
import yaml
from project import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import docs

if t.TYPE_CHECKING:
    from pathlib import Path

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)")
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)")
#: Sphinx gives anchors to headings down to this level.
DEPTH = int(re.search(r"^myst_heading_anchors = (\d)", (ROOT / "docs/docsite/conf.py").read_text(), re.MULTILINE)[1])


def prose_of(text: str) -> str:
    """A page without its blocks of code, whose comments look like headings."""
    return FENCE.sub("", text)


@functools.cache
def anchors(page: Path, depth: int) -> frozenset[str]:
    """As GitHub and MyST make them of headings; of a heading that comes again, with a number."""
    found: list[str] = []
    for level, title in HEADING.findall(prose_of(page.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        word = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        if len(level) <= depth:
            found.append(f"{word}-{found.count(word)}" if word in found else word)
    return frozenset(found)


def problem(page: Path, target: str) -> str:
    """What is wrong with a link on a page of the site."""
    if re.match(r"https?://|mailto:", target) and not target.startswith(docs.REPOSITORY):
        return ""
    path, _hash, anchor = target.removeprefix(docs.REPOSITORY).partition("#")
    in_repository = target.startswith(docs.REPOSITORY)
    place = ((ROOT if in_repository else page.parent) / path).resolve() if path else page
    if not place.exists():
        return f"{target}: not there"
    if not in_repository and place not in docs.pages() and not is_picture(place):
        return f"{target}: not on the site"
    if anchor and anchor not in anchors(place, 6 if in_repository else DEPTH):
        return f"{target}: no such heading"
    return ""


def is_picture(place: Path) -> bool:
    return any(place.is_relative_to(ROOT / folder) for folder in docs.PICTURES)


def test_pages_are_the_readme_and_the_guides() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in docs.pages()}
    assert {"README.md", "docs/README.md", "docs/monitoring.md", "docs/performance.md"} <= names
    assert sum(len(anchors(page, DEPTH)) for page in docs.pages()) > 150


def test_guides_come_in_the_order_of_their_index() -> None:
    readme, index, *guides = docs.pages()
    assert (readme, index) == (ROOT / "README.md", ROOT / "docs/README.md")
    listed = [index.parent / target for target in LINK.findall(index.read_text(encoding="utf-8"))]
    assert len(guides) > 15
    assert guides == list(dict.fromkeys(page for page in listed if page in guides))


@pytest.mark.parametrize("page", docs.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_picture_and_link_of_a_page_is_there(page: Path) -> None:
    text = prose_of(docs.with_links(page))
    for image in IMAGE.findall(text):
        assert not re.match(r"\w+:", image), f"{image}: not a picture of the site"
        assert is_picture((page.parent / image).resolve()) and (page.parent / image).exists(), image
    assert "<img" not in text, "tools/docs.py does not know pictures in HTML"
    assert [words for words in (problem(page, target) for target in LINK.findall(text)) if words] == []


def test_a_picture_and_a_dead_link_are_seen() -> None:
    page = ROOT / "docs/monitoring.md"
    assert IMAGE.findall(docs.with_links(page)) == ["images/alerts.png"]
    assert problem(page, "lab.md#effects-on-your-machine") == ""
    assert problem(page, "lab.md#effects-on-mine") == "lab.md#effects-on-mine: no such heading"
    assert problem(page, "#no-such-heading").endswith("no such heading")
    assert problem(page, "none.md") == "none.md: not there"
    assert problem(page, "../Makefile") == "../Makefile: not on the site"
    assert docs.rewritten(page, "../Makefile") == docs.REPOSITORY + "Makefile"
    assert problem(page, docs.REPOSITORY + "Makefile") == ""
    assert problem(page, docs.REPOSITORY + "none").endswith("not there")


def test_ci_builds_the_site_with_every_link_and_tries_bare_systems_each_week() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    for name, command in (("site", "make docs LINKS=1"), ("bare", "make bare")):
        assert jobs[name]["if"] == "github.event_name == 'schedule'"
        assert any(step.get("run", "").endswith(command) for step in jobs[name]["steps"])
