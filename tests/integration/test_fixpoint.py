# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What we render is what the real tools list after a load, at run time and at boot, and absent leaves no trace."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from helpers import GUESTS, OFFICE, ONE_LAN, TWO_LANS, Gate, wire_gateway
from sandbox import Namespace, foreign_rules, raise_loopback, sh

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec

GOLDEN = pathlib.Path(__file__).parent.parent / "unit" / "golden"
FLOWTABLE = "add table inet probe\nadd flowtable inet probe offloaded { hook ingress priority 0; }\n"
LONG = "a-very-long-name.of_a-LAN-that-no-chain-of-iptables-can-have-63"

OWN = {
    "one": ONE_LAN,
    "two-reaching": {"wans": [{"interface": "wan0"}], "lans": [dict(OFFICE, reaches=["guests"]), GUESTS]},
    "wildcards": {
        "wans": [{"interface": "ppp*"}, {"interface": "wan0"}, {"interface": "eth0.100"}],
        "lans": [
            dict(OFFICE, interfaces=["lan*", "br-lan", "wl-1_2"]),
            dict(GUESTS, interfaces=["g*", "tap9", "vlan.x"]),
        ],
    },
    "long-names": {
        "wans": [{"interface": "abcdefghijklmno"}],
        "lans": [dict(OFFICE, name=LONG), dict(GUESTS, name=LONG[:-1])],
    },
    "long-instance": {"instance": "a_234567_9", "wans": [{"interface": "wan0"}], "lans": [dict(OFFICE, name=LONG)]},
    "numeric-names": {"wans": [{"interface": "0"}], "lans": [dict(OFFICE, name="1", interfaces=["7", "42"])]},
    "keyword-names": {
        "wans": [{"interface": "drop"}],
        "lans": [
            dict(OFFICE, name="FORWARD", interfaces=["accept"]),
            dict(GUESTS, name="jump", interfaces=["ip", "lo"]),
        ],
        "nat": [{"name": "jump", "action": "exempt", "destination": ["10.0.0.0/8"]}, {"name": "guard"}],
    },
    "neighbours": {
        "wans": [{"interface": "wan0"}],
        "lans": [
            dict(
                OFFICE,
                networks=[
                    "10.0.0.0/25",
                    "10.0.0.128/25",
                    "10.0.1.0/24",
                    "10.0.1.7",
                    "fd00::/65",
                    "fd00:0:0:0:8000::/65",
                ],
            ),
            dict(GUESTS, networks=["10.9.9.9", "10.9.9.8", "fd00:9::1", "fd00:9::2"]),
        ],
    },
    "protocols": {
        "wans": [{"interface": "wan0"}],
        "lans": [OFFICE],
        "outbound": [
            {"name": "all", "protocol": ["esp", "ah", "gre", "igmp", "ipv6", "vrrp", "icmp"], "action": "drop"}
        ],
    },
    "one-family-each": {
        "wans": [{"interface": "wan0"}],
        "lans": [dict(OFFICE, networks=["192.168.1.0/24"]), dict(GUESTS, networks=["2001:db8:5::/64"])],
    },
    "nat66": {
        "wans": [{"interface": "wan0"}],
        "lans": [dict(OFFICE, networks=["2001:db8:5::/64"])],
        "ipv6": "masquerade",
    },
    "nat-order": {
        "wans": [{"interface": "wan0"}, {"interface": "ppp*"}],
        "lans": [OFFICE, GUESTS],
        "nat": [
            {"name": "vpn", "source": ["office"], "destination": ["10.0.0.0/8", "fd99::/16"], "action": "exempt"},
            {"name": "host", "source": ["192.168.1.25", "fd00:1::25"], "wan": "ppp*"},
            {"name": "other", "source": ["192.168.2.128/25"], "destination": ["198.51.100.7"], "wan": "wan0"},
            {"name": "rest"},
        ],
    },
    "no-clamp": dict(ONE_LAN, mss="keep"),
    "everything-but": {
        "wans": [{"interface": "wan0"}],
        "lans": [OFFICE],
        "nat": [{"name": "all", "destination": ["0.0.0.0/1", "128.0.0.0/1", "::/1"]}],
    },
    "any-destination": {
        "wans": [{"interface": "wan0"}],
        "lans": [OFFICE],
        "nat": [{"name": "all", "destination": ["0.0.0.0/0", "::/0"]}],
    },
    "any-destination-by-halves": {
        "wans": [{"interface": "wan0"}],
        "lans": [OFFICE],
        "nat": [{"name": "all", "destination": ["0.0.0.0/1", "128.0.0.0/1"]}],
    },
    "many": {
        "wans": [{"interface": "wan0"}],
        "lans": [dict(OFFICE, networks=["10.{0}.{1}.0/25".format(a, b) for a in range(2) for b in range(40)])],
    },
}


