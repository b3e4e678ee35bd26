# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one orchestration, on a host in memory: order of steps, check mode, undo, and hosts that lack something."""

from __future__ import annotations

import copy
import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, items, persist, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._change.repeat import Listener
from ansible_collections.ipmasq.linux.plugins.module_utils._init import drop_ins
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import Forwarding
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import forward_params, gateway_params, masquerade_params, tried

TOOLS = {"nft": fakes.NFT, "iptables-nft": fakes.IPTABLES_NFT, "iptables-legacy": fakes.IPTABLES_LEGACY}
IP4 = "net/ipv4/ip_forward"
ENABLED = "/etc/systemd/system/sysinit.target.wants/ipmasq.service"
DUAL = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}]


@pytest.fixture(params=list(TOOLS))
def host(request):
    """A host with each backend in turn, and with foreign rules, switches and files."""
    found = fakes.FakeHost(TOOLS[request.param], files={"/etc/sysctl.conf": "# mine\n"})
    found.nft.tables["theirs"] = [{"chain": {"name": "c"}}]
    for family in ("ip", "ip6"):
        variant = "legacy" if request.param == "iptables-legacy" else "nft"
        if request.param != "nft":
            found.files["/proc/net/ip_tables_names"] = "filter\nnat\nmangle\n" if variant == "legacy" else ""
            found.iptables[variant, family].append("filter", "FORWARD", "-j DOCKER-USER")
            found.iptables[variant, family].append("filter", "DOCKER-USER", "-j RETURN")
    found.programs_name = request.param
    return found


def apply(host, check_mode=False, backend="auto", foreign="refuse", **given):
    given.setdefault("lans", DUAL)
    gateway = gateway_from_params(gateway_params(**given))
    return engine.apply_gateway(gateway, backend, fakes.seen(host, check_mode), foreign=foreign)


def remove(host, check_mode=False, instance="default"):
    return removing.remove_instance(instance, fakes.seen(host, check_mode))


def masquerade(host, name="lan", state="present", check_mode=False, **given):
    given = dict(dict(source=["192.168.1.0/24"], out_interface="ppp0"), **given)
    item = masquerade_from_params(masquerade_params(name=name, state=state, **given))
    return items.apply_item("default", item, state == "present", "auto", fakes.seen(host, check_mode))


def forward(host, name="out", state="present", **given):
    given = dict(dict(source=["192.168.1.0/24"], out_interface="ppp0"), **given)
    item = forward_from_params(forward_params(name=name, state=state, **given))
    return items.apply_item("default", item, state == "present", "auto", host)


def problems(function, *args, **kwargs):
    with pytest.raises(GatewayError) as caught:
        function(*args, **kwargs)
    return list(caught.value.problems)


def counted(host):
    """Packets pass: every rule of ours counts."""
    for place in host.nft.tables.values():
        for each in place:
            if "rule" in each:
                each["rule"]["expr"] = [
                    {"counter": {"packets": 9, "bytes": 900}} if "counter" in part else part
                    for part in each["rule"]["expr"]
                ]
    for tables in host.iptables.values():
        for chains in tables.tables.values():
            for _policy, rules in chains.values():
                for rule in rules:
                    rule[0], rule[1] = 9, 900


# The gateway


def test_apply_then_nothing_to_do(host):
    result = apply(host).to_dict()
    assert result["changed"]
    assert result["backend"]["programs"] == host.programs_name
    assert host.switch(IP4) == host.switch("net/ipv6/conf/all/forwarding") == "1"
    host.frozen = True
    again = apply(host).to_dict()
    assert (again["changed"], again["differences"]) == (False, [])
    assert again["diff"]["before"] == again["diff"]["after"]
    assert apply(host, check_mode=True).to_dict()["changed"] is False


def test_packets_are_no_change(host):
    apply(host)
    counted(host)
    host.frozen = True
    assert apply(host).to_dict()["changed"] is False
    assert gateway_info("default", host)["as_applied"] is True


def test_rules_first_forwarding_last(host):
    apply(host)
    assert host.kinds() == ["load", "switch", "write", "systemctl"]
    switched = [event[1] for event in host.events if event[0] == "switch"]
    assert switched[0] == "net/ipv6/conf/ppp0/accept_ra"
    assert switched.index("net/ipv6/conf/ppp0/accept_ra") < switched.index("net/ipv6/conf/all/forwarding")


