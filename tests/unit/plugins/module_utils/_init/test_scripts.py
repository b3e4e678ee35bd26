# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts of OpenRC and sysvinit."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._init import scripts


@pytest.mark.parametrize("text", [scripts.SYSV_TEXT, scripts.SYSV_LINKS_TEXT, scripts.SYSV_FENCE_TEXT])
def test_scripts_answer_to_a_wrong_word(text):
    done = subprocess.run(["sh", "-s", "wrong"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 3 and "usage" in done.stderr


def test_links_are_served_by_the_loader():
    for text in (scripts.OPENRC_LINKS_TEXT, scripts.SYSV_LINKS_TEXT):
        assert "/bin/sh /etc/ipmasq/boot links" in text
