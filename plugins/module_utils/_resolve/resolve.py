# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Resolve intent on the host: find what was left out, follow alternative names, and check what depends on the host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._base.errors import Problems
from .._base.net import matches_any
from .._intent.conflicts import check_references
from .added import added_addresses
from .around import around, check_managed, check_reaches, concerning
from .away import with_away
from .check_forwards import check_forwards
from .check_nat import check_addresses, check_one_to_one, check_outside, check_prefixes, check_reach, check_shadowed
from .check_services import with_services
from .choice import NOTHING, Choosing, remembered
from .inside import followed
from .missed import Missed
from .names import Names, with_kernel_names
from .nested import narrowed, set_apart, shared
from .outer import check_overlaps, unheard, without_outer
from .pairs import answers, check_pairs, elsewhere
from .remarks import dangers, remarks
from .resolved import Around, ResolvedLan, ResolvedWan, resolved_from
from .rivals import check_rivals, mapped_beside, not_left_alone

if t.TYPE_CHECKING:
    from .._facts.links import Facts
    from .._intent.gateway import Gateway
    from .._intent.neighbour import Neighbour
    from .._intent.sides import Lan
    from .choice import Chosen
    from .resolved import Resolved


#: In check mode, the other instances are as they were before the play.
UNLESS = "{0}; if an earlier task of this play does so, the play succeeds without check mode"


@dataclass(frozen=True)
class Resolution:
    """A resolved gateway, with notes on how it was resolved."""

    gateway: Resolved
    notes: t.Tuple[str, ...] = ()
    chosen: Chosen = NOTHING
    warnings: t.Tuple[str, ...] = ()  # at each run
    remarks: t.Tuple[str, ...] = ()  # once


def resolve(
    gateway: Gateway,
    facts: Facts,
    known: Chosen = NOTHING,
    neighbours: t.Sequence[Neighbour] = (),
    *,
    others: t.Sequence[Resolved] = (),
    before: t.Optional[Around] = None,
    is_check: t.Callable[[], bool] = lambda: False,
) -> Resolution:
    """Raises GatewayError with every problem found on the host. ``known`` is what an earlier run chose.

    ``others``: the gateways of ``neighbours``. ``before``: what an earlier run knew about links that may be away now.
    ``is_check``: in check mode, earlier tasks of a play have not been done, so what they may end is a warning. It is
    asked only then, because an answer of a run that asks is not kept for the next one.
    """
    problems = Problems()
    notes: t.List[str] = []
    lost: t.List[str] = []
    kernel_name = Names(facts, problems, notes)
    gateway = replace(
        gateway, managed_links=tuple(kernel_name("managed_links", name) for name in gateway.managed_links)
    )
    facts = facts.with_managed(gateway.managed_links)
    choosing = Choosing(facts, known, neighbours, problems, notes)
    sides = _Sides(facts, known, kernel_name, choosing, problems)
    wans = sides.wans(gateway)
    lans = with_services(sides.lans(gateway, wans), gateway.dns, facts, problems)
    chosen = remembered(gateway, lans, wans)
    lans = without_outer(lans, wans, facts)
    beside = around(lans, wans, facts, concerning(gateway, neighbours), gateway.managed_links)
    beside, away = with_away(beside, before or Around(), replace(gateway, lans=lans, wans=wans), facts)
    notes += away
    # A link that another instance declares is its own, even while it has no address.
    theirs = [name for each in neighbours for name in each.links]
    beside = replace(beside, twins=tuple(twin for twin in beside.twins if not matches_any(theirs, twin[0])))
    unsure = Problems()
    for where, told in shared(lans, facts, neighbours, beside):
        (unsure if is_check() else problems).add(where, told)
    lans, left_out = set_apart(lans, facts, neighbours, problems, beside)
    if chosen.wans or chosen.lans:
        notes.append("to write this choice down: " + chosen.to_yaml())
    resolved = resolved_from(
        gateway,
        wans=wans,
        lans=lans,
        nat=narrowed(with_kernel_names("nat", gateway.nat, kernel_name), left_out),
        port_forwards=with_kernel_names("port_forwards", gateway.port_forwards, kernel_name),
        outbound=with_kernel_names("outbound", gateway.outbound, kernel_name),
        multicast=with_kernel_names("multicast", gateway.multicast, kernel_name),
        input_allow=with_kernel_names("input_allow", gateway.input_allow, kernel_name),
        own_servers=tuple(sorted({to for item in gateway.port_forwards for to in item.to} & _local(facts))),
        around=replace(beside, left_out=left_out),
    )
    if any(item.hairpin for item in gateway.port_forwards):
        addressed = tuple(replace(wan, addresses=_addresses(wan, resolved, facts)) for wan in wans)
        resolved = replace(resolved, wans=addressed)
    resolved = replace(resolved, elsewhere=elsewhere(resolved, facts))
    resolved = replace(resolved, around=replace(resolved.around, mapped=mapped_beside(resolved, others)))
    check_reaches(resolved, neighbours, problems)
    check_managed(resolved, neighbours, problems)
    if not problems.found:
        # Names have changed and omitted parts are filled in, so check the items against each other again.
        check_references(resolved, problems)
        # A LAN may get back networks that it had in an earlier run; in a first run, it is a mistake.
        missed = Missed(followed(resolved) if known.networks else (), lost)
        check_reach(resolved, problems, missed)
        check_outside(resolved, facts, problems)
        check_shadowed(resolved, problems)
        check_one_to_one(resolved, problems)
        check_prefixes(resolved, problems)
        check_forwards(resolved, problems, missed)
        check_addresses(resolved, facts, problems)
        between = Problems()
        notes += check_pairs(resolved, facts, problems, between)
        check_rivals(resolved, others, between)
        if between.found:
            (unsure if is_check() else problems).take(between)
    check_overlaps(resolved, facts, problems)
    problems.raise_if_any()
    return Resolution(
        resolved,
        tuple(dict.fromkeys(notes)),
        chosen,
        warnings=tuple(
            dangers(resolved, facts)
            + not_left_alone(resolved, others)
            + lost
            + [UNLESS.format(each) for each in unsure.found]
        ),
        remarks=tuple(remarks(resolved, facts, neighbours) + unheard(resolved, facts) + answers(resolved, facts)),
    )


