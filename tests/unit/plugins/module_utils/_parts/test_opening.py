# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run opens what the loader has shut; tests/integration/test_window.py shows it with packets."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, items, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import Forwarding
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.opening import WINDOW
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN0, LAN1 = ({"name": name, "interfaces": [name], "networks": [net]} for name, net in (
    ("lan0", "192.168.1.0/24"), ("lan1", "192.168.2.0/24"),
))  # fmt: skip
OPENED = "~ {0}: opened, after the loader had shut it"
STAYS = "every link: stays shut until instance {0} is applied, whose rules the loader could not load"
WAITS = "{0}: stays shut until instance {1} is applied, whose rules the loader could not load"
SHUT = "~ {0}: shut because its rules could not be loaded (see journalctl -t ipmasq)"


def apply(host, check=False, lan=LAN0, **more):
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "ppp0"}], lans=[lan], **more))
    return engine.apply_gateway(gateway, "auto", fakes.seen(host, check))


def shut(host, *links):
    host.rules = [rule for rule in host.rules if rule.get("action") != "blackhole"]
    host.rules += [{"priority": 6, "iif": link, "action": "blackhole"} for link in links]


@pytest.fixture
def host():
    made = fakes.FakeHost(links=[fakes.link("lo"), fakes.link("ppp0", "203.0.113.1/32")] + [
        fakes.link("lan{0}".format(number), "192.168.{0}.1/24".format(number + 1)) for number in range(2)
    ])  # fmt: skip
    apply(made)
    assert not apply(made).changed
    return made


def test_it_is_a_difference_of_its_own(host):
    """Rules, switches and files are as they were applied: the operator has restored the file that was damaged."""
    shut(host, "ppp0", "lan0")
    assert gateway_info("default", host)["drift"] == [SHUT.format("ppp0"), SHUT.format("lan0")]
    checked = apply(host, check=True)
    assert checked.changed and checked.change.cuts and checked.change.drifted
    done = apply(host)
    assert done.to_dict()["differences"] == [OPENED.format("ppp0"), OPENED.format("lan0")] and done.changed
    assert not apply(host).changed
    assert gateway_info("default", host)["as_applied"]


def test_a_link_of_another_instance_stays_shut_until_its_own_run(host):
    apply(host, lan=LAN1, instance="second")
    shut(host, "lan0", "lan1", "eth9")
    assert gateway_info("default", host)["drift"] == [SHUT.format("lan0")]
    assert apply(host).to_dict()["differences"] == [OPENED.format("lan0")]
    assert not apply(host).changed
    assert apply(host, lan=LAN1, instance="second").to_dict()["differences"] == [OPENED.format("lan1")]
    assert {"priority": 6, "iif": "eth9", "action": "blackhole"} in host.rules


def test_a_link_that_is_no_longer_declared_is_opened(host):
    shut(host, "lan0")
    assert OPENED.format("lan0") in apply(host, lan=LAN1).to_dict()["differences"]


def test_all_links_are_shut_because_of_a_pattern(host):
    """A gateway whose names are all known leaves that to the instance with the pattern."""
    shut(host, "lo")
    assert not apply(host).changed
    late = dict(LAN1, interfaces=["lan1*"])
    assert OPENED.format("every link") in apply(host, lan=late, instance="second").to_dict()["differences"]
    assert not [rule for rule in host.rules if "iif" in rule]


def test_all_links_are_shut_because_those_of_two_instances_are_unknown(host):
    """Each run opens what it knows by then; the last of the two opens all."""
    apply(host, lan=LAN1, instance="second")
    shut(host, "lo")
    host.files["/run/ipmasq/default.unlisted"] = host.files["/run/ipmasq/second.unlisted"] = ""
    assert gateway_info("second", host)["drift"] == ["~ " + STAYS.format("default")]
    done = apply(host)
    assert done.to_dict()["differences"] == ["~ links: no longer shut because of this instance"]
    assert STAYS.format("second") in done.warnings
    assert not apply(host).changed
    assert gateway_info("default", host)["drift"] == ["~ " + STAYS.format("second")]
    assert [rule["iif"] for rule in host.rules if "iif" in rule] == ["lo"]
    removing.remove_instance("second", host)
    assert not [rule for rule in host.rules if "iif" in rule] and not host.find("/run/ipmasq/*.unlisted")


