# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""NAT items."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.net import family_of
from .._base.values import (
    addresses_in,
    check_hosts,
    is_network,
    networks_of,
    read_addresses,
    read_networks,
    read_port_range,
    shorten,
)
from .timers import describe_timeouts, read_item_timeouts
from .traffic import MOST_SHARES, Traffic, describe_traffic, read_traffic
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._base.net import Ports
    from .timers import Timeouts

#: Options that are valid only with some actions; with others they are an error, not ignored.
NAT_OPTIONS = {
    "to": ("snat", "static", "prefix"),
    "to_port": ("masquerade", "snat"),
    "random": ("masquerade", "snat"),
    "persistent": ("snat",),
    "ipsec": ("exempt",),
    "inbound": ("static", "prefix"),
    "hairpin": ("static",),
    "to_address": ("snat", "static"),
    "protocol": ("masquerade", "snat", "exempt"),
    "port": ("masquerade", "snat", "exempt"),
}
#: In a pool of several ranges, each address becomes a map element.
MOST_IN_POOL = 1024


@dataclass(frozen=True)
class NatItem(Traffic):
    action: str = "masquerade"
    to: t.Tuple[str, ...] = ()  # snat: addresses and ranges; static and prefix: one network
    to_port: t.Optional[Ports] = None
    random: bool = False
    persistent: bool = True
    ipsec: bool = False
    inbound: bool = False
    hairpin: bool = False  # for static; defaults to inbound
    to_address: str = ""  # empty: existing, or for 1:1 as the WAN's networks require
    timeouts: Timeouts = ()


def read_nat(
    raw: t.Optional[t.Sequence[t.Mapping[str, t.Any]]], profile: str, problems: Problems
) -> t.Tuple[NatItem, ...]:
    if raw is None:
        raw = [{"name": "default", "action": "masquerade"}]
    return tuple(_nat_item(index, item, profile, problems) for index, item in enumerate(raw))


def _nat_item(index: int, raw: t.Mapping[str, t.Any], profile: str, problems: Problems) -> NatItem:
    where = "nat[{0}] '{1}'".format(index, shorten(raw["name"]))
    action = raw["action"]
    for option, actions in NAT_OPTIONS.items():
        if raw.get(option) is not None and raw[option] is not False and action not in actions:
            problems.add(
                where, "{0} is not valid with action {1}, only with {2}".format(option, action, " or ".join(actions))
            )
    traffic = read_traffic(where, raw, problems)
    if action in ("static", "prefix"):
        to = read_networks(where + ": to", raw.get("to"), problems)
    else:
        to = read_addresses(where + ": to", raw.get("to"), problems)
    if action in ("snat", "static", "prefix") and not raw.get("to"):
        problems.add(
            where,
            "option to is missing; name the {0} to translate to".format("addresses" if action == "snat" else "network"),
        )
    check_hosts(
        where + ": to", [net for entry in to for net in ([entry] if "/" in entry else networks_of(entry))], problems
    )
    random = raw.get("random")
    if random is None:
        random = profile == "server_egress" and action in ("masquerade", "snat")
    to_port = read_port_range(where + ": to_port", raw.get("to_port"), problems)
    if to_port is None and profile == "server_egress" and action in ("masquerade", "snat"):
        # Otherwise ports below 1024 are translated to ports below 1024 (measured), of which only a few hundred exist.
        to_port = (1024, 65535)
    _check_pool(where, to if action == "snat" else (), problems)
    inbound = action == "static" if raw.get("inbound") is None else raw["inbound"]
    hairpin = raw.get("hairpin")
    if hairpin is None:
        # Clients inside may reach what clients outside may reach.
        hairpin = action == "static" and inbound and not traffic["destination"]
    elif hairpin and traffic["destination"]:
        problems.add(
            where,
            "hairpin excludes destination, which limits the item to some peers outside; leave one of them out",
        )
    item = NatItem(
        **traffic,
        action=action,
        to=to,
        to_port=to_port,
        random=random,
        persistent=raw.get("persistent") is not False,
        ipsec=bool(raw.get("ipsec")),
        inbound=inbound,
        hairpin=hairpin,
        to_address=raw.get("to_address") or "",
        timeouts=read_item_timeouts(where, raw.get("timeouts"), traffic["protocol"], problems),
    )
    _check_one_to_one(where, item, problems)
    return item


def _check_pool(where: str, to: t.Sequence[str], problems: Problems) -> None:
    for family in ("ip", "ip6"):
        ranges = [entry for entry in to if family_of(entry) == family]
        if len(ranges) > MOST_SHARES:
            problems.add(where, "to lists {0} ranges; the limit is {1}".format(len(ranges), MOST_SHARES))
        elif len(ranges) > 1 and None in (addresses_in(entry, MOST_IN_POOL // len(ranges)) for entry in ranges):
            problems.add(
                where,
                "to lists {0} ranges, so each may have up to {1} addresses; a single range has no limit".format(
                    len(ranges), MOST_IN_POOL // len(ranges)
                ),
            )


def _check_one_to_one(where: str, item: NatItem, problems: Problems) -> None:
    """static and prefix map one network to another of the same size."""
    if item.action not in ("static", "prefix") or not item.to:
        return
    networks = [entry for entry in item.source if is_network(entry)]
    if len(item.to) > 1:
        problems.add(where, "to lists {0} networks; action {1} maps to exactly one".format(len(item.to), item.action))
    if len(item.source) != 1:
        problems.add(where, "source must be exactly one network or LAN, the one that to represents outside")
    for inside in networks:
        for outside in item.to[:1]:
            check_same_size(where, item.action, inside, outside, problems)


def check_same_size(where: str, action: str, inside: str, outside: str, problems: Problems) -> None:
    if family_of(inside) != family_of(outside):
        problems.add(where, "source {0} and to {1} have different address families".format(inside, outside))
    elif inside.split("/")[1] != outside.split("/")[1]:
        problems.add(
            where,
            "source {0} and to {1} have different lengths; action {2} maps one address to one".format(
                inside, outside, action
            ),
        )
    elif action == "prefix" and family_of(inside) == "ip":
        problems.add(where, "action prefix is for IPv6 (RFC 6296); use action static for IPv4")
    elif action == "prefix" and int(inside.split("/")[1]) > 64:
        problems.add(where, "{0} is longer than /64, the longest that RFC 6296 translates".format(inside))


def describe_nat(item: NatItem) -> str:
    words = [item.action, describe_traffic(item, "every LAN")]
    if item.ipsec:
        words.append("that IPsec encrypts")
    if item.to:
        words.append("as " + listed(item.to))
    if item.to_address:
        words.append({"existing": "existing", "routed": "routed here", "add": "added"}[item.to_address])
    if item.to_port:
        words.append("from ports {0}-{1}".format(*item.to_port))
    if item.random:
        words.append("at random")
    if item.action == "snat" and not item.persistent:
        words.append("not persistent")
    if item.action in ("static", "prefix"):
        words.append("and back" if item.inbound else "closed from outside")
    if item.hairpin:
        words.append("also from inside")
    if item.timeouts:
        words.append("timeouts " + describe_timeouts(item.timeouts))
    return " ".join(words)