def golden_cases():
    """The cases of tests/unit/golden that are parameters of a gateway."""
    found = {}
    for path in sorted(GOLDEN.rglob("*.y*ml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            params = document.get("gateway")
            if isinstance(params, dict) and params.get("lans") and params.get("wans"):
                if "neighbours" in document:
                    continue  # Another instance must exist first: test_undeclared.py.
                if any(lan.get("dhcp") for lan in params["lans"]):
                    continue  # dnsmasq has to run: test_lan_services.py.
                known = tuple(argspec.merge(argspec.INSTANCE, argspec.GATEWAY))
                found["golden-" + path.relative_to(GOLDEN).as_posix()] = {k: v for k, v in params.items() if k in known}
    return found


CASES = dict(OWN, **golden_cases())


def refusal(gate: Gate, name: str) -> str:
    """Why a case is refused: its golden folder says that the backend lacks it, or this kernel does."""
    if gate.option == "iptables" and (GOLDEN / name.replace("golden-", "")).with_name("iptables.refused").exists():
        return "is not possible with backend iptables"
    if CASES[name].get("offload") and gate.host.run(["nft", "-c", "-f", "-"], FLOWTABLE).rc != 0:
        return "this kernel has no flowtables"
    return ""


@pytest.mark.parametrize("name", sorted(CASES))
def test_fixpoint(gate, name):
    params = CASES[name]
    instance = params.get("instance", "default")
    wire_gateway()
    gate.host.put("/etc/sysctl.conf", "# mine\nnet.ipv4.ip_forward=1\n\n  kernel.x =  y\n")
    before = gate.host.snapshot()
    if refusal(gate, name):
        with pytest.raises(GatewayError, match=refusal(gate, name)):
            gate.apply(**params)
        assert gate.host.snapshot() == before
        return

    first = gate.apply(**params)
    assert first.changed and first.change.scene.backend.programs == gate.programs
    live = {*gate.live(instance)}
    assert live and live == {*first.change.scene.plan.desired}
    second = gate.apply(**params)
    assert not second.changed, second.to_dict()["differences"]
    assert gate.info(instance)["drift"] == []

    fresh = Namespace()
    with fresh.inside():
        raise_loopback()
        for again in range(2):
            done = gate.host.boot()
            assert done.returncode == 0, done.stderr
            assert {*gate.live(instance)} == {*first.change.scene.plan.desired}
            if not again:
                # The guard knows the links with a default route that are not WANs, so these must exist.
                wire_gateway()
            # iptables lists the WAN's addresses in a hairpin, both backends those of another WAN; there is no WAN here.
            if "pairs" not in name and (gate.option == "nftables" or "hairpin" not in name):
                assert not gate.apply(**params).change.scene.plan.changed
    fresh.close()

    gate.absent(instance)
    assert gate.host.snapshot() == before
    assert not gate.absent(instance).changed


ITEM_CASES = {
    path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))["items"]
    for path in sorted(GOLDEN.glob("*/gateway.yml"))
    if "items:" in path.read_text(encoding="utf-8")
}


@pytest.mark.parametrize("name", sorted(ITEM_CASES))
def test_fixpoint_of_items(gate, name):
    wire_gateway()
    before = gate.host.snapshot()
    listed = [(kind, params) for item in ITEM_CASES[name] for kind, params in item.items()]
    for kind, params in listed:
        assert gate.item(kind, **params).changed
    for kind, params in listed:
        assert not gate.item(kind, **params).changed
    assert gate.info()["drift"] == []
    fresh, rows = Namespace(), gate.live()
    with fresh.inside():
        assert gate.host.boot().returncode == 0
        assert {*gate.live()} == {*rows}
    fresh.close()
    for kind, params in listed:
        assert gate.item(kind, state="absent", name=params["name"]).changed
    assert gate.host.snapshot() == before


