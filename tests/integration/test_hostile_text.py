# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real tools read hostile text as text: what is refused touches nothing, what is accepted is loaded, reads back
equal, creates no unexpected table, chain, file or process, and is removed without a trace.

``IPMASQ_EXAMPLES=1000 pytest tests/integration/test_hostile_text.py`` tries more examples.
"""

from __future__ import annotations

import copy
import pathlib
import re
import subprocess

import pytest
from helpers import wire_gateway
from hypothesis import given
from sandbox import files, sh

from ansible_collections.ipmasq.linux.plugins.module_utils._base import lock
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import persist
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.order import PARTS
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import FOLDER
from ansible_collections.ipmasq.linux.tests.unit import hostile, strategies
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

BOUNDED = strategies.drawn(20)
VARIANTS = ("nft-save", "nft-restore", "legacy-save", "legacy-restore")
# sh runs what a change prepares, and the names of these files are not text of users.
PROGRAMS = {"nft", "ip", "conntrack", "modprobe", "iptables", "sh"}
PROGRAMS |= {"ip{0}tables-{1}".format(six, variant) for six in ("", "6") for variant in VARIANTS}
OURS = re.compile(r"IPMASQ-[A-Za-z0-9_.@/-]+")


@pytest.fixture
def wired(gate, monkeypatch):
    """A host with interfaces, foreign rules, and a folder of its own for anything that might be created."""
    wire_gateway()
    sh("nft 'add table inet others; add chain inet others canaries'")
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(hostile.RIGHT["lans"][0], reaches=[])], nat=None)
    gate.absent()
    gate.before = gate.host.snapshot()
    inside = gate.host.root / "cwd"
    inside.mkdir()
    monkeypatch.chdir(inside)
    return gate


def tables_and_chains(gate):
    """What the kernel has, as nft and iptables list it: tables, or chains with their table."""
    if gate.programs == "nft":
        return set(sh("nft list tables").splitlines())
    listing = gate.rules()
    assert sh("nft list tables | grep ipmasq || true") == ""
    return set(re.findall(r"^:(\S+)", listing, flags=re.M))


def accepted(gate, options):
    """Apply; False if it was refused, with a sentence and before anything was touched."""
    gate.host.writes.clear()
    try:
        gate.apply(**options)
    except GatewayError as error:
        for problem in error.problems:
            assert ": " in problem and problem.isprintable() and len(problem) <= 1000, problem
            assert "the rules were refused" not in problem and "read back" not in problem, problem
        assert gate.host.writes == []
        return False
    return True


def check_loaded(gate, instance, before):
    assert gate.info(instance)["drift"] == []
    made = tables_and_chains(gate) - before
    if gate.programs == "nft":
        name = "ipmasq" if instance == "default" else "ipmasq_" + instance
        assert made == {"table inet " + name}
    else:
        kernel = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
        assert [name for name in made - kernel if not OURS.fullmatch(name)] == []
    folder = str(gate.host.root) + FOLDER + "/"
    known = {folder + instance + ending for ending in persist.endings(PARTS)} | {folder + "boot"}
    assert {path for path in files(gate.host.root) if path.startswith(folder)} <= known


def check_quiet(gate):
    """No canary anywhere, and no process except those that we start on purpose."""
    assert [path for path in gate.host.root.rglob("*") if hostile.CANARY in path.name] == []
    assert list(pathlib.Path.cwd().iterdir()) == []
    assert {call[0] for call in gate.host.calls} <= PROGRAMS
    words = {word for call in gate.host.calls for word in call} - {lock.PASS}
    assert all(isinstance(word, str) and "\n" not in word for word in words)


@BOUNDED
@given(drawn=hostile.gateways())
def test_the_tools_read_text_as_text(wired, drawn):
    _path, _text, options = drawn
    options = {key: value for key, value in options.items() if key not in ("backend", "state")}
    wired.host.calls.clear()
    before = tables_and_chains(wired)
    if accepted(wired, options):
        assert wired.live(options["instance"]) and not wired.apply(**options).changed
        check_loaded(wired, options["instance"], before)
        booted(wired, options["instance"])
        wired.absent(options["instance"])
    check_quiet(wired)
    assert wired.host.snapshot()["rules"] == wired.before["rules"]


#: Every printable ASCII character except the refused ones, in pieces that fit.
SIGNS = "".join(chr(code) for code in range(32, 127) if chr(code) not in '"\\')
PREFIXES = [SIGNS[at : at + 17] for at in range(0, len(SIGNS), 17)] + ["$(>canary)", "-j ACCEPT ", "'", "#", "{{ x }}"]


def test_log_prefixes_of_every_sign(wired):
    """The only option that takes nearly any printable character; quotes and backslashes are refused."""
    before = tables_and_chains(wired)
    options = dict(hostile.RIGHT, nat=None, port_forwards=None, outbound=None, log=["closed"])
    for prefix in PREFIXES:
        assert accepted(wired, dict(options, log_prefix=prefix))
        assert not wired.apply(**dict(options, log_prefix=prefix)).changed
        assert prefix + "closed: " in wired.rules().replace("\\", "")
        check_loaded(wired, "default", before)
        booted(wired, "default")
    for prefix in ('"', "a\\", "x" * 18, "a\nb", "\u00e9"):
        assert not accepted(wired, dict(hostile.RIGHT, log_prefix=prefix))
    wired.absent()
    check_quiet(wired)
    assert wired.host.snapshot()["rules"] == wired.before["rules"]


def test_a_log_prefix_is_no_jump_of_another_instance(wired):
    """At boot, the jumps of an instance are found by their comments."""
    for net, (instance, prefix) in enumerate((("a", "ipmasq:b/jump"), ("b", "ipmasq:a/jump"))):
        wired.apply(
            instance=instance,
            wans=[{"interface": "wan" + instance}],
            lans=[{"name": "x", "interfaces": ["lan" + instance], "networks": ["10.0.{0}.0/24".format(net)]}],
            log=["closed", "spoofed"],
            log_prefix=prefix,
        )
    before = {instance: wired.live(instance) for instance in "ab"}
    for _time in range(2):
        done = wired.host.boot()
        assert done.returncode == 0, done.stderr
        assert {instance: wired.live(instance) for instance in "ab"} == before


#: What the kernel accepts as names of links; "w" is for the pattern below.
LINKS = ["w$(>canary)", "w;>canary", "w`>canary`", "w|>canary", 'w"', "w'", "w\\", "w{}", "w*", "w+", "w\x1b[2J"]


def test_links_of_any_name_are_names(wired):
    """They exist, a pattern matches them, and they have private addresses."""
    for number, name in enumerate(LINKS + ["-j", "#"]):
        peer = "p{0}".format(number)
        subprocess.run(["ip", "link", "add", "name", name, "type", "veth", "peer", "name", peer], check=True)
        subprocess.run(["ip", "address", "add", "10.{0}.0.1/24".format(number), "dev", name], check=True)
        subprocess.run(["ip", "link", "set", "dev", name, "up"], check=True)
    before = wired.host.snapshot()["rules"]
    lan = {"name": "office", "interfaces": ["w*"], "networks": ["10.0.0.0/8"]}
    options = {"wans": [{"interface": "ppp0"}], "lans": [lan]}
    wired.apply(**options)
    assert not wired.apply(**options).changed
    booted(wired, "default")
    wired.absent()
    # Chosen by the run: links with such names are not LANs, and a note says so.
    found = wired.apply().to_dict()
    assert {lan["name"] for lan in found["lans"]} == {"lan0", "guest0"}
    assert len([note for note in found["notes"] if "rules cannot contain its name" in note]) == len(LINKS) + 2
    assert all(note.isprintable() for note in found["notes"])
    wired.absent()
    check_quiet(wired)
    assert wired.host.snapshot()["rules"] == before


def accepted_texts(most=2):
    """Options in which some payload is accepted, a few for each option; hypothesis rarely draws one."""
    for path in hostile.GATEWAY_TEXTS:
        found = 0
        for payload in hostile.PAYLOADS:
            options = copy.deepcopy(hostile.RIGHT)
            hostile.put(options, path, hostile.BASES[path[-1]] + payload, 0, False)
            try:
                gateway_from_params(gateway_params(**options))
            except GatewayError:
                continue
            yield options
            found += 1
            if found == most:
                break


def test_what_is_accepted_is_loaded_as_text(wired):
    before = tables_and_chains(wired)
    loaded = 0
    for options in accepted_texts():
        if accepted(wired, options):
            loaded += 1
            assert not wired.apply(**options).changed
            check_loaded(wired, "default", before)
    assert loaded > 20
    wired.absent()
    check_quiet(wired)
    assert wired.host.snapshot()["rules"] == wired.before["rules"]


def booted(gate, instance):
    """The loader creates the same rules from the same files."""
    rows = gate.live(instance)
    done = gate.host.boot()
    assert done.returncode == 0, done.stderr
    assert gate.live(instance) == rows
