# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backend, and why."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.select import (
    by_programs,
    dropping,
    families,
    in_use,
    select,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.tests.unit import fakes

ALL = ("nft", "iptables", "iptables-nft", "iptables-legacy", "ip")
RULE = "-s 172.17.0.0/16 -j MASQUERADE"


def host(programs, used=(), legacy_loaded=None, ipv6=True):
    found = fakes.FakeHost(programs, ipv6=ipv6)
    for variant, family in used:
        found.iptables[variant, family].append("nat", "POSTROUTING", RULE)
    if legacy_loaded or (legacy_loaded is None and any(variant == "legacy" for variant, _family in used)):
        found.files["/proc/net/ip_tables_names"] = "nat\n"
    return found


HOLDS = "iptables already holds '-A POSTROUTING {0}', which a table of nftables could not overrule".format(RULE)
#: host, requested, remembered, programs, why
TEST_SELECT = {
    "nft there, nothing used": (host(ALL), "auto", "", "nft", "nft: installed, and no iptables rules are in use"),
    "only nft": (host(fakes.NFT), "auto", "", "nft", "nft: installed, and no iptables rules are in use"),
    "iptables-nft used": (
        host(ALL, [("nft", "ip")]), "auto", "", "iptables-nft",
        "iptables-nft: " + HOLDS + ", its tables are in use",
    ),
    "iptables-nft used for IPv6 only": (
        host(ALL, [("nft", "ip6")]), "auto", "", "iptables-nft",
        "iptables-nft: " + HOLDS + ", its tables are in use",
    ),
    "legacy used": (
        host(ALL, [("legacy", "ip")]), "auto", "", "iptables-legacy",
        "iptables-legacy: " + HOLDS + ", its tables are in use",
    ),
    "legacy tables not loaded": (
        host(ALL, [("legacy", "ip")], legacy_loaded=False), "auto", "", "nft",
        "nft: installed, and no iptables rules are in use",
    ),
    "no nft": (
        host(fakes.IPTABLES_NFT), "auto", "", "iptables-nft",
        "iptables-nft: nft is not installed, the variant that the command iptables runs",
    ),
    "no nft, legacy": (
        host(fakes.IPTABLES_LEGACY), "auto", "", "iptables-legacy",
        "iptables-legacy: nft is not installed, the variant that the command iptables runs",
    ),
    "asked for nftables": (
        host(ALL, [("nft", "ip")]), "nftables", "", "nft", "nft: requested by option backend",
    ),
    "asked for iptables": (
        host(ALL), "iptables", "", "iptables-nft",
        "iptables-nft: requested by option backend, the variant that the command iptables runs",
    ),
    "asked for iptables, legacy used": (
        host(ALL, [("legacy", "ip")]), "iptables", "", "iptables-legacy",
        "iptables-legacy: requested by option backend, its tables are in use",
    ),
    "remembered": (
        host(ALL, [("nft", "ip")]), "auto", "nft", "nft", "nft: in use by this instance since it was first applied",
    ),
    "remembered, both variants used": (
        host(ALL, [("nft", "ip"), ("legacy", "ip")]), "auto", "iptables-legacy", "iptables-legacy",
        "iptables-legacy: in use by this instance since it was first applied",
    ),
    "remembered and asked for": (
        host(ALL), "iptables", "iptables-legacy", "iptables-legacy",
        "iptables-legacy: in use by this instance since it was first applied",
    ),
    "remembered, another asked for": (
        host(ALL), "nftables", "iptables-nft", "nft", "nft: requested by option backend",
    ),
    "remembered, gone": (
        host(fakes.IPTABLES_NFT), "auto", "nft", "iptables-nft",
        "iptables-nft: nft is not installed, the variant that the command iptables runs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEST_SELECT)
def test_select(name):
    on, requested, remembered, programs, why = TEST_SELECT[name]
    on.frozen = True
    choice = select(on, requested, remembered)
    assert (choice.backend.programs, choice.why) == (programs, why)


BOTH_USED = (
    "backend: both variants of iptables hold rules (nft: '-A POSTROUTING {0}', legacy: '-A POSTROUTING {0}'), so the "
    "kernel filters twice; remove one set, for example with iptables-legacy -F and -X in each table".format(RULE)
)
#: host, requested, program that is missing, problem
TEST_REFUSED = {
    "nothing there": (
        host(("ip",)), "auto", "nft",
        "backend: neither nft nor iptables is installed; install the package nftables",
    ),
    "nft asked for": (
        host(fakes.IPTABLES_NFT), "nftables", "nft",
        "backend: nft is not installed; install the package nftables, or set backend=iptables",
    ),
    "iptables asked for": (
        host(fakes.NFT), "iptables", "iptables",
        "backend: iptables is not installed; install the package iptables, or set backend=nftables",
    ),
    "both variants, auto": (host(ALL, [("nft", "ip"), ("legacy", "ip")]), "auto", "", BOTH_USED),
    "both variants, asked for": (host(ALL, [("nft", "ip"), ("legacy", "ip6")]), "iptables", "", BOTH_USED),
}  # fmt: skip


@pytest.mark.parametrize("name", TEST_REFUSED)
def test_refused(name):
    on, requested, program, problem = TEST_REFUSED[name]
    on.frozen = True
    with pytest.raises(GatewayError) as caught:
        select(on, requested, "")
    assert caught.value.problems == (problem,)
    assert (caught.value.program if isinstance(caught.value, MissingProgram) else "") == program


def test_no_ip6tables():
    on = host(fakes.IPTABLES_NFT)
    on.programs -= {"ip6tables-nft-save", "ip6tables-nft-restore"}
    with pytest.raises(MissingProgram) as caught:
        select(on, "iptables", "")
    assert caught.value.program == "ip6tables"
    without = host(fakes.IPTABLES_NFT, ipv6=False)
    without.programs -= {"ip6tables-nft-save", "ip6tables-nft-restore"}
    assert select(without, "iptables", "").backend.families == ("ip",)


def test_rules_are_seen_where_ip6tables_is_missing():
    on = host(("nft",) + fakes.IPTABLES_NFT)
    on.programs -= {"ip6tables-nft-save", "ip6tables-nft-restore"}
    on.iptables["nft", "ip"].append("filter", "FORWARD", "-j DROP")
    with pytest.raises(MissingProgram) as caught:
        select(on, "auto", "")
    assert caught.value.program == "ip6tables"


def test_what_a_tool_lists_before_it_fails_does_not_count():
    """Our rules could not be read back from there."""
    on = host(ALL, [("nft", "ip"), ("nft", "ip6")])
    listed = on.iptables["nft", "ip"].save(counters=False)
    on.answers["iptables-nft-save"] = fakes.Done(1, listed, "Parsing nftables rule failed")
    assert select(on, "auto", "").why == "nft: installed, and no iptables rules are in use"


def test_legacy_is_not_asked_while_its_module_is_not_loaded():
    on = host(ALL)
    select(on, "auto", "")
    assert not [call for call in on.calls if "legacy" in call[0]]


def test_families():
    assert families(host(ALL)) == ("ip", "ip6")
    assert families(host(ALL, ipv6=False)) == ("ip",)


@pytest.mark.parametrize("programs", ["nft", "iptables-nft", "iptables-legacy"])
def test_by_programs(programs):
    assert by_programs(host(ALL), programs).programs == programs


TEST_IN_USE = [
    ("", []),
    (":FORWARD ACCEPT [0:0]\n:IPMASQ-FORWARD - [0:0]\n-A FORWARD -j IPMASQ-FORWARD\n-A IPMASQ-FORWARD -j DROP\n", []),
    (":FORWARD DROP [0:0]", [":FORWARD DROP [0:0]"]),
    ("*nat\n-A POSTROUTING -j X\nCOMMIT", ["-A POSTROUTING -j X"]),
]


@pytest.mark.parametrize(("listing", "wanted"), TEST_IN_USE)
def test_in_use(listing, wanted):
    assert in_use(listing) == wanted


def test_chains_that_drop_and_are_known_to_iptables():
    found = host(ALL)
    assert dropping(found) == set()
    found.iptables["nft", "ip"].tables["filter"]["INPUT"] = ("DROP", [])
    found.iptables["nft", "ip6"].tables["filter"]["FORWARD"] = ("DROP", [])
    found.iptables["nft", "ip"].tables["mangle"]["FORWARD"] = ("DROP", [])
    assert dropping(found) == {("ip filter", "INPUT"), ("ip6 filter", "FORWARD")}
    saved = found.iptables["nft", "ip"].save(counters=False)
    for table, unaffected in (("raw", True), ("nat", False)):
        found.answers["iptables-nft-save"] = fakes.Done(
            0, "# Table `{0}' is incompatible, use 'nft' tool.\n{1}".format(table, saved), ""
        )
        assert bool(dropping(found)) is unaffected, table
    assert dropping(host(fakes.NFT)) == set()