FOREIGN_NFT = r"""
table inet somebody {
  set banned { type ipv4_addr; flags timeout; elements = { 198.51.100.66 timeout 10d } }
  set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.67, 198.51.100.68 } }
  chain forward { type filter hook forward priority 0; policy accept
    ip saddr @banned counter drop comment "it's \ odd; #1"; }
  chain docker-like { jump inner; }
  chain inner { tcp dport { 80, 443 } counter accept; }
}
table ip ipmasquerade {
  chain post { type nat hook postrouting priority 100; oifname "docker0" masquerade; }
}
table ip ipmasq {
  chain post { type nat hook postrouting priority 101; oifname "x9" masquerade; }
}
table inet ipmasq_other {
  chain c { counter accept comment "ipmasq:default/nat/default"; }
}
"""
FOREIGN_IPTABLES = r"""
{0} -N DOCKER-USER
{0} -N DOCKER
{0} -N f2b-sshd
{0} -A FORWARD -j DOCKER-USER
{0} -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{0} -A FORWARD -o docker0 -j DOCKER
{0} -A DOCKER-USER -j RETURN
{0} -A INPUT -p tcp -m multiport --dports 22,2222 -j f2b-sshd
{0} -A f2b-sshd -s {1} -j REJECT
{0} -A f2b-sshd -m comment --comment "it's \"quoted\" \\ back; # -j IPMASQ-FORWARD" -j RETURN
{0} -A FORWARD -m comment --comment "ipmasq:default/jump" -p tcp
{0} -A FORWARD -m comment --comment 'x -j ACCEPT' -j DOCKER-USER
{0} -t nat -N IPMASQUERADE
{0} -t nat -A POSTROUTING -s {2} ! -o docker0 -j MASQUERADE
{0} -t nat -A POSTROUTING -j IPMASQUERADE
{0} -t nat -A IPMASQUERADE -o x9 -j RETURN
{0} -t mangle -A POSTROUTING -m mark --mark 0x1/0xff -j MARK --set-xmark 0x2/0xffffffff
{0} -P OUTPUT ACCEPT
"""


def load_foreign(gate):
    if gate.programs == "nft":
        path = gate.host.root / "foreign.nft"
        path.write_text(FOREIGN_NFT, encoding="utf-8")
        sh("nft -f {0}".format(path))
        path.unlink()
        return
    sh(FOREIGN_IPTABLES.format(gate.tool("ip"), "198.51.100.66", "172.17.0.0/16"))
    sh(FOREIGN_IPTABLES.format(gate.tool("ip6"), "2001:db8:66::1", "fd17::/64"))


def foreign_part(gate, text):
    """The listing without our rules."""
    if gate.programs == "nft":
        # Our table is one block that ends at the first line with a lone brace.
        lines, skipping = [], False
        for line in text.splitlines():
            skipping = skipping or line.startswith("table inet ipmasq {")
            if not skipping:
                lines.append(line)
            skipping = skipping and line != "}"
        return "\n".join(lines)
    lines = [line for line in text.splitlines() if not re.match(r"(:|-A )IPMASQ-[A-Z]", line)]
    jumps = ('--comment "ipmasq:default/jump" -j IPMASQ-', '--comment "ipmasq:default/jump" counter packets')
    return "\n".join(line for line in lines if not any(jump in line for jump in jumps))


def test_foreign_rules_survive_byte_for_byte(gate):
    wire_gateway()
    load_foreign(gate)
    listed = listing(gate)
    before = gate.host.snapshot()
    for params in (ONE_LAN, TWO_LANS, dict(TWO_LANS, mss="keep"), ONE_LAN):
        assert gate.apply(**params).changed
        assert not gate.apply(**params).changed
        now = listing(gate)
        assert sections(foreign_part(gate, now)) == sections(listed)
    gate.absent()
    left = gate.host.snapshot()
    assert left["files"] == before["files"] and left["switches"] == before["switches"]
    assert sections(listing(gate)) == sections(listed)


def listing(gate):
    return foreign_rules() if gate.programs == "nft" else without_counts(gate.rules())


def test_absent_takes_base_chains_back_that_a_load_created(tmp_path):
    """A table of iptables-nft that was there, with only some of the kernel's chains in it."""
    gate = Gate("iptables-nft", tmp_path)
    wire_gateway()
    sh("iptables-nft -t mangle -A POSTROUTING -j MARK --set-mark 7")
    before = gate.host.snapshot()
    gate.apply(**ONE_LAN)
    gate.absent()
    assert gate.host.snapshot() == before


def without_counts(text):
    return "\n".join(line.split(" [")[0] for line in text.splitlines() if not line.startswith("#") and line)


def sections(text):
    """Tables in any order; in each table every line in its order. Empty tables are left out."""
    if "*" not in text:
        return text.strip()
    parts = text.split("*")[1:]
    return sorted(part for part in parts if "-A " in part or "DROP" in part)