def test_absent_turns_forwarding_off_first_and_leaves_nothing(host):
    before = host.snapshot()
    apply(host)
    host.events.clear()
    assert remove(host).to_dict()["changed"]
    assert host.kinds()[:2] == ["switch", "load"]
    assert host.snapshot() == before
    host.frozen = True
    assert remove(host).to_dict()["changed"] is False


def test_absent_on_a_host_that_never_was_a_gateway(host):
    host.frozen = True
    assert remove(host).to_dict()["changed"] is False


def test_absent_gives_back_what_forwarding_was(host):
    host.files["/proc/sys/" + IP4] = "1\n"
    host.files["/proc/sys/net/ipv4/conf/lan0/forwarding"] = "1\n"
    before = host.snapshot()
    apply(host)
    apply(host, mss="keep")
    remove(host)
    assert host.snapshot() == before


def test_absent_gives_back_an_interface_that_was_on_while_the_host_was_off(host):
    """Writing the global switch alters the interfaces, so theirs are written after it, even if they were correct."""
    host.files["/proc/sys/net/ipv4/conf/lan0/forwarding"] = "1\n"
    host.files["/proc/sys/net/ipv6/conf/ppp0/forwarding"] = "1\n"
    before = host.snapshot()
    apply(host)
    remove(host)
    assert host.snapshot() == before


def test_a_rollback_turns_forwarding_off_before_the_rules_go(host):
    host.answers["sh /run/ipmasq/default/keep"] = fakes.Done(1, "", "No space left on device")
    host.answers["sh /run/ipmasq/default/restore"] = fakes.Done(0, "", "")
    problems(apply, host)
    text = host.files["/run/ipmasq/default/restore"]
    off, gone = text.index("echo 0 > /proc/sys/net/ipv4/ip_forward"), text.index("./old0")
    assert off < gone


def test_any_exception_undoes(host):
    """One of our bugs, or the end of the process."""
    before = host.snapshot()
    host.write = lambda *_call: 1 // 0
    with pytest.raises(ZeroDivisionError):
        apply(host)
    assert host.snapshot() == before


@pytest.mark.parametrize("step", ["apply", "change", "remove"])
def test_check_mode_writes_nothing_and_tells_the_same(host, step):
    if step != "apply":
        apply(host)
    given = {"mss": "keep"} if step == "change" else {}
    host.frozen = True
    function = remove if step == "remove" else apply
    told = function(host, check_mode=True, **given).to_dict()
    host.frozen = False
    done = function(host, **given).to_dict()
    assert told == done
    assert told["changed"]
    assert told["differences"]


@pytest.mark.parametrize("step", ["apply", "change", "remove"])
def test_a_failure_at_any_step_undoes_the_earlier_ones(host, step):
    """Every event of a run fails once; each time the host is as it was, and the message says so."""
    if step != "apply":
        apply(host)
    given = {"ipv6": "masquerade", "lans": [dict(DUAL[0], networks=["10.0.0.0/8"])]} if step == "change" else {}
    function = remove if step == "remove" else apply
    before = host.snapshot()
    host.events.clear()
    rehearsal = copy.deepcopy(host)
    function(rehearsal, **given)
    # Removals and calls of systemctl come after the decision, and are repeated at boot.
    failing = [index for index, event in enumerate(rehearsal.events) if event[0] in ("load", "switch", "write")]
    assert len(failing) > 5
    for index in tried(failing):
        host.events.clear()
        host.fail = index
        found = problems(function, host, **given)
        ready = rehearsal.events[index][1].startswith("/run/ipmasq/")
        assert ready or found[-1] == "the host is as it was before", rehearsal.events[index]
        host.fail = None
        assert host.snapshot() == before, rehearsal.events[index]


def test_a_load_that_does_nothing_is_noticed(host):
    host.forget = True
    found = problems(apply, host)
    assert found[0].startswith(host.programs_name + ": the rules read back differ from those loaded: + ")
    assert found[-1] == "the host is as it was before"


def test_a_rollback_that_fails_names_the_step(host):
    apply(host)
    twice = "Error: no\n'nft -f ./old0.nft' has failed\n" * 2
    host.answers["sh /run/ipmasq/default/restore"] = fakes.Done(1, "", twice)
    host.answers["sh /run/ipmasq/default/keep"] = fakes.Done(1, "", "No space left on device")
    again = "its timer tries again once this run has ended"
    told = "it is not rolled back yet (Error: no; 'nft -f ./old0.nft' has failed); " + again
    assert problems(apply, host, mss="keep")[-1] == told


