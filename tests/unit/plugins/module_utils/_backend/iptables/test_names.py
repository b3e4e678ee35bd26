# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of our chains."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.names import (
    CHAIN_LENGTH,
    chain_name,
    is_ours,
)

TEST_CHAIN_NAME = [
    ("default", "forward", "IPMASQ-FORWARD"),
    ("default", "lan-office", "IPMASQ-LAN-office"),
    ("default", "lan-" + "x" * 17, "IPMASQ-LAN-" + "x" * 17),
    ("guests", "srcnat", "IPMASQ-guests-SRCNAT"),
    ("abcdefghij", "lan-office", "IPMASQ-abcdefghij-LAN-office"),
]


@pytest.mark.parametrize(("instance", "chain", "name"), TEST_CHAIN_NAME)
def test_chain_name(instance, chain, name):
    assert chain_name(instance, chain) == name
    assert len(name) <= CHAIN_LENGTH


def test_chain_name_is_cut_at_29_characters():
    cut = chain_name("default", "lan-" + "x" * 18)
    assert re.match(r"IPMASQ-LAN-x{8}-[0-9a-f]{8}\Z", cut)


def test_long_chain_names_stay_apart():
    names = {chain_name("default", "lan-a-very-long-name-for-lan-{0}".format(number)) for number in range(50)}
    assert len(names) == 50
    assert all(name.startswith("IPMASQ-LAN-a-very-") and name[-9] == "-" for name in names)
    assert all(len(name) == CHAIN_LENGTH and is_ours(name, "default") for name in names)


TEST_IS_OURS = [
    ("IPMASQ-FORWARD", "default", True),
    ("IPMASQ-FORWARD", "lab", False),
    ("IPMASQ-lab-FORWARD", "lab", True),
    ("IPMASQ-lab-FORWARD", "default", False),
    ("IPMASQ-lab2-FORWARD", "lab", False),
    ("FORWARD", "default", False),
    ("XIPMASQ-FORWARD", "default", False),
]


@pytest.mark.parametrize(("chain", "instance", "wanted"), TEST_IS_OURS)
def test_is_ours(chain, instance, wanted):
    assert is_ours(chain, instance) is wanted
