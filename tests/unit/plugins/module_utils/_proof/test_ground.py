# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import ground
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Ground, Link
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.resolving import resolved


class Host:
    """Answers questions to ip and tc."""

    def __init__(self, **answers):
        self.answers = {key.replace("_", " "): value for key, value in answers.items()}

    def which(self, program):
        return program if program in self.answers else ""

    def run(self, argv, stdin=None):
        words = " ".join(word for word in argv if not word.startswith("-"))
        for start, answer in self.answers.items():
            if words.startswith(start):
                return Done(0, answer if isinstance(answer, str) else json.dumps(answer), "")
        return Done(1, "", "no such thing")


def u32(pref, verdict):
    action = {"kind": "gact", "control_action": {"type": verdict}}
    return [
        {"pref": pref, "kind": "u32"},
        {"pref": pref, "kind": "u32", "options": {"key_ht": "800", "actions": [action]}},
    ]


def redirect(pref, device):
    action = {"kind": "mirred", "mirred_action": "redirect", "to_dev": device, "control_action": {"type": "stolen"}}
    return [{"pref": pref, "kind": "u32", "options": {"key_ht": "800", "actions": [action]}}]


@pytest.mark.parametrize(
    ("kinds", "filters", "place"),
    [
        (["noqueue"], [], ground.Place(False, ground.FIRST)),
        (["fq_codel", "clsact"], [], ground.Place(True, ground.FIRST)),
        (["clsact"], u32(49152, "drop"), ground.Place(True, ground.LAST)),
        (["clsact"], u32(49152, "pass"), ground.Place(True, ground.FIRST)),
        (["clsact"], redirect(49152, "veth0"), ground.Place(True, ground.LAST)),
        (["clsact"], redirect(49152, "ifb0"), ground.Place(True, ground.FIRST)),
        (["clsact"], [{"pref": 49152, "kind": "bpf", "options": {}}], ground.Place(True, ground.FIRST)),
    ],
)
def test_where_our_filters_go(kinds, filters, place):
    host = Host(tc_qdisc=[{"dev": "wan0", "kind": kind} for kind in kinds], tc_filter=filters)
    assert ground.places(["wan0"], host) == {"wan0": place}


@pytest.mark.parametrize("kind", ["noqueue", "ingress"])
def test_nft_catches_what_leaves_where_there_is_no_clsact(kind):
    """Adding a clsact would drop the packets of clients for a moment."""
    host = Host(tc_qdisc=[{"dev": "wan0", "kind": kind}], nft="")
    assert ground.places(["wan0"], host) == {"wan0": ground.Place(nft=True)}


def test_where_no_filter_can_go():
    assert (
        "qdisc 'ingress'" in ground.places(["wan0"], Host(tc_qdisc=[{"dev": "wan0", "kind": "ingress"}]))["wan0"].lacks
    )
    host = Host(tc_qdisc=[{"dev": "wan0", "kind": "clsact"}], tc_filter=[{"pref": 1, "kind": "bpf", "options": {}}])
    assert "come before any other" in ground.places(["wan0"], host)["wan0"].lacks


