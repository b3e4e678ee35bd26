# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text of variables is refused in a short, printable sentence, or is data in every rule, file and script.

``tests/integration/test_hostile_text.py`` lets the real tools read the same.
"""

from __future__ import annotations

import copy
import re
import shutil
from dataclasses import replace

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="this Python has no hypothesis")

from hypothesis import given, settings, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.expressions import table
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.flowtable import line as offload_line
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.steps import files_of
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, items, persist
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import forwarding_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
    port_forward_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params, read_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.flowtable import boot_text
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.order import PARTS
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import FOLDER, stem
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.tests.unit import fakes, hostile, params, strategies

HOST = Facts((), ())
NFT = Nftables()
IPTABLES = (Iptables("nft", ("ip", "ip6")), Iptables("legacy", ("ip", "ip6")))
LONGEST = 1000
SETTINGS = strategies.drawn(400)
PAYLOADS = params.tried(hostile.PAYLOADS)


def check_problems(problems, text, *names):
    assert problems
    for problem in problems:
        assert ": " in problem
        assert problem.isprintable()
        assert len(problem) <= LONGEST
    # The option itself, or what refers to it by the name that it no longer has.
    assert any(problem.startswith(names) or text.strip()[:20] in problem for problem in problems), problems


def check_rules(gateway):
    timers = tuple(replace(item, timeouts=(("udp", 30),)) if not item.protocol else item for item in gateway.nat)
    rows = NFT.render(compile_gateway(replace(gateway, offload="software", nat=timers)))
    for desired, live in ((rows, ()), ((), rows), (rows, rows)):
        files = files_of(NFT.steps(desired, live, gateway.instance))
        hostile.read_nft(files[".nft"], table(gateway.instance), gateway.log_prefix)
        hostile.read_nft_late(files.get(".late.nft", ""), table(gateway.instance))
    files = NFT.boot(rows, "./x", gateway.instance).files
    hostile.read_nft(files[".nft"], table(gateway.instance), gateway.log_prefix)
    hostile.read_nft_late(files.get(".late.nft", ""), table(gateway.instance))
    assert all("\n" not in NFT.show(row) for row in rows)
    ruleset = compile_gateway(gateway)
    for backend in IPTABLES:
        rows = backend.render(ruleset)
        for desired, live in ((rows, ()), ((), rows), (rows, rows)):
            for text in files_of(backend.steps(desired, live, gateway.instance)).values():
                hostile.read_iptables(text, gateway.instance, gateway.log_prefix)
        for text in backend.boot(rows, "./x", gateway.instance).files.values():
            hostile.read_iptables(text, gateway.instance, gateway.log_prefix)


def test_every_option_with_text_is_tried():
    assert len(hostile.GATEWAY_TEXTS) > 30
    assert {path[-1] for path in hostile.GATEWAY_TEXTS} <= set(hostile.BASES)


def test_the_readers_take_what_is_right():
    check_rules(resolve(gateway_from_params(params.gateway_params(**hostile.RIGHT)), HOST).gateway)


def refused_or_data(path, text, options):
    try:
        gateway = resolve(gateway_from_params(options), HOST).gateway
    except GatewayError as error:
        check_problems(error.problems, text, path[0])
        return
    check_rules(gateway)


@pytest.mark.parametrize("path", hostile.GATEWAY_TEXTS, ids=".".join)
def test_each_payload_in_each_option(path):
    base = hostile.BASES[path[-1]]
    for payload in PAYLOADS:
        for text in (payload, base + payload):
            options = dict(copy.deepcopy(hostile.RIGHT), log=["closed"])
            hostile.put(options, path, text, 0, False)
            refused_or_data(path, text, params.gateway_params(**options))


@given(drawn=hostile.gateways())
@SETTINGS
def test_text_of_a_gateway_is_refused_or_is_data(drawn):
    refused_or_data(*drawn)


# Items


ITEMS = {
    "masquerade": (params.masquerade_params, masquerade_from_params, argspec.MASQUERADE),
    "forward": (params.forward_params, forward_from_params, argspec.FORWARD),
    "port_forward": (params.port_forward_params, port_forward_from_params, argspec.SINGLE_PORT_FORWARD),
    "forwarding": (params.forwarding_params, forwarding_from_params, argspec.FORWARDING),
}
RIGHT_ITEMS = {
    "masquerade": {"name": "a", "source": ["192.168.1.0/24"], "out_interface": "wan0"},
    "forward": {"name": "a", "source": ["192.168.1.0/24"], "in_interface": "lan0", "out_interface": "wan0"},
    "port_forward": {"name": "a", "port": ["443"], "to": ["192.168.1.20"], "in_interface": "wan0"},
    "forwarding": {"ipv4": True, "interfaces": ["lan0"]},
}
ITEM_TEXTS = [
    (kind, name)
    for kind, (_fill, _make, spec) in ITEMS.items()
    for (name,) in hostile.text_options(argspec.merge(argspec.INSTANCE, spec))
]


@pytest.mark.parametrize(("kind", "option"), ITEM_TEXTS, ids=str)
@pytest.mark.parametrize("state", ["present", "absent"])
@given(data=st.data())
@settings(parent=SETTINGS, max_examples=30)
def test_text_of_an_item_is_refused_or_is_data(kind, option, state, data):
    fill, make, spec = ITEMS[kind]
    text = data.draw(hostile.hostile(hostile.BASES[option]))
    alone = argspec.merge(argspec.INSTANCE, spec)[option].get("type") == "str"
    options = fill(**dict(RIGHT_ITEMS[kind], state=state, **{option: text if alone else [text]}))
    try:
        item = make(options)
        host = fakes.FakeHost(fakes.NFT)
        if kind == "forwarding":
            items.apply_switches(options["instance"], item if state == "present" else None, host)
            check_files(host, options["instance"], "")
            return
        for programs in (fakes.NFT, fakes.IPTABLES_NFT):
            host = fakes.FakeHost(programs)
            items.apply_item(options["instance"], item, state == "present", "auto", host)
            check_files(host, options["instance"], "ipmasq ")
    except GatewayError as error:
        check_problems(error.problems, text, option, kind)


def check_files(host, instance, prefix):
    """What is loaded at boot, of every backend, and names of files."""
    for path, text in host.files.items():
        if path.startswith(FOLDER + "/"):
            assert path in [persist.LOADER] + [stem(instance) + ending for ending in persist.endings(PARTS)], path
            if path.endswith(".late.nft"):
                hostile.read_nft_late(text, table(instance))
            elif path.endswith(".nft"):
                hostile.read_nft(text, table(instance), prefix)
            elif path.endswith("tables"):
                hostile.read_iptables(text, instance, prefix)


# Scripts


COMMON = ("ip", "modprobe", "systemctl", "systemd-run", "setsid", "sync", "rm", "rmdir", "logger", "flock", "sleep")
WANTED = {
    "nftables": (*COMMON, "nft"),
    "iptables": (*COMMON, "nft")
    + ("iptables-nft-save", "iptables-nft-restore", "ip6tables-nft-save", "ip6tables-nft-restore"),
}
PROGRAMS = {"nftables": fakes.NFT, "iptables": fakes.IPTABLES_NFT}


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    if not shutil.which("sh"):
        pytest.skip("no shell")
    return hostile.Cell(tmp_path_factory.mktemp("cell"))


def armed(options, backend, names=(), first=True):
    """A host on which these options wait for their confirmation, as its first change or after another."""
    links = [fakes.link("lo"), fakes.link("wan0", "203.0.113.1/24"), fakes.link("lan0", "192.168.1.1/24")]
    host = fakes.FakeHost(PROGRAMS[backend], links=links + [fakes.link(name) for name in names])
    gateway, problems = read_gateway(options)
    if not first:
        extra = {"name": "attic", "interfaces": ["tap*"], "networks": ["10.99.0.0/16"], "reaches": []}
        more = dict(options, lans=options["lans"] + [dict(extra, spoof_check=True)])
        other, found = read_gateway(more)
        engine.apply_gateway(other, backend, host, found)
    engine.apply_gateway(gateway, backend, host, problems, confirmation=rollback.Confirmation(30, "0123", "14:05:30"))
    return host


def run_all(cell, host, instance, backend):
    """Every script that this host now has, in the cell. Returns what they started."""
    shutil.rmtree(str(cell.folder / "etc"), ignore_errors=True)
    shutil.rmtree(str(cell.folder / "run"), ignore_errors=True)
    shutil.rmtree(str(cell.folder / "proc"), ignore_errors=True)
    folder = rollback.folder_of(instance)
    cell.write(host.files)
    cell.write({"/proc/net/dev": "".join(" {0}: 1 2 3\n".format(each["ifname"]) for each in host.links)})
    cell.write({"/etc/sysctl.d/x": "", "/etc/udev/rules.d/x": ""})
    started = []
    for script, words in (
        (folder + "/restore", ()),
        (folder + "/keep", ()),
        (folder + "/timer", ("no",)),
        (folder + "/timer", ("0123",)),
        (persist.LOADER, ()),
        (stem(instance) + ".links", ()),
        (stem(instance) + ".offload.links", ()),
    ):
        if script.startswith(folder):
            cell.write({path: text for path, text in host.files.items() if path.startswith(folder)})
        if script in host.files:
            started += cell.run(script, *words)
    assert cell.canaries() == []
    assert {call[0] for call in started} <= set(WANTED[backend]), started
    return started


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("backend", WANTED)
def test_the_cell_runs_what_is_right(cell, backend, first):
    options = params.gateway_params(**hostile.RIGHT)
    started = run_all(cell, armed(options, backend, first=first), options["instance"], backend)
    loader = {"nftables": "nft", "iptables": "ip6tables-nft-restore"}[backend]
    assert {"sync", loader} <= {call[0] for call in started}
    assert ("systemctl" in {call[0] for call in started}) == first


@pytest.mark.parametrize("backend", WANTED)
@given(drawn=hostile.gateways(), first=st.booleans())
@settings(parent=SETTINGS, max_examples=len(params.tried(range(25))))
def test_scripts_start_what_they_should_and_no_more(cell, backend, drawn, first):
    path, text, options = drawn
    try:
        host = armed(options, backend, first=first)
    except GatewayError as error:
        check_problems(error.problems, text, path[0])
        return
    if not first:
        check_files(host, options["instance"], options["log_prefix"])
    run_all(cell, host, options["instance"], backend)


@pytest.mark.parametrize("backend", WANTED)
@given(name=st.sampled_from(hostile.LINK_NAMES))
@settings(parent=SETTINGS, max_examples=len(params.tried(range(12))))
def test_names_of_links_are_not_obeyed(cell, backend, name):
    """Of undeclared links that match a pattern: the kernel has switches for each."""
    lan = dict(hostile.RIGHT["lans"][0], interfaces=["w*"])
    options = params.gateway_params(wans=[{"interface": "ppp0"}], lans=[lan])
    run_all(cell, armed(options, backend, (name,)), "default", backend)


def test_links_that_appear_are_named_to_nft_as_one_word(cell):
    """Any name of a link that matches a pattern of the flowtable."""
    cell.write({
        "/proc/net/dev": "".join(" {0}: 1 2 3\n".format(name) for name in hostile.LINK_NAMES + ("wan7",)),
        "/links": boot_text(("*", "wan0"), offload_line("default")),
    })  # fmt: skip
    started = cell.run("/links")
    assert started and cell.canaries() == []
    text = 'add flowtable inet ipmasq offloaded {{ hook ingress priority 0; devices = {{ "{0}" }}; }}'
    plain = [name for name in hostile.LINK_NAMES if re.fullmatch("[A-Za-z0-9_.@-]+", name)]
    assert started == [["nft", text.format(name)] for name in plain + ["wan7"]]