@pytest.mark.parametrize("interfaces", [["lan0"], ["lan0*"]])
def test_another_instance_leaves_all_links_shut(host, interfaces):
    lan = dict(LAN0, interfaces=interfaces)
    apply(host, lan=lan)
    apply(host, lan=LAN1, instance="second")
    shut(host, "lo", "lan1")
    host.files["/run/ipmasq/second.unlisted"] = ""
    assert not apply(host, lan=lan).changed
    shut(host, "lo")
    removing.remove_instance("default", host)
    assert [rule["iif"] for rule in host.rules if "iif" in rule] == ["lo"]


def test_switches_of_all_links_open_none(host):
    """An item is not a gateway, whatever links it sets switches of."""
    shut(host, "lo", "ppp0", "lan0")
    host.files["/proc/sys/net/ipv4/ip_forward"] = "0\n"
    host.files["/run/ipmasq/default.unlisted"] = ""
    wanted = Forwarding(True, False)
    assert items.apply_switches("router", wanted, host).changed
    assert [rule["iif"] for rule in host.rules if "iif" in rule] == ["lo", "ppp0", "lan0"]


TUNNELS = {"default": ("tun0", LAN0), "second": ("tun1", LAN1)}


def blackholes(host):
    return [rule["iif"] for rule in host.rules if rule.get("action") == "blackhole"]


def tunnel(host, instance, **more):
    """A tenant with a tunnel as the only WAN."""
    wan, lan = TUNNELS[instance]
    params = gateway_params(wans=[{"interface": wan}], lans=[lan], instance=instance, **more)
    return engine.apply_gateway(gateway_from_params(params), "auto", host)


@pytest.fixture
def tenants():
    """Both tunnels run over eth0, which has the default route, so that the rules of each tenant close it."""
    named = [("eth0", "203.0.113.1/24"), ("tun0", "10.8.0.2/24"), ("tun1", "10.8.1.2/24")]
    named += [("lan0", "192.168.1.1/24"), ("lan1", "192.168.2.1/24")]
    made = fakes.FakeHost(links=[fakes.link("lo"), *(fakes.link(*each) for each in named)])
    made.routes["-4"] = [fakes.route("eth0")]
    for instance in ("default", "second", "default"):
        tunnel(made, instance)
    assert all(made.files["/etc/ipmasq/{0}.shut".format(name)].split()[-1] == "eth0" for name in TUNNELS)
    return made


@pytest.mark.parametrize("first", TUNNELS)
def test_a_way_out_that_two_instances_close_is_opened_by_the_last_of_them(tenants, first):
    last = next(name for name in TUNNELS if name != first)
    shut(tenants, "eth0", "tun0", "tun1", "lan0", "lan1")
    done = tunnel(tenants, first)
    own = sorted((TUNNELS[first][0], TUNNELS[first][1]["name"]))
    assert sorted(done.to_dict()["differences"]) == sorted(OPENED.format(link) for link in own)
    assert WAITS.format("eth0", last) in done.warnings
    again = tunnel(tenants, first)
    assert not again.changed and again.warnings == done.warnings
    told = gateway_info(first, tenants)
    assert (told["drift"], told["as_applied"]) == (["~ " + WAITS.format("eth0", last)], False)
    done = tunnel(tenants, last)
    assert OPENED.format("eth0") in done.to_dict()["differences"] and not done.warnings
    assert not blackholes(tenants)
    assert all(gateway_info(name, tenants)["as_applied"] for name in TUNNELS)


@pytest.mark.parametrize("lost", [(), ("json",), ("shut",), ("json", "shut")])
def test_the_removal_of_one_leaves_a_way_out_to_the_other(tenants, lost):
    """Each is removed in turn, also if files of the first one are lost: nothing stays shut for good."""
    shut(tenants, "eth0", "tun0", "tun1", "lan0", "lan1")
    for ending in lost:
        del tenants.files["/etc/ipmasq/second." + ending]
    removing.remove_instance("second", tenants)
    assert blackholes(tenants) == ["eth0", "tun0", "lan0"]
    removing.remove_instance("default", tenants)
    assert not blackholes(tenants)


