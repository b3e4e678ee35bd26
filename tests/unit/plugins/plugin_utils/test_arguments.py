# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An empty value means the default, and a wrong shape is reported with option, item and remedy."""

from __future__ import annotations

import copy

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.confirm import OPTIONS
from ansible_collections.ipmasq.linux.plugins.plugin_utils import arguments

GATEWAY = MODULES["gateway"]
WEB = {"name": "web", "port": [443], "to": "192.168.1.20"}
LAN = {"name": "lan", "interfaces": ["lan0"]}
TV = {"name": "tv", "group": ["239.0.0.0/8"]}
#: An item of each list, with its required keys.
ITEMS = {"wans": {"interface": "ppp0"}, "lans": LAN, "port_forwards": WEB, "multicast": TV, "helpers": {"name": "ftp"}}


def walk():
    """Every option that may be left out, as (module, what is given, what is given without it)."""
    for module, spec in MODULES.items():
        base = {name: "x" for name, option in spec.items() if option.get("required")}
        base.update({"ipv4": True} if module == "forwarding" else {})
        for name, option in spec.items():
            if not option.get("required"):
                yield module, {**base, name: None}, {key: base[key] for key in base if key != name}
            item = ITEMS.get(name, {"name": "x"}) if option["type"] == "list" else {}
            for inner, inside in (option.get("options") or {}).items():
                if not inside.get("required"):
                    with_none = dict(item, **{inner: None})
                    one, other = ([with_none], [item]) if option["type"] == "list" else (with_none, item)
                    yield module, {**base, name: one}, {**base, name: other}


@pytest.mark.parametrize(("module", "empty", "without"), list(walk()), ids=str)
def test_what_is_empty_means_its_default(module, empty, without):
    options, problems = arguments.read(MODULES[module], empty)
    assert problems == []
    # The validator writes into default values of the specification that it is given.
    judged = [ArgumentSpecValidator(copy.deepcopy(MODULES[module])).validate(each) for each in (options, without)]
    assert judged[0].error_messages == judged[1].error_messages == []
    assert judged[0].validated_parameters == judged[1].validated_parameters


@pytest.mark.parametrize("spec", [*MODULES.values(), OPTIONS], ids=[*MODULES, "gateway_confirm"])
def test_an_instance_without_a_name_is_the_default(spec):
    """What ``{{ tenant | default('') }}`` leaves of it."""
    base = {name: "x" for name, option in spec.items() if option.get("required")}
    assert arguments.read(spec, {**base, "instance": ""}) == (base, [])


def test_every_module_of_the_group_takes_what_the_group_may_be_given():
    common = {"instance", "backend", "confirm_timeout", "confirm_by", "wait"}
    group = {name: spec for name, spec in MODULES.items() if name not in ("lan_client", "nat_probe")}  # on clients
    for name, spec in {**group, "gateway_confirm": OPTIONS}.items():
        assert common <= set(spec), name
        assert {key: spec[key] for key in common} == {key: GATEWAY[key] for key in common}, name


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"wans": ["wan0"]}, {"wans": [{"interface": "wan0"}]}),
        ({"wans": "wan0, ppp*"}, {"wans": [{"interface": "wan0"}, {"interface": "ppp*"}]}),
        ({"wans": ["a", {"interface": "b", "mss": None}]}, {"wans": [{"interface": "a"}, {"interface": "b"}]}),
        ({"wans": '[{"interface": "wan0"}]'}, {"wans": [{"interface": "wan0"}]}),
        ({"wans": "[{'interface': 'wan0'}]"}, {"wans": [{"interface": "wan0"}]}),
        ({"helpers": ["ftp"]}, {"helpers": [{"name": "ftp"}]}),
        ({"timeouts": "{'udp': 60, 'icmp': None}"}, {"timeouts": {"udp": 60}}),
        ({"log": "closed,guard"}, {"log": "closed,guard"}),
        ({"port_forwards": [dict(WEB, port=443)]}, {"port_forwards": [dict(WEB, port=443)]}),
        ({"drop_bogons": "yes", "confirm_timeout": "30"}, {"drop_bogons": "yes", "confirm_timeout": "30"}),
        ({"port_forwards": []}, {"port_forwards": []}),
    ],
    ids=str,
)
def test_what_people_write_is_what_they_mean(given, meant):
    assert arguments.read(GATEWAY, given) == (meant, [])
    assert ArgumentSpecValidator(copy.deepcopy(GATEWAY)).validate(meant).error_messages == []


