# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of helpers has what rules and the kernel need."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.helpers import HELPERS, check_known, modules_for
from ansible_collections.ipmasq.linux.tests.unit import fakes


def test_the_services_that_break_through_masquerade():
    assert sorted(HELPERS) == ["amanda", "ftp", "netbios-ns", "pptp", "sip", "snmp", "tftp"]


@pytest.mark.parametrize("name", sorted(HELPERS))
def test_each_has_what_a_rule_needs(name):
    for helper in HELPERS[name]:
        assert helper.protocol in ("tcp", "udp")
        assert 1 <= helper.port <= 65535
        assert set(helper.families) <= {"ip", "ip6"} and helper.families
        # nft and iptables take up to 15 characters: NF_CT_HELPER_NAME_LEN - 1.
        assert len(helper.name) <= 15


def test_modules_each_once():
    assert modules_for(["sip", "ftp", "pptp", "netbios-ns"]) == ["nf_nat_sip", "nf_nat_ftp", "nf_nat_pptp"]


def test_all_that_this_kernel_lacks_in_one_message():
    host = fakes.FakeHost(fakes.NFT)
    check_known(["ftp", "sip"], host)
    host.unknown_helpers = ("netbios-ns", "pptp")
    with pytest.raises(GatewayError) as caught:
        check_known(["ftp", "netbios-ns", "pptp"], host)
    assert caught.value.problems == (
        "helpers: 'netbios-ns' is unknown to this kernel; load nf_conntrack_netbios_ns, or leave it out",
        "helpers: 'pptp' is unknown to this kernel; load nf_conntrack_pptp, or leave it out",
    )


def test_nobody_is_asked_for_nothing():
    host = fakes.FakeHost(fakes.NFT)
    check_known([], host)
    assert host.calls == []
