# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses of links: what has to be done, and what the boot script does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.addresses import (
    ADDRESSES,
    Addresses,
    addresses_of,
    boot_text,
    set_addresses,
    steps,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedLan, ResolvedWan
from ansible_collections.ipmasq.linux.tests.unit import fakes

POOL = NatItem("pool", action="snat", to=("203.0.113.9-203.0.113.10", "2001:db8::9"), to_address="add")
GATEWAY = Resolved(wans=(ResolvedWan("wan0"),), lans=(ResolvedLan("a", ("lan0", "tap*")),), nat=(POOL,))
NINE, TEN, SIX = ("wan0", "203.0.113.9/32"), ("wan0", "203.0.113.10/32"), ("wan0", "2001:db8::9/128")


def facts(*addresses, names=("wan0",)):
    return Facts(tuple(Interface(name, addresses=addresses if name == "wan0" else ()) for name in names), ())


def test_every_address_of_an_item():
    assert addresses_of(GATEWAY, Addresses(), facts()) == Addresses((NINE, TEN, SIX))
    assert addresses_of(Resolved(wans=(ResolvedWan("wan0"),)), Addresses(), facts()) == Addresses()


def test_the_wan_of_the_item_gets_it():
    gateway = Resolved(
        wans=(ResolvedWan("wan0"), ResolvedWan("wan1")),
        nat=(NatItem("x", "", to=("203.0.113.9",), wan="wan1", to_address="add"),),
    )
    assert addresses_of(gateway, Addresses(), facts()).needed == (("wan1", "203.0.113.9/32"),)


def test_what_was_there_before_the_first_run_is_remembered():
    first = addresses_of(GATEWAY, Addresses(), facts("203.0.113.9"))
    assert first.found == (NINE,)
    # By the second run all of them exist, and the others are still ours.
    assert addresses_of(GATEWAY, first, facts("203.0.113.9", "203.0.113.10", "2001:db8::9")) == first
    assert not steps(first, Addresses(), facts("203.0.113.9")).remove


def test_what_another_instance_has_added_was_not_there_before():
    theirs = Addresses((NINE, TEN), (TEN,))
    first = addresses_of(GATEWAY, Addresses(), facts("203.0.113.9", "203.0.113.10", "2001:db8::9"), [theirs])
    assert first.found == (TEN, SIX)
    # The last one to go removes it.
    assert not steps(first, Addresses(), facts("203.0.113.9"), [theirs]).remove
    assert steps(first, Addresses(), facts("203.0.113.9"), [Addresses((TEN,))]).remove == (NINE,)


def test_steps_for_links_that_are_there():
    wanted = Addresses((NINE, TEN, ("late0", "203.0.113.11/32")))
    found = steps(Addresses(), wanted, facts("203.0.113.9", names=("wan0", "tap1", "lo")))
    assert found.add == (TEN,)
    assert found.lines == ["+ wan0: address 203.0.113.10/32"]
    assert steps(wanted, Addresses(), facts("203.0.113.9")).remove == (NINE,)
    assert not steps(Addresses(), Addresses(), facts("203.0.113.9"))


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


def test_what_is_no_longer_needed_goes_once_more_when_the_change_is_kept():
    """A link that appeared meanwhile has brought it back. What others need, or was there before us, stays."""
    was = Addresses((NINE, TEN, SIX), (TEN,))
    scene = Scene("default", others=(SimpleNamespace(parts={ADDRESSES.name: Addresses((SIX,))}),))
    (line,) = ADDRESSES.settle(was, Addresses(), scene)
    assert line.endswith("|| ip address del 203.0.113.9/32 dev wan0") and "scope host" in line
    served, deprecated = ADDRESSES.settle(Addresses((SIX, TEN)), Addresses((TEN,)), Scene("default"))
    assert served == "sh /etc/ipmasq/default.links" and "deprecated" in deprecated
    assert ADDRESSES.settle(Addresses((TEN,)), Addresses((TEN,)), Scene("default")) == (served,)


def test_at_boot_only_links_that_are_there_are_touched():
    assert boot_text((NINE, SIX)).splitlines() == [
        "[ ! -e /proc/sys/net/ipv4/conf/wan0 ] || ip address replace 203.0.113.9/32 dev wan0 label wan0:nat scope host",
        "[ ! -e /proc/sys/net/ipv4/conf/wan0 ] || ip address replace 2001:db8::9/128 dev wan0 preferred_lft 0",
    ]
    host = fakes.FakeHost(files={"/etc/ipmasq/default.links": boot_text((NINE, SIX))})
    host.answers["ip -o address show"] = Done(0, "2: wan0    inet 203.0.113.9/32 scope host wan0:nat", "")
    assert ADDRESSES.salvage("default", host) == Addresses((NINE,))
