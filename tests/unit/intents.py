# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the module gateway in short, and the problems that they have."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

WAN = {"interface": "ppp0"}
SPEC = "write it as 192.168.1.0/24 or fd00:1::/64"
ADDRESS = "write 203.0.113.9, or 203.0.113.9-203.0.113.12"
#: What each action cannot do without.
NEEDED = {
    "masquerade": {},
    "snat": {"to": ["203.0.113.9"]},
    "static": {"source": ["192.168.1.0/28"], "to": ["203.0.113.0/28"]},
    "prefix": {"source": ["fd00:1::/64"], "to": ["2001:db8:1::/64"]},
    "exempt": {},
}


def each_problem(table):
    """A test of each row: options of gateway, and the one problem that they have."""
    ids = ["{0} {1}".format(number, each[1][:50]) for number, each in enumerate(table)]
    return pytest.mark.parametrize(("given", "problem"), table, ids=ids)


def lan(name="a", interfaces=("lan0",), networks=("192.168.1.0/24",), **more):
    found = dict(name=name, interfaces=list(interfaces), **more)
    if networks is not None:
        found["networks"] = list(networks)
    return found


def nat(action="masquerade", **more):
    return dict(nat=[dict(more, name="x", action=action)])


def forward(**more):
    return dict(port_forwards=[dict(dict(name="web", port=["443"], to=["192.168.1.20"]), **more)])


def multicast(**given):
    return {"multicast": [dict({"name": "tv", "group": ["239.0.0.0/8"]}, **given)]}


def outbound(**more):
    return dict(outbound=[dict(more, name="o")])


def problems_of(function, params):
    with pytest.raises(GatewayError) as caught:
        function(params)
    return list(caught.value.problems)


LANS = [lan(), lan("b", ["lan1"], ["192.168.2.0/24", "fd00:2::/64"])]
