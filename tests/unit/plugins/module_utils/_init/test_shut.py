# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy routing rules that shut a gateway; integration/test_window.py tests them with packets."""

from __future__ import annotations

import json

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._init import shut
from ansible_collections.ipmasq.linux.tests.unit.fakes import FakeHost

OURS = {"priority": 6, "src": "all", "iif": "wan0", "iif_detached": None, "action": "blackhole"}
OTHERS = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 6, "src": "all", "iif": "wan0", "table": "100"},
    {"priority": 7, "src": "all", "iif": "wan0", "action": "blackhole"},
    {"priority": 6, "src": "10.0.0.1", "action": "blackhole"},
]


def test_only_our_own_rules_are_known_and_taken_away():
    host = FakeHost()
    host.rules = [*OTHERS, OURS]
    assert shut.shut_links(host) == (("-4", "wan0"), ("-6", "wan0"))
    gone = Done(2, "", "gone already")
    host.answers = {"ip -4 rule del": gone, "ip -6 rule del": Done(0, "", ""), "ip -4 mrule del": gone}
    host.answers["ip -6 mrule del"] = Done(0, "", "")
    shut.unshut(shut.shut_links(host), host)
    calls = ["-4 mrule", "-6 mrule", "-6 mrule", "-4 rule", "-6 rule"]
    assert [" ".join(call) for call in host.calls if "del" in call] == [
        "ip {0} del pref 6 iif wan0 blackhole".format(each) for each in calls
    ]


def test_what_cannot_be_asked_is_not_shut():
    host = FakeHost()
    for done in (Done(127, "", "ip: not found"), Done(0, "", ""), Done(2, json.dumps([OURS]), "")):
        host.answers = {"ip -j": done}
        assert shut.shut_links(host) == ()


def test_a_rollback_shuts_what_was_shut():
    line = "{{ ip {0} {1} add pref 6 {2} blackhole protocol kernel 2> /dev/null || true; }}".format
    for link, chosen in ((shut.ALL, "not iif lo"), ("wan0", "iif wan0")):
        lines = shut.restoring_lines((("-6", link),))
        assert lines == [line("-6", kind, chosen) for kind in ("rule", "mrule")]
    assert shut.text(("ppp*", "lan0")) == "ppp*\nlan0\n"
