# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What other instances forward, or map 1:1, on the same WAN.

Within one instance, the order of the items decides between two that take the same connection. Between instances, the
kernel asks the rules that were loaded last, so two that take the same connection are refused. As within one instance, a
forward without ``destination`` leaves the addresses of 1:1 items alone; the other instance's are those of its last run.
"""

from __future__ import annotations

import typing as t

from .._base.net import by_family, common_links, family_of, network
from .._base.values import overlaps, plain, shorten
from .._intent.conflicts import is_pinhole, on_one_port
from .inside import inside_sources, outside_sources

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._intent.forward import PortForward
    from .._intent.nat import NatItem
    from .._intent.traffic import Traffic
    from .resolved import Resolved

Networks = t.Tuple[str, ...]

ONE_TO_ONE = ("static", "prefix")
#: Claims on any port of these addresses: by forwards that name them, and by 1:1 items.
NAMED, MAPPED = "named", "mapped"
EVERY = {"ip": ("0.0.0.0/0",), "ip6": ("::/0",)}


def mapped(gateway: Resolved, forward: PortForward, family: str, actions: t.Sequence[str] = ("static",)) -> Networks:
    """The addresses outside, on the WANs of a forward, that stand for a server each."""
    found = [
        net
        for item in gateway.nat
        if item.action in actions and (not item.wan or not forward.wan or item.wan == forward.wan)
        for net in item.to
    ]
    found += [net for wan, net in gateway.around.mapped if wan == forward.wan]
    return tuple(dict.fromkeys(by_family(found).get(family, ())))


def mapped_beside(gateway: Resolved, others: t.Iterable[Resolved]) -> t.Tuple[t.Tuple[str, str], ...]:
    """What other instances map 1:1 on a WAN on which a forward takes every address: its ``wan``, and the network."""
    wanted = {
        (forward.wan, family_of(forward.to[0]))
        for _index, forward in gateway.sound("port_forwards")
        if _translates(gateway, forward) and not forward.destination and _has_clients(gateway, forward)
    }
    theirs = [(other, item, net) for other in others for item in _one_to_one(other) for net in item.to]
    return tuple(
        (wan, net)
        for wan, family in sorted(wanted)
        for net in sorted({net for other, item, net in theirs if common_links(_of(gateway, wan), _wans(other, item))})
        if family_of(net) == family
    )


def changed_beside(gateway: Resolved, others: t.Iterable[Resolved]) -> t.List[str]:
    """1:1 items that other instances have got or lost since the rules of this one were made."""
    now, known = set(mapped_beside(gateway, others)), set(gateway.around.mapped)
    words = (
        (now - known, "another instance has mapped it 1:1 since the last run, whose rules may take connections to it"),
        (known - now, "no other instance maps it 1:1 any more, but the rules of the last run leave it out of forwards"),
    )
    return [
        "~ {0}: {1}".format(plain(net), told)
        for changed, told in words
        for net in sorted({net for _wan, net in changed})
    ]


def not_left_alone(gateway: Resolved, others: t.Iterable[Resolved]) -> t.List[str]:
    """Items that map 1:1 what another instance's forwards take, as its rules do not know them yet."""
    words = (
        "nat '{0}': instance {1} forwards ports without destination, and its rules do not know yet that {2} is mapped "
        "1:1, so they may take connections to it; run instance {1} again"
    )
    found = []
    for other in others:
        new = {net for _wan, net in set(mapped_beside(other, [gateway])) - set(other.around.mapped)}
        found += [
            words.format(item.name, other.instance, plain(net))
            for item in _one_to_one(gateway)
            for net in item.to
            if net in new
        ]
    return found


def check_rivals(gateway: Resolved, others: t.Iterable[Resolved], problems: Problems) -> None:
    """One sentence for each item that takes connections of another instance's."""
    beside = [other for other in others if common_links(_links(gateway), _links(other))]
    claims = _claims(gateway) if beside else {}
    for other in beside:
        found: t.Dict[t.Tuple[str, int], t.Tuple[_Claim, _Claim]] = {}
        for (_first, _last, ours), (_from, _to, theirs) in _pairs(claims, _claims(other)):
            if ours.place not in found and ours.meets(theirs):
                found[ours.place] = (ours, theirs)
        for ours, theirs in (found[place] for place in sorted(found)):
            problems.add(ours.where, _sentence(ours, theirs, other.instance))