PROBLEMS = [
    ({"wan": ["wan0"]}, ["gateway_wan: is not an option; did you mean gateway_wans?"]),
    (
        {"port_forwards": [WEB, dict({key: WEB[key] for key in ("name", "to")}, ports=443)]},
        ["gateway_port_forwards[1] 'web': has no option ports; did you mean port?"],
    ),
    ({"port_forwards": [{"name": "web", "to": "192.168.1.20"}]}, ["gateway_port_forwards[0] 'web': port is missing"]),
    (
        {"lans": ["lan0", None, LAN]},
        [
            "gateway_lans[0]: 'lan0' is not an item; write an item as {name: …, interfaces: …}",
            "gateway_lans[1]: is empty; write an item as {name: …, interfaces: …}",
        ],
    ),
    ({"lans": LAN}, ["gateway_lans: is a single item, but must be a list; put '- ' in front of it"]),
    ({"lans": "lan0"}, ["gateway_lans: 'lan0' is not a list; write an item as {name: …, interfaces: …}"]),
    ({"lans": 7}, ["gateway_lans: '7' is not a list; write an item as {name: …, interfaces: …}"]),
    (
        {"lans": [dict(LAN, zone=1)]},
        [
            "gateway_lans[0] 'lan': has no option zone; the options are dhcp, dns, "
            "interfaces, name, networks, ra, reaches, spoof_check"
        ],
    ),
    ({"ipv6": "nat66"}, ["gateway_ipv6: 'nat66' is not one of route, masquerade, prefix"]),
    ({"input": "Protected"}, ["gateway_input: 'Protected' is not one of open, protect; did you mean protect?"]),
    (
        {"nat": [{"name": "x", "action": "masquerad", "random": "maybe"}]},
        [
            "gateway_nat[0] 'x': action: 'masquerad' is not one of masquerade, snat, static, prefix, exempt; did you "
            "mean masquerade?",
            "gateway_nat[0] 'x': random: 'maybe' is neither true nor false",
        ],
    ),
    ({"drop_bogons": "perhaps"}, ["gateway_drop_bogons: 'perhaps' is neither true nor false"]),
    ({"confirm_timeout": "30s"}, ["gateway_confirm_timeout: '30s' is not an integer"]),
    (
        {"confirm_timeout": float("inf"), "timeouts": {"udp": float("nan")}},
        ["gateway_timeouts: udp: 'nan' is not an integer", "gateway_confirm_timeout: 'inf' is not an integer"],
    ),
    pytest.param({"lans": "[" * 5000}, None, id="brackets"),
    ({"timeouts": {"udpstream": 1}}, ["gateway_timeouts: has no option udpstream; did you mean udp_stream?"]),
    ({"timeouts": [60]}, ["gateway_timeouts: '[60]' is not a dictionary"]),
    ({"timeouts": {"udp": "1m"}}, ["gateway_timeouts: udp: '1m' is not an integer"]),
    ({"helpers": [{"name": "ftp", "port": ["x"]}]}, ["gateway_helpers[0] 'ftp': port: 'x' is not an integer"]),
    ({"helpers": ["fpt"]}, None),
    ({"log": ["close"]}, None),
]