def _local(facts: Facts) -> t.Set[str]:
    return {address for interface in facts.interfaces for address in interface.addresses}


def _addresses(wan: ResolvedWan, gateway: Resolved, facts: Facts) -> t.Tuple[str, ...]:
    """The addresses that a WAN has, and those that this run adds."""
    added = tuple(
        address
        for _index, item in gateway.sound("nat")
        for interface, address in added_addresses(gateway, item)
        if interface == wan.interface
    )
    there = (address for interface in facts.meant_by(wan.interface) for address in interface.addresses)
    return tuple(address for address in there if address not in added) + added


class _Sides:
    """WANs and LANs: those that were declared, by the kernel's names, or else those that were chosen."""

    def __init__(self, facts: Facts, known: Chosen, kernel_name: Names, choosing: Choosing, problems: Problems) -> None:
        self._facts, self._known, self._problems = facts, known, problems
        self._kernel_name, self._choosing = kernel_name, choosing

    def wans(self, gateway: Gateway) -> t.Tuple[ResolvedWan, ...]:
        if gateway.wans is None:
            return tuple(ResolvedWan(wan.interface, wan.mss) for wan in self._choosing.wans(gateway))
        return tuple(
            ResolvedWan(self._kernel_name.declared("wans[{0}]".format(index), wan.interface), wan.mss, wan.carried_from)
            for index, wan in enumerate(gateway.wans)
        )

    def lans(self, gateway: Gateway, wans: t.Tuple[ResolvedWan, ...]) -> t.Tuple[ResolvedLan, ...]:
        """LANs with their networks; LANs without declared networks follow their links."""
        found = []
        for index, lan in enumerate(self._choosing.lans(wans) if gateway.lans is None else gateway.lans):
            where = "lans[{0}] '{1}'".format(index, lan.name)
            names = tuple(self._kernel_name.declared(where, name) for name in lan.interfaces)
            networks = self._networks(where, replace(lan, interfaces=names)) if lan.networks is None else lan.networks
            follows = lan.networks is None
            found.append(
                ResolvedLan(
                    name=lan.name,
                    interfaces=names,
                    networks=networks,
                    reaches=lan.reaches,
                    spoof_check=lan.spoof_check,
                    services=lan.services,
                    follows=follows,
                )
            )
        return tuple(found)

    def _networks(self, where: str, lan: Lan) -> t.Tuple[str, ...]:
        """The networks of a LAN's links: the present ones, or those of the last run in which the links existed."""
        present = [interface for name in lan.interfaces for interface in self._facts.meant_by(name)]
        networks = tuple(dict.fromkeys(net for interface in present for net in interface.behind))
        networks = networks or dict(self._known.networks).get(lan.name, ())
        if not networks:
            lack = "has no address" if present else "does not exist"
            if any(interface.addresses for interface in present):
                lack = "has only a /32 address and no routes"
            names = ", ".join(lan.interfaces)
            told = "{0} {1}, so its networks cannot be read; list them in networks".format(names, lack)
            self._problems.add(where, told)
        return networks