class _Claim(t.NamedTuple):
    """Connections that an item takes."""

    kind: str
    number: int
    name: str
    wans: Networks
    clients: Networks  # empty: all
    what: str

    @property
    def place(self) -> t.Tuple[str, int]:
        return self.kind, self.number

    @property
    def where(self) -> str:
        return "{0}[{1}] '{2}'".format(self.kind, self.number, shorten(self.name))

    def meets(self, other: _Claim) -> bool:
        """Whether a client of both may ask on the same WAN."""
        share = not self.clients or not other.clients or bool(overlaps(self.clients, other.clients))
        return share and bool(common_links(self.wans, other.wans))


#: First and last port.
_Range = t.Tuple[int, int, _Claim]
#: The claims by sort and by the network that is asked.
_Sorted = t.Dict[str, t.Dict[str, t.List[_Range]]]


def _sentence(ours: _Claim, theirs: _Claim, instance: str) -> str:
    words = "{0} on WAN {1} is also {2} {3} '{4}' of instance {5}, and {6}, or, to move the item, first remove it from "
    words += "instance {5}"
    how = "mapped 1:1 by" if theirs.kind == "nat" else "forwarded by"
    why = "no order decides between instances; name another address"
    if ours.kind == theirs.kind:
        why = {
            "nat": "an outside address can stand for only one inside; map another address",
            "port_forwards": "no order decides between instances; give one of them another port, source, destination "
            "or wan",
        }[ours.kind]
    wan = common_links(ours.wans, theirs.wans)[0]
    return words.format(ours.what, shorten(wan), how, theirs.kind, shorten(theirs.name), instance, why)


def _claims(gateway: Resolved) -> _Sorted:
    found: _Sorted = {}
    for index, forward in gateway.sound("port_forwards"):
        family = family_of(forward.to[0])
        clients = outside_sources(gateway, forward, family)
        if clients is None or not _translates(gateway, forward):
            continue
        named = by_family(forward.destination).get(family, ())
        for protocol in forward.protocol:
            for first, last in forward.port:
                what = "{0} port {1}".format(protocol, first if first == last else "{0}-{1}".format(first, last))
                claim = _Claim("port_forwards", index, forward.name, _wans(gateway, forward), clients, what)
                for net in named or EVERY[family]:
                    found.setdefault(protocol, {}).setdefault(net, []).append((first, last, claim))
        for net in named:
            what = "destination " + plain(net)
            claim = _Claim("port_forwards", index, forward.name, _wans(gateway, forward), clients, what)
            found.setdefault(NAMED, {}).setdefault(net, []).append((0, 0, claim))
    for index, item in gateway.sound("nat"):
        for net in item.to if item.action in ONE_TO_ONE else ():
            claim = _Claim("nat", index, item.name, _wans(gateway, item), item.destination, "to " + plain(net))
            found.setdefault(MAPPED, {}).setdefault(net, []).append((0, 0, claim))
    return found


def _pairs(ours: _Sorted, theirs: _Sorted) -> t.Iterator[t.Tuple[_Range, _Range]]:
    """A forward without destination takes no address that is mapped 1:1."""
    sorts = [(each, each) for each in ours if each != NAMED] + [(NAMED, MAPPED), (MAPPED, NAMED)]
    for one, other in sorts:
        mine, their = ours.get(one, {}), theirs.get(other, {})
        # There may be 10,000 on each side, all with the same network, or all with the same port.
        inner: t.Tuple[t.Dict[str, t.List[str]], ...] = ({}, {})
        for pair in overlaps(mine, their):
            outer = 0 if network(pair[0]).prefixlen <= network(pair[1]).prefixlen else 1
            inner[outer].setdefault(pair[outer], []).append(pair[1 - outer])
        for net, nets in inner[0].items():
            yield from on_one_port(mine[net], [claim for each in nets for claim in their[each]])
        for net, nets in inner[1].items():
            yield from on_one_port([claim for each in nets for claim in mine[each]], their[net])


def _translates(gateway: Resolved, forward: PortForward) -> bool:
    return bool(forward.to) and not is_pinhole(gateway, forward)


def _one_to_one(gateway: Resolved) -> t.List[NatItem]:
    return [item for _index, item in gateway.sound("nat") if item.action in ONE_TO_ONE]


def _links(gateway: Resolved) -> Networks:
    return tuple(wan.interface for wan in gateway.wans)


def _of(gateway: Resolved, wan: str) -> Networks:
    return (wan,) if wan else _links(gateway)


def _wans(gateway: Resolved, item: Traffic) -> Networks:
    return _of(gateway, item.wan)


def _has_clients(gateway: Resolved, forward: PortForward) -> bool:
    """Whether it has rules at all, for clients outside or inside."""
    family = family_of(forward.to[0])
    return outside_sources(gateway, forward, family) is not None or inside_sources(gateway, forward, family) is not None
