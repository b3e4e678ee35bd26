# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Port forwards."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.net import family_of, is_suffix
from .._base.values import is_network, read_addresses, read_suffix, shorten
from .timers import describe_timeouts, read_item_timeouts
from .traffic import MOST_SHARES, Traffic, describe_traffic, read_traffic
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .timers import Timeouts


@dataclass(frozen=True)
class PortForward(Traffic):
    """``source`` and ``destination`` are those of outside clients; empty: any client, any WAN address."""

    to: t.Tuple[str, ...] = ()
    to_port: t.Optional[int] = None
    hairpin: bool = False
    hairpin_source: str = "external"
    balance: str = "round_robin"
    timeouts: Timeouts = ()


def read_port_forward(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> PortForward:
    where = "port_forwards[{0}] '{1}'".format(index, shorten(raw["name"]))
    traffic = read_traffic(where, raw, problems)
    for entry in raw.get("source") or ():
        if not is_network(entry):
            problems.add(where, "source '{0}' is not a network; LAN names do not apply outside".format(shorten(entry)))
    forward = PortForward(
        **traffic,
        to=_servers(where + ": to", raw["to"], problems),
        to_port=raw.get("to_port"),
        hairpin=raw["hairpin"],
        hairpin_source=raw["hairpin_source"],
        balance=raw["balance"],
        timeouts=read_item_timeouts(where, raw.get("timeouts"), traffic["protocol"], problems),
    )
    check_forward(where, raw, forward, problems)
    return forward


def check_forward(where: str, raw: t.Mapping[str, t.Any], forward: PortForward, problems: Problems) -> None:
    if not raw["port"]:
        problems.add(where, "port is empty; name the ports to forward, such as 443")
    if not raw["protocol"]:
        problems.add(where, "protocol is empty; name tcp, udp, sctp or both")
    if not raw["to"]:
        problems.add(where, "to is empty; name the server to forward to")
    _check_servers(where, forward, problems)
    if forward.to_port is not None:
        width = forward.port[0][1] - forward.port[0][0] if forward.port else 0
        if len(forward.port) > 1:
            problems.add(where, "to_port allows one port range only; write one forward for each range")
        elif not 1 <= forward.to_port <= 65535 - width:
            problems.add(where, "to_port {0} leaves the port range 1-65535".format(forward.to_port))
    for nets in (forward.source, forward.destination):
        if forward.to and nets and family_of(forward.to[0]) not in {family_of(net) for net in nets}:
            problems.add(
                where, "to {0} has no address family in common with {1}".format(forward.to[0], shorten(nets[0]))
            )


def _servers(where: str, raw: t.Sequence[str], problems: Problems) -> t.Tuple[str, ...]:
    """Addresses, or address suffixes for prefixes that change."""
    suffixes = [entry for entry in raw if is_suffix(entry)]
    if suffixes and len(suffixes) < len(raw):
        problems.add(where, "mixes addresses and suffixes; write two forwards")
    read = tuple(read_suffix(where, entry, problems) for entry in suffixes)
    return tuple(filter(None, read)) or read_addresses(where, [each for each in raw if each not in suffixes], problems)


def _check_servers(where: str, forward: PortForward, problems: Problems) -> None:
    for entry in forward.to:
        if "-" in entry:
            problems.add(where, "to {0} is a range; list the servers".format(entry))
    if len(forward.to) > MOST_SHARES:
        problems.add(where, "to lists {0} servers; the limit is {1}".format(len(forward.to), MOST_SHARES))
    if len({family_of(entry) for entry in forward.to}) > 1:
        problems.add(where, "to mixes IPv4 and IPv6 servers; write two forwards")


def describe_port_forward(item: PortForward) -> str:
    words = [describe_traffic(item, "anybody"), "goes to", listed(item.to)]
    if item.to_port:
        words.append("port {0}".format(item.to_port))
    if len(item.to) > 1:
        words.append("balanced by " + item.balance)
    if item.hairpin:
        words.append("also from inside, seen as " + item.hairpin_source)
    if item.timeouts:
        words.append("timeouts " + describe_timeouts(item.timeouts))
    return " ".join(words)
