# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Names of interfaces, as the kernel knows them."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.errors import Problems
from .._base.values import INTERFACE_LENGTH, is_plain_link, shorten
from .._intent.nat import NatItem
from .._intent.traffic import Traffic

if t.TYPE_CHECKING:
    from .._facts.links import Facts
    from .._intent.forward import PortForward
    from .._intent.items import Item
    from .._intent.multicast import Multicast
    from .._intent.outbound import Outbound

AnyItem = t.TypeVar("AnyItem", Traffic, NatItem, "PortForward", "Outbound", "Multicast")


class Names:
    """Turns interface names into kernel names.

    A rule with an alternative name is accepted but never matches (measured: nft 1.0.6, Linux 6.18).
    """

    def __init__(self, facts: Facts, problems: Problems, notes: t.List[str]) -> None:
        self._facts, self._problems, self._notes = facts, problems, notes

    def declared(self, where: str, name: str) -> str:
        """The kernel name of a WAN or LAN, which must be a link on which hosts' packets arrive."""
        real = self._facts.named(name)
        if not real and "@" in name:
            self._problems.add(
                where,
                "interface '{0}' does not exist; in 'ip link', the parent link follows the '@'; write {1}".format(
                    shorten(name), shorten(name.partition("@")[0])
                ),
            )
            return name
        meant = self._facts.meant_by(real.name if real else name)
        # A pattern may match some ports, but not only ports.
        for each in meant if all(each.master for each in meant) else ():
            self._problems.add(
                where,
                "{0} is a port of {1}{2}, where its packets arrive; name {2}".format(
                    shorten(each.name), each.port_of + " " if each.port_of else "", shorten(each.master)
                ),
            )
        return self(where, name)

    def __call__(self, where: str, name: str) -> str:
        found = self._facts.named(name)
        if found and found.name != name:
            _check_link(where, found.name, self._problems)
            self._notes.append("{0} is an alternative name of {1}; the rules use {1}".format(name, found.name))
            return found.name
        if name.endswith("*") and len(name) > INTERFACE_LENGTH:
            self._problems.add(
                where,
                "pattern '{0}' is longer than {1} characters; shorten the part before the '*'".format(
                    shorten(name), INTERFACE_LENGTH
                ),
            )
        elif not found and len(name) > INTERFACE_LENGTH:
            self._problems.add(
                where,
                "interface '{0}' is longer than {1} characters and is not an alternative name on this host; "
                "use the name that 'ip link' shows".format(shorten(name), INTERFACE_LENGTH),
            )
        return name


def _check_link(where: str, name: str, problems: Problems) -> None:
    if not is_plain_link(name):
        problems.add(where, "'{0}' is a name that rules cannot contain; rename that link".format(shorten(name)))


def with_kernel_names(kind: str, items: t.Tuple[AnyItem, ...], kernel_name: Names) -> t.Tuple[AnyItem, ...]:
    return tuple(
        replace(item, wan=kernel_name("{0}[{1}] '{2}'".format(kind, index, item.name), item.wan) if item.wan else "")
        for index, item in enumerate(items)
    )


def resolve_item(item: Item, facts: Facts) -> t.Tuple[Item, t.Tuple[str, ...]]:
    """Resolve a single item of the modules masquerade, forward and port_forward."""
    problems = Problems()
    notes: t.List[str] = []
    kernel_name = Names(facts, problems, notes)
    resolved: Item = item
    for option in ("in_interface", "out_interface"):
        if hasattr(item, option):
            name = kernel_name.declared(option, getattr(item, option))
            resolved = replace(resolved, **t.cast("t.Any", {option: name}))
    problems.raise_if_any()
    return resolved, tuple(notes)
