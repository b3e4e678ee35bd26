# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Port forwards on a host."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.tests.unit.intents import forward
from ansible_collections.ipmasq.linux.tests.unit.resolving import GUESTS, MANY, OFFICE, ROUTED, problems, resolved

#: LANs, options, problems
TEST_PROBLEMS = [
    (
        [OFFICE],
        dict(
            port_forwards=[
                {"name": "a", "port": ["1"], "to": ["192.168.1.1"]},
                {"name": "b", "port": ["2"], "to": ["192.168.1.1"]},
                {"name": "web", "port": ["443"], "to": ["10.9.9.9"]},
            ]
        ),
        ["port_forwards[2] 'web': to 10.9.9.9 is not in any LAN (office 192.168.1.0/24)"],
    ),
    (
        [OFFICE, GUESTS],
        forward(to=["10.9.9.9", "192.168.1.20", "10.9.9.8"]),
        [
            "port_forwards[0] 'web': to {0} is not in any LAN "
            "(office 192.168.1.0/24, guests 192.168.2.0/24 fd00:2::/64)".format(to)
            for to in ("10.9.9.9", "10.9.9.8")
        ],
    ),
    (
        [OFFICE, GUESTS],
        forward(to=["192.168.1.20", "192.168.2.20"]),
        ["port_forwards[0] 'web': to lists servers in different LANs; they must share one LAN"],
    ),
    (
        [ROUTED],
        forward(to=["2001:db8:3::20"], to_port=8443),
        ["port_forwards[0] 'web': to 2001:db8:3::20 is routed, not translated, so to_port cannot differ from port"],
    ),
]


@pytest.mark.parametrize(("lans", "given", "wanted"), TEST_PROBLEMS)
def test_problems(lans, given, wanted):
    assert problems(MANY, lans=lans, **given) == wanted


#: LANs and options that are right
TEST_RIGHT = [
    ([ROUTED], forward(to=["2001:db8:3::20"], to_port=443)),
    ([ROUTED], dict(forward(to=["2001:db8:3::20"], to_port=8443), ipv6="masquerade")),
    ([OFFICE, GUESTS], forward(to=["192.168.1.20", "192.168.1.21"], to_port=8443)),
]


@pytest.mark.parametrize(("lans", "given"), TEST_RIGHT)
def test_right(lans, given):
    assert resolved(MANY, lans=lans, **given)


def test_pinhole_to_another_destination():
    """The server is asked by its own address; a destination that is another can never be asked for."""
    assert problems(MANY, lans=[ROUTED], **forward(to=["2001:db8:3::20"], destination=["2001:db8:ff::5"]))
