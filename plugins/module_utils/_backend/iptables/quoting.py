# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The words of a rule in iptables-save and iptables-restore."""

from __future__ import annotations

import re
import typing as t


def word_after(option: str, words: t.List[str]) -> str:
    """The word after an option, searched from the end: comments and log prefixes come before the target."""
    for index in range(len(words) - 2, -1, -1):
        if words[index] == option:
            return words[index + 1]
    return ""


def split_words(text: str) -> t.List[str]:
    """The words of an iptables-save line; inside double quotes, a backslash escapes a character."""
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', text)
    return [plain if plain else re.sub(r"\\(.)", r"\1", quoted) for quoted, plain in words]


def join_words(words: t.Iterable[str]) -> str:
    """Join words for iptables-restore."""
    words = list(words)
    line = " ".join(words)
    # One look at the line instead of one at each word: hardly any word needs quotes.
    if line.count(" ") == len(words) - 1 and "" not in words and not SPECIAL.search(line):
        return line
    return " ".join(_quote(word) for word in words)


#: Characters besides the space that require quotes.
SPECIAL = re.compile(r"[\"'\\]|[^\S ]")


def _quote(word: str) -> str:
    if word and " " not in word and not SPECIAL.search(word):
        return word
    return '"{0}"'.format(word.replace("\\", "\\\\").replace('"', '\\"'))
