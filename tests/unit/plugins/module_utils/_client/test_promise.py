# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user expects against what was measured, in every outcome."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import promise
from ansible_collections.ipmasq.linux.plugins.module_utils._client.nat import Nat, Verdict
from ansible_collections.ipmasq.linux.plugins.module_utils._client.path import Path
from ansible_collections.ipmasq.linux.plugins.module_utils._client.stun import Endpoint
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wanted import Expected

SERVER = Endpoint("198.51.100.1", 3478)
SECOND = Endpoint("198.51.100.2", 3478)
OTHER = "203.0.113.3 was seen, but 203.0.113.2 is expected"
HIDDEN = "the gateway's own address, {0}, is not public: another NAT behind it changes it to 203.0.113.3"


def address(expected, *seen, version=4):
    found = promise.address(
        "udp", Expected(tuple(expected)), dict(zip((SERVER, SECOND), (Endpoint(each, 4000) for each in seen))), version
    )
    return [(each.outcome, each.reason) for each in found]


@pytest.mark.parametrize(
    ("expected", "seen", "outcome", "reason"),
    [
        (["203.0.113.2/32"], ["203.0.113.2"], "holds", ""),
        (["203.0.113.0/24"], ["203.0.113.7", "203.0.113.9"], "holds", ""),
        (["203.0.113.2/32"], ["203.0.113.3"], "broken", OTHER),
        (["203.0.113.2/32"], ["203.0.113.2", "203.0.113.3"], "broken", OTHER),
        (["203.0.113.2/32"], ["192.168.1.10"], "broken", "192.168.1.10 was seen, but 203.0.113.2 is expected"),
        (["10.0.0.2/32"], ["192.168.1.10"], "broken", "192.168.1.10 was seen, but 10.0.0.2 is expected"),
        (["10.0.0.2/32"], ["10.0.0.2"], "holds", ""),
        (["10.0.0.2/32"], ["203.0.113.3"], "unmeasurable", HIDDEN.format("10.0.0.2")),
        (["100.64.0.9/32"], ["203.0.113.3"], "unmeasurable", HIDDEN.format("100.64.0.9")),
        (["203.0.113.2/32"], [], "unmeasurable", "no server reported which address it saw"),
    ],
)  # fmt: skip
def test_the_address_that_was_seen(expected, seen, outcome, reason):
    assert address(expected, *seen) == [(outcome, reason)]


def test_a_family_without_expectation_is_not_judged():
    assert address(["2001:db8::1/128"], "203.0.113.2") == []
    assert address([], "203.0.113.2") == []
    assert address(["fd00::1/128"], "2001:db8::1", version=6)[0][0] == "unmeasurable"


NAT = Nat(Verdict("independent", "a"), Verdict("address_port", "b"), Verdict("no", "c"))


def behaviour(expected, nat=NAT):
    return [(each.kind, each.outcome) for each in promise.behaviour(expected, nat, 4)]


def test_classes_are_judged_only_if_expected():
    assert behaviour(Expected()) == []
    asked = Expected((), "independent", "address_port", False)
    assert behaviour(asked) == [("mapping", "holds"), ("filtering", "holds"), ("hairpin", "holds")]
    other = Expected((), "address_port", "independent", True)
    assert behaviour(other) == [("mapping", "broken"), ("filtering", "broken"), ("hairpin", "broken")]
    unknown = Nat(*[Verdict("unknown", "why")] * 3)
    assert {outcome for _kind, outcome in behaviour(other, unknown)} == {"unmeasurable"}


@pytest.mark.parametrize(
    ("wanted", "outcome"), [("independent", "broken"), ("none", "broken"), ("address", "unmeasurable")]
)
def test_a_vague_class_decides_what_it_can(wanted, outcome):
    vague = NAT._replace(mapping=Verdict("dependent", "x"))
    assert behaviour(Expected((), wanted), vague) == [("mapping", outcome)]


@pytest.mark.parametrize(
    ("found", "least", "outcome"),
    [
        (Path(1500, False, ""), 0, "holds"),
        (Path(1400, False, ""), 0, "holds"),
        (Path(1400, False, ""), 1492, "broken"),
        (Path(1279, False, ""), 0, "broken"),
        (Path(1400, True, "vanish"), 0, "broken"),
        (Path(0, False, "why"), 0, "unmeasurable"),
    ],
)
def test_path_mtu(found, least, outcome):
    judged = promise.path("out", Expected(mtu=least), found, 4)
    assert judged.outcome == outcome
    assert bool(judged.reason) == (outcome != "holds")


def test_an_idle_flow():
    outcomes = [promise.idle(60, 4, lives, "why").outcome for lives in (True, False, None)]
    assert outcomes == ["holds", "broken", "unmeasurable"]


def test_counts_and_shape():
    promises = [promise.Promise("a", "reach", "holds", "x", "y"), promise.Promise("b", "reach", "broken", reason="z")]
    assert promise.counts(promises) == {"holds": 1, "broken": 1, "unmeasurable": 0}
    assert promises[0].as_dict() == {
        "name": "a", "kind": "reach", "outcome": "holds", "sent": ["x"], "seen": ["y"], "reason": "",
    }  # fmt: skip
