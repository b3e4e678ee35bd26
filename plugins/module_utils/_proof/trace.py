# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Read what nf_tables tells about traced packets: which chains and rules they met. No I/O.

The kernel is heard itself, as the text of ``nft monitor trace`` differs between releases. Rules of iptables-nft are
rules of nf_tables, too.

Source: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_trace.c
"""

from __future__ import annotations

import struct
import typing as t
from dataclasses import dataclass, field

from .._base import netlink
from . import packets, setting

if t.TYPE_CHECKING:  # pragma: no cover
    from .packets import Packet

#: NFNLGRP_NFTRACE, and NFNL_SUBSYS_NFTABLES with NFT_MSG_TRACE.
GROUP, MESSAGE = 9, 0xA11
TABLE, CHAIN, HANDLE, KIND, VERDICT, IDENT, NETWORK, TRANSPORT = 1, 2, 3, 4, 5, 6, 8, 9
OUT, MARK, POLICY = 12, 14, 16
KINDS = {1: "policy", 2: "return", 3: "rule"}
VERDICTS = {0: "drop", 1: "accept", 2: "take", 3: "queue", -3: "jump", -4: "goto", -5: "return"}
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


@dataclass(frozen=True)
class Event:
    """A packet at a rule, or at the end of a chain."""

    family: str
    table: str
    chain: str
    kind: str = "rule"
    verdict: str = ""
    handle: int = 0
    ident: int = 0
    packet: t.Optional[Packet] = None  # only at the first rule of a base chain
    out: int = 0  # the number of the interface through which it leaves
    mark: int = 0

    @property
    def ours(self) -> bool:
        """Whether it is of a table of the probe itself."""
        return self.table in setting.OWN_TABLES

    @property
    def ends(self) -> bool:
        """Whether the packet goes no further."""
        return self.verdict in ("drop", "take", "queue")


@dataclass
class Flight:
    """One packet on its way through the host."""

    mark: int
    events: t.List[Event] = field(default_factory=list)

    def reached(self, *hooks: str) -> bool:
        return any(each.ours and each.family == "inet" and each.chain in hooks for each in self.events)

    @property
    def rules(self) -> t.List[Event]:
        return [each for each in self.events if not each.ours]


def events(data: bytes) -> t.List[Event]:
    """What a packet from the kernel tells."""
    return [
        _event(FAMILIES.get(data[at + netlink.HEADER.size], "?"), _attributes(data, at + netlink.BODY, end))
        for kind, at, end in netlink.messages(data)
        if kind == MESSAGE and end <= len(data)
    ]


def _attributes(data: bytes, at: int, end: int) -> t.Dict[int, bytes]:
    found = {}
    while at + netlink.ATTRIBUTE.size <= end:
        length, kind = netlink.ATTRIBUTE.unpack_from(data, at)
        if length < netlink.ATTRIBUTE.size:
            break
        found[kind & netlink.KIND] = data[at + netlink.ATTRIBUTE.size : at + length]
        at += length + -length % 4
    return found


def _event(family: str, found: t.Mapping[int, bytes]) -> Event:
    kind = KINDS.get(_number(found, KIND), "")
    verdict = _verdict(found[VERDICT]) if VERDICT in found else ""
    if kind == "policy":
        verdict = VERDICTS.get(_number(found, POLICY), "")
    whole = found.get(NETWORK, b"") + found.get(TRANSPORT, b"")
    return Event(
        family,
        _text(found, TABLE),
        _text(found, CHAIN),
        kind,
        verdict,
        _number(found, HANDLE),
        _number(found, IDENT),
        packets.parse(whole) if whole else None,
        _number(found, OUT),
        _number(found, MARK),
    )


def _text(found: t.Mapping[int, bytes], kind: int) -> str:
    return found.get(kind, b"").rstrip(b"\0").decode("utf-8", "replace")


def _number(found: t.Mapping[int, bytes], kind: int) -> int:
    return int.from_bytes(found.get(kind, b""), "big")


def _verdict(data: bytes) -> str:
    code = _attributes(data, 0, len(data)).get(1, b"")
    (number,) = struct.unpack("!i", code) if len(code) == 4 else (99,)
    return VERDICTS.get(number & 0xFF if number >= 0 else number, "continue")  # a drop may bear an error number


def flights(told: t.Iterable[Event]) -> t.List[Flight]:
    """The probe's packets, each with its way, in the order in which they were sent."""
    found: t.List[Flight] = []
    marked: t.Dict[int, Flight] = {}
    numbered: t.Dict[int, Flight] = {}
    for each in told:
        if each.packet:
            known = marked.get(each.packet.mark)
            if each.ours and (known is None or _arrives(each, known)):
                known = marked[each.packet.mark] = Flight(each.packet.mark)
                found.append(known)
            if known:
                numbered[each.ident] = known
        if each.ident in numbered:
            numbered[each.ident].events.append(each)
    return found


def _arrives(event: Event, flight: Flight) -> bool:
    """Whether another packet with the same mark begins its way here."""
    return any((each.family, each.chain) == (event.family, event.chain) and each.ours for each in flight.events)
