# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit ipmasq-fence.service under a systemd of its own, alone and beside neighbours that load their rules again.

What the fence lets through is in integration.
"""

from __future__ import annotations

import os
import re
import typing as t

import pytest
from test_inits import GATEWAY, WIRE, Machine, image_with

STANDS = "nft list table inet ipmasq-fence | grep -c 'flags owner'"
#: A client and somebody outside, as namespaces of the container.
ENDS = """
for end in lan wan; do ip netns add $end; ip -n $end link set lo up; done
ip link set p0 netns wan; ip link set p1 netns lan
ip -n wan address add 198.51.100.1/24 dev p0; ip -n wan link set p0 up
ip -n lan address add 192.168.1.10/24 dev p1; ip -n lan link set p1 up
ip -n lan route add default via 192.168.1.1; ip -n wan route add 192.168.1.0/24 via 198.51.100.2
"""
OUT = "ip netns exec lan ping -c 3 -i 0.2 -W 1 -q 198.51.100.1 | grep -o '[0-9]* received'"
IN = "ip netns exec wan ping -c 3 -i 0.2 -W 1 -q 192.168.1.10 | grep -o '[0-9]* received'"


@pytest.fixture(scope="module")
def machine() -> t.Iterator[Machine]:
    made = Machine(image_with("bookworm"), "ipmasq-fence", systemd=True)
    try:
        made.sh(WIRE + "; ip route add default via 198.51.100.1; " + ENDS)
        yield made
    finally:
        made.remove()


SECOND_LAN = "ip link add guest0 type veth; ip link set guest0 up; ip address add 192.168.2.1/24 dev guest0"
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]}


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_a_service_that_loads_rules_rolls_back_a_change_of_the_fence(machine: Machine, verb: str) -> None:
    """systemd starts the fence after that service, in whose job the loader waits for the fence."""
    machine.sh(SECOND_LAN + "; systemctl enable --now --quiet nftables")
    try:
        machine.apply(**GATEWAY)
        waits = machine.apply(**{**GATEWAY, "lans": [*GATEWAY["lans"], GUESTS]}, confirm_by="person")
        assert "~ fence: renewed" in waits["differences"] and waits["pending"]
        machine.sh("timeout 30 systemctl {0} nftables".format(verb))
        assert machine.sh(OUT).strip() == "3 received" and machine.sh(STANDS).strip() == "1"
        assert "a service reloaded the rules" in machine.sh("journalctl -q -t ipmasq -o cat | tail -5")
        assert not machine.apply(**GATEWAY)["changed"]
    finally:
        machine.sh("systemctl disable --now --quiet nftables; ip link del guest0")
        machine.apply(state="absent")


SITE = "flush ruleset; table inet site { chain in { type filter hook input priority 0; tcp dport 9999 drop; }; }"
OWN = "ExecStart=\nExecStart=/usr/sbin/nft -f /etc/site.nft\n"
RELOAD = OWN + "ExecReload=\nExecReload=/usr/sbin/nft -f /etc/site.nft\n"
PLACE = "/etc/systemd/system/nftables.service.d"


@pytest.mark.parametrize(
    ("name", "text", "verb"),
    [
        ("10-site", RELOAD, "reload"),
        ("override", RELOAD, "reload"),  # what systemctl edit writes
        ("10-keep", OWN + "ExecStop=\n", "stop"),
    ],
)
def test_the_commands_of_other_drop_ins_are_kept(machine: Machine, name: str, text: str, verb: str) -> None:
    """Such as the site's own firewall in place of Debian's empty one, or a stop that does not flush."""
    machine.sh("echo '{0}' > /etc/site.nft; mkdir -p {1}; printf '[Service]\\n{2}' > {1}/{3}.conf".format(
        SITE, PLACE, text.replace("\n", "\\n"), name
    ))  # fmt: skip
    machine.sh("systemctl daemon-reload; systemctl enable --now --quiet nftables")
    tables = "nft list tables"
    try:
        assert "inet site" in machine.sh("systemctl {0} nftables; {1}".format(verb, tables))  # without ours
        machine.sh("systemctl start nftables")
        machine.apply(**GATEWAY)
        machine.sh("systemctl {0} nftables; sleep 1".format(verb))
        wanted = {"table inet site", "table inet ipmasq-fence", "table inet ipmasq"}
        assert set(machine.sh(tables).strip().split("\n")) == wanted
        assert machine.sh(OUT).strip() == "3 received"
        assert not machine.apply(**GATEWAY)["changed"]
    finally:
        machine.sh(
            "rm {0}/{1}.conf; systemctl daemon-reload; systemctl disable --now --quiet nftables".format(PLACE, name)
        )
        machine.apply(state="absent")
        assert machine.sh("ls {0} || true".format(PLACE)) == ""


def test_it_stands_through_whatever_is_done_by_hand(machine: Machine) -> None:
    before = machine.sh("find /etc | sort")
    assert "+ fence: stands" in machine.apply(**GATEWAY)["differences"]
    assert not machine.apply(**GATEWAY)["changed"]
    assert machine.sh(STANDS).strip() == "1"
    assert machine.sh(OUT).strip() == "3 received"

    machine.sh("nft flush ruleset")
    assert machine.sh(OUT + " || true").split()[:1] == machine.sh(IN + " || true").split()[:1] == ["0"]
    machine.sh("systemctl restart ipmasq")
    assert machine.sh(OUT).strip() == "3 received"

    # The holder dies.
    holder = "systemctl show --property MainPID --value ipmasq-fence"
    old = machine.sh(holder)
    machine.sh("kill -9 $({0})".format(holder))
    another = "[ $({0}) != {1} ] && {2}".format(holder, old.strip(), STANDS)
    machine.sh("for n in $(seq 50); do {0} && exit; sleep 0.1; done".format(another))
    assert machine.sh(STANDS).strip() == "1" and machine.sh(holder) not in (old, "0\n")

    # Rules that somebody has saved with it.
    machine.sh("(echo flush ruleset; nft list ruleset) > /etc/nftables.conf; systemctl enable --now --quiet nftables")
    for verb in ("restart", "reload"):
        machine.sh("systemctl {0} nftables".format(verb))
        machine.sh("for n in $(seq 50); do {0} && exit; sleep 0.1; done".format(STANDS))
        assert machine.sh(STANDS).strip() == "1" and machine.sh(OUT).strip() == "3 received"

    machine.boot()
    assert machine.sh(STANDS).strip() == "1"
    order = "systemctl show --property ActiveEnterTimestampMonotonic --value "
    fence, rules = (int(machine.sh(order + unit)) for unit in ("ipmasq-fence", "ipmasq"))
    assert 0 < fence < rules
    assert not machine.sh("systemctl --failed --no-legend | grep ipmasq || true")

    machine.sh("systemctl stop ipmasq-fence")
    assert machine.sh("nft list tables | grep fence || true") == ""
    machine.sh("systemctl disable --now --quiet nftables; rm /etc/nftables.conf")
    machine.apply(state="absent")
    assert "ipmasq-fence" not in machine.sh("find /etc; nft list tables")
    assert machine.sh("systemctl is-active ipmasq-fence || true").strip() == "inactive"
    assert set(before.split()) - set(machine.sh("find /etc").split()) <= {"/etc/nftables.conf"}


#: Each packet is a new flow: to one port after the other.
#: How often nftables.service is reloaded and restarted under each saved ruleset.
RELOADS = int(os.environ.get("IPMASQ_RELOADS", "2"))
#: Debian's empty ruleset; one that somebody has saved with the fence, for which the fence is taken down.
SAVES = ("true", "(echo flush ruleset; nft list ruleset) > /etc/nftables.conf")
FLOOD = """
import socket, sys, time
out, port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
while True:
    for _packet in range(20):
        port = port % 50000 + 1
        try:
            out.sendto(b"x", (sys.argv[1], 10000 + port))
        except OSError:
            pass
    time.sleep(0.01)
