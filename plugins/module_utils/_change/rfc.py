# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""NAT RFC requirements that the user's options give up. docs/rfc.md lists all requirements, with measurements."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.prefix import is_neutral

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved

#: Items listed in one sentence.
MOST_NAMED = 10
#: The kernel's default timers in seconds (Linux 6.18).
KERNEL = {"icmp": 30, "icmpv6": 30, "tcp_established": 432000, "udp": 30, "udp_stream": 120}


@dataclass(frozen=True)
class GivenUp:
    name: str  # such as "RFC 4787 REQ-1"
    why: str  # the option, and what does not work because of it


def given_up(gateway: Resolved) -> t.List[GivenUp]:
    """The requirements given up, in numerical order, without those that no option controls."""
    translating = [item for item in gateway.nat if item.action in ("masquerade", "snat")]
    pools = [item for item in translating if item.action == "snat" and _is_pool(item.to)]
    random = [item.name for item in translating if item.random]
    loose = [item.name for item in pools if not item.persistent]
    inside = [item.name for item in gateway.port_forwards if item.hairpin and item.hairpin_source == "gateway"]
    changing = [item.name for item in gateway.nat if item.action == "prefix" and not is_neutral(item.to[0])]
    found = [
        _items(
            "RFC 4787 REQ-1",
            "nat",
            random,
            "random ports (random, or profile server_egress): a client gets a different port for each destination, so "
            "calls, games and other direct connections between clients may fail",
        ),
        _items(
            "RFC 4787 REQ-2",
            "nat",
            loose,
            "persistent is false: a client uses several addresses at once, so services that tie a session to one "
            "address may fail",
        ),
        _timers(gateway, "RFC 4787 REQ-5", ("udp", "udp_stream"), 120, "UDP no longer reaches"),
        _items(
            "RFC 4787 REQ-9",
            "port_forwards",
            inside,
            "hairpin_source is gateway: the server cannot tell inside clients apart",
        ),
        _items(
            "RFC 4787 REQ-10",
            "helpers",
            [item.name for item in gateway.helpers],
            "the kernel rewrites what clients of these services send, so clients with NAT traversal of their own may "
            "fail",
        ),
        _timers(gateway, "RFC 5382 REQ-5", ("tcp_established",), 7440, "TCP no longer reaches"),
        _timers(gateway, "RFC 5508 REQ-2", ("icmp", "icmpv6"), 60, "the answer to a ping does not reach"),
        _items(
            "RFC 6296 3.1",
            "nat",
            changing,
            "a prefix longer than /48 changes checksums, so protocols other than TCP, UDP and ICMPv6 may fail",
        ),
    ]
    return [each for each in found if each]


def _is_pool(to: t.Sequence[str]) -> bool:
    return len(to) > 1 or any("-" in entry for entry in to)


def _items(name: str, option: str, items: t.Sequence[str], words: str) -> t.Optional[GivenUp]:
    if not items:
        return None
    named = list(items[:MOST_NAMED])
    if len(items) > MOST_NAMED:
        named.append("and {0} more".format(len(items) - MOST_NAMED))
    return GivenUp(name, "{0} {1}: {2}".format(option, ", ".join(named), words))


def _timers(gateway: Resolved, name: str, options: t.Sequence[str], asked: int, what: str) -> t.Optional[GivenUp]:
    timers = dict(KERNEL, **dict(gateway.timeouts))
    short = ["{0} {1}".format(option, timers[option]) for option in options if timers[option] < asked]
    if not short:
        return None
    words = "timeouts {0}: {1} a client that was silent for longer; the RFC requires at least {2} seconds"
    return GivenUp(name, words.format(", ".join(short), what, asked))
