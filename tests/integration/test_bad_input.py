# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input to the real module, in a separate process: one clear error, changed false, host untouched."""

from __future__ import annotations

import json
import os
import subprocess

import modules
import pytest
from helpers import GUESTS, OFFICE, ONE_LAN, Gate, wire, wire_gateway
from sandbox import SandboxHost, require_namespace, sh

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done

PRIVATE = "mount --make-rprivate / && mount --bind $ETC /etc && "
READ_ONLY = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && "
NO_FILTER = "mount -t tmpfs none /usr/sbin && "


def different(before, after):
    if isinstance(before, str):
        return [] if before == after else [before, after]
    return [path for path in {**before, **after} if before.get(path) != after.get(path)]


@pytest.fixture
def module(tmp_path):
    """Run a module as Ansible does. The process has its own mounts: /etc is a copy, so not even a bug writes there."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache", "alternatives", "sysctl.conf", "sysctl.d"):
        if os.path.exists("/etc/" + name):
            subprocess.run(["cp", "-a", "/etc/" + name, str(etc)], check=True)
    host = SandboxHost(tmp_path)

    def run(module_name, mounts="", check=False, **options):
        require_namespace()
        before = host.snapshot()
        options.update(_ansible_check_mode=check, _ansible_remote_tmp=str(tmp_path))
        env = {"ETC": str(etc), "PATH": modules.SYSTEM_PATH, "XTABLES_LOCKFILE": str(tmp_path / "xtables.lock")}
        done = modules.run(module_name, options, PRIVATE + mounts, env)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        result = json.loads(done.stdout)
        after = host.snapshot()
        touched = [path for kind in after for path in different(before[kind], after[kind])]
        assert touched == [], "the host was touched"
        return result

    return run


def refused(result, *words):
    assert result.get("failed") is True and result.get("changed", False) is False, result
    for word in words:
        assert word in result["msg"], result["msg"]
    assert "Traceback" not in result["msg"] and "exception" not in result
    if "problems" in result:
        assert result["msg"].splitlines() == result["problems"]


def test_the_runner_itself_works(module):
    """Good input in check mode, so that the refusals below are not caused by the runner."""
    wire_gateway()
    result = module("gateway", check=True)
    assert result["changed"] is True and "failed" not in result
    assert {lan["name"] for lan in result["lans"]} == {"lan0", "guest0"} and result["wans"] == [{"interface": "wan0"}]


WANS = [{"interface": "wan0"}]
BAD = {
    "empty LANs": ({"wans": WANS, "lans": []}, ["lans: is empty"]),
    "empty WANs": ({"wans": [], "lans": [OFFICE]}, ["wans: is empty"]),
    "LAN without interfaces": (
        {"wans": WANS, "lans": [{"name": "x", "interfaces": []}]},
        ["'x'", "interfaces is empty"],
    ),
    "LAN without networks": ({"wans": WANS, "lans": [dict(OFFICE, networks=[])]}, ["networks is empty"]),
    "overlapping LANs": (
        {"wans": WANS, "lans": [OFFICE, dict(GUESTS, networks=["192.168.0.0/16"])]},
        ["'office'", "'guests'", "192.168.1.0/24", "192.168.0.0/16", "overlap"],
    ),
    "one interface in two LANs": ({"wans": WANS, "lans": [OFFICE, dict(GUESTS, interfaces=["lan*"])]}, ["lan*"]),
    "a WAN that is also a LAN": ({"wans": [{"interface": "lan0"}], "lans": [OFFICE]}, ["lan0", "WAN"]),
    "a WAN pattern that is also a LAN": ({"wans": [{"interface": "la*"}], "lans": [OFFICE]}, ["lan0", "la*"]),
    "an address in no family": (
        {"wans": WANS, "lans": [dict(OFFICE, networks=["192.168.1.0.0/24"])]},
        ["neither an IPv4"],
    ),
    "a number as network": ({"wans": WANS, "lans": [dict(OFFICE, networks=[3232235777])]}, ["neither an IPv4"]),
    "a scope in a network": ({"wans": WANS, "lans": [dict(OFFICE, networks=["fe80::%lan0/64"])]}, ["fe80::%lan0/64"]),
    "a name over 15 characters": ({"wans": [{"interface": "a" * 16}], "lans": [OFFICE]}, ["longer than 15 characters"]),
    "a pattern over 15 characters": ({"wans": [{"interface": "a" * 15 + "*"}], "lans": [OFFICE]}, ["a" * 15 + "*"]),
    "a name with a slash": ({"wans": [{"interface": "eth/0"}], "lans": [OFFICE]}, ["contains a slash"]),
    "a name with a blank": ({"wans": [{"interface": "eth 0"}], "lans": [OFFICE]}, ["'eth 0'"]),
    "a name that is an option": ({"wans": [{"interface": "-j"}], "lans": [OFFICE]}, ["'-j'"]),
    "a star in the middle": ({"wans": [{"interface": "e*0"}], "lans": [OFFICE]}, ["only at the end"]),
    "a star alone": ({"wans": [{"interface": "*"}], "lans": [OFFICE]}, ["'*'"]),
    "a newline in a name": ({"wans": [{"interface": "wan0\n"}], "lans": [OFFICE]}, ["wan0?"]),
    "a CIDR with host bits": (
        {"wans": WANS, "lans": [dict(OFFICE, networks=["192.168.1.1/24"])]},
        ["has host bits set; did you mean 192.168.1.0/24?"],
    ),
    "reaches nobody": ({"wans": WANS, "lans": [dict(OFFICE, reaches=["attic"])]}, ["reaches 'attic'", "office"]),
    "NAT of an unknown LAN": (
        {"wans": WANS, "lans": [OFFICE], "nat": [{"name": "n", "source": ["attic"]}]},
        ["'attic'"],
    ),
    "NAT on an unknown WAN": ({"wans": WANS, "lans": [OFFICE], "nat": [{"name": "n", "wan": "ppp7"}]}, ["ppp7"]),
    "empty NAT": ({"wans": WANS, "lans": [OFFICE], "nat": []}, ["nat: is empty"]),
    "two LANs of one name": (
        {"wans": WANS, "lans": [OFFICE, dict(GUESTS, name="office")]},
        ["'office' is defined twice"],
    ),
    "an instance of capitals": (dict(ONE_LAN, instance="Lab"), ["instance", "'Lab'"]),
    "an instance of another module": (dict(ONE_LAN, instance="lan_client"), ["instance", "'lan_client'"]),
    "an instance as a path": (dict(ONE_LAN, instance="../../etc/passwd"), ["instance"]),
    "a LAN network on the WAN": (
        {"wans": WANS, "lans": [dict(OFFICE, networks=["203.0.113.0/25"])]},
        ["203.0.113.0/25", "203.0.113.0/24", "wan0"],
    ),
    "null for a name": (
        {"wans": [{"interface": None}], "lans": [{"name": None, "interfaces": ["lan0"]}]},
        ["interface"],
    ),
    "null for a list": ({"wans": WANS, "lans": [{"name": "x", "interfaces": None}]}, ["interfaces"]),
    "an unknown option": (dict(ONE_LAN, wan="wan0"), ["wan"]),
    "a list of words for LANs": ({"wans": WANS, "lans": ["lan0"]}, ["dictionary"]),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_input(module, name):
    wire_gateway()
    options, words = BAD[name]
    refused(module("gateway", **options), *words)


def test_all_problems_come_together(module):
    wire_gateway()
    lans = [dict(OFFICE, networks=["192.168.1.1/24", "x"], interfaces=["a/b"]), dict(GUESTS, reaches=["attic"])]
    result = module("gateway", wans=[{"interface": "guest0"}], lans=lans)
    refused(result, "host bits", "'x'", "slash", "attic", "guest0")
    assert len(result["problems"]) >= 5


def test_no_default_route_to_detect(module):
    wire(lan0="192.168.1.1/24")
    refused(module("gateway"), "no default route")


def test_no_private_network_to_detect(module):
    wire(wan0="203.0.113.2/24", srv0="198.51.100.1/24")
    sh("ip route add default via 203.0.113.1")
    refused(module("gateway"), "no other interface has a private network")


def test_neither_nft_nor_iptables(module):
    wire_gateway()
    result = module("gateway", mounts=NO_FILTER, **ONE_LAN)
    refused(result, "neither nft nor iptables is installed", "nftables")
    assert result["missing_programs"] == ["nft"]


def test_read_only_proc_sys(module):
    wire_gateway()
    refused(module("gateway", mounts=READ_ONLY, **ONE_LAN), "is read-only")
    refused(module("forwarding", mounts=READ_ONLY, ipv4=True), "is read-only")


def test_items_that_match_everything_or_nothing(module):
    refused(module("forward", name="x"), "matches everything")
    refused(module("masquerade", name="x"), "source: is empty", "out_interface: is missing")
    refused(
        module("masquerade", name="x", source=["10.0.0.0/8"], destination=["fd00::/8"], out_interface="p"), "family"
    )
    refused(module("forwarding"), "ipv4")
    refused(module("forwarding", ipv4=True, interfaces=["ppp*"]), "pattern")


class Unprivileged(SandboxHost):
    def is_root(self):
        return False


class NoNat(SandboxHost):
    """A kernel without NAT, as the real tools report it."""

    def run(self, argv, stdin=None):
        if stdin and argv[0] == "nft":
            return Done(1, "", "internal:0:0-0: Error: Could not process rule: Operation not supported\n")
        if stdin and "nat" in stdin:
            words = (
                "{0}: unable to initialize table 'nat'\n\nError occurred at line: 1\nTry `{0} -h' for more information."
            )
            return Done(1, "", words.format(argv[0]))
        return super().run(argv, stdin)


@pytest.mark.parametrize("kind, word", [(Unprivileged, "needs root"), (NoNat, "nat")])
def test_not_root_and_no_nat(backend, tmp_path, kind, word):
    wire_gateway()
    gate = Gate(backend, tmp_path, kind)
    before = gate.host.snapshot()
    acts = [lambda: gate.apply(**ONE_LAN)]
    if kind is Unprivileged:
        acts += [
            gate.absent,
            gate.info,
            lambda: gate.forwarding(ipv4=True),
            lambda: gate.item("forward", name="x", in_interface="y"),
        ]
    for act in acts:
        with pytest.raises(GatewayError) as error:
            act()
        assert word in str(error.value).lower()
    assert gate.host.snapshot() == before


@pytest.mark.parametrize("name", ["\x1b[31m", "a\nb", "x" * 5000])
def test_unprintable_names_in_messages(nft, name):
    with pytest.raises(GatewayError) as error:
        nft.apply(wans=WANS, lans=[dict(OFFICE, name=name)])
    assert all(problem.isprintable() and len(problem) < 500 for problem in error.value.problems)


def test_what_is_wrong_in_itself_and_on_this_host_comes_in_one_message(module):
    """Everything that a user can get wrong with items, each problem once, with the name of its item."""
    wire_gateway()
    result = module(
        "gateway",
        wans=WANS,
        lans=[dict(OFFICE, networks=["192.168.1.0/24", "fd00:1::/64"]), dict(GUESTS, networks=["192.168.2.0/24"])],
        ipv6="prefix",
        nat=[
            {
                "name": "family",
                "action": "snat",
                "source": "192.168.1.0/24",
                "to": "2001:db8::9",
                "to_address": "routed",
            },
            {"name": "range", "action": "snat", "to": "203.0.113.12-203.0.113.9"},
            {"name": "nobody", "action": "snat", "to": "203.0.113.9"},
            {"name": "length", "action": "prefix", "source": "fd00:1::/64", "to": "2001:db8:1::/56"},
            {"name": "elsewhere", "source": "10.9.9.0/24"},
        ],
        port_forwards=[
            {"name": "outside", "port": 80, "to": "10.9.9.9"},
            {"name": "one", "port": 443, "to": "192.168.1.20"},
            {"name": "two", "port": 443, "to": "192.168.1.21"},
            {"name": "empty", "port": 22, "to": []},
        ],
        outbound=[{"name": "slow", "rate": "fast"}, {"name": "lost", "source": "cellar"}],
    )
    wanted = [
        "nat[0] 'family': source and to have no address family in common",
        "nat[1] 'range': to",
        "nat[2] 'nobody': to 203.0.113.9: no interface of this host has 203.0.113.9",
        "nat[3] 'length': source fd00:1::/64 and to 2001:db8:1::/56 have different lengths",
        "nat[4] 'elsewhere': source 10.9.9.0/24 is not in any LAN",
        "port_forwards[0] 'outside': to 10.9.9.9 is not in any LAN (office 192.168.1.0/24",
        "port_forwards[1] 'one' and port_forwards[2] 'two': both forward tcp port 443",
        "port_forwards[3] 'empty': to is empty",
        "outbound[0] 'slow': rate",
        "outbound[1] 'lost': source 'cellar' is neither a LAN nor a network",
    ]
    refused(result, *wanted)
    assert len(result["problems"]) == len(wanted), result["msg"]


def test_what_the_backend_lacks_is_told_with_the_rest(module):
    wire_gateway()
    result = module(
        "gateway",
        wans=WANS,
        lans=[OFFICE],
        backend="iptables",
        offload="software",
        nat=[{"name": "a", "timeouts": {"udp": 30}}, {"name": "b", "action": "snat"}],
    )
    refused(result, "nat[1] 'b': option to is missing", "nat/a: timeouts", "offload: software is not possible")