def test_what_is_no_longer_declared_is_purged(host):
    apply(host, lans=DUAL + [{"name": "guests", "interfaces": ["wlan*"], "networks": ["10.9.0.0/16"]}])
    apply(host)
    live = gateway_info("default", host)
    assert live["as_applied"]
    assert not [each for each in live["counters"] if "guests" in each["name"]]


def test_drift_is_seen_and_mended(host):
    apply(host)
    if host.programs_name == "nft":
        place = host.nft.tables["ipmasq"]
        place[:] = [each for each in place if each.get("rule", {}).get("chain") != "srcnat"]
    else:
        variant = host.programs_name.split("-")[1]
        host.iptables[variant, "ip"].tables["nat"]["IPMASQ-SRCNAT"][1].clear()
    host.files["/proc/sys/" + IP4] = "0\n"
    info = gateway_info("default", host)
    assert info["as_applied"] is False
    assert [line for line in info["drift"] if "masquerade" in line.lower()]
    assert "~ net/ipv4/ip_forward: 0, but 1 was applied" in info["drift"]
    assert apply(host).to_dict()["changed"]
    assert gateway_info("default", host)["drift"] == []


def test_interface_left_at_zero_is_repaired(host):
    apply(host)
    host.files["/proc/sys/net/ipv4/conf/lan0/forwarding"] = "0\n"
    assert apply(host).to_dict()["differences"] == ["~ net/ipv4/conf/lan0/forwarding: 0 to 1"]
    assert host.switch("net/ipv4/conf/lan0/forwarding") == "1"


def test_wan_that_vanishes_is_no_change(host):
    wans = [{"interface": "ppp0"}]
    apply(host, wans=wans)
    host.links = [each for each in host.links if each["ifname"] != "ppp0"]
    for path in [path for path in host.files if "/ppp0/" in path]:
        del host.files[path]
    host.frozen = True
    assert apply(host, wans=wans).to_dict()["changed"] is False


def test_a_file_that_somebody_edited_is_written_again(host):
    apply(host)
    host.files[persist.LOADER] += "exit 0\n"
    host.modes["/etc/ipmasq/default.json"] = 0o644
    assert apply(host).to_dict()["differences"] == [
        "~ /etc/ipmasq/default.json: written",
        "~ /etc/ipmasq/boot: written",
    ]
    assert host.modes["/etc/ipmasq/default.json"] == 0o600


def test_service_is_enabled_again(host):
    apply(host)
    del host.files[ENABLED]
    assert apply(host).to_dict()["differences"] == ["+ service ipmasq: enabled"]
    assert ENABLED in host.files


def test_service_that_cannot_be_enabled_is_a_warning(host):
    host.answers["systemctl enable"] = fakes.Done(1, "", "Failed to connect to bus\n")
    assert "the service ipmasq could not be enabled; nothing loads the rules at boot" in apply(host).warnings


def test_a_read_only_usr_with_netfilter_persistent_is_a_warning(host):
    first = drop_ins.PLUGINS + "/05-ipmasq"
    host.files[drop_ins.PLUGINS + "/15-ip4tables"] = ""
    host.locked = {drop_ins.PLUGINS}
    assert drop_ins.LEFT_OUT in apply(host).warnings and first not in host.files
    assert not apply(host).changed
    # From a time when it was writable.
    host.files[first] = "old"
    assert not apply(host).changed
    remove(host)
    assert host.files[first] == "old" and persist.LOADER not in host.files


def test_no_systemd_is_a_warning(host):
    del host.files["/run/systemd/system/x"]
    assert apply(host).warnings == (
        "this host has neither systemd nor OpenRC nor sysvinit; run 'sh /etc/ipmasq/boot' from its boot scripts",
    )


def test_two_instances(host):
    before = host.snapshot()
    apply(host)
    apply(host, instance="lab", lans=[{"name": "lab", "interfaces": ["lab0"], "networks": ["10.7.0.0/16"]}])
    assert gateway_info("default", host)["instances"] == ["default", "lab"]
    assert gateway_info("default", host)["as_applied"]
    assert gateway_info("lab", host)["as_applied"]
    remove(host)
    assert host.switch(IP4) == "1", "the other instance still forwards"
    assert gateway_info("lab", host)["as_applied"]
    remove(host, instance="lab")
    assert host.snapshot() == before


