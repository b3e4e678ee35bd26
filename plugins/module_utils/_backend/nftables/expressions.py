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
from ..blocks import PREFIX

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
#: The chain of rows that are counters, and what their items do, as the last word of their names.
COUNTERS = "counters"
DOES = ("dnat", "accept")
#: How the text of such a row begins: of thousands, each is put together faster than it is encoded.
COUNTER = '{"counter": {"name": '
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


def counter_name(key: str, does: str) -> str:
    """The counter of an item's elements that translate (dnat), or of those that accept."""
    return "{0}/{1}".format(key, does)


def counter_row(name: str, packets: int = 0, octets: int = 0) -> Row:
    """An object of the table. Others have no effect alone; this one belongs to an item."""
    key, _slash, does = name.rpartition("/")
    owned = does in DOES and key.startswith(PREFIX)
    return Row(COUNTERS, COUNTER + as_text(name) + "}}", key if owned else "", packets, octets)


def is_object(row: Row) -> bool:
    """Whether rules may refer to it, so that it comes before them. Somebody's chain may be called as our counters."""
    return not row.chain or row.text.startswith(COUNTER)


def counts(part: Json) -> bool:
    """Whether a statement is a counter of the rule itself, and not one that a map leads to."""
    found = part.get("counter", "")
    return found is None or (isinstance(found, dict) and "packets" in found)


def mapping(key: Json, pairs: t.List[Json]) -> Json:
    """A map with its elements, ports by their numbers: as nft lists some maps, but not all."""
    return {"map": {"key": key, "data": {"set": sorted(pairs, key=_turn)}}}


def _turn(pair: Json) -> t.Tuple[int, str]:
    key = pair[0] if isinstance(pair, list) else pair
    if isinstance(key, int):
        return key, ""
    parts = key.get("concat") if isinstance(key, dict) else None
    return -1, " . ".join(map(str, parts)) if isinstance(parts, list) else as_text(key)


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
    """As text."""
    return '"' + value + '"' if isinstance(value, str) and PLAIN.match(value) else as_text(value)


def any_of(values: t.Sequence[Json]) -> Json:
    """A set also of one: nft compares addresses and ports together with nothing else."""
    return {"set": sorted(values, key=_order)}


def one_or_set(values: t.Sequence[Json]) -> Json:
    """nft turns a set of one element into that element."""
    if len(values) > 1 and all(isinstance(value, str) for value in values) and PLAIN.match("".join(values)):
        ordered: t.Sequence[Json] = sorted(values)  # the same order, in half the time; there may be 10,000 addresses
    else:
        ordered = sorted(values, key=_order) if len(values) > 1 else values
    return ordered[0] if len(ordered) == 1 else {"set": ordered}