"""
#: What arrives at either end, by the source.
COUNT = """
ip netns exec wan nft -f - << 'END'
table inet seen {
 chain arrived {
  type filter hook prerouting priority -300
  meta l4proto udp ip saddr 192.168.0.0/16 counter comment "private"
  meta l4proto udp ip saddr 198.51.100.0/24 counter comment "translated"
 }
}
END
ip netns exec lan nft -f - << 'END'
table inet seen {
 chain arrived {
  type filter hook prerouting priority -300
  meta l4proto udp ip saddr 198.51.100.1 counter comment "intruder"
 }
}
END
for end in "lan 198.51.100.1" "wan 192.168.1.10"; do
    set -- $end
    setsid ip netns exec $1 python3 /root/flood $2 > /dev/null 2>&1 < /dev/null &
done
"""
SEEN = "for end in wan lan; do ip netns exec $end nft list table inet seen; done"
NEIGHBOURS = {
    "firewalld": ("firewalld", ["firewall-cmd --reload", "systemctl restart firewalld"]),
    "netfilter-persistent": (
        "iptables-persistent",
        ["netfilter-persistent restart", "netfilter-persistent reload", "systemctl restart netfilter-persistent"],
    ),
    # systemd starts it three times a minute only.
    "docker": ("docker.io", ["systemctl reset-failed docker; systemctl restart docker"]),
}
ROUNDS = 2


def seen(machine: Machine) -> dict[str, int]:
    found = re.findall(r'packets (\d+) .*comment "(\w+)"', machine.sh(SEEN))
    return {name: int(count) for count, name in found}


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_a_neighbour_that_loads_its_rules_again_opens_nothing(neighbour: str) -> None:
    package, commands = NEIGHBOURS[neighbour]
    machine = Machine(image_with("bookworm," + package), "ipmasq-fence-beside", systemd=True)
    try:
        machine.sh(WIRE + "; ip route add default via 198.51.100.1; " + ENDS)
        # docker wants a network, and nothing here is networkd's: it would wait for two minutes.
        machine.sh("systemctl mask --runtime --quiet systemd-networkd-wait-online")
        machine.sh("systemctl start " + neighbour)
        assert "+ fence: stands" in machine.apply(**GATEWAY)["differences"]
        if neighbour == "netfilter-persistent":
            machine.sh("netfilter-persistent save 2> /dev/null")
        machine.sh(f"cat > /root/flood << 'END'\n{FLOOD}\nEND\n" + COUNT)
        for command in commands * ROUNDS:
            before = seen(machine)["translated"]
            machine.sh(f"({command}) > /dev/null 2>&1")
            machine.sh("sleep 0.3")
            assert seen(machine)["translated"] > before, command
        found = seen(machine)
        assert (found["private"], found["intruder"]) == (0, 0), found
        assert found["translated"] > 1000, "nothing was sent, so nothing could leak"
        assert machine.sh(STANDS).strip() == "1"
        assert not machine.apply(**GATEWAY)["changed"]
    finally:
        machine.remove()


def test_a_reload_or_restart_of_nftables_service_opens_nothing() -> None:
    """Under new flows in both directions. A package upgrade does this."""
    machine = Machine(image_with("bookworm"), "ipmasq-reload", systemd=True)
    try:
        machine.sh(WIRE + "; ip route add default via 198.51.100.1; " + ENDS)
        machine.sh("systemctl enable --now --quiet nftables")
        assert "+ fence: stands" in machine.apply(**GATEWAY)["differences"]
        machine.sh(f"cat > /root/flood << 'END'\n{FLOOD}\nEND\n" + COUNT)
        for saved in SAVES:
            machine.sh(saved)
            for verb in ("reload", "restart") * RELOADS:
                before = seen(machine)["translated"]
                machine.sh(f"systemctl reset-failed nftables; timeout 30 systemctl {verb} nftables; sleep 0.3")
                found = seen(machine)
                assert found["translated"] > before, (saved, verb, "nothing was sent, so nothing could leak")
                assert (found["private"], found["intruder"]) == (0, 0), (saved, verb, found)
            machine.sh(f"for n in $(seq 50); do [ $({STANDS}) = 1 ] && break; sleep 0.1; done")
            assert machine.sh(STANDS).strip() == "1"
        assert machine.sh(OUT).strip() == "3 received"
        assert machine.sh("ip rule | grep -c blackhole || true").strip() == "0"
        # Without the drop-in and the fence, it would have been otherwise.
        machine.sh("rm /etc/systemd/system/nftables.service.d/*ipmasq*; systemctl daemon-reload")
        machine.sh("systemctl stop ipmasq-fence; nft flush ruleset; sleep 0.3")
        found = seen(machine)
        assert found["private"] > 10 and found["intruder"] > 10, found
    finally:
        machine.remove()