def test_other_instances_are_read_once_in_a_run(host):
    apply(host, instance="lab", lans=[{"name": "lab", "interfaces": ["lab0"], "networks": ["10.7.0.0/16"]}])
    for step in (apply, remove):
        listener = Listener(host)
        step(listener)
        read = [words[0] for kind, words, _answer in listener.asked if kind == "read"]
        assert read.count("/etc/ipmasq/lab.json") == 1


def test_moving_to_another_backend():
    host = fakes.FakeHost(fakes.NFT + fakes.IPTABLES_NFT)
    apply(host, backend="iptables")
    assert list(host.iptables["nft", "ip"].tables["nat"]["POSTROUTING"][1])
    done = apply(host, backend="nftables").to_dict()
    assert "- the rules of iptables-nft" in done["differences"]
    assert not host.iptables["nft", "ip"].tables["nat"]["POSTROUTING"][1]
    assert list(host.nft.tables) == ["ipmasq"]
    assert not [path for path in host.files if path.endswith("tables") and "/etc/ipmasq/" in path]
    host.frozen = True
    assert apply(host).to_dict()["changed"] is False


@pytest.mark.parametrize("then", ["remove", "apply"])
def test_rules_left_by_a_lost_state_file(host, then):
    """Nobody knows any more what forwarding was, but no rule of ours is left behind, and none is duplicated."""
    before = host.snapshot()
    apply(host)
    live = host.snapshot()
    for path in [path for path in host.files if path.startswith("/etc/ipmasq/")]:
        del host.files[path]
    if then == "remove":
        assert remove(host).to_dict()["changed"]
        assert host.snapshot()[2:] == before[2:]
    else:
        assert apply(host).to_dict()["changed"]
        assert host.snapshot()[2:] == live[2:]


def test_items_left_by_a_lost_state_file(host):
    masquerade(host)
    forward(host)
    live = host.snapshot()
    for path in [path for path in host.files if path.startswith("/etc/ipmasq/")]:
        del host.files[path]
    masquerade(host)
    assert host.snapshot()[2:] == live[2:]
    forward(host, state="absent")
    assert [each["name"] for each in gateway_info("default", host)["counters"]] == ["masquerade/lan"]


# Hosts that cannot


def test_not_root(host):
    host.root, host.frozen = False, True
    sentence = ["this needs root; add 'become: true' to the task or play"]
    assert problems(apply, host) == sentence
    assert problems(remove, host) == sentence
    assert problems(masquerade, host) == sentence
    assert problems(items.apply_switches, "default", Forwarding(ipv4=True), host, False) == sentence
    assert problems(gateway_info, "default", host) == sentence


@pytest.mark.parametrize("check_mode", [False, True])
def test_read_only_proc_sys(host, check_mode):
    host.read_only = host.frozen = True
    assert problems(apply, host, check_mode=check_mode) == [
        "/proc/sys/net/ipv6/conf/ppp0/accept_ra: is 1, must be 2, and is read-only; "
        "set it from outside the container, or make /proc/sys/net writable"
    ]


def test_read_only_proc_sys_that_is_right_already(host):
    apply(host)
    host.read_only = True
    assert apply(host, mss="keep").to_dict()["changed"]


def test_neither_nft_nor_iptables():
    host = fakes.FakeHost(("ip", "systemctl"))
    host.frozen = True
    with pytest.raises(MissingProgram) as caught:
        apply(host)
    assert caught.value.problems == ("backend: neither nft nor iptables is installed; install the package nftables",)
    assert remove(host).to_dict()["changed"] is False


def test_kernel_without_nat():
    host = fakes.FakeHost()
    before = host.snapshot()
    host.answers["nft -j -f -"] = fakes.Done(1, "", "Error: Could not process rule: Operation not supported\n")
    found = problems(apply, host)
    assert "modprobe nft_chain_nat nft_masq nft_ct" in found[0]
    assert host.snapshot() == before


def test_kernel_without_ipv6():
    host = fakes.FakeHost(ipv6=False)
    host.frozen = True
    assert problems(apply, host) == [
        "/proc/sys/net/ipv6/conf/all/forwarding: this kernel has no such switch; boot a kernel with IP forwarding"
    ]