def test_neighbours_that_do_not_answer():
    listed = [
        {"dev": "wan0", "dst": "192.0.2.1", "state": ["FAILED"]},
        {"dev": "wan0", "dst": "192.0.2.2", "state": ["STALE"]},
    ]
    asked = []

    def ask(candidates):
        asked.append(candidates)
        return {"2001:db8::4"}

    hops = [("wan0", each) for each in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::4")]
    assert ground.silent(hops, Host(ip_neigh=listed), ask) == {("wan0", "192.0.2.1"), ("wan0", "192.0.2.3")}
    # Whom nobody has asked for yet, the probe asks itself.
    assert asked == [{("wan0", "ip"): ["192.0.2.3"], ("wan0", "ip6"): ["2001:db8::4"]}]
    assert ground.silent(hops[:2], Host(ip_neigh=listed), ask) == {("wan0", "192.0.2.1")} and len(asked) == 1


def test_networks_in_which_every_address_is_old(monkeypatch):
    def own(local, **more):
        return dict({"family": "inet6", "local": local, "prefixlen": 64}, **more)

    infos = [own("fd00:7::1", deprecated=True), own("fd00:1::1"), own("fd00:1::2", deprecated=True), own("fe80::1")]
    host = Host(ip_address_show=[{"ifname": "lan0", "addr_info": infos}, {"ifname": "lo"}])
    assert ground._deprecated(host) == {"lan0": {"fd00:7::/64"}, "lo": set()}


def test_leases_that_have_not_ended():
    host = Host()
    lines = ["100 52:54:00:12:34:56 192.168.1.100 a *", "99 52:54:00:12:34:57 192.168.1.101 b *", "duid 00:01"]
    lines += [
        "0 52:54:00:12:34:58 192.168.1.102 * *",
        "200 123 fd00:1::1000 x 00:01",
        "x",
        "100 y z z",
        "²0 a 10.0.0.1 b",
    ]
    host.read = {"/var/lib/ipmasq/default.leases": "\n".join(lines)}.get
    host.now = lambda: 99.5
    assert ground._leased("default", host) == {"192.168.1.100", "192.168.1.102"}
    assert ground._leased("other", host) == set()


def test_what_is_no_json_is_nothing():
    assert ground.asked(Host(ip_neigh="Usage: ip …"), "ip", "-j", "neigh", "show") == []
    assert ground.asked(Host(), "ip", "-j", "neigh", "show") == []


def test_the_way_is_asked_for_as_a_client_goes():
    base = Ground({"lan0": Link("lan0", True), "wan0": Link("wan0", True)}, clients={("lan0", "ip"): "192.168.1.9"},
                  outside={"ip": "192.31.196.128/25"})  # fmt: skip
    host = Host(**{"ip route get 192.31.196.129": [{"dev": "wan0", "gateway": "203.0.113.1"}]})
    assert ground.ways(base, [], host) == {("lan0", "ip"): ("wan0", "203.0.113.1")}
    assert ground.ways(base, [("lan0", "192.168.1.9", "10.9.0.1")], Host()) == {}


def answers(*targets):
    """What ip prints for each line of a batch: one list a line."""
    return "".join(json.dumps([{"dst": target, "dev": "wan0", "gateway": "203.0.113.1"}]) + "\n" for target in targets)


SERVERS = [("lan0", "192.168.1.9", "10.9.0.{0}".format(number)) for number in (1, 2)]


@pytest.mark.parametrize(
    ("printed", "each"),
    [
        (answers("10.9.0.1", "10.9.0.2"), False),
        (answers("10.9.0.1"), True),
        (answers("10.9.0.2", "10.9.0.1"), True),
        (answers("10.9.0.1", "10.9.0.1", "10.9.0.2"), True),
        ("[]\n[]\n", True),
        ("Error", True),
    ],
)
def test_many_ways_are_asked_for_at_once_if_it_is_clear_whose_an_answer_is(printed, each):
    base = Ground({"lan0": Link("lan0", True), "wan0": Link("wan0", True)})
    single = {"ip route get 10.9.0.{0}".format(number): [{"dev": "lan0"}] for number in (1, 2)}
    host = Host(ip=printed) if not each else Host(**single, ip=printed)
    way = ("lan0", "10.9.0.1") if each else ("wan0", "203.0.113.1")
    found = ground.ways(base, SERVERS, host)
    assert [found["lan0", "10.9.0.1"][0], len(found)] == [way[0], 2]


def test_a_name_that_a_batch_would_read_otherwise_is_asked_for_by_itself():
    base = Ground({"lan 0": Link("lan 0", True)})
    cases = [("lan 0", client, target) for _name, client, target in SERVERS]
    host = Host(ip=answers("10.9.0.1", "10.9.0.2"), **{"ip route get": [{"dev": "lan 0"}]})
    host.answers = dict(reversed(list(host.answers.items())))
    assert {way[0] for way in ground.ways(base, cases, host).values()} == {"lan 0"}


RULE = {"rule": {"family": "bridge", "table": "filter", "chain": "FORWARD"}}


@pytest.mark.parametrize(
    ("kind", "listed", "told"),
    [
        ("bridge", [RULE, RULE], 1),
        ("bridge", [{"table": {"family": "bridge", "name": "filter"}}], 0),
        ("vlan", [RULE], 0),
    ],
)
def test_rules_at_the_ports_of_a_bridge_are_told(monkeypatch, kind, listed, told):
    host = fakes.FakeHost()
    monkeypatch.setattr(host, "ask", lambda *_words: Done(0, json.dumps({"nftables": listed}), ""))
    notes = ground.before_bridges(["br0", "wan0"], Facts((Interface("br0", kind=kind),)), host)
    assert len(notes) == told
    assert all(note.startswith("rules of table bridge filter come before br0, ") for note in notes)


def test_which_addresses_the_kernel_does_not_choose_and_what_ipsec_is_for():
    facts = Facts((Interface("wan0", addresses=("2001:db8::1", "2001:db8::2"), sources=("2001:db8::2",)),))
    listed = "src 10.0.0.0/8 dst 10.9.0.0/16 \n\tdir out priority 7 \n\ttmpl src 9.9.9.9 dst 8.8.8.8\n"
    surveyed = ground.survey(resolved().gateway, facts, Host(**{"ip xfrm policy show": listed}))
    assert surveyed.unchosen == {("wan0", "2001:db8::1")}
    assert [each.target for each in surveyed.policies] == ["10.9.0.0/16"]


def test_xdp_on_an_interface_or_below_it_is_told():
    stacked = (Interface("wan0", parent="bond0"), Interface("bond0"), Interface("eth1", master="bond0"))
    listed = [{"ifname": name, "xdp": {"mode": 1}} for name in ("wan0", "eth1", "eth9")] + [{"ifname": "lan0"}]
    facts = Facts((*stacked, Interface("eth9")))
    surveyed = ground.survey(resolved().gateway, facts, Host(**{"ip link show": listed}))
    notes = ground.before_links(["lan0", "wan0"], facts, surveyed)
    assert [note[:29] for note in notes] == ["an XDP program on wan0 sees w", "an XDP program on eth1 sees w"]
