# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The English of pages, module documentation, messages and comments: words.yml, proselint and codespell.

python tools/prose.py           every file of the project; a part of make lint
python tools/prose.py FILE …    only these
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
WORDS = ROOT / "tools" / "words.yml"
SUFFIXES = {".md", ".py", ".yml", ".yaml", ".sh", ".j2", ".toml", ".txt", ".ini", ".cfg", ""}
#: Texts that are not ours, that quote mistakes, or that programs print.
SKIPPED = re.compile(
    r"LICENSE|CODE_OF_CONDUCT|changelogs/changelog\.yaml|tools/words\.yml|\.proselintrc\.json|tests/house/test_prose\.py"
    r"|tests/unit/golden/|benchmarks/results/|tests/sanity/"
)
#: What they leave alone is in .proselintrc.json and pyproject.toml.
PROGRAMS = (("proselint", "check"), ("codespell",))
REPORTED = re.compile(r"(?m)^(/\S+?\.md):(\d+):(?:\d+:)? (.+)$")
PYTHON = re.compile(r"#!.*python")


@dataclass(frozen=True)
class Word:
    """One entry of words.yml: a pattern, and what to write in its place."""

    never: re.Pattern[str]
    write: str
    wrong: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def main(arguments: list[str]) -> int:
    paths = [Path(name).resolve() for name in arguments] or files()
    texts = {path: prose(path, path.read_text(encoding="utf-8")) for path in paths}
    found = [*faults_of_words(texts), *faults_of_programs(texts)]
    for fault in sorted(found, key=lambda fault: (fault.path, fault.line)):
        print(fault)
    print(f"{len(found)} faults in the English of {len(texts)} files")
    return 1 if found else 0


def files() -> list[Path]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = [ROOT / name for name in names if name and not SKIPPED.match(name)]
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink()]


def words() -> list[Word]:
    entries = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    return [
        # A phrase may go on in the next line.
        Word(
            re.compile("|".join(sentences(entry["never"])).replace(" ", r"\s+")),
            entry["write"],
            sentences(entry["wrong"]),
            sentences(entry.get("right")),
        )
        for entry in entries
    ]


def sentences(value: str | list[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def prose(path: Path, text: str) -> str:
    """The text with everything that is not English blanked out, so that each line keeps its number."""
    if path.suffix == ".md":
        return prose_of_markdown(text)
    if path.suffix == ".py" or PYTHON.match(text):
        return prose_of_python(text)
    return re.sub(r"(?m)^([ \t]*)#+!?", lambda found: " " * len(found.group()), text)


def blank(found: re.Match[str], sign: str = " ") -> str:
    return re.sub(r"[^\n]", sign, found.group())


def prose_of_markdown(text: str) -> str:
    """Without code, comments and addresses; inline code stands for a noun."""
    text = re.sub(r"(?ms)^<!--.*?-->|^```.*?^```", blank, text)
    text = re.sub(r"`[^`\n]+(\n[^`\n]+)?`", lambda found: blank(found, "_"), text)
    return re.sub(r"(?<=\])\([^)\s]+\)|https?://[^\s)>]+", blank, text)


def prose_of_python(text: str) -> str:
    """Comments, docstrings and other strings."""
    kept = [[" "] * len(line) for line in text.split("\n")]
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        # A string of one word is a name.
        if kind == "COMMENT" or (kind in ("STRING", "FSTRING_MIDDLE") and " " in token.string.strip("\"' ")):
            for number in range(token.start[0], token.end[0] + 1):
                start = token.start[1] if number == token.start[0] else 0
                end = token.end[1] if number == token.end[0] else len(lines[number - 1])
                kept[number - 1][start:end] = lines[number - 1][start:end]
    joined = "\n".join("".join(line).rstrip() for line in kept)
    # Quotes and comment signs; what is left of a word next to them stays a word.
    return re.sub(r"(?m)^[ \t]*#:?|\b[rbf]{1,2}(?=[\"'])|\"", blank, joined)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def faults_of_words(texts: dict[Path, str]) -> Iterator[Fault]:
    for word in words():
        for path, text in texts.items():
            for found in word.never.finditer(text):
                said = " ".join(found.group().split())
                yield Fault(short(path), line_of(text, found.start()), f'"{said}": write {word.write}')


def short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def faults_of_programs(texts: dict[Path, str]) -> Iterator[Fault]:
    """proselint and codespell read copies in which only the English is left."""
    with tempfile.TemporaryDirectory() as folder:
        copies = {Path(folder, f"{number}.md"): path for number, path in enumerate(texts)}
        for copy, path in copies.items():
            copy.write_text(texts[path], encoding="utf-8")
        for program, *options in PROGRAMS:
            command = [str(Path(sys.executable).with_name(program)), *options, *map(str, copies)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            reports = REPORTED.findall(done.stdout)
            if done.returncode and not reports:
                raise OSError(f"{program}: {done.stdout}{done.stderr}")
            for name, line, message in reports:
                yield Fault(short(copies[Path(name)]), int(line), f"{program}: {message}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
