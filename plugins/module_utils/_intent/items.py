# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The items of the modules masquerade, forward and port_forward, which need no gateway."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._base.errors import Problems
from .._base.net import family_of
from .._base.values import (
    check_instance,
    check_interface,
    check_name,
    is_network,
    read_addresses,
    read_networks,
    shorten,
)
from .._base.words import CT_STATES
from .forward import PortForward, check_forward, describe_port_forward
from .traffic import read_traffic
from .wording import listed


@dataclass(frozen=True)
class Masquerade:
    """The line ``-t nat -A POSTROUTING -s SOURCE -o OUT -j MASQUERADE``."""

    name: str
    source: t.Tuple[str, ...]
    out_interface: str
    destination: t.Tuple[str, ...] = ()
    closed: bool = False

    @property
    def key(self) -> str:
        return "masquerade/" + self.name


@dataclass(frozen=True)
class Forward:
    """One line of the FORWARD chain."""

    name: str
    action: str = "accept"
    source: t.Tuple[str, ...] = ()
    destination: t.Tuple[str, ...] = ()
    in_interface: str = ""
    out_interface: str = ""
    ct_state: t.Tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return "forward/" + self.name


@dataclass(frozen=True)
class PortForwardItem(PortForward):
    """A single port forward without a gateway."""

    in_interface: str = ""

    @property
    def key(self) -> str:
        return "port_forward/" + self.name


Line = t.Union[Masquerade, Forward]
Item = t.Union[Line, PortForwardItem]


def masquerade_from_params(params: t.Mapping[str, t.Any]) -> Masquerade:
    problems = Problems()
    item = Masquerade(
        name=params["name"],
        source=read_networks("source", params["source"], problems),
        destination=read_networks("destination", params["destination"], problems),
        out_interface=params["out_interface"] or "",
        closed=params["closed"],
    )
    _check_item(item, params["instance"], problems)
    if params["state"] == "present" and not params["source"]:
        problems.add("source", "is empty; name the LAN networks to masquerade, such as 192.168.1.0/24")
    if params["state"] == "present" and not item.out_interface:
        problems.add("out_interface", "is missing; name the WAN interface, such as ppp0")
    problems.raise_if_any()
    return item


def forward_from_params(params: t.Mapping[str, t.Any]) -> Forward:
    problems = Problems()
    item = Forward(
        name=params["name"],
        action=params["action"],
        source=read_networks("source", params["source"], problems),
        destination=read_networks("destination", params["destination"], problems),
        in_interface=params["in_interface"] or "",
        out_interface=params["out_interface"] or "",
        ct_state=tuple(state for state in CT_STATES if state in (params["ct_state"] or ())),
    )
    _check_item(item, params["instance"], problems)
    if item.in_interface:
        check_interface("in_interface", item.in_interface, problems)
    named = any(params[option] for option in ("source", "destination", "in_interface", "out_interface"))
    if params["state"] == "present" and not named:
        problems.add(
            "forward '{0}'".format(shorten(item.name)),
            "matches everything; give at least one of source, destination, in_interface, out_interface",
        )
    problems.raise_if_any()
    return item


def port_forward_from_params(params: t.Mapping[str, t.Any]) -> PortForwardItem:
    problems = Problems()
    check_instance(params["instance"], problems)
    where = "port_forward '{0}'".format(shorten(params["name"]))
    if params["state"] == "absent":
        check_name("name", params["name"], problems)
        problems.raise_if_any()
        return PortForwardItem(params["name"])
    given = dict(params, port=params["port"] or (), to=params["to"] or ())
    for entry in given["source"] or ():
        if not is_network(entry):
            problems.add(where, "source '{0}' is not a network; write it as 198.51.100.0/24".format(shorten(entry)))
    item = PortForwardItem(
        **read_traffic(where, dict(given, wan=None), problems),
        to=read_addresses(where + ": to", given["to"], problems),
        to_port=given["to_port"],
        balance=given["balance"],
        in_interface=given["in_interface"] or "",
    )
    if not item.in_interface:
        problems.add("in_interface", "is missing; name the WAN interface, such as ppp0")
    else:
        check_interface("in_interface", item.in_interface, problems)
    check_forward(where, given, item, problems)
    problems.raise_if_any()
    return item


def _check_item(item: Line, instance: str, problems: Problems) -> None:
    check_instance(instance, problems)
    check_name("name", item.name, problems)
    if item.out_interface:
        check_interface("out_interface", item.out_interface, problems)
    families = [{family_of(net) for net in nets} for nets in (item.source, item.destination) if nets]
    if len(families) == 2 and not families[0] & families[1]:
        problems.add("source and destination", "have no address family in common; give both in IPv4 or both in IPv6")


def describe_item(item: Item) -> str:
    if isinstance(item, PortForwardItem):
        return describe_port_forward(replace(item, wan=item.in_interface))
    parts = []
    if isinstance(item, Forward):
        parts += [item.action] + (["in " + item.in_interface] if item.in_interface else [])
    if item.source:
        parts.append("from " + listed(item.source))
    if item.destination:
        parts.append("to " + listed(item.destination))
    if item.out_interface:
        parts.append(("on " if isinstance(item, Masquerade) else "out ") + item.out_interface)
    if isinstance(item, Masquerade) and item.closed:
        parts.append("and nothing else in or out")
    if isinstance(item, Forward) and item.ct_state:
        parts.append("if " + listed(item.ct_state))
    return " ".join(parts)
