# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Return the declaration of a gateway as data for JMESPath, with omitted options filled in and with counters."""

from __future__ import annotations

import typing as t
from dataclasses import fields

from .._intent.items import Forward, Masquerade, PortForwardItem
from . import stored
from .resolved import Around, Resolved

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.services import Dhcp

Json = t.Dict[str, t.Any]
Counters = t.Mapping[str, t.Mapping[str, t.Any]]
#: Lists of items, and the prefix of their rules' keys.
KINDS = {
    "nat": "nat",
    "port_forwards": "port_forward",
    "outbound": "outbound",
    "multicast": "multicast",
    "input_allow": "input_allow",
}

#: Single items, by the list that they are returned in.
SINGLE: t.Dict[str, t.Any] = {
    "masquerade": Masquerade,
    "forward": Forward,
    "port_forwards": PortForwardItem,
}


def read(raw: t.Any) -> t.Optional[Resolved]:
    """The intent in a state file; None for single items and for data of an incompatible release."""
    gateway = _decoded(raw)
    return gateway if isinstance(gateway, Resolved) else None


def around_of(raw: t.Any) -> Around:
    """What the run that wrote this intent knew about the rest of the host."""
    around = _decoded(raw.get("around")) if isinstance(raw, dict) else None
    return around if isinstance(around, Around) else Around()


def _decoded(raw: t.Any) -> t.Any:
    try:
        return stored.decode(raw)
    except (ValueError, TypeError, AttributeError):
        return None


def lists(
    gateway: t.Optional[Resolved], counters: Counters, items: t.Optional[t.Mapping[str, t.Any]] = None
) -> t.Dict[str, t.List[Json]]:
    """WANs, LANs and items; empty lists if there is no gateway. ``items`` are single items from the state file."""
    known = gateway or Resolved(nat=())
    found = {
        "wans": [
            {"interface": wan.interface, "mss": wan.mss, "carried_from": list(wan.carried_from)} for wan in known.wans
        ],
        "lans": [
            dict(
                name=lan.name,
                interfaces=list(lan.interfaces),
                networks=list(lan.networks),
                reaches=list(lan.reaches),
                spoof_check=lan.spoof_check,
                follows=lan.follows,
                dhcp=_dhcp(lan.services.dhcp),
                ra=lan.services.ra or "off",
                dns=bool(lan.services.dns),
                **_counted(counters, "lan/" + lan.name),
            )
            for lan in known.lans
        ],
        "helpers": [{"name": item.name, "port": list(item.port)} for item in known.helpers],
    }
    for kind, word in KINDS.items():
        found[kind] = [_item(item, _counted(counters, word + "/" + item.name)) for item in getattr(known, kind)]
    single = [_decoded(raw) for _key, raw in sorted((items or {}).items())]
    for kind, of in SINGLE.items():
        found[kind] = found.get(kind, []) + [
            _item(item, _counted(counters, item.key)) for item in single if isinstance(item, of)
        ]
    return found


def _dhcp(dhcp: t.Optional[Dhcp]) -> Json:
    """With the ranges that are given out: without the gateway's own addresses and reserved ones."""
    if dhcp is None:
        return {}
    reserve = [{"mac": each.mac, "address": each.address, "name": each.name} for each in dhcp.reserve]
    return {"range": list(dhcp.range), "lease": dhcp.lease, "reserve": reserve, "options": dict(dhcp.options)}


def _counted(counters: Counters, key: str) -> Json:
    each = counters.get(key, {})
    return {"packets": each.get("packets", 0), "bytes": each.get("bytes", 0)}


def _item(item: t.Any, counted: Json) -> Json:
    values = {each.name: _plain(each.name, getattr(item, each.name)) for each in fields(item)}
    if isinstance(item, PortForwardItem):
        # The word of a gateway's port forwards, so that both are one list.
        values["wan"] = values.pop("in_interface")
    return dict(values, **counted)


def _plain(name: str, value: t.Any) -> t.Any:
    """A field in the form of its option."""
    if name == "port":
        return [_range(pair) for pair in value]
    if name == "to_port" and isinstance(value, tuple):
        return _range(value)
    if name == "timeouts":
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _range(pair: t.Tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else "{0}-{1}".format(*pair)
