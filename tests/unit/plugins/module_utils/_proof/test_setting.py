# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import setting
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.ground import Place
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Ground, Link
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet

GROUND = Ground(
    links={"lan0": Link("lan0", True), "wg0": Link("wg0", True, ethernet=False), "wan0": Link("wan0", True)},
    clients={("lan0", "ip"): "192.168.1.253", ("lan0", "ip6"): "fd00::fafa", ("wg0", "ip"): "10.8.0.253"},
    outside={"ip": "192.31.196.128/25", "ip6": "2620:4f:8000:fafa::/64"},
    magic=0xFFFFFFFF,
)
PLACES = {"lan0": Place(True, 65000), "wan0": Place(False, 1)}


def test_what_is_added_is_undone():
    lines = setting.filters(GROUND, PLACES)
    assert "qdisc add dev wan0 clsact" in lines and "qdisc add dev lan0 clsact" not in lines
    undo = setting.undo(GROUND, PLACES)
    added = {line.split(" u32")[0] for line in lines if " egress pref" in line}
    assert {line.replace("del", "add") for line in undo.filters} == added
    assert undo.added == ("wan0",)
    assert [line.split()[2] for line in setting.neighbours(GROUND)] == ["192.168.1.253", "fd00::fafa"]
    assert [line.split()[2] for line in undo.neighbours] == ["192.168.1.253", "fd00::fafa"]


def test_a_kernel_without_ipv6_knows_no_addrgenmode():
    assert setting.links(PLACES, six=True)[0] == "link set dev ipmasq-probe0 addrgenmode none up"
    assert setting.links(PLACES, six=False) == ["link set dev ipmasq-probe{0} up".format(each) for each in (0, 1)]


def test_numbers_are_found_where_they_are():
    lines = "\n".join(setting.filters(GROUND, PLACES))
    assert "match ip protocol 6 0xff match u32 0xffffffff 0xffffffff at 24" in lines
    assert "match ip6 protocol 6 0xff match u32 0x00000000 0xffffffff at 48" in lines, "acknowledged, modulo 2^32"
    assert "dev wan0 egress pref 1 protocol ip u32 match ip dst 192.168.1.253" not in lines


def test_nft_has_the_same_filters():
    assert setting.table(GROUND, PLACES) == []
    places = {"lan0": Place(True, 65000), "wan0": Place(nft=True)}
    lines = setting.table(GROUND, places)
    assert [line for line in lines if "hook egress" in line] == [
        'add chain netdev ipmasq_probe e1 { type filter hook egress device "wan0" priority -500; }'
    ]
    assert sum(' fwd to "ipmasq-probe1"' in line for line in lines) == 15
    assert any("meta protocol ip6 meta l4proto 58 @th,448,32 0xffffffff" in line for line in lines)
    assert not any(
        " dev wan0 egress" in line or "add dev wan0 clsact" in line for line in setting.filters(GROUND, places)
    )
    undo = setting.undo(GROUND, places)
    assert undo.table and not undo.added and not any("wan0" in line for line in undo.filters)


def test_questions_and_answers():
    own = bytes.fromhex("020000000001")
    arp = setting.question(own, "192.168.1.253")
    assert len(arp) == 42 and arp[:6] == b"\xff" * 6
    reply = arp[:20] + b"\0\2" + own + bytes([192, 168, 1, 253]) + bytes(10)
    assert setting.answered(reply) == "192.168.1.253"
    solicitation = setting.question(own, "fd00::fafa")
    assert solicitation[:6] == bytes.fromhex("3333ff00fafa")
    assert setting.answered(solicitation) == ""
    advertisement = solicitation[:54] + b"\x88" + solicitation[55:]
    assert setting.answered(advertisement) == "fd00::fafa"
    assert setting.answered(b"") == ""


FLOW = Packet("192.168.1.5", "9.9.9.9", "tcp", 20000, 443, magic=7)


def test_a_flow_of_a_real_host_is_caught_by_its_ports_alone():
    """Nothing else that is for this host, whose connections go on."""
    ground = Ground({"lan0": Link("lan0")}, outside={"ip": "192.31.196.128/25"}, magic=7, flow=FLOW)
    for lines in (
        setting.filters(ground, {"lan0": Place(True, 1)}),
        setting.table(ground, {"lan0": Place(nft=True)}),
    ):
        about = [line for line in lines if "192.168.1.5" in line]
        assert len(about) == 2
        assert "20000" in about[0] and "20001" in about[1]
    assert not any("20000" in line for line in setting.table(replace(ground, flow=None), {"lan0": Place(nft=True)}))


def test_hosts_that_are_played_have_an_entry_for_as_long_as_the_proof_runs():
    ground = Ground({"lan0": Link("lan0"), "ppp0": Link("ppp0", ethernet=False)}, outside={"ip": "192.31.196.128/25"})
    ground = replace(ground, played=(("lan0", "192.168.1.77"), ("ppp0", "9.9.9.9")))
    (line,) = setting.neighbours(ground)
    assert line.startswith("neigh replace 192.168.1.77 lladdr ") and " dev lan0 " in line
    assert setting.undo(ground, {}).neighbours == ("neigh del 192.168.1.77 dev lan0",)
