# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A gateway in words, one line for each thing a user declared: what a diff compares."""

from __future__ import annotations

import typing as t

from ._intent import Forward, Masquerade

if t.TYPE_CHECKING:
    from ._intent import Gateway, Item, NatItem


def describe_gateway(gateway: Gateway) -> t.List[str]:
    lines = ["wan {0}".format(wan.interface) for wan in gateway.wans or ()]
    lines += [
        "lan {0}: {1} on {2}, reaches {3}".format(
            lan.name, _words(lan.networks or ()), _words(lan.interfaces), _words(lan.reaches, "no other LAN")
        )
        for lan in gateway.lans or ()
    ]
    lines += ["nat {0}: {1}".format(item.name, _describe_nat(item)) for item in gateway.nat]
    lines.append("ipv6: {0}".format(gateway.ipv6))
    lines.append("mss: {0}".format("clamped to the path MTU" if gateway.clamp_mss else "left alone"))
    return lines


def describe_item(item: Item) -> str:
    parts = []
    if isinstance(item, Forward):
        parts += [item.action] + (["in " + item.in_interface] if item.in_interface else [])
    if item.source:
        parts.append("from " + _words(item.source))
    if item.destination:
        parts.append("to " + _words(item.destination))
    if item.out_interface:
        parts.append(("on " if isinstance(item, Masquerade) else "out ") + item.out_interface)
    if isinstance(item, Forward) and item.ct_state:
        parts.append("if " + _words(item.ct_state))
    return " ".join(parts)


def _describe_nat(item: NatItem) -> str:
    destination = " to " + _words(item.destination) if item.destination else ""
    return "{0} {1}{2} on {3}".format(
        item.action, _words(item.source, "every LAN"), destination, item.wan or "every WAN"
    )


def _words(values: t.Sequence[str], none: str = "nothing", most: int = 20) -> str:
    """A list for people. Of a very long one its beginning and its length, as the rules below show the rest."""
    if len(values) > most:
        return "{0} and {1} more".format(" ".join(values[:most]), len(values) - most)
    return " ".join(values) or none
