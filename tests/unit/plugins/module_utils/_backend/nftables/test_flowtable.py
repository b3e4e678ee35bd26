# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flowtable as text for nft and for the shell."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.flowtable import flowtable_text


def test_with_and_without_devices():
    assert flowtable_text("default") == "add flowtable inet ipmasq offloaded { hook ingress priority 0; }"
    assert flowtable_text("lab", '"lan0"') == (
        'add flowtable inet ipmasq_lab offloaded { hook ingress priority 0; devices = { "lan0" }; }'
    )
