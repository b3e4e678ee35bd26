# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""From a resolved gateway and its ground to promises: an oracle that never reads a rule."""

from __future__ import annotations

import typing as t

from . import borders, entering, ipsec, leaving, serving, staying
from .places import everywhere

if t.TYPE_CHECKING:  # pragma: no cover
    from .model import Promise
    from .oracle import Oracle

#: Of each kind of subject, all of the first ones are proven, and a sample of the rest.
FIRST, SAMPLE = 64, 16

Subjects = t.Sequence[t.Any]
Kind = t.Tuple[str, Subjects, t.Callable[["Oracle", t.Any], t.List["Promise"]]]


def _kinds(oracle: Oracle) -> t.List[Kind]:
    gateway = oracle.gateway
    pairs, sides = leaving.pairs(oracle), staying.sides(oracle)
    names = list(dict.fromkeys((*everywhere(gateway, oracle.ground), *oracle.ground.loose)))
    return [
        ("interfaces", names, staying.alive),
        ("LANs with their WANs", pairs, leaving.reaching),
        ("MSS", pairs, leaving.sizes),
        ("ICMP errors", pairs, leaving.errors),
        ("nat", range(len(gateway.nat)), leaving.nat_items),
        ("outbound", range(len(gateway.outbound)), leaving.outbound_items),
        ("port_forwards", range(len(gateway.port_forwards)), entering.forwards),
        ("1:1 items", range(len(gateway.nat)), entering.one_to_one),
        ("WANs with their LANs", pairs, entering.closed),
        ("WANs", entering.here(oracle), entering.closed_here),
        ("pairs of LANs", staying.couples(oracle), staying.between),
        ("sources", sides, staying.spoofed),
        ("packets of no flow", sides, staying.invalid),
        ("bogons", sides, staying.bogons),
        ("undeclared interfaces with LANs", borders.inward(oracle), borders.with_lan),
        ("undeclared interfaces with WANs", borders.outward(oracle), borders.with_wan),
    ]


def _services(oracle: Oracle) -> t.List[Kind]:
    sides = serving.sides(oracle)
    return [
        ("LANs with DHCP", sides, serving.addresses),
        ("reservations", serving.reserved(oracle), serving.reservations),
        ("LANs with DNS", sides, serving.names),
        ("LANs with router advertisements", sides, serving.announcements),
        ("LANs without services", sides, serving.unserved),
        ("WANs without services", serving.wans(oracle), serving.beyond),
    ]


def sample(subjects: Subjects) -> t.List[t.Any]:
    """The first ones, and some of the rest, evenly."""
    rest = len(subjects) - FIRST
    if rest <= SAMPLE:
        return list(subjects)
    return list(subjects[:FIRST]) + [subjects[FIRST + rest * step // SAMPLE] for step in range(SAMPLE)]


def promises(oracle: Oracle, services: bool = False) -> t.Tuple[t.List[Promise], t.List[str]]:
    """And a note for each kind that is sampled. ``services``: what the gateway gives to its LANs itself, too."""
    found: t.List[Promise] = []
    notes = []
    for word, subjects, make in _kinds(oracle) + (_services(oracle) if services else []):
        chosen = sample(subjects)
        if len(chosen) < len(subjects):
            notes.append(
                "{0}: {1} of {2} are proven, the first {3} and a sample of the others".format(
                    word, len(chosen), len(subjects), FIRST
                )
            )
        found += [promise for subject in chosen for promise in make(oracle, subject)]
    return ipsec.spared(found, oracle.ground.policies), list(dict.fromkeys(notes))


def targets(oracle: Oracle) -> t.List[t.Tuple[str, str, str]]:
    """Where routes have to be asked for beside the default: interface, client and target."""
    nobodys = [
        (name, oracle.ground.clients[name, family], staying.NOBODYS[family])
        for _lan, name, family in sample(staying.sides(oracle))
        if (name, family) in oracle.ground.clients
    ]
    asked = nobodys if oracle.gateway.drop_bogons else []
    nat = [oracle.gateway.nat[index] for index in sample(range(len(oracle.gateway.nat)))]
    rules = [oracle.gateway.outbound[index] for index in sample(range(len(oracle.gateway.outbound)))]
    items = [(item, oracle.sources_of(item)) for item in nat] + [(item, oracle.inside_of(item)) for item in rules]
    chosen = [oracle.gateway.port_forwards[index] for index in sample(range(len(oracle.gateway.port_forwards)))]
    return asked + leaving.routed(oracle, items) + entering.routed(oracle, chosen)
