# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words survive quoting, whatever is in them."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.quoting import (
    join_words,
    split_words,
    word_after,
)
from ansible_collections.ipmasq.linux.tests.unit import strategies

WORDS = st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12), max_size=6)


@strategies.drawn(100)
@given(WORDS)
def test_what_is_joined_is_split_again(words):
    assert split_words(join_words(words)) == words


def test_only_what_needs_quotes_has_them():
    assert join_words(["-j", "LOG", "--log-prefix", "a b"]) == '-j LOG --log-prefix "a b"'
    assert join_words(["it's"]) == '"it\'s"'


def test_the_last_option_counts():
    """A comment comes before the target and may hold the same words."""
    assert word_after("-j", ["--comment", "-j", "x", "-j", "DROP"]) == "DROP"
    assert word_after("-j", ["-j"]) == ""
