# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Rules and policies of iptables-legacy whose counters rose while a packet passed. No I/O."""

from __future__ import annotations

import re
import shlex
import typing as t

from .._base.net import network

if t.TYPE_CHECKING:  # pragma: no cover
    from .packets import Packet

RULE = re.compile(r"^\[(\d+):\d+\] (-A (\S+) .*)$")
POLICY = re.compile(r"^:(\S+) (\S+) \[(\d+):\d+\]$")
#: Targets after which a packet goes no further, those that change its ends, and those that keep it untracked.
STOPS = frozenset(("DROP", "REJECT", "QUEUE", "NFQUEUE", "STEAL", "TARPIT"))
CHANGES = frozenset(("SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY"))
UNTRACKED = frozenset(("NOTRACK", "CT"))


class Rose(t.NamedTuple):
    """A rule, or a policy, that at least one packet has met."""

    table: str
    chain: str
    target: str  # of a rule, only if it rose, as there may be 10,000 of them
    text: str = ""  # of a rule


Counts = t.Dict[t.Tuple[str, str, int], t.Tuple[int, Rose]]


def read(listing: str) -> Counts:
    """What iptables-save -c lists, by table, text and place among equals."""
    found: Counts = {}
    met: t.Dict[t.Tuple[str, str], int] = {}
    table = ""
    for line in listing.splitlines():
        if line.startswith("*"):
            table = line[1:]
        rule, policy = RULE.match(line), POLICY.match(line)
        if rule:
            count, each = int(rule.group(1)), Rose(table, rule.group(3), "", rule.group(2))
        elif policy:
            count, each = int(policy.group(3)), Rose(table, policy.group(1), policy.group(2))
        else:
            continue
        key = (each.table, each.chain + each.text)
        met[key] = met.get(key, 0) + 1
        found[key[0], key[1], met[key]] = (count, each)
    return found


def target(text: str) -> str:
    words = shlex.split(text)
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-j", "-g")), "")


def rose(before: Counts, after: Counts, packet: Packet) -> t.List[Rose]:
    """In the order of the listing; without rules that cannot be about this packet."""
    return [
        each._replace(target=target(each.text)) if each.text else each
        for key, (count, each) in after.items()
        if count > before.get(key, (0, each))[0] and (not each.text or _may_meet(each.text, packet))
    ]


def moved_once(rest: Counts, before: Counts, after: Counts) -> Counts:
    """What rose by one while one packet was sent, and not at all in the time before, ``rest``: others move counters."""
    return {
        key: (count, each)
        for key, (count, each) in after.items()
        if key in rest and key in before and (before[key][0] - rest[key][0], count - before[key][0]) == (0, 1)
    }


def _may_meet(text: str, packet: Packet) -> bool:
    """Whether the rule's protocol is that of the packet, as other packets move counters, too."""
    words = shlex.split(text)
    options = {
        word: words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-p", "-s") and words[at - 1] != "!"
    }
    protocol = options.get("-p", packet.protocol).replace("ipv6-icmp", "icmp").replace("icmpv6", "icmp")
    return protocol == packet.protocol and _in(packet.source, options.get("-s", ""))


def _in(address: str, net: str) -> bool:
    return not net or network(net).version != network(address).version or network(address).subnet_of(network(net))
