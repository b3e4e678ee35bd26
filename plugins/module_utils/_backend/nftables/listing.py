# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What nft lists, as rows: without the differences between loaded and listed rules, and between versions of nft."""

from __future__ import annotations

import functools
import ipaddress
import json
import typing as t

from ..._base.net import collapse
from ..._rules.rows import Row
from .expressions import (
    L4PROTO,
    NAMES,
    NEXT_HEADER,
    NFPROTO,
    NUMBERS,
    any_of,
    as_address,
    as_text,
    compare,
    counter_row,
    counts,
    mapping,
    one_or_set,
    rule_row,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.rows import Rows
    from .expressions import Json

#: The packets that a limit passes at once: the default of nft and iptables.
DEFAULT_BURST = 5
#: A dormant table: its rules exist but have no effect.
DORMANT = Row("", json.dumps({"table": {"flags": "dormant"}}))
#: Our objects: nft's keyword to the key of their rows.
OBJECTS = {"ct helper": "helper", "ct timeout": "timers", "flowtable": "flowtable"}


@functools.lru_cache(maxsize=2)  # Two listings of one run are often equal.
def parse(listing: str) -> Rows:
    """All rows of our table, foreign ones included."""
    if not listing:
        return ()
    rows, counters = [], []
    try:
        entries = json.loads(listing)["nftables"]
    except ValueError:
        # nft 1.0.6 cuts off the flags of a table that has nothing else.
        return (DORMANT,)
    for entry in entries:
        ((kind, body),) = entry.items()
        if kind == "table" and "flags" in body:
            # Our table has no flags. nft 1.0.6 does not list which flags are set.
            rows.append(DORMANT)
        elif kind == "rule":
            rows.append(rule_row(body["chain"], _read(body["expr"]), body.get("comment", ""), *_counted(body["expr"])))
        elif kind == "chain":
            kept = {key: body[key] for key in ("type", "hook", "prio", "policy") if key in body}
            rows.append(Row(body["name"], as_text({"chain": kept}), "chain"))
        elif kind == "counter":
            counters.append(counter_row(body["name"], body.get("packets", 0), body.get("bytes", 0)))
        elif kind not in ("metainfo", "table"):
            # The devices of a flowtable depend on existing links; the policy is in the name of the timers.
            apart = ("family", "table", "handle", "dev", "policy")
            kept = {key: value for key, value in body.items() if key not in apart}
            if str(kept.get("protocol", "")).isdigit():
                kept["protocol"] = NAMES.get(int(kept["protocol"]), kept["protocol"])
            rows.append(Row("", as_text({kind: kept}), OBJECTS.get(kind, "")))
    # Put the chain before its rules, as render does; nft lists all chains of a table before the first rule.
    return (*rows, *sorted(counters, key=lambda row: row.text))


def _counted(expr: t.List[Json]) -> t.Tuple[int, int]:
    for part in expr:
        if counts(part) and part["counter"]:
            return part["counter"]["packets"], part["counter"]["bytes"]
    return 0, 0


def _read(expr: t.List[Json]) -> t.List[Json]:
    """In our form. A rule of somebody else's may have any shape, such as a limit that is called by its name."""
    try:
        return _canonical(expr)
    except (AttributeError, KeyError, TypeError, ValueError):
        return expr


def _canonical(expr: t.List[Json]) -> t.List[Json]:
    """Remove differences between loaded and listed rules, and between versions of nft."""
    if any("vmap" in part or _is_by_server(part) for part in expr):
        # 0.9.8 lists what the addresses in the key imply.
        expr = [part for part in expr if part.get("match", {}).get("left") != NFPROTO]
    return [_canonical_part(part) for part in expr]


def _is_by_server(part: Json) -> bool:
    """Whether a counter is found by the address and port of a server, or a packet is compared with several."""
    counter, left = part.get("counter"), part.get("match", {}).get("left")
    return (isinstance(counter, dict) and "map" in counter and "concat" in counter["map"]["key"]) or (
        isinstance(left, dict) and "concat" in left
    )


def _canonical_part(part: Json) -> Json:
    if "counter" in part:
        return {"counter": None if counts(part) else _sorted(part["counter"])}
    if "dnat" in part:
        return {"dnat": {key: _sorted(value) for key, value in part["dnat"].items()}}
    if "vmap" in part or "match" in part:
        return _canonical_lookup(part)
    if "limit" in part and part["limit"].get("burst") == DEFAULT_BURST:
        # 0.9.8 omits what later versions print.
        return {"limit": {key: value for key, value in part["limit"].items() if key != "burst"}}
    if "snat" in part and part["snat"].get("flags") != "netmap":
        # nft lists a range that equals a network as that network.
        return {"snat": dict(part["snat"], addr=_range(part["snat"].get("addr")))}
    return part


def _canonical_lookup(part: Json) -> Json:
    if "vmap" in part:
        data = part["vmap"].get("data")
        known = isinstance(data, dict) and "set" in data
        return {"vmap": dict(part["vmap"], data={"set": sorted(data["set"], key=as_text)})} if known else part
    match = part["match"]
    if isinstance(match["right"], str) and match["left"] in (L4PROTO, NEXT_HEADER):
        return compare(match["left"], NUMBERS.get(match["right"], match["right"]), match["op"])
    return compare(_flat(match["left"]), _right(match["left"], match["right"]), match["op"])


def _sorted(value: Json) -> Json:
    """A map, with its elements in our order; anything else as it is."""
    found = value.get("map", {}) if isinstance(value, dict) else {}
    known = isinstance(found.get("data"), dict) and "set" in found["data"]
    return mapping(found["key"], found["data"]["set"]) if known else value


def _range(addr: Json) -> Json:
    if isinstance(addr, dict) and "prefix" in addr:
        net = ipaddress.ip_network("{addr}/{len}".format(**addr["prefix"]))
        return {"range": [str(net.network_address), str(net.broadcast_address)]}
    return addr


def _flat(left: Json) -> Json:
    """A mask of flags in the form that every version takes: 0.9.8 and 1.1.3 list {"|": [...]}, 1.0.6 lists [...]."""
    if isinstance(left, dict) and "&" in left:
        value, mask = left["&"]
        if isinstance(mask, list) or (isinstance(mask, dict) and "|" in mask):
            return {"&": [value, {"|": sorted(_flags(mask), key=str)}]}
    return left


def _flags(mask: Json) -> t.List[Json]:
    """The flags of a mask, however it is nested: [a, b], {"|": [a, b]} or {"|": [{"|": [a, b]}, c]}."""
    if isinstance(mask, dict) and "|" in mask:
        mask = mask["|"]
    return [flag for part in mask for flag in _flags(part)] if isinstance(mask, list) else [mask]


def _right(left: Json, right: Json) -> Json:
    if isinstance(right, list):
        return sorted(right, key=as_text) if len(right) > 1 else right[0]
    if not isinstance(right, dict):
        return right
    if isinstance(left, dict) and "concat" in left:
        return any_of(right.get("set", [right]))
    payload, tracked = (left.get(kind, {}) if isinstance(left, dict) else {} for kind in ("payload", "ct"))
    addresses = payload.get("protocol") in ("ip", "ip6") and payload.get("field") in ("saddr", "daddr")
    addresses = addresses or tracked.get("key") in ("ip daddr", "ip6 daddr")
    if addresses and "range" in right:
        # As nft reads back a set of one range that it printed.
        right = {"set": [right]}
    if "set" not in right:
        return right
    if addresses and all(_is_network(element) for element in right["set"]):
        networks = [net for element in right["set"] for net in _covered(element)]
        return one_or_set([as_address(net) for net in collapse(networks)])
    return one_or_set(right["set"])


def _is_network(element: Json) -> bool:
    """Whether we would write this element; one with a comment or a timeout is foreign and stays unchanged."""
    return isinstance(element, str) or (isinstance(element, dict) and bool({"prefix", "range"} & set(element)))


def _covered(element: Json) -> t.List[str]:
    """The networks that a set element covers; nft lists adjacent networks that it merged as a range."""
    if isinstance(element, str):
        return [element + ("/128" if ":" in element else "/32")]
    if "prefix" in element:
        return ["{addr}/{len}".format(**element["prefix"])]
    first, last = (t.cast("t.Any", ipaddress.ip_address(end)) for end in element["range"])
    return [str(net) for net in ipaddress.summarize_address_range(first, last)]
