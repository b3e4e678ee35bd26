# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flowtable: which links join it, now and when they appear."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.flowtable import (
    FLOWTABLE,
    Flowtable,
    boot_text,
    flowtable_of,
    missing,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedLan, ResolvedWan
from ansible_collections.ipmasq.linux.tests.unit import fakes

WANTED = Flowtable(("wan0", "tap*", "ppp0"))


def facts(*names):
    return Facts(tuple(Interface(name) for name in names), ())


def test_no_device_unless_asked_for():
    lans = (ResolvedLan("a", ("lan0", "tap*")),)
    assert flowtable_of(Resolved(wans=(ResolvedWan("ppp*"),), lans=lans, offload="software")).devices == (
        "ppp*",
        "lan0",
        "tap*",
    )
    assert flowtable_of(Resolved(wans=(ResolvedWan("ppp*"),), lans=lans)) == Flowtable()


def test_links_that_are_there_join():
    assert missing(WANTED, {"tap1"}, facts("wan0", "tap1", "tap2", "lo")) == ("tap2", "wan0")
    assert missing(WANTED, None, facts("tap1")) == ("tap1",)
    delta = FLOWTABLE.plan(Flowtable(), WANTED, Scene("default", facts=facts("wan0")), fakes.FakeHost())
    assert (delta.lines, delta.do, delta.cuts) == (("+ wan0: connections offloaded",), ("wan0",), True)
    assert FLOWTABLE.plan(WANTED, Flowtable(), Scene("default", facts=facts("wan0")), fakes.FakeHost()).do is None


def test_a_pattern_takes_no_link_whose_name_is_more_than_a_name():
    assert missing(Flowtable(("tap*",)), set(), facts('tap"}', "tap$(x)", "tap;x", "tap*", "tap2")) == ("tap2",)


def test_the_table_that_a_rollback_creates_anew_gets_its_devices():
    scene, host = Scene("default"), fakes.FakeHost()
    delta = FLOWTABLE.plan(WANTED, WANTED, scene, host)
    line = "sh /etc/ipmasq/default.offload.links"
    assert FLOWTABLE.restore(delta, WANTED, Flowtable(), scene, host).lines == (line,)
    assert FLOWTABLE.restore(delta, Flowtable(), WANTED, scene, host).lines == ()
    assert (FLOWTABLE.settle(WANTED, WANTED, scene), FLOWTABLE.settle(WANTED, Flowtable(), scene)) == ((line,), ())


def test_what_boot_and_each_new_link_run():
    assert boot_text(("wan0", "tap*"), "offload $link").splitlines() == [
        "while IFS=': ' read -r link _counters; do",
        '    case "$link" in',
        "    *[!A-Za-z0-9_.@-]*) ;;  # rules cannot contain this name",
        "    wan0|tap*) offload $link ;;",
        "    esac",
        "done < /proc/net/dev",
    ]
    assert set(FLOWTABLE.boot(WANTED, Scene("default"))) == {".offload.links"}
    assert FLOWTABLE.boot(Flowtable(), Scene("default")) == {}
