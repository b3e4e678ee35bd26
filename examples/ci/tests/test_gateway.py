# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What our gateways must do, and what they must not let through."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from conftest import Node

GATEWAY, GATEWAY6 = "198.51.100.2", "2001:db8:100::2"
SERVER = "192.168.1.20"
WEB, WEB6 = "http://192.0.2.10/", "http://[2001:db8:200::10]/"


def test_all_go_out_as_the_gateway(desk: Node, server: Node, guest: Node) -> None:
    assert {node.sees(WEB) for node in (desk, server, guest)} == {GATEWAY}
    assert desk.sees(WEB6) == GATEWAY6


def test_nobody_comes_in(internet: Node, desk: Node) -> None:
    assert desk.connects(SERVER, 80)
    with internet.knows_the_way("192.168.1.0/24", GATEWAY):
        assert not internet.connects(SERVER, 80)


def test_web_server_is_reached_from_outside_and_inside(internet: Node, desk: Node) -> None:
    assert internet.sees(f"http://{GATEWAY}:8080/")
    assert desk.sees(f"http://{GATEWAY}:8080/")


def test_guests_do_not_reach_the_office(guest: Node) -> None:
    assert not guest.connects(SERVER, 80)


def test_guests_send_no_mail(internet: Node, desk: Node, guest: Node) -> None:
    with internet.serves(25):
        assert desk.connects("192.0.2.10", 25)
        assert not guest.connects("192.0.2.10", 25)


def test_nothing_private_was_seen_outside(internet: Node) -> None:
    """This test comes last, because it counts what all others sent."""
    assert internet.private_packets() == {"private_v4": 0, "private_v6": 0}