@pytest.mark.parametrize("lost", [(), ("json",), ("shut",)])
def test_nothing_stays_shut_because_of_an_instance_with_lost_files(tenants, lost):
    shut(tenants, "eth0", "tun0", "tun1", "lan0", "lan1")
    for ending in lost:
        del tenants.files["/etc/ipmasq/second." + ending]
    if lost == ("json",):
        with pytest.raises(GatewayError, match="instance=second removes what is left"):
            tunnel(tenants, "default")
    else:
        tunnel(tenants, "default")
        assert blackholes(tenants) == ["eth0", "tun1", "lan1"]
    removing.remove_instance("second", tenants)
    tunnel(tenants, "default")
    assert not blackholes(tenants)


def test_a_removal_leaves_a_wan_shut_that_another_instance_declares(tenants):
    """The last run of the one that is removed was before that of the other: it closes the WAN."""
    params = gateway_params(wans=[{"interface": "eth0"}], lans=[LAN0])
    engine.apply_gateway(gateway_from_params(params), "auto", tenants)
    assert "eth0" in tenants.files["/etc/ipmasq/second.shut"].split()
    shut(tenants, "eth0", "tun1", "lan0", "lan1")
    assert gateway_info("second", tenants)["drift"][:2] == [SHUT.format("tun1"), SHUT.format("lan1")]
    removing.remove_instance("second", tenants)
    assert blackholes(tenants) == ["eth0", "lan0"]
    done = engine.apply_gateway(gateway_from_params(params), "auto", tenants)
    assert OPENED.format("eth0") in done.to_dict()["differences"] and not blackholes(tenants)


@pytest.mark.parametrize("removed", ["default", "second"])
def test_the_removal_of_one_of_two_on_a_wan_leaves_the_wan_to_the_other(host, removed):
    apply(host, lan=LAN1, instance="second")
    shut(host, "ppp0", "lan0", "lan1")
    removing.remove_instance(removed, host)
    left, lan = ("second", LAN1) if removed == "default" else ("default", LAN0)
    assert blackholes(host) == ["ppp0", lan["name"]]
    assert SHUT.format("ppp0") in gateway_info(left, host)["drift"]
    apply(host, lan=lan, instance=left)
    assert not blackholes(host)


def test_a_run_opens_its_own_wan_whoever_else_is_shut(host):
    apply(host, lan=LAN1, instance="second")
    shut(host, "ppp0", "lan0", "lan1")
    assert OPENED.format("ppp0") in apply(host).to_dict()["differences"]
    assert blackholes(host) == ["lan1"]


@pytest.mark.parametrize("lost", [(), ("json",), ("shut",), ("json", "shut")])
def test_a_removal_opens_it_whatever_is_lost(host, lost):
    apply(host, lan=LAN1, instance="second")
    shut(host, "lan0", "lan1")
    for ending in lost:
        del host.files["/etc/ipmasq/default." + ending]
    removing.remove_instance("default", host)
    assert [rule["iif"] for rule in host.rules if "iif" in rule] == ["lan1"]


@pytest.mark.parametrize("ends", [True, False])
def test_what_the_loader_opens_by_itself_is_not_opened_too_early(host, monkeypatch, ends):
    """Another service is about to flush and load rules."""
    shut(host, "lan0")
    host.files[WINDOW] = "4711\n"
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if ends and len(waited) == 3:
            del host.files[WINDOW]
            shut(host)

    monkeypatch.setattr(host, "sleep", sleep)
    assert apply(host, check=True).changed is not ends
    assert len(waited) == (3 if ends else 30)


def test_a_rollback_shuts_it_before_anything_else(host):
    shut(host, "lan0")
    scripts, write = {}, host.write

    def noted(path, text, mode):
        scripts.update({path.rpartition("/")[2]: text} if path.startswith("/run/ipmasq/") else {})
        write(path, text, mode)

    host.write = noted
    apply(host, mss="keep")
    lines = scripts["restore"].splitlines()
    (first,) = [number for number, line in enumerate(lines) if "-4 rule add pref 6 iif lan0 blackhole" in line]
    (loads,) = [number for number, line in enumerate(lines) if "nft -f" in line]
    assert first < loads
