# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links that a run does not see, and an earlier one has seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.sides import Lan, Wan
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.away import with_away
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Around

GATEWAY = Gateway(
    wans=(Wan("ppp0"), Wan("clat", carried_from=("2001:db8::1/128",))),
    lans=(Lan("office", ("lan0",), ("192.168.1.0/24",)),),
)
NOW = Around(managed=("br-d*", "tun*"))
BEFORE = replace(
    NOW,
    managed=("br-d*", "tun*", "nebula1"),
    apart=("br-dmz", "tun9"),
    ways_out=("eth9", "tun9"),
    behind=("198.51.100.0/24",),
    carried=(("clat", "2001:db8::1/128"),),
    twins=(("vrrp51", "lan0"),),
    sites=(("nebula1", ()), ("tun7", ("198.51.100.0/24",))),
    bridged=True,
)


def test_what_is_away_is_what_it_was():
    found, told = with_away(NOW, BEFORE, GATEWAY, Facts(()))
    assert found == BEFORE
    assert told == [
        "{0} does not exist now; the rules still treat it as {1}, which it was when a run last saw it".format(*each)
        for each in (
            ("eth9", "a link with a default route that is not a WAN"),
            ("tun9", "a link with a default route that is not a WAN"),
            ("br-dmz", "one that is not a manager's"),
            ("nebula1", "a VPN's"),
            ("tun7", "a VPN's, with the public networks behind it"),
            ("vrrp51", "that of an address which lan0 shares with other routers"),
        )
    ]
    assert with_away(found, BEFORE, GATEWAY, Facts(()))[0] == found


@pytest.mark.parametrize("name", ["br-dmz", "tun9", "eth9", "nebula1", "tun7", "vrrp51"])
def test_what_is_there_is_what_it_is_now(name):
    for facts in (Facts((Interface(name),)), Facts((Interface("eth0", (name,)),))):
        found, told = with_away(NOW, BEFORE, GATEWAY, facts)
        lists = (found.managed, found.apart, found.ways_out, dict(found.twins), dict(found.sites), str(told))
        assert not [each for each in lists if name in each]
    assert (found.behind == ()) == (name == "tun7")


def test_what_is_declared_now_is_what_the_declaration_says():
    lan = Lan("dmz", ("br-dmz", "nebula1", "vrrp51"), ("10.7.7.0/24",))
    said = replace(GATEWAY, wans=(Wan("eth*"), Wan("tun*")), lans=(lan,), managed_links=("tun9",))
    assert with_away(NOW, BEFORE, said, Facts(())) == (replace(NOW, bridged=True), [])
    # A manager's link with a default route is closed, too.
    said = replace(GATEWAY, managed_links=("br-dmz", "tun9"))
    assert with_away(NOW, BEFORE, said, Facts(()))[0].apart == ("tun9",)


def test_what_carried_a_wan_from_this_host_does_so_while_it_is_declared():
    """Its provider may have changed that address."""
    for sources, known in (((), ()), (("2001:db8::1/128", "2001:db8::2/128"), BEFORE.carried)):
        changed = replace(GATEWAY, wans=(Wan("clat", carried_from=sources),))
        assert with_away(NOW, BEFORE, changed, Facts(()))[0].carried == known
