# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What earlier runs have left."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import earlier
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State, to_text
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.order import PARTS
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import Loaded
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.switches import Held
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Row
from ansible_collections.ipmasq.linux.tests.unit import fakes

HELD = {
    "rules": Loaded("iptables-nft", (Row("f", "a", "forward/a"),)),
    "switches": Held((("net/ipv4/ip_forward", "1"),)),
}


def test_the_state_of_an_instance_and_of_the_others():
    files = {"/etc/ipmasq/{0}.json".format(name): to_text(State(name, "items")) for name in ("a", "b")}
    known = earlier.read("a", fakes.FakeHost(files=files))
    assert (known.state.instance, [other.instance for other in known.others]) == ("a", ["b"])
    assert earlier.read("c", fakes.FakeHost()).state is None


@pytest.mark.parametrize("looks", [1, 3])
def test_another_instance_is_being_removed(looks):
    """Its state goes first. As long as anything else stays, the state is lost."""
    host = fakes.FakeHost(files={"/etc/ipmasq/b.load": ""})
    paused = []

    def sleep(_seconds):
        paused.append(1)
        if len(paused) == looks:
            host.files.clear()

    host.sleep = sleep
    assert earlier.read("a", host).others == ()
    host.files["/etc/ipmasq/b.load"] = ""
    with pytest.raises(GatewayError, match=r"b\.json: is missing"):
        earlier.read("a", host)
    assert len(paused) == looks + earlier.LOOKS


def test_what_is_left_of_a_lost_state():
    host = fakes.FakeHost(files={"/etc/ipmasq/a.sysctl": "net/ipv4/ip_forward 1\n"})
    assert earlier.read("a", host).salvaged(PARTS, host).parts == {"switches": HELD["switches"]}
    assert earlier.read("b", host).salvaged(PARTS, host) is None


def test_a_change_that_was_decided_is_finished_first():
    host = fakes.FakeHost(files={"/etc/ipmasq/a.commit": ""})
    host.answers["sh /etc/ipmasq/a.commit"] = fakes.Done(1, "", "no space\n")
    with pytest.raises(GatewayError, match=r"a\.commit: an earlier change could not be finished: no space"):
        earlier.finish_decided("a", host)
    earlier.finish_decided("b", host)
    earlier.finish_decided("a", fakes.seen(host, True))


def test_who_shares_an_instance_with_whom():
    with pytest.raises(GatewayError, match=r"'a' holds single items \(forward/a, forwarding\)"):
        earlier.refuse_items(State("a", "items", HELD), "a")
    with pytest.raises(GatewayError, match="is managed by the gateway module"):
        earlier.refuse_gateway(State("a", "gateway"), "a")
    with pytest.raises(GatewayError, match="use iptables-nft, but this one would use nft"):
        earlier.refuse_second_backend(State("a", "items", HELD), Nftables())
    earlier.refuse_items(None, "a")
    earlier.refuse_gateway(State("a", "items"), "a")
    earlier.refuse_second_backend(None, Nftables())
