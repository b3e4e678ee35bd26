# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real packets in tests/integration/test_proof_of_borders.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import borders
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Around,
    Resolved,
    ResolvedLan,
    ResolvedWan,
)

AROUND = Around(managed=("docker*", "br-1*", "tun*", "vpn"), apart=("br-1an",))
GATEWAY = Resolved(
    wans=(ResolvedWan("wan0"),), lans=(ResolvedLan("office", ("lan0",), networks=("192.168.1.0/24",)),), around=AROUND
)  # fmt: skip


def link(name, net="10.9.9.0/24", **more):
    return Interface(name, networks=(net,) if net else (), **more)


@pytest.mark.parametrize(
    ("found", "sort"),
    [
        (link("mgmt0"), False),
        (link("docker0"), True),
        (link("tun0", kind="tun"), True),
        (link("vpn", kind="wireguard"), True),
        (link("br-1an"), False),
        # The rules cannot know what has come since they were made.
        (link("vpn2", kind="wireguard"), None),
        (link("tun0", "198.51.100.0/24", kind="tun"), None),
        (link("dockeroo"), True),
        # No network of its own, a port, the host itself, the probe, declared, of another instance, the LAN's network.
        (link("mgmt0", ""), "none"),
        (link("mgmt0", master="br0"), "none"),
        (link("lo"), "none"),
        (link("ipmasq-probe0"), "none"),
        (link("lan0"), "none"),
        (link("beside0"), "none"),
        (link("mgmt0", "192.168.0.0/16"), "none"),
    ],
)
def test_undeclared_links(found, sort):
    links = borders.links(GATEWAY, Facts((found,)), ["beside*"])
    assert links == ({} if sort in ("none", None) else {found.name: sort})


def test_a_link_with_a_default_route_is_no_managers():
    facts = Facts((link("docker0"), link("mgmt0")), (Route("docker0"), Route("mgmt0")))
    assert borders.links(GATEWAY, facts, ()) == {"mgmt0": False}
    known = replace(GATEWAY, around=replace(AROUND, apart=("docker0",)))
    assert borders.links(known, facts, ()) == {"docker0": False, "mgmt0": False}


def test_a_few_of_each_sort():
    facts = Facts(tuple(link("{0}{1}".format(name, number)) for name in ("docker", "mgmt") for number in range(9)))
    found = borders.links(GATEWAY, facts, ())
    assert sorted(found.values()) == [False] * borders.MOST + [True] * borders.MOST
