# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import watch


def taking(count, **more):
    action = {
        "kind": "mirred",
        "mirred_action": "redirect",
        "to_dev": more.pop("to", "hole0"),
        "stats": {"packets": count},
    }
    options = {"fh": "800::800", "actions": [action]}
    return dict({"protocol": "ip", "pref": 5, "kind": "u32", "options": options}, **more)


class Host:
    """A host with iptables-legacy for IPv4; each listing is that of the next moment."""

    def __init__(self, *filters, tables="filter\n"):
        self.filters, self.tables, self.calls = list(filters), tables, []

    def which(self, program):
        return program if program == "iptables-save" else ""

    def read(self, path):
        return self.tables if path.endswith("/ip_tables_names") else None

    def run(self, argv, stdin=None):
        self.calls.append(argv)
        if argv[0] == "iptables-save":
            return Done(0, "*filter\n[{0}:0] -A FORWARD -j DROP\n".format(len(self.calls)), "")
        if "qdisc" in argv:
            return Done(0, json.dumps([{"dev": "lan0", "kind": "clsact"}, {"dev": "wan0", "kind": "noqueue"}]), "")
        return Done(0, json.dumps(self.filters.pop(0) if argv[-1] == "ingress" else []), "")


class Loop:
    def trace(self, lines):
        return None


def seen(host):
    made = watch.Watch(Loop(), ["lan0", "wan0"], host)
    made.begin([])
    sent = []
    found = made.during(lambda listen: (sent.append(1), listen()))
    made.end()
    assert sent == [1]
    return found


def test_filters_that_met_packets():
    other = dict(taking(9), pref=6)
    bpf = {"protocol": "all", "pref": 1, "kind": "bpf", "options": {"bpf_name": "cut.o"}}
    ours = taking(0, to="ipmasq-probe0"), taking(5, to="ipmasq-probe0")
    heading = {"protocol": "ip", "pref": 5, "kind": "u32"}
    host = Host([taking(3), other, bpf, ours[0], heading], [taking(4), other, bpf, ours[1], heading])
    found = seen(host)
    assert found.filters == {
        ("lan0", "ingress"): ("protocol ip, pref 5, u32: redirect to hole0", "protocol all, pref 1, bpf: cut.o")
    }
    assert not found.traced and found.flights == ()
    assert not any("wan0" in call for call in host.calls), "only where filters may be"


def test_counters_of_iptables_legacy():
    found = seen(Host([], []))
    assert set(found.before) == set(found.after) == {"ip"}
    assert found.before != found.after
    assert seen(Host([], [], tables="")).after == {}


def test_counters_that_others_move_say_nothing():
    """The host's rises with each listing: in the time before the packet, too."""
    made, rested = watch.Watch(Loop(), ["lan0"], Host([], [])), []
    made._host.sleep = rested.append
    found = made.alone(lambda listen: listen())
    assert rested == [watch.REST]
    assert found.before and found.after == {"ip": {}}
    shared = watch.Watch(Loop(), ["lan0"], Host([], [])).during(lambda listen: listen(), shared=True)
    assert (shared.before, shared.after, shared.shared) == ({}, {}, True)
