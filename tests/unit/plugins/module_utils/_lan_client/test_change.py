# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run as a whole: check mode, confirmation, failures, what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.change import COMMIT, run
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.state import PATH
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.ifupdown import SCRIPT
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import confirm
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client, params

PENDING = "/run/ipmasq/lan_client/"


def test_a_change_waits_for_its_confirmation():
    client = Client()
    before = client.state()[0]
    done = run(params(), client)
    assert done["changed"]
    assert done["pending"]["seconds"] == 30
    # Routes are there, and no file is before somebody confirms.
    assert client.state()[0] == before
    assert client.routes()
    answer = confirm.end_change("lan_client", done["pending"]["token"], True, client)
    assert answer["was"] == "pending"
    assert PATH in client.files
    assert not run(params(), client)["changed"]


def test_nobody_confirms():
    client = Client(manager="ifupdown", routes=["default via 192.168.1.254 dev lan0 proto boot"])
    before = client.state()
    run(params(replace_default=True, dns=["192.168.1.1"]), client)
    client.run(["sh", PENDING + "restore", "nobody confirmed"])
    assert client.state() == before


def test_a_change_of_files_alone_waits_for_nobody():
    client = Client()
    client.apply()
    done = run(params(dns=["192.168.1.1"]), client)
    assert done["changed"]
    assert "pending" not in done


def test_a_change_that_fails_is_rolled_back():
    client = Client()
    before = client.state()
    client.broken = "ip -6 route replace"
    with pytest.raises(GatewayError) as caught:
        client.apply()
    route = "default via fd00:1::1 dev lan0 proto static metric 1024"
    assert caught.value.problems == (
        "the route `{0}` cannot be added: RTNETLINK answers: Network is unreachable".format(route),
        "the host is as it was before",
    )
    assert client.state() == before
    assert any("/restore the change by" in call and "has failed" in call for call in client.calls)


def test_one_change_at_a_time():
    client = Client()
    run(params(), client)
    with pytest.raises(GatewayError, match="a change to 'lan_client' awaits confirmation"):
        run(params(gateway="192.168.1.2", gateways=[]), client)


@pytest.mark.parametrize("name", ["confirm_timeout", "wait"])
def test_seconds(name):
    with pytest.raises(GatewayError, match=name + ": 3601 is not a number of seconds"):
        run(params(**{name: 3601}), Client())


def test_a_decided_change_is_finished_first():
    client = Client(files={COMMIT: "true\n"})
    client.apply()
    assert client.calls[0] == "sh " + COMMIT


def test_another_manager():
    client = Client(manager="", files={"/run/connman/x": ""})
    client.services = "*AO Wired                ethernet_02000000000a_cable\n"
    sentence = (
        "lan0 is managed by connman, and lan_client can configure only NetworkManager, systemd-networkd, netplan, "
        "ifupdown, dhcpcd; give it the default route via 192.168.1.1 with `connmanctl config "
        "ethernet_02000000000a_cable --ipv4 manual 192.168.1.11 255.255.255.0 192.168.1.1`"
    )
    with pytest.raises(GatewayError) as caught:
        client.apply()
    assert caught.value.problems == (
        "interface: " + sentence + ", or set unmanaged to skip to leave such hosts as they are",
    )
    skipped = client.apply(unmanaged="skip")
    assert (skipped["changed"], skipped["warnings"]) == (False, [sentence])
    client.live = Client(routes=["default via 192.168.1.1 dev lan0"]).live
    assert client.apply()["notes"] == [
        "lan0 is managed by connman and already goes through 192.168.1.1; it is left as it is"
    ]
    with pytest.raises(GatewayError, match="set DNS there, too, and leave dns empty"):
        client.apply(dns=["192.168.1.1"])


def test_another_manager_than_last_time():
    client = Client(manager="ifupdown")
    client.apply()
    routes = client.routes()
    client.manager = "networkd"
    del client.files["/run/network/ifstate"]
    client.apply()
    assert SCRIPT not in client.files
    assert client.routes() == routes


def test_a_lease_that_is_renewed_before_the_hooks_are_gone():
    client = Client(manager="ifupdown", routes=["default via 192.168.1.254 dev lan0 proto boot"])
    before = client.state()
    client.apply(replace_default=True)
    ours = client.routes()
    done = run(params(state="absent"), client)
    for route in ours:
        client.run(["ip", "-6" if "::" in route else "-4", "route", "replace", *route.split()])
    confirm.end_change("lan_client", done["pending"]["token"], True, client)
    assert client.state() == before


class Renewing(Client):
    """A lease is renewed as soon as a route is gone, and the hook sets the route once more."""

    renewals = 0

    def run(self, argv, stdin=None):
        done = super().run(argv, stdin)
        if argv[:3] == ["ip", "-4", "route"] and argv[3] == "del" and self.renewals:
            self.renewals -= 1
            super().run([*argv[:3], "replace", *argv[4:]])
        return done


@pytest.mark.parametrize("renewals", [1, 2])
def test_a_lease_that_is_renewed_while_routes_are_removed(renewals):
    client = Renewing(manager="dhcpcd")
    client.apply()
    client.renewals = renewals
    if renewals == 1:
        assert run(params(state="absent"), client)["changed"] and client.routes() == []
    else:
        with pytest.raises(GatewayError, match="after the change, this is still to be done: - default via"):
            run(params(state="absent"), client)


@pytest.mark.parametrize("there", [False, True])
def test_only_folders_that_our_files_have_brought_go_with_them(there):
    folder = "/etc/systemd/network/10-lan0.network.d"
    client = Client(files={folder + "/other.conf": ""} if there else {})
    client.apply()
    client.apply(gateway6="none")
    client.apply(state="absent")
    assert ("rmdir {0} 2> /dev/null || true".format(folder) in client.calls) is not there


def test_without_the_state_the_files_tell():
    client = Client(manager="ifupdown")
    before = client.state()
    client.apply()
    del client.files[PATH]
    client.apply(state="absent")
    assert client.state() == before


def test_absent_needs_nothing_that_present_needs():
    assert not Client(addresses={}).apply(state="absent", gateway="nonsense", gateways=[])["changed"]


def test_no_root():
    client = Client()
    client.is_root = lambda: False
    with pytest.raises(GatewayError, match="become: true"):
        client.apply()
