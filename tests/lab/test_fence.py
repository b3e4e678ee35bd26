# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit ipmasq-fence.service under a systemd of its own; what the fence lets through is in integration."""

from __future__ import annotations

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
