# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An intent in the state file."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils import _codec as codec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.stored import CLASSES, decode
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params


def test_a_gateway_comes_back_as_it_was():
    gateway = gateway_from_params(
        gateway_params(helpers=[{"name": "ftp"}], input="protect", input_allow=[{"name": "x"}])
    )
    assert decode(codec.encode(gateway)) == gateway


def test_the_names_of_classes_stay():
    """The state files of gateways have them."""
    assert set(CLASSES) == {
        "Around", "Forward", "Gateway", "HelperItem", "Lan", "Masquerade", "Multicast", "NatItem", "Neighbour",
        "Outbound", "PortForward", "PortForwardItem", "Traffic", "Wan",
    }  # fmt: skip


@pytest.mark.parametrize(
    "raw", [{"": "Unknown"}, {"": "Wan"}, {"": "Gateway", "wans": [{}]}], ids=["class", "field", "inside"]
)
def test_what_another_release_wrote(raw):
    assert decode(raw) is None
