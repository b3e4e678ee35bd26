# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The switches of the module forwarding."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import forwarding_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import forwarding_params

TEST_FORWARDING = [
    (dict(ipv4=True, interfaces=[]), ["interfaces: is empty; leave it out to set the global switch"]),
    (dict(ipv4=True, interfaces=["lan0", "ppp*"]),
     ["interfaces[1]: 'ppp*' is a pattern; name single interfaces"]),
    (dict(ipv4=True, interfaces=["../../kernel"]),
     ["interfaces[0]: interface '../../kernel' contains a slash, which interface names cannot"]),
    (dict(ipv4=True, interfaces=[".."]),
     ["interfaces[0]: interface '..' is not a valid interface name; '*' is allowed only at the end"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), TEST_FORWARDING)
def test_forwarding_problems(given, wanted):
    assert problems_of(forwarding_from_params, forwarding_params(**given)) == wanted


def test_forwarding_values():
    assert forwarding_from_params(forwarding_params(ipv4=True)).values == {"ip": "1"}
    assert forwarding_from_params(forwarding_params(ipv4=False, ipv6=True)).values == {"ip": "0", "ip6": "1"}
