# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A connection as conntrack knows it, in the terms of rules."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from .._base.netlink import Entry

Address = t.Any  # ipaddress.IPv4Address or IPv6Address
#: The kernel's numbers for names used in rules.
PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmpv6",
    112: "vrrp", 132: "sctp", 136: "udplite",
}  # fmt: skip
NUMBERS = {name: number for number, name in PROTOCOLS.items()}


@dataclass(frozen=True)
class End:
    """One direction of a connection. Ports are 0 if the protocol has none."""

    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0


@dataclass(frozen=True)
class Flow:
    """A connection as conntrack knows it: original direction and reply direction."""

    protocol: str
    asked: End
    answer: End
    icmp_id: str = ""
    helper: str = ""  # the kernel's name of its helper

    @property
    def family(self) -> str:
        return "ip6" if ":" in self.asked.source else "ip"

    @property
    def server(self) -> str:
        return self.answer.source

    @property
    def server_port(self) -> int:
        return self.answer.source_port

    @property
    def seen_source(self) -> str:
        return self.answer.destination

    @property
    def redirected(self) -> bool:
        return (self.asked.destination, self.asked.destination_port) != (self.server, self.server_port)

    @property
    def mapped(self) -> bool:
        return self.seen_source != self.asked.source

    @property
    def delete_words(self) -> t.List[str]:
        """The arguments after conntrack(8) -D that identify this connection."""
        words = ["-p", self.protocol, "--orig-src", self.asked.source, "--orig-dst", self.asked.destination]
        if ":" in self.asked.source:
            words = ["-f", "ipv6"] + words
        if self.icmp_id:
            words += ["--icmpv6-id" if self.protocol == "icmpv6" else "--icmp-id", self.icmp_id]
        if self.asked.source_port or self.asked.destination_port:
            words += ["--sport", str(self.asked.source_port), "--dport", str(self.asked.destination_port)]
        return words


def parse(listing: str) -> t.List[Flow]:
    """Parse ``conntrack -L``. Lines without a connection, or of another zone, are skipped."""
    found = []
    for line in listing.splitlines():
        pairs = re.findall(r"\b(src|dst|sport|dport|id)=(\S+)", line)
        starts = [index for index, (name, _value) in enumerate(pairs) if name == "src"]
        if len(starts) != 2 or re.search(r"\bzone[a-z-]*=", line):
            continue
        asked, answer = dict(pairs[: starts[1]]), dict(pairs[starts[1] :])
        helper = re.search(r"\bhelper=(\S+)", line)
        found.append(
            Flow(line.split()[0], _end(asked), _end(answer), asked.get("id", ""), helper.group(1) if helper else "")
        )
    return found


def _end(found: t.Mapping[str, str]) -> End:
    return End(found["src"], found["dst"], int(found.get("sport", 0)), int(found.get("dport", 0)))


def flow_of(entry: Entry, helper: str = "") -> Flow:
    """Convert a kernel entry to the terms of rules."""
    return Flow(
        PROTOCOLS.get(entry.protocol, str(entry.protocol)),
        End(text_of(entry.source), text_of(entry.destination), entry.source_port, entry.destination_port),
        End(
            text_of(entry.answer_source),
            text_of(entry.answer_destination),
            entry.answer_source_port,
            entry.answer_destination_port,
        ),
        helper=helper,
    )


def text_of(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


def entry_of(flow: Flow) -> Entry:
    """Convert back to a kernel entry."""
    source, destination, server, seen = (
        ipaddress.ip_address(address).packed
        for address in (flow.asked.source, flow.asked.destination, flow.server, flow.seen_source)
    )
    number = NUMBERS.get(flow.protocol) or (int(flow.protocol) if flow.protocol.isdigit() else 255)
    asked = (number, source, destination, flow.asked.source_port, flow.asked.destination_port)
    return Entry(*asked, server, seen, flow.answer.source_port, flow.answer.destination_port)
