# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What a route to a large network does not lead to, as there is one to a part of it: the longest prefix wins."""

from __future__ import annotations

import ipaddress
import json
import typing as t

from .._base.net import OPTION, family_of, network

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

#: With more networks than this, those of whole blocks are asked for, as each question is a process of its own.
MOST = 8


def led_elsewhere(
    nets: t.Sequence[str], links: t.Collection[str], blocks: t.Sequence[str], host: Sight
) -> t.Tuple[str, ...]:
    """The networks within ``nets`` to which the main table leads through none of ``links``; all of them, if it cannot
    be read. ``blocks``: all that ``nets`` are in.
    """
    found: t.Dict[str, None] = {}
    for version in (4, 6):
        own = list(ipaddress.collapse_addresses(each for each in map(network, nets) if each.version == version))
        whole = [each for each in map(network, blocks) if each.version == version and any(map(each.overlaps, own))]
        for root in own if len(own) <= MOST else whole:
            best = _best(str(root), host)
            known = (
                dict.fromkeys(nets) if best is None else {dst: None for dst, on in best.items() if not on & set(links)}
            )
            found.update(known)
    return tuple(found)


def _best(root: str, host: Sight) -> t.Optional[t.Dict[str, t.Set[str]]]:
    """The links of the best route to each network in ``root``."""
    done = host.ask(["ip", "-j", OPTION[family_of(root)], "route", "show", "table", "main", "root", root])
    try:
        listed = json.loads(done.out or "[]", strict=False)
        if done.rc != 0 or not isinstance(listed, list):
            return None
        found: t.Dict[str, t.Tuple[int, t.Set[str]]] = {}
        for each in listed:
            metric = int(each.get("metric", 0))
            dst = str(network(each["dst"])) if each["dst"] != "default" else ""
            if dst and (dst not in found or metric < found[dst][0]):
                found[dst] = metric, _links(each)
    except (ValueError, KeyError, AttributeError):
        return None
    return {dst: links for dst, (_metric, links) in found.items()}


def _links(route: t.Mapping[str, t.Any]) -> t.Set[str]:
    """Nothing for a route that leads nowhere, such as ``blackhole``."""
    if route.get("type", "unicast") != "unicast":
        return set()
    return {str(hop["dev"]) for hop in route.get("nexthops") or [route] if hop.get("dev")}
