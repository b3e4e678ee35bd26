# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a rule does, as statements of nft."""

from __future__ import annotations

import typing as t

from ..._base.values import addresses_in, ends_of
from .expressions import MARK_OF_PACKET, as_address, as_ports, payload
from .flowtable import FLOWTABLE

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import Action, Rule
    from .expressions import Json

#: The maximum number of addresses in a pool of several ranges, each of which becomes a map element.
MOST_IN_POOL = 1024
ALL_BITS = 0xFFFFFFFF


def timer_name(rule: Rule) -> str:
    """A name such as ip-udp-replied-3600-unreplied-300."""
    policy = ["{0}-{1}".format(*state) for state in rule.action.timers]
    return "-".join([rule.match.family, rule.match.protocol] + policy)


def helper_name(rule: Rule) -> str:
    """A name such as sip-udp-ip6."""
    return "{0}-{1}-{2}".format(rule.action.target, rule.match.protocol, rule.match.family)


def action_of(rule: Rule) -> t.List[Json]:
    action, kind = rule.action, rule.action.kind
    if kind in ("snat", "dnat", "netmap", "hairpin"):
        return [_translation(rule)]
    if kind in ("clamp_mss", "set_mss"):
        # The kernel uses the smaller MTU of both directions' routes: net/netfilter/nft_rt.c, get_tcpmss()
        size: Json = {"rt": {"key": "mtu"}} if kind == "clamp_mss" else action.size
        return [{"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": size}}]
    if kind == "mark":
        return [{"mangle": {"key": MARK_OF_PACKET, "value": {"|": [MARK_OF_PACKET, action.size]}}}]
    if kind == "unmark":
        return [{"mangle": {"key": MARK_OF_PACKET, "value": {"&": [MARK_OF_PACKET, ALL_BITS ^ action.size]}}}]
    if kind == "timers":
        return [{"ct timeout": timer_name(rule)}, {"accept": None}]
    known: t.Dict[str, Json] = {
        "offload": {"flow": {"op": "add", "flowtable": "@" + str(FLOWTABLE["name"])}},
        "jump": {"jump": {"target": action.target}},
        "goto": {"goto": {"target": action.target}},
        "guard": {"drop": None},
        "log": {"log": {"prefix": action.target}},
        "log_guard": {"log": {"prefix": action.target}},
        "reject": {"reject": {"type": "icmpx", "expr": "admin-prohibited"}},
        "masquerade": {"masquerade": _with_flags(action, {}) or None},
        "helper": {"ct helper": helper_name(rule)},
    }
    return [known.get(kind, {kind: None})]


def has_map(statements: t.List[Json]) -> bool:
    """Whether a translation looks its address or port up."""
    found = [value for part in statements for value in (part.get("snat") or part.get("dnat") or {}).values()]
    return any(isinstance(value, dict) and "map" in value for value in found)


def _translation(rule: Rule) -> Json:
    action, family = rule.action, rule.match.family
    body: t.Dict[str, Json] = {"family": family}
    if action.kind == "hairpin":
        body["addr"] = {"ct": {"key": family + " daddr", "dir": "original"}}
        return {"snat": body}
    if action.kind == "netmap":
        body.update(addr=as_address(action.to[0]), flags="netmap", type_flags="prefix")
        return {"dnat" if rule.match.iif else "snat": body}
    if action.kind == "snat":
        body["addr"] = _pool(action, family)
        return {"snat": _with_flags(action, body)}
    body["addr"] = action.to[0] if len(action.to) == 1 else _spread(action.to, _chooser(action.balance, family))
    if action.ports:
        body["port"] = _shifted(rule) if action.shift else action.ports[0]
    return {"dnat": body}


def _pool(action: Action, family: str) -> Json:
    """One address or range unchanged. Several ranges: by a hash of the client, or in turn."""
    if len(action.to) == 1:
        first, last = ends_of(action.to[0])
        return first if first == last else {"range": [first, last]}
    addresses = [address for entry in action.to for address in addresses_in(entry, MOST_IN_POOL) or ()]
    return _spread(addresses, _chooser("source" if action.persistent else "round_robin", family))


def _chooser(balance: str, family: str) -> Json:
    if balance == "source":
        # Without a seed, each load uses another one and redistributes the clients.
        return {"jhash": {"expr": payload(family, "saddr"), "seed": 1}}
    return {"numgen": {"mode": "inc", "offset": 0}}


def _spread(values: t.Sequence[Json], chooser: Json) -> Json:
    ((kind, body),) = chooser.items()
    key = {kind: dict(body, mod=len(values))}
    return {"map": {"key": key, "data": {"set": [[index, value] for index, value in enumerate(values)]}}}


def _shifted(rule: Rule) -> Json:
    """nft cannot express an offset from the first port, so each port is listed."""
    (first, last), (to_first, _to_last) = rule.match.port[0], t.cast("t.Any", rule.action.ports)
    pairs = [[first + step, to_first + step] for step in range(last - first + 1)]
    return {"map": {"key": payload(rule.match.protocol, "dport"), "data": {"set": pairs}}}


def _with_flags(action: Action, body: t.Dict[str, Json]) -> t.Dict[str, Json]:
    if action.ports:
        body["port"] = as_ports(action.ports)
    pool = action.kind == "snat" and action.persistent and _is_range(action.to)
    flags = ["fully-random"] * action.random + ["persistent"] * pool
    if flags:
        body["flags"] = flags[0] if len(flags) == 1 else flags
    return body


def _is_range(to: t.Sequence[str]) -> bool:
    return len(to) == 1 and "-" in to[0]
