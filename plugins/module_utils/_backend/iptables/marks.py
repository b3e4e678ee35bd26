# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Rules of other programs that clear our bits of the packet mark between the chain that sets them and those that ask.

nft is not asked about rules of others: listing those that a newer nft wrote can crash an older one (1.0.6).
"""

from __future__ import annotations

import typing as t

from ..._rules.model import FOLLOWED, REACH
from .listing import OWNER
from .quoting import split_words, word_after

#: The kernel's chains after that which sets a bit, and before those that ask for it, or among them.
BETWEEN = {"PREROUTING": FOLLOWED, "FORWARD": FOLLOWED | REACH, "POSTROUTING": FOLLOWED, "INPUT": 0, "OUTPUT": 0}
WHOLE = 0xFFFFFFFF


def clearing(listing: str, bits: int) -> t.List[str]:
    """Rules that clear any of these bits, as iptables-save prints them. The hook of any other chain is unknown."""
    found: t.List[str] = []
    table = ""
    for line in listing.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table == "mangle" and line.startswith(("-A ", "[")) and "MARK" in line:
            rule = "-A " + line.partition("-A ")[2]
            words = split_words(rule)
            ours = OWNER.match(word_after("--comment", words))
            if not ours and _cleared(words) & bits & BETWEEN.get(words[1], WHOLE):
                found.append(rule)
    return list(dict.fromkeys(found))


def _cleared(words: t.List[str]) -> int:
    """Of what is in the mask, the kernel keeps nothing; then it flips the bits of the value."""
    target = word_after("-j", words)
    if target == "MARK":
        value, _slash, mask = word_after("--set-xmark", words).partition("/")
        return _number(mask) & ~_number(value)
    if target == "CONNMARK" and "--restore-mark" in words:
        return _number(word_after("--nfmask", words))
    return 0


def _number(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
