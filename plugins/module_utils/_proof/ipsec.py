# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Keep the probe's packets away from IPsec. No I/O.

What a policy is for leaves as another packet, encrypted and on a wire, or waits for a key exchange that it has begun.
What comes in without being encrypted is dropped, and so is everything that a policy blocks. So it is not sent.
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from .._base.values import overlaps
from .model import Policy, Promise
from .oracle import Lookup

if t.TYPE_CHECKING:  # pragma: no cover
    from .model import Step
    from .packets import Packet

WAYS = ("out", "fwd", "in")
#: Names as in /etc/protocols, which a small system lacks.
PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmp", "ipv6-icmp": "icmp"}
LACKS = "an IPsec policy (src {0.source} dst {0.target}) is for such packets, which would leave encrypted or be dropped"
BLOCKS = "an IPsec policy (src {0.source} dst {0.target}, action block) is for such packets, and drops them"


class Flow(t.NamedTuple):
    """Packets that go from one of these to one of those, before and after translation."""

    sources: t.Tuple[str, ...]
    targets: t.Tuple[str, ...]
    protocol: str
    port: int = 0
    links: t.Tuple[str, ...] = ()


# --- What the host has ----------------------------------------------------------------------------------------------


def read(listing: str) -> t.Tuple[Policy, ...]:
    """What ``ip xfrm policy`` lists; it has no JSON. A policy begins at the margin, and what follows is indented."""
    blocks: t.List[t.List[str]] = []
    for line in listing.splitlines():
        if line[:1].strip():
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    return tuple(filter(None, map(_policy, blocks)))


def _policy(block: t.Sequence[str]) -> t.Optional[Policy]:
    """None for one that no packet of a probe meets, such as one of a socket, of VTI, or of an xfrm interface."""
    words = block[0].split()
    ends = dict(zip(words[::2], words[1::2]))
    rest = [line.split() for line in block[1:]]
    head = next((words for words in rest if words[:1] == ["dir"]), [])
    told = dict(zip(head, head[1:]))
    if told.get("dir") not in WAYS or "sport" in ends or any(_is_of_a_link(words) for words in rest):
        return None
    try:
        source, target = (str(ipaddress.ip_network(ends[end], strict=False)) for end in ("src", "dst"))
        priority, port = int(told.get("priority", 0)), int(ends.get("dport", 0))
    except (KeyError, ValueError):
        return None
    protocol, encrypts = ends.get("proto", ""), any(words[:1] == ["tmpl"] for words in rest)
    protocol = PROTOCOLS.get(protocol, protocol)
    blocks = told.get("action") == "block"
    return Policy(source, target, told["dir"], priority, encrypts, protocol, port, ends.get("dev", ""), blocks)


def _is_of_a_link(words: t.Sequence[str]) -> bool:
    """Only what goes through a link of the policy's own has this mark, or this number."""
    return words[:1] in (["mark"], ["if_id"]) and words[1:2] not in ([], ["0"], ["0x0"], ["0/0"], ["0x0/0x0"])


# --- What would meet it ---------------------------------------------------------------------------------------------


class Policies:
    def __init__(self, known: t.Sequence[Policy]) -> None:
        self._known = known
        self._by_target = Lookup([(each.target,) for each in known], whole=False)

    def lack(self, flows: t.Iterable[Flow]) -> str:
        """Why packets of these flows are not sent; empty if they may be."""
        policy = next(filter(None, map(self._taking, flows)), None)
        return (BLOCKS if policy.blocks else LACKS).format(policy) if policy else ""

    def _taking(self, flow: Flow) -> t.Optional[Policy]:
        numbers = {number for target in flow.targets for number in self._by_target.find(target.split("/")[0])}
        fit = [policy for policy in map(self._known.__getitem__, sorted(numbers)) if _fits(policy, flow)]
        for way in WAYS:
            # Of two with the same priority, the older one decides, which the listing does not show.
            first = min(
                (each for each in fit if each.way == way),
                key=lambda each: (each.priority, not each.takes),
                default=None,
            )
            if first and first.takes:
                return first
        return None


def _fits(policy: Policy, flow: Flow) -> bool:
    return (
        policy.protocol in ("", flow.protocol)
        and policy.port in (0, flow.port)
        and (not policy.link or policy.link in flow.links)
        and bool(overlaps([policy.source], flow.sources))
    )


def spared(promised: t.Sequence[Promise], policies: t.Sequence[Policy]) -> t.List[Promise]:
    """The same promises; those whose packets an IPsec policy would take are unmeasurable."""
    if not policies:
        return list(promised)
    known = Policies(policies)
    return [replace(each, lacks=each.lacks or known.lack(_flows(each))) for each in promised]


def _flows(promise: Promise) -> t.Iterator[Flow]:
    """With the answers, if there are any."""
    for step in promise.steps:
        if step.packet:
            there = _there(step, step.packet)
            yield there
            if not promise.never:
                yield Flow(there.targets, (step.packet.source,), there.protocol, 0, there.links)


def _there(step: Step, packet: Packet) -> Flow:
    come = step.come
    sources = (packet.source, *(come.sources if come else ()))
    targets = (come.targets if come else ()) or (packet.target,)
    links = (step.at, *(come.places if come else ()))
    return Flow(sources, targets, packet.protocol, packet.dport, links)


def lack(policies: t.Sequence[Policy], step: Step) -> str:
    """Why one packet is not sent."""
    return Policies(policies).lack(_flows(Promise("", "", (), (step,)))) if policies else ""