def test_damaged_state_touches_nothing(host):
    host.files["/etc/ipmasq/default.json"] = "{"
    host.frozen = True
    for function in (apply, masquerade):
        assert problems(function, host)[0].startswith("/etc/ipmasq/default.json: is damaged")


def test_damaged_state_of_another_instance_touches_nothing(host):
    host.files["/etc/ipmasq/lab.json"] = "{"
    host.frozen = True
    assert problems(apply, host)[0].startswith("/etc/ipmasq/lab.json: is damaged")


def test_foreign_drop_is_refused_before_anything_is_touched():
    host = fakes.FakeHost()
    host.nft.tables["filter"] = [{"chain": {"name": "FORWARD", "hook": "forward", "policy": "drop"}}]
    sentence = (
        "table inet filter: the policy of its chain FORWARD drops forwarded "
        "packets; set its policy to accept, or accept them there and set foreign_drops=warn"
    )
    host.frozen = True
    assert problems(apply, host) == [sentence]
    assert apply(host, check_mode=True, foreign="warn").warnings == (sentence,)
    host.frozen = False
    assert apply(host, foreign="warn").warnings == (sentence,)
    remove(host)
    assert masquerade(host).warnings == (sentence,)
    assert list(host.nft.tables) == ["filter", "ipmasq"]


def foreign_drop(host, family):
    chain = {"family": family, "table": "mine", "name": "f", "hook": "forward", "policy": "drop"}
    host.answers["nft -j list chains"] = fakes.Done(0, json.dumps({"nftables": [{"chain": chain}]}), "")
    return host


@pytest.mark.parametrize("family", ["bridge", "netdev", "ip6"])
def test_a_drop_that_no_packet_of_ours_meets_is_no_reason(family):
    """What bridges forward, and IPv6 of a gateway for IPv4."""
    lans = [dict(DUAL[0], networks=["192.168.1.0/24"])]
    assert apply(foreign_drop(fakes.FakeHost(), family), lans=lans).warnings == ()


def test_a_drop_is_told_with_what_else_is_wrong():
    lans = [dict(DUAL[0], networks=None, interfaces=["nowhere0"])]
    told = problems(apply, foreign_drop(fakes.FakeHost(), "inet"), lans=lans)
    assert told[0].startswith("table inet mine: the policy of its chain f drops") and "nowhere0" in told[1]


def test_a_list_that_words_cut_shows_its_rules():
    host = fakes.FakeHost()
    networks = ["10.0.{0}.0/24".format(number) for number in range(0, 60, 2)]
    apply(host, lans=[dict(DUAL[0], networks=networks)])
    change = apply(host, check_mode=True, lans=[dict(DUAL[0], networks=[*networks[:-1], "10.7.0.0/24"])], mss="keep")
    assert "10.7.0.0" in change.to_dict()["diff"]["after"]


