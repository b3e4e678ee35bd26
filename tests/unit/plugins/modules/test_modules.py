# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each module from its arguments to its end: connected to the engine, each error one message without a traceback."""

from __future__ import annotations

import importlib

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import AnsibleHost, Done
from ansible_collections.ipmasq.linux.tests.unit import fakes

LAN = {"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}

#: module, options, message of the argument spec
TEST_SPEC = [
    ("gateway", dict(wans=[{}]), "missing required arguments: interface found in wans"),
    ("gateway", dict(lans=[{"name": "a"}]), "missing required arguments: interfaces found in lans"),
    ("gateway", dict(wan="ppp0"), "Unsupported parameters for"),
    ("gateway", dict(ipv6="nat66"), "value of ipv6 must be one of: route, masquerade, prefix, got: nat66"),
    ("gateway", dict(backend="pf"), "value of backend must be one of: auto, nftables, iptables, got: pf"),
    ("gateway", dict(state="gone"), "value of state must be one of: present, absent, got: gone"),
    ("gateway", dict(drop_bogons="maybe"), "argument 'drop_bogons' is of type"),
    (
        "gateway",
        dict(nat=[{"name": "x", "action": "napt"}]),
        "value of action must be one of: masquerade, snat, static, prefix, exempt",
    ),
    ("masquerade", dict(), "missing required arguments: name"),
    ("forward", dict(name="x", action="log"), "value of action must be one of: accept, drop, reject, got: log"),
    ("forward", dict(name="x", ct_state=["snat"]), "value of ct_state must be one or more of: invalid, new, related"),
    ("forwarding", dict(), "state is present but any of the following are missing: ipv4, ipv6"),
    ("forwarding", dict(ipv4="perhaps"), "argument 'ipv4' is of type"),
    ("gateway_info", dict(name="x"), "Unsupported parameters for"),
    ("nat_probe", dict(instance="x"), "Unsupported parameters for"),
    ("nat_probe", dict(expect={"mapping": "cone"}), "value of mapping must be one of: none, independent, address"),
    ("lan_client", dict(instance="x"), "Unsupported parameters for"),
    ("lan_client", dict(unmanaged="leave"), "value of unmanaged must be one of: fail, skip, got: leave"),
    ("gateway_probe", dict(name="x"), "Unsupported parameters for"),
    ("gateway_explain", dict(to="192.0.2.1"), "missing required arguments: from"),
    (
        "gateway_explain",
        {"from": "192.168.1.5", "to": "192.0.2.1", "protocol": "sctp"},
        "value of protocol must be one of: tcp, udp, icmp, got: sctp",
    ),
]


@pytest.mark.parametrize(("name", "options", "message"), TEST_SPEC)
def test_argument_spec(run, name, options, message):
    host = fakes.FakeHost()
    host.frozen = True
    failed, values = run(name, host, **options)
    assert failed
    assert message in values["msg"]


#: module, options, problems
TEST_PROBLEMS = [
    (
        "gateway",
        dict(wans=[{"interface": "a/b"}], lans=[dict(LAN, networks=["192.168.1.1/24"])]),
        [
            "wans[0]: interface 'a/b' contains a slash, which interface names cannot",
            "lans[0] 'lan': networks: 192.168.1.1/24 has host bits set; did you mean 192.168.1.0/24?",
        ],
    ),
    (
        "masquerade",
        dict(name="x"),
        [
            "source: is empty; name the LAN networks to masquerade, such as 192.168.1.0/24",
            "out_interface: is missing; name the WAN interface, such as ppp0",
        ],
    ),
    (
        "forward",
        dict(name="x"),
        ["forward 'x': matches everything; give at least one of source, destination, in_interface, out_interface"],
    ),
    (
        "forwarding",
        dict(ipv4=True, interfaces=["ppp*"]),
        ["interfaces[0]: 'ppp*' is a pattern; name single interfaces"],
    ),
    (
        "gateway",
        dict(confirm_timeout=4000, wait=-1),
        [
            "confirm_timeout: 4000 is not a number of seconds from 1 to 3600; 0 turns it off",
            "wait: -1 is not a number of seconds from 1 to 3600; 0 turns it off",
        ],
    ),
    (
        "gateway_info",
        dict(instance="X"),
        ["instance: 'X' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"],
    ),
    (
        "gateway_probe",
        dict(instance="X"),
        ["instance: 'X' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"],
    ),
    (
        "gateway_explain",
        {"from": "192.168.1.5", "to": "2001:db8::1", "port": "x"},
        [
            "to: 2001:db8::1 is IPv6, and from is IPv4; no packet has both, so give two addresses of the same family",
            "port: 'x' is not a single port; give a number from 1 to 65535",
        ],
    ),
]


@pytest.mark.parametrize(("name", "options", "problems"), TEST_PROBLEMS, ids=[each[0] for each in TEST_PROBLEMS])
@pytest.mark.parametrize("check_mode", [False, True])
def test_problems_come_as_one_message(run, name, options, problems, check_mode):
    host = fakes.FakeHost()
    host.frozen = True
    failed, values = run(name, host, check_mode, **options)
    assert failed
    assert values == {"msg": "\n".join(problems), "problems": problems, "changed": False}


ALL = [
    ("gateway", dict()),
    ("gateway", dict(state="absent")),
    ("masquerade", dict(name="x", source=["10.0.0.0/8"], out_interface="ppp0")),
    ("forward", dict(name="x", source=["10.0.0.0/8"])),
    ("forwarding", dict(ipv4=True)),
    ("gateway_info", dict()),
    ("gateway_probe", dict()),
]
READS = ("gateway_info", "gateway_probe")


@pytest.mark.parametrize(("name", "options"), ALL)
def test_not_root(run, name, options):
    host = fakes.FakeHost()
    host.root, host.frozen = False, True
    failed, values = run(name, host, **options)
    assert failed
    assert values["problems"] == ["this needs root; add 'become: true' to the task or play"]


@pytest.mark.parametrize(
    ("name", "options"), [each for each in ALL if each[0] in ("gateway", "masquerade", "forward")][:1]
)
def test_missing_program_is_named_for_the_role(run, name, options):
    failed, values = run(name, fakes.FakeHost(("ip",)), **options)
    assert failed
    assert values["missing_programs"] == ["nft"]
    assert values["problems"] == ["backend: neither nft nor iptables is installed; install the package nftables"]


@pytest.mark.parametrize(("name", "options"), ALL)
def test_a_bug_of_ours_is_a_sentence_too(run, name, options):
    """A traceback belongs in ``exception``, where Ansible shows it at -vvv."""
    host = fakes.FakeHost(files={"/etc/ipmasq/default.json": "[]"})
    host.read = lambda _path: 1 // 0
    failed, values = run(name, host, **options)
    assert failed
    assert values["changed"] is False
    assert values["msg"].startswith("this is a bug in ipmasq.linux, please report it: ZeroDivisionError")
    assert "Traceback" in values["exception"]
    assert "Traceback" not in values["msg"]


@pytest.mark.parametrize(("name", "options"), [each for each in ALL if each[1] != {"state": "absent"}])
def test_runs_and_tells_the_same_in_check_mode(run, name, options):
    host = fakes.FakeHost()
    host.frozen = True
    if name == "gateway":
        options = dict(options, confirm_timeout=0)
    failed, told = run(name, host, True, **options)
    assert not failed
    host.frozen = False
    failed, done = run(name, host, **options)
    assert not failed
    if name == "gateway":
        # Check mode sends no packets.
        assert done.pop("proof")["counts"]["broken"] == 0
        done["notes"] = [note for note in done["notes"] if not note.startswith("proof: ")]
    assert done == told
    assert done["changed"] is (name not in READS)
    failed, again = run(name, host, **options)
    assert not failed
    assert again["changed"] is False


@pytest.mark.parametrize(("name", "options"), ALL)
def test_every_returned_value_is_documented(run, name, options):
    yaml = pytest.importorskip("yaml", reason="documentation is YAML, and this Python has no PyYAML")
    module = importlib.import_module("ansible_collections.ipmasq.linux.plugins.modules." + name)
    waits = {} if name in READS else {"confirm_timeout": 30}
    _failed, values = run(name, fakes.FakeHost(), **options, **waits)
    assert set(values) <= set(yaml.safe_load(module.RETURN)) | {"changed", "diff", "invocation", "warnings"}


def test_modules_of_one_kind_share_an_instance(run):
    host = fakes.FakeHost()
    for name, options in ALL[2:5]:
        failed, values = run(name, host, **options)
        assert not failed
        assert values["changed"]
    _failed, info = run("gateway_info", host)
    assert info["as_applied"]
    assert info["owner"] == "items"
    assert [each["name"] for each in info["counters"]] == ["forward/x", "masquerade/x"]
    failed, values = run("gateway", host)
    assert failed
    assert "holds single items (forward/x, masquerade/x, forwarding)" in values["msg"]


def test_absent_items_and_forwarding(run):
    host = fakes.FakeHost()
    before = host.snapshot()
    for name, options in ALL[2:5]:
        run(name, host, **options)
    for name, options in (("masquerade", {"name": "x"}), ("forward", {"name": "x"}), ("forwarding", {})):
        failed, values = run(name, host, state="absent", **options)
        assert (failed, values["changed"]) == (False, True), name
    assert host.snapshot() == before


def test_the_real_host_runs_programs_by_list_and_without_locale():
    """AnsibleHost itself, on a module whose run_command is caught."""
    caught = []

    class Module:
        def get_bin_path(self, program, opt_dirs):
            assert "/usr/sbin" in opt_dirs
            return "/usr/sbin/" + program if program == "nft" else None

        def run_command(self, argv, **more):
            caught.append((argv, more))
            return 0, "out", ""

    host = AnsibleHost(Module())
    assert host.run(["nft", "-f", "-"], stdin="x") == Done(0, "out", "")
    ((argv, more),) = caught
    assert argv == ["/usr/sbin/nft", "-f", "-"]
    assert (more["data"], more["binary_data"], more["environ_update"]["LC_ALL"]) == ("x", True, "C")
    assert host.run(["absent"]) == Done(127, "", "absent: not found")
    # Ansible gives the module's own input to a program for which there is no data; ``ip -batch -`` waits for it.
    host.run(["nft", "-f", "-"], stdin="")
    host.run(["nft", "list", "tables"])
    assert [more["data"] for _argv, more in caught[1:]] == ["\n", None]
