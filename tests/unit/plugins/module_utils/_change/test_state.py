# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state file: read as it was written, never mistaken for another, and read by earlier and later versions."""

from __future__ import annotations

import json
import pathlib

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, removing, state as states
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.addresses import ADDRESSES, Addresses
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import DECLARATION, Declaration
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.flowtable import FLOWTABLE
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import parts_of
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES, Loaded
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.switches import SWITCHES, Held
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Row
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.version_1 import as_version_1

PATH = "/etc/ipmasq/default.json"
OLD = pathlib.Path(__file__).resolve().parents[4] / "integration/data/version_1"
ROWS = (Row("forward", "one", "lan/office", position=3), Row("forward", "two", ""))
STATE = states.State(
    "default",
    "items",
    parts_of(
        (DECLARATION, Declaration(lines=("masquerade/lan: on ppp0",), intent={"": "Gateway"})),
        (RULES, Loaded("nft", ROWS, ("ip filter FORWARD",))),
        (SWITCHES, Held((("net/ipv4/ip_forward", "1"),), {"net/ipv4/ip_forward": "0"})),
    ),
)
GOOD = json.loads(states.to_text(STATE))


def read(text):
    return states.read(PATH, "default", fakes.FakeHost(files={PATH: text}))


def altered(part=None, **values):
    """The file with other values, of a part if one is named."""
    raw = json.loads(json.dumps(GOOD))
    (raw["parts"][part] if part else raw).update(values)
    return json.dumps(raw)


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


def test_there_and_back():
    found = read(states.to_text(STATE))
    assert found == STATE
    assert [row.position for row in RULES.of(found).rows] == [3, 1]
    assert states.read(PATH, "default", fakes.FakeHost()) is None
    assert ADDRESSES.of(found) == ADDRESSES.of(None) == ADDRESSES.empty


DAMAGED = {
    "empty": "",
    "cut off": states.to_text(STATE)[:40],
    "no object": "[]",
    "a version of its own": altered(version="x"),
    "version 0": altered(version=0),
    "no version": without("version"),
    "no parts": without("parts"),
    "no owner": without("owner"),
    "another owner": altered(owner="me"),
    "another instance": altered(instance="lab"),
    "parts are a list": altered(parts=[]),
    "another program": altered("rules", programs="pf"),
    "rows are not rows": altered("rules", rows=[["a"]]),
    "a row of numbers": altered("rules", rows=[[1, 2, 3, 4]]),
    "null": altered("rules", rows=None),
    "switches": altered("switches", values=[["a"]]),
    "first values are a list": altered("switches", before=[]),
    "first values are numbers": altered("switches", before={"net/ipv4/ip_forward": 0}),
    "lines are one text": altered("declaration", lines="wan wan0"),
    "a port is not a number": altered("declaration", controller_ports=[True]),
    "version 1 without rows": json.dumps({"version": 1, "instance": "default", "owner": "items"}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_an_error_that_names_it(name):
    with pytest.raises(GatewayError) as caught:
        read(DAMAGED[name])
    (problem,) = caught.value.problems
    assert problem.startswith("/etc/ipmasq/default.json: is damaged (")
    assert "start over: the module gateway with state=absent and instance=default removes what is left" in problem


def test_a_part_or_key_that_is_missing_is_no_damage():
    raw = json.loads(json.dumps(GOOD))
    del raw["parts"]["switches"], raw["parts"]["rules"]["base_chains"]
    found = read(json.dumps(raw))
    assert (SWITCHES.of(found), RULES.of(found)) == (Held(), Loaded("nft", ROWS))


# Other versions


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_what_version_1_wrote_is_read(backend):
    text = (OLD / backend / "ipmasq/default.json").read_text(encoding="utf-8")
    found = read(text)
    assert as_version_1(found) == json.loads(text)
    assert found.unknown == {} and found.collection == ""
    assert dict(DECLARATION.of(found).roles.lans) == {"office": ("lan0",), "guests": ("guest0",)}
    assert len(RULES.of(found).rows) > 100 and ADDRESSES.of(found).needed == (("wan0", "203.0.113.9/32"),)


def test_addresses_and_flowtable_were_one_part():
    raw = json.loads(json.dumps(GOOD))
    nine = ["wan0", "203.0.113.9/32"]
    raw["parts"]["links"] = {"addresses": [nine], "found": [nine], "offload": ["wan0"]}
    found = read(json.dumps(raw))
    assert ADDRESSES.of(found) == Addresses((tuple(nine),), (tuple(nine),))
    assert FLOWTABLE.of(found).devices == ("wan0",) and found.strange == () and found.unknown == {}


def later():
    """A file of a later version that has a part and keys of its own."""
    raw = json.loads(json.dumps(GOOD))
    raw.update(collection="9.1.0", mood="good")
    raw["parts"]["routes"] = {"table": 100}
    raw["parts"]["switches"]["reason"] = {"net/ipv4/ip_forward": "gateway"}
    return raw


def test_what_a_later_version_wrote_beside_is_kept():
    found = read(json.dumps(later()))
    assert found.strange == ("routes",)
    changed = found.holding(SWITCHES, Held((("net/ipv4/ip_forward", "0"),)))
    raw = json.loads(states.to_text(changed))
    assert raw["mood"] == "good" and raw["parts"]["routes"] == {"table": 100}
    assert raw["parts"]["switches"] == {
        "values": [["net/ipv4/ip_forward", "0"]], "before": {}, "reason": {"net/ipv4/ip_forward": "gateway"}
    }  # fmt: skip


def test_a_format_of_a_later_version_is_no_damage_but_cannot_be_read():
    with pytest.raises(GatewayError) as caught:
        read(altered(version=3, collection="9.1.0"))
    (problem,) = caught.value.problems
    assert problem == (
        "/etc/ipmasq/default.json: was written by version 9.1.0 of ipmasq.linux, and this is version 1.0.0, which "
        "cannot read it; update the collection on the controller"
    )


def test_a_run_keeps_what_a_later_version_wrote_and_removal_tells_what_it_cannot_remove():
    host = fakes.FakeHost()
    lans = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]

    def apply(**options):
        return engine.apply_gateway(gateway_from_params(gateway_params(lans=lans, **options)), "auto", host)

    apply()
    raw = json.loads(host.files[PATH])
    raw["parts"]["routes"] = {"table": 100}
    raw["collection"] = "9.1.0"
    host.files[PATH] = json.dumps(raw)
    apply(drop_bogons=True)
    raw = json.loads(host.files[PATH])
    assert (raw["parts"]["routes"], raw["collection"]) == ({"table": 100}, "1.0.0")
    (told,) = removing.remove_instance("default", host).warnings
    assert told == (
        "/etc/ipmasq/default.json: a later version of ipmasq.linux has set up routes, which this version does not know "
        "and cannot remove; remove the instance with that version"
    )
