# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What links need when they appear: what has to be done, and what the boot script does."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._links import (
    Links,
    boot_text,
    links_of,
    set_addresses,
    steps,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedLan, ResolvedWan
from ansible_collections.ipmasq.linux.tests.unit import fakes

POOL = NatItem("pool", action="snat", to=("203.0.113.9-203.0.113.10", "2001:db8::9"), to_address="add")
GATEWAY = Resolved(wans=(ResolvedWan("wan0"),), lans=(ResolvedLan("a", ("lan0", "tap*")),), nat=(POOL,))
NINE, TEN, SIX = ("wan0", "203.0.113.9/32"), ("wan0", "203.0.113.10/32"), ("wan0", "2001:db8::9/128")


def facts(*addresses, names=("wan0",)):
    return Facts(tuple(Interface(name, addresses=addresses if name == "wan0" else ()) for name in names), ())


def test_every_address_of_an_item_and_no_device_unless_asked_for():
    assert links_of(GATEWAY, Links(), facts()) == Links((NINE, TEN, SIX))
    gateway = Resolved(wans=(ResolvedWan("ppp*"),), lans=GATEWAY.lans, offload="software")
    assert links_of(gateway, Links(), facts()).offload == ("ppp*", "lan0", "tap*")
    assert not links_of(Resolved(wans=(ResolvedWan("wan0"),)), Links(), facts())


def test_the_wan_of_the_item_gets_it():
    gateway = Resolved(
        wans=(ResolvedWan("wan0"), ResolvedWan("wan1")),
        nat=(NatItem("x", "", to=("203.0.113.9",), wan="wan1", to_address="add"),),
    )
    assert links_of(gateway, Links(), facts()).addresses == (("wan1", "203.0.113.9/32"),)


def test_what_was_there_before_the_first_run_is_remembered():
    first = links_of(GATEWAY, Links(), facts("203.0.113.9"))
    assert first.found == (NINE,)
    # By the second run all of them exist, and the others are still ours.
    assert links_of(GATEWAY, first, facts("203.0.113.9", "203.0.113.10", "2001:db8::9")) == first
    assert not steps(first, Links(), None, facts("203.0.113.9")).remove


def test_what_another_instance_has_added_was_not_there_before():
    theirs = Links((NINE, TEN), (TEN,))
    first = links_of(GATEWAY, Links(), facts("203.0.113.9", "203.0.113.10", "2001:db8::9"), [theirs])
    assert first.found == (TEN, SIX)
    # The last one to go removes it.
    assert not steps(first, Links(), None, facts("203.0.113.9"), [theirs]).remove
    assert steps(first, Links(), None, facts("203.0.113.9"), [Links((TEN,))]).remove == (NINE,)


def test_steps_for_links_that_are_there():
    wanted = Links((NINE, TEN, ("late0", "203.0.113.11/32")), (), ("wan0", "tap*", "ppp0"))
    found = steps(Links(), wanted, {"tap1"}, facts("203.0.113.9", names=("wan0", "tap1", "tap2", "lo")))
    assert found.add == (TEN,)
    assert found.devices == ("tap2", "wan0")
    assert found.lines == [
        "+ wan0: address 203.0.113.10/32",
        "+ tap2: connections offloaded",
        "+ wan0: connections offloaded",
    ]
    assert steps(wanted, Links(), None, facts("203.0.113.9")).remove == (NINE,)
    assert not steps(Links(), Links(), None, facts("203.0.113.9"))


def test_an_address_that_is_refused_is_named():
    host = fakes.FakeHost(fakes.NFT)
    host.answers["ip address replace 203.0.113.9/32 dev wan0"] = Done(
        2, "", "RTNETLINK answers: Operation not permitted\n"
    )
    with pytest.raises(GatewayError, match=r"wan0: address 203\.0\.113\.9/32 cannot be added: RTNETLINK answers"):
        set_addresses((NINE,), (), host)


def test_an_address_that_is_gone_already_is_no_error():
    host = fakes.FakeHost(fakes.NFT)
    host.answers["ip address del"] = Done(2, "", "RTNETLINK answers: Cannot assign requested address\n")
    host.answers["ip -o address show"] = Done(0, "", "")
    set_addresses((), (NINE,), host)
    host.answers["ip -o address show"] = Done(0, "2: wan0    inet 203.0.113.9/32", "")
    with pytest.raises(GatewayError, match=r"wan0: address 203\.0\.113\.9/32 cannot be removed"):
        set_addresses((), (NINE,), host)


def test_at_boot_only_links_that_are_there_are_touched():
    assert boot_text(Links((NINE, SIX), (), ("wan0", "tap*")), "offload $link").splitlines() == [
        "[ ! -e /proc/sys/net/ipv4/conf/wan0 ] || ip address replace 203.0.113.9/32 dev wan0 label wan0:nat scope host",
        "[ ! -e /proc/sys/net/ipv4/conf/wan0 ] || ip address replace 2001:db8::9/128 dev wan0 preferred_lft 0",
        "while IFS=': ' read -r link _counters; do",
        '    case "$link" in',
        "    *[!A-Za-z0-9_.@-]*) ;;  # rules cannot contain this name",
        "    wan0|tap*) offload $link ;;",
        "    esac",
        "done < /proc/net/dev",
    ]


def test_a_pattern_takes_no_link_whose_name_is_more_than_a_name():
    odd = Facts(tuple(Interface(name) for name in ('tap"}', "tap$(x)", "tap;x", "tap*", "tap2")), ())
    assert steps(Links(), Links((), (), ("tap*",)), set(), odd).devices == ("tap2",)
