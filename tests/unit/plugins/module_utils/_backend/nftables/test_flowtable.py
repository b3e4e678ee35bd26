# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flowtable as text for nft and for the shell."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables import flowtable
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.flowtable import flowtable_text
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, NFT


def test_with_and_without_devices():
    assert flowtable_text("default") == "add flowtable inet ipmasq offloaded { hook ingress priority 0; }"
    assert flowtable_text("lab", '"lan0"') == (
        'add flowtable inet ipmasq_lab offloaded { hook ingress priority 0; devices = { "lan0" }; }'
    )


@pytest.mark.parametrize(("dev", "found"), [("lan0", {"lan0"}), (["lan0", "wan0"], {"lan0", "wan0"}), ([], set())])
def test_the_devices_that_nft_lists(dev, found):
    listing = json.dumps({"nftables": [{"metainfo": {}}, {"flowtable": {"name": "offloaded", "dev": dev}}]})
    assert flowtable.devices(NFT, listing) == found


def test_offload_is_off():
    assert flowtable.devices(NFT, '{"nftables": [{"flowtable": {"name": "theirs"}}]}') is None
    assert flowtable.devices(NFT, "") is None
    assert flowtable.devices(None, None) is None
    assert flowtable.devices(BOTH, "# family ip\n*filter\nCOMMIT\n") is None


def test_a_refused_device_is_named():
    host = fakes.FakeHost()
    host.answers["nft -f -"] = Done(1, "", "Error: No such device\nadd flowtable")
    with pytest.raises(GatewayError, match="offload: lan0, wan0 refused: Error: No such device"):
        flowtable.add("default", ["lan0", "wan0"], host)


def test_a_kernel_without_flowtables_is_told_before_anything_is_touched():
    host = fakes.FakeHost()
    host.answers["nft -c -f -"] = Done(1, "", "Error: Operation not supported\n")
    with pytest.raises(GatewayError, match=r"offload: this kernel has no flowtables .*; set offload to none"):
        flowtable.check(host)
    assert host.calls == [["nft", "-c", "-f", "-"]]