def test_docker_that_comes_later_moves_the_rules_to_iptables():
    host = fakes.FakeHost((*fakes.NFT, *fakes.IPTABLES_NFT))
    assert apply(host, backend="auto").change.scene.backend.programs == "nft"
    chain = {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"}}
    host.answers["nft -j list chains"] = fakes.Done(0, json.dumps({"nftables": [chain]}), "")
    host.iptables["nft", "ip"].tables["filter"]["FORWARD"] = ("DROP", [[0, 0, "-j DOCKER-USER"]])
    done = apply(host, backend="auto")
    assert done.change.scene.backend.programs == "iptables-nft" and "ipmasq" not in host.nft.tables
    assert "chain FORWARD of table ip filter drops packets" in done.why
    assert not apply(host, backend="auto").changed
    assert "set backend=iptables" in problems(apply, host, backend="nftables")[0]


def test_other_writers_are_warned_of_and_left_alone(host):
    host.files["/etc/sysctl.conf"] = "net.ipv4.ip_forward=0\n# mine\n"
    (warning,) = apply(host).warnings
    assert warning == (
        "/etc/sysctl.conf line 1 sets net/ipv4/ip_forward to 0: applying that file undoes this; remove the line"
    )
    assert host.files["/etc/sysctl.conf"] == "net.ipv4.ip_forward=0\n# mine\n"


# Single items


def test_items_are_additive_and_independent_of_order(host):
    before = host.snapshot()
    masquerade(host)
    forward(host)
    one = host.snapshot()
    host.frozen = True
    assert not masquerade(host).to_dict()["changed"]
    assert not forward(host).to_dict()["changed"]
    host.frozen = False
    assert forward(host, state="absent").to_dict()["changed"]
    assert forward(host).to_dict()["changed"]
    assert host.snapshot() == one
    masquerade(host, state="absent")
    forward(host, state="absent")
    assert host.snapshot() == before


def test_items_that_count_packets_are_no_change(host):
    masquerade(host)
    forward(host)
    forward(host, "back", in_interface="ppp0", out_interface="", source=[], destination=["192.168.1.0/24"])
    counted(host)
    host.frozen = True
    assert not masquerade(host).to_dict()["changed"]
    assert not forward(host).to_dict()["changed"]


def test_another_item_does_not_lose_its_counters(host):
    masquerade(host)
    counted(host)
    forward(host)
    items = {each["name"]: each["packets"] for each in gateway_info("default", host)["counters"]}
    assert items == {"masquerade/lan": 9, "forward/out": 0}


def test_item_is_replaced_in_its_place(host):
    for name in ("a", "b", "c"):
        forward(host, name)
    forward(host, "b", action="drop")
    order = [row.key for row in RULES.of(persist.read_state(host, "default")).rows if row.key.startswith("forward/")]
    assert list(dict.fromkeys(order)) == ["forward/a", "forward/b", "forward/c"]


def test_three_duplicates_are_all_removed(host):
    masquerade(host)
    forward(host)
    if host.programs_name == "nft":
        rules = [each for each in host.nft.tables["ipmasq"] if each.get("rule", {}).get("chain") == "srcnat"]
        host.nft.tables["ipmasq"] += rules * 2
    else:
        rules = host.iptables[host.programs_name.split("-")[1], "ip"].tables["nat"]["IPMASQ-SRCNAT"][1]
        rules += [list(rules[0]), list(rules[0])]
    assert masquerade(host, state="absent").to_dict()["changed"]
    assert [each["name"] for each in gateway_info("default", host)["counters"]] == ["forward/out"]


def test_item_rows_that_were_flushed_come_back(host):
    masquerade(host)
    forward(host)
    host.nft.tables.pop("ipmasq", None)
    for tables in host.iptables.values():
        for chains in tables.tables.values():
            for name in [name for name in chains if name.startswith("IPMASQ")]:
                del chains[name]
            for _policy, rules in chains.values():
                rules[:] = [rule for rule in rules if "IPMASQ" not in rule[2]]
    assert masquerade(host).to_dict()["changed"]
    assert gateway_info("default", host)["as_applied"]


def test_item_absent_that_never_was(host):
    host.frozen = True
    assert not masquerade(host, state="absent").to_dict()["changed"]


def test_item_check_mode(host):
    host.frozen = True
    assert masquerade(host, check_mode=True).to_dict()["changed"]


def test_items_and_a_gateway_do_not_share_an_instance(host):
    apply(host)
    assert problems(masquerade, host) == [
        "instance: 'default' is managed by the gateway module, which removes what it does not declare; "
        "declare this item there, or choose another instance"
    ]
    remove(host)


def test_from_lines_to_a_gateway_by_one_run(host):
    before = host.snapshot()
    masquerade(host)
    forward(host)
    items.apply_switches("default", Forwarding(ipv4=True), host)
    assert problems(apply, host) == [
        "instance: 'default' holds single items (forward/out, masquerade/lan, forwarding); to remove them, run once "
        "with state=absent, or choose another instance"
    ]
    assert remove(host, check_mode=True).to_dict()["changed"]
    assert remove(host).to_dict()["changed"]
    assert host.snapshot() == before
    apply(host)
    assert gateway_info("default", host)["as_applied"]


# Forwarding


def test_forwarding_on_and_back(host):
    before = host.snapshot()
    done = items.apply_switches("default", Forwarding(ipv4=True), host).to_dict()
    assert done["switches"] == [{"key": IP4, "before": "0", "after": "1"}] + [
        {"key": "net/ipv4/conf/{0}/forwarding".format(name), "before": "0", "after": "1"}
        for name in ("lan0", "lo", "ppp0")
    ]
    assert host.switch("net/ipv4/conf/lan0/forwarding") == "1"
    assert host.switch("net/ipv6/conf/all/forwarding") == "0"
    host.frozen = True
    assert not items.apply_switches("default", Forwarding(ipv4=True), host).to_dict()["changed"]
    host.frozen = False
    assert items.apply_switches("default", None, host).to_dict()["changed"]
    assert host.snapshot() == before


def test_forwarding_repairs_an_interface(host):
    items.apply_switches("default", Forwarding(ipv4=True), host)
    host.files["/proc/sys/net/ipv4/conf/lan0/forwarding"] = "0\n"
    done = items.apply_switches("default", Forwarding(ipv4=True), host).to_dict()
    assert done["switches"] == [{"key": "net/ipv4/conf/lan0/forwarding", "before": "0", "after": "1"}]
    assert host.switch("net/ipv4/conf/lan0/forwarding") == "1"


def test_forwarding_names_who_overrides_it(host):
    host.files["/etc/sysctl.d/99-cis.conf"] = "# hardening\nnet.ipv4.ip_forward = 0\n"
    done = items.apply_switches("default", Forwarding(ipv4=True), host).to_dict()
    assert done["overridden_by"] == [{"file": "/etc/sysctl.d/99-cis.conf", "line": 2, "key": IP4, "value": "0"}]
    assert len(done["warnings"]) == 1


def test_accept_ra_before_ipv6_forwarding(host):
    items.apply_switches("default", Forwarding(ipv6=True), host)
    switched = [event[1] for event in host.events if event[0] == "switch"]
    assert switched[:2] == ["net/ipv6/conf/ppp0/accept_ra", "net/ipv6/conf/all/forwarding"]


def test_forwarding_and_items_share_an_instance(host):
    before = host.snapshot()
    items.apply_switches("default", Forwarding(ipv4=True), host)
    masquerade(host)
    assert gateway_info("default", host)["as_applied"]
    masquerade(host, state="absent")
    assert host.switch(IP4) == "1"
    items.apply_switches("default", None, host)
    assert host.snapshot() == before


def test_gateway_info_on_a_bare_host(host):
    host.frozen = True
    info = gateway_info("default", host)
    assert (info["applied"], info["as_applied"], info["drift"], info["counters"], info["owner"]) == (
        False,
        False,
        [],
        [],
        "",
    )


def test_gateway_info_counts(host):
    apply(host)
    counted(host)
    nat = [each for each in gateway_info("default", host)["counters"] if each["name"] == "nat/default"]
    assert nat == [{"name": "nat/default", "rules": 2, "packets": 18, "bytes": 1800}]


def test_gateway_info_bad_instance(host):
    assert problems(gateway_info, "../x", host) == [
        "instance: '../x' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"
    ]


# Who did it


def test_a_change_is_signed_and_a_run_without_one_leaves_the_signature(host):
    host.files["/proc/self/environ"] = "SUDO_USER=joe\0SSH_CONNECTION=192.0.2.1 50022 192.0.2.2 22\0"
    apply(host)
    who = {"user": "joe", "address": "192.0.2.1", "at": "2026-11-28T10:20:30Z", "version": "1.0.0"}
    assert json.loads(host.files["/etc/ipmasq/default.json"])["applied"] == who
    host.files["/proc/self/environ"] = "USER=amy\0"
    host.time += 3600
    host.frozen = True
    assert apply(host).to_dict()["changed"] is False
    host.frozen = False
    # Restored rules were still declared by joe.
    host.files["/proc/sys/" + IP4] = "0\n"
    assert apply(host).to_dict()["differences"] == ["~ net/ipv4/ip_forward: 0 to 1"]
    assert json.loads(host.files["/etc/ipmasq/default.json"])["applied"] == who
    apply(host, drop_bogons=True)
    assert json.loads(host.files["/etc/ipmasq/default.json"])["applied"] == {
        "user": "amy", "address": "", "at": "2026-11-28T11:20:30Z", "version": "1.0.0"
    }  # fmt: skip


def test_a_state_that_nobody_signed_is_a_state(host):
    apply(host)
    raw = json.loads(host.files["/etc/ipmasq/default.json"])
    del raw["applied"]
    host.files["/etc/ipmasq/default.json"] = json.dumps(raw, indent=1, sort_keys=True) + "\n"
    assert gateway_info("default", host)["applied"]
    apply(host)
    host.frozen = True
    assert apply(host).to_dict()["changed"] is False


# What --diff shows


def test_a_file_that_is_only_rewritten_is_no_new_one(host):
    diff = apply(host).to_dict()["diff"]
    assert "file /etc/ipmasq/default.json\n" in diff["after"] and "default.json" not in diff["before"]
    diff = apply(host, drop_bogons=True).to_dict()["diff"]
    assert "default.json" not in diff["before"] + diff["after"]
    assert "~ file /etc/ipmasq/default.json: rewritten\n" in diff["prepared"]


def test_with_v_the_rules_are_shown_in_the_words_of_their_tool(host):
    apply(host)
    result = apply(host, check_mode=True, port_forwards=[{"name": "web", "port": ["443"], "to": ["192.168.1.20"]}])
    quiet, verbose = (result.to_dict(each)["diff"]["after"] for each in (False, True))
    assert "rule " not in quiet and verbose.count("rule ") >= 2
    words = "dnat ip to 192.168.1.20" if host.programs_name == "nft" else "-j DNAT --to-destination 192.168.1.20"
    assert words in verbose and '{"' not in verbose


# --- Connection tracking that is not loaded yet ----------------------------------------------------------------------

TRACKING = "/proc/sys/net/netfilter/nf_conntrack_"
TIMERS = {"udp_timeout": "30", "udp_timeout_stream": "120", "icmp_timeout": "30", "icmpv6_timeout": "30"}


class Untracked(fakes.FakeHost):
    """Its timers are there once the module is: by modprobe, or with the first rules that need it."""

    loads = "nft -j -f -"

    def run(self, argv, stdin=None):
        done = super().run(argv, stdin)
        if " ".join(argv).startswith(self.loads) and TRACKING + "max" not in self.files:
            self.files.update({TRACKING + name: value + "\n" for name, value in {**TIMERS, "max": "262144"}.items()})
        return done


@pytest.mark.parametrize("loads", ["nft -j -f -", "modprobe -q nf_conntrack"])
@pytest.mark.parametrize("forwards", [False, True])
def test_a_host_that_has_never_tracked_connections(loads, forwards):
    """Also on a host that already forwards, so that only timers are set; and its timers are restored."""
    host = Untracked(fakes.NFT)
    host.loads = loads
    if forwards:
        for path in [path for path in host.files if path.endswith(("/ip_forward", "/forwarding"))]:
            host.files[path] = "1\n"
    told = apply(host, check_mode=True).to_dict()
    done = apply(host).to_dict()
    assert (told["differences"], told["diff"]) == (done["differences"], done["diff"])
    assert "~ net/netfilter/nf_conntrack_udp_timeout: 30 to 300" in done["differences"]
    timers = {name: host.files[TRACKING + name].strip() for name in TIMERS}
    assert timers == dict(TIMERS, udp_timeout="300", udp_timeout_stream="300", icmp_timeout="60", icmpv6_timeout="60")
    assert not apply(host).changed
    remove(host)
    assert {name: host.files[TRACKING + name].strip() for name in TIMERS} == TIMERS


def test_drop_ins_of_others_that_come_later_are_drift_and_told(host):
    """Before ours: its text changes, and so it does for one behind ours, which it cannot follow."""
    host.files["/lib/systemd/system/nftables.service"] = "[Service]\nExecReload=/sbin/nft -f /etc/nftables.conf\n"
    place = "/etc/systemd/system/nftables.service.d/"
    assert not [each for each in apply(host).remarks if "nftables.service" in each]
    for name, remarks in (("override.conf", 0), ("zzz.conf", 1)):
        assert gateway_info("default", host, "auto")["drift"] == []
        host.files[place + name] = "[Service]\nExecReload=\nExecReload=/sbin/load\n"
        written = "~ {0}zz-ipmasq.conf: differs from what was written".format(place)
        assert gateway_info("default", host, "auto")["drift"] == [written]
        result = apply(host)
        assert result.changed
        assert len([each for each in result.remarks if "nftables.service: " + place in each]) == remarks
    assert not apply(host).changed


def test_single_items_tell_of_drop_ins_behind_ours(host):
    host.files["/lib/systemd/system/nftables.service"] = "[Service]\nExecReload=/sbin/nft -f /etc/nftables.conf\n"
    host.files["/etc/systemd/system/nftables.service.d/zzz.conf"] = "[Service]\nExecReload=\n"
    assert [each[:17] for each in masquerade(host).remarks] == ["nftables.service:"]
    assert not masquerade(host, state="absent").remarks
