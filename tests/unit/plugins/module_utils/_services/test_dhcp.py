# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._services import dhcp

MAC = b"\x52\x54\0\x12\x34\x56"


def test_a_client_without_an_address_wants_its_answer_by_broadcast():
    body = dhcp.request(MAC, dhcp.DISCOVER, 7, wishes=(1, 3, 6))
    assert (body[10:12], body[28:34], body[236:240]) == (b"\x80\0", MAC, dhcp.COOKIE)
    assert body[240:250] == bytes([53, 1, 1, 55, 3, 1, 3, 6, 255, 0]) and len(body) == 300
    assert dhcp.request(MAC, dhcp.INFORM, 7, "192.168.1.9")[10:16] == b"\0\0\xc0\xa8\x01\x09"


def test_a_reply():
    asked = dhcp.request(MAC, dhcp.DISCOVER, 7)
    assert dhcp.reply(asked) is None
    body = b"\x02" + asked[1:16] + b"\x0a\0\0\x09" + asked[20:240]
    offer = dhcp.reply(body + bytes([0, 53, 1, dhcp.OFFER, 54, 4, 10, 0, 0, 1, 255]))
    assert offer == (7, MAC, "10.0.0.9", {53: b"\x02", 54: b"\x0a\0\0\x01"})
    assert dhcp.reply(body + bytes([53, 1, 6, 255])) is None
