# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which requirements of the NAT RFCs a gateway meets as it is declared. docs/rfc.md has all of them, measured."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._prefix import is_neutral

if t.TYPE_CHECKING:  # pragma: no cover
    from ._intent import Gateway, NatItem


@dataclass(frozen=True)
class Requirement:
    name: str  # such as "RFC 4787 REQ-1"
    holds: bool
    why: str


def requirements(gateway: Gateway) -> t.List[Requirement]:
    """Those that options decide, in the order of their numbers."""
    translating = [item for item in gateway.nat if item.action in ("masquerade", "snat")]
    found = [_mapping(translating)]
    pools = [item for item in translating if _is_pool(item)]
    if pools:
        loose = [item.name for item in pools if not item.persistent]
        found.append(_told("RFC 4787 REQ-2", not loose, "a client keeps one address of a pool", loose, "persistent"))
    timers = dict(gateway.timeouts)
    short = [name for name in ("udp", "udp_stream") if timers.get(name, 0) < 120]
    found.append(_told("RFC 4787 REQ-5", not short, "UDP mappings live for 2 minutes or more", short, "timeouts"))
    if gateway.port_forwards:
        found.append(_hairpin(gateway))
    helpers = [item.name for item in gateway.helpers]
    found.append(_told("RFC 4787 REQ-10", not helpers, "no helper reads what clients send", helpers, "helpers"))
    found.append(_established(timers))
    icmp = [name for name in ("icmp", "icmpv6") if timers.get(name, 0) < 60]
    found.append(_told("RFC 5508 REQ-2", not icmp, "ICMP queries live for 60 seconds or more", icmp, "timeouts"))
    prefixes = [item for item in gateway.nat if item.action == "prefix"]
    if prefixes:
        changing = [item.name for item in prefixes if not is_neutral(item.to[0])]
        words = "prefixes are translated without touching checksums"
        found.append(_told("RFC 6296 3.1", not changing, words, changing, "a prefix longer than /48"))
    return found


#: Items that a sentence names.
MOST_NAMED = 10


def _told(name: str, holds: bool, words: str, against: t.Sequence[str], option: str) -> Requirement:
    named = list(against[:MOST_NAMED])
    if len(against) > MOST_NAMED:
        named.append("and {0} more".format(len(against) - MOST_NAMED))
    return Requirement(name, holds, words if holds else "not so because of {0}: {1}".format(option, ", ".join(named)))


def _mapping(items: t.Sequence[NatItem]) -> Requirement:
    random = [item.name for item in items if item.random]
    words = "a client's port is seen as the same by all destinations, until two clients want the same one"
    return _told("RFC 4787 REQ-1", not random, words, random, "random")


def _is_pool(item: NatItem) -> bool:
    return item.action == "snat" and (len(item.to) > 1 or any("-" in entry for entry in item.to))


def _hairpin(gateway: Gateway) -> Requirement:
    without = [item.name for item in gateway.port_forwards if not item.hairpin]
    inside = [item.name for item in gateway.port_forwards if item.hairpin and item.hairpin_source == "gateway"]
    words = "clients inside reach forwarded ports, seen by the address outside"
    if without:
        return _told("RFC 4787 REQ-9", False, words, without, "no hairpin")
    return _told("RFC 4787 REQ-9", not inside, words, inside, "hairpin_source")


def _established(timers: t.Mapping[str, int]) -> Requirement:
    # The kernel's own timer is 5 days.
    holds = timers.get("tcp_established", 432000) >= 7440
    return _told(
        "RFC 5382 REQ-5",
        holds,
        "open TCP connections live for 2 hours 4 minutes or more",
        ["tcp_established"],
        "timeouts",
    )