@pytest.mark.parametrize(("given", "problems"), PROBLEMS, ids=str)
def test_a_shape_that_is_wrong_is_told_with_option_item_and_remedy(given, problems):
    found = arguments.read(GATEWAY, given, arguments.variable)[1]
    assert found and all(each.startswith("gateway_") for each in found)
    assert problems is None or found == problems


def test_without_the_role_options_have_their_own_names():
    assert arguments.read(GATEWAY, {"wan": 1, "lans": 7})[1] == [
        "wan: is not an option; did you mean wans?",
        "lans: '7' is not a list; write an item as {name: …, interfaces: …}",
    ]
    assert arguments.read(MODULES["forward"], {})[1] == ["name: is missing"]


@pytest.mark.parametrize("value", [object, 3.5, [[]], [[1]], {1: 2}, "\x1b[2J\n", "\ud800", b"x"], ids=repr)
def test_whatever_is_given_is_told_in_words(value):
    for name in GATEWAY:
        for problem in arguments.read(GATEWAY, {name: value})[1]:
            assert problem.isprintable()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("wans[0]: interface 'a/b' has a slash", "gateway_wans[0]: interface 'a/b' has a slash"),
        ("mss: '1' is neither", "gateway_mss: '1' is neither"),
        ("timeouts.udp: 1 is not a number", "gateway_timeouts.udp: 1 is not a number"),
        ("backend: not here; or set backend=iptables", "gateway_backend: not here; or set gateway_backend=iptables"),
        ("table x drops; set foreign_drops=warn", "table x drops; set gateway_foreign_drops=warn"),
        ("proof: no time; set confirm_timeout to 60", "gateway_proof: no time; set gateway_confirm_timeout to 60"),
        ("input_allow: set input to protect", "gateway_input_allow: set gateway_input to protect"),
        (
            "instance: 'x' holds single items (forward/a); to remove them, run once with state=absent",
            "gateway_instance: 'x' holds single items (forward/a); to remove them, run once with gateway_state=absent",
        ),
        (
            "wans: write it down, or run once with choice=renew",
            "gateway_wans: write it down, or run once with gateway_choice=renew",
        ),
        (
            "remove it there (state=absent if it is the last)",
            "remove it there (gateway_state=absent if it is the last)",
        ),
        ("the LAN (input is open)", "the LAN (input is open)"),
        ("start over: the module gateway with state=absent", "start over: the module gateway with state=absent"),
        ("this needs root; add 'become: true'", "this needs root; add 'become: true'"),
        ("nft: cannot be run", "nft: cannot be run"),
        ("natural: x", "natural: x"),
    ],
)
def test_what_the_module_says_is_said_in_the_words_of_the_role(problem, words):
    assert arguments.in_words_of_the_role(problem) == words


def test_a_lan_client_has_words_of_its_own():
    problem = "gateways: none of them is here; set gateway to its address, or set interface"
    words = "lan_client_gateways: none of them is here; set lan_client_gateway to its address, or set interface"
    assert arguments.in_words_of_the_role(problem, "lan_client") == words
    assert arguments.in_words_of_the_role("dns: is empty", "lan_client") == "lan_client_dns: is empty"
    assert arguments.variable("state", "lan_client") == "lan_client_state"


def test_a_variable_that_is_nearly_one_of_the_role_is_told():
    known = [arguments.variable(name) for name in [*GATEWAY, *arguments.BESIDE]]
    others = ["gateway_ip", "gateway_ipv4", "gateway_mac", "gateway_vars", "gateway__lan", "my_gateway_lan", "gateway_"]
    assert arguments.mistyped("gateway_", known, [*known, *others]) == []
    words = "gateway_{0} is not a variable of this role and has no effect; did you mean gateway_{1}?"
    typos = {
        "lan": "lans",
        "wan": "wans",
        "port_forward": "port_forwards",
        "outbond": "outbound",
        "input_alow": "input_allow",
    }
    assert sorted(arguments.mistyped("gateway_", known, ["gateway_" + typo for typo in typos])) == sorted(
        words.format(*each) for each in typos.items()
    )
