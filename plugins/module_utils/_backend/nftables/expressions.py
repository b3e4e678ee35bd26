# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Parts of rules in nft's JSON, in the form in which nft lists them, and the rows that they make."""

from __future__ import annotations

import json
import re
import typing as t

from ..._rules.rows import Row

Json = t.Any
#: nft knows protocols through /etc/protocols, which minimal hosts lack: there it accepts and lists numbers only
#: (measured, 1.0.6). https://www.iana.org/assignments/protocol-numbers
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "vrrp": 112,
    "sctp": 132,
}
NUMBERS = dict(PROTOCOLS, **{"ipv6-icmp": 58})
NAMES = {number: name for name, number in PROTOCOLS.items()}
L4PROTO = {"meta": {"key": "l4proto"}}
#: The kernel skips an IPv6 authentication header when it searches for the last protocol (ipv6_find_hdr, measured, Linux
#: 6.18), so it is matched where RFC 8200 section 4.1 puts it: first, unless options precede it.
NEXT_HEADER = {"payload": {"protocol": "ip6", "field": "nexthdr"}}
NFPROTO = {"meta": {"key": "nfproto"}}
MARK_OF_PACKET = {"meta": {"key": "mark"}}
#: Text that JSON only puts in quotes.
PLAIN = re.compile(r"[A-Za-z0-9.:/*_-]+\Z")
OWNER = re.compile(r"ipmasq:[a-z0-9_]+/(.+)\Z")


def table(instance: str) -> str:
    return "ipmasq" if instance == "default" else "ipmasq_" + instance


def first_line(err: str) -> str:
    """Of nft's message: the rest repeats the command."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return lines[0] if lines else "no message"


def rule_row(chain: str, expr: t.List[Json], comment: str, packets: int = 0, octets: int = 0) -> Row:
    owned = OWNER.match(comment)
    body = {"expr": expr, "comment": comment} if comment else {"expr": expr}
    return Row(chain, as_text({"rule": body}), owned.group(1) if owned else "", packets, octets)


#: As one line, with sorted keys.
as_text: t.Callable[[Json], str] = json.JSONEncoder(sort_keys=True).encode


def compare(left: Json, right: Json, op: str = "==") -> Json:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def as_ports(ports: t.Sequence[int]) -> Json:
    first, last = ports
    return first if first == last else {"range": [first, last]}


def as_address(network: str) -> Json:
    address, length = network.split("/")
    if length == ("128" if ":" in address else "32"):
        return address
    return {"prefix": {"addr": address, "len": int(length)}}


def _order(value: Json) -> str:
    """As text; there may be 10,000 addresses."""
    return '"' + value + '"' if isinstance(value, str) and PLAIN.match(value) else as_text(value)


def one_or_set(values: t.Sequence[Json]) -> Json:
    """nft turns a set of one element into that element."""
    ordered = sorted(values, key=_order) if len(values) > 1 else values
    return ordered[0] if len(ordered) == 1 else {"set": ordered}
