# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Which ip rule and which route decide about a packet, where the kernel says only that it cannot be routed."""

from __future__ import annotations

import typing as t

from .._base.net import OPTION, network
from .ground import asked

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .packets import Packet

Raw = t.Mapping[str, t.Any]


#: What a rule may ask for and a packet does not show.
UNKNOWN = {"fwmark", "tos", "uid_start"}
CLOSED = ("blackhole", "prohibit", "unreachable")


class Asked(t.NamedTuple):
    """A packet that asks for its way: where it came in, and with which mark."""

    packet: Packet
    place: str
    mark: int = 0


class Way(t.NamedTuple):
    words: str  # the rule and the route
    link: str = ""
    kind: str = ""  # blackhole, local and so on; unicast
    meant: bool = False  # a rule for this sender alone ends here, and no other one may have been first


def refused(case: Asked, host: Host) -> str:
    """Why the kernel does not route a packet, in its own words; empty if it does."""
    packet = case.packet
    question = ["ip", "-j", OPTION[packet.family], "route", "get", packet.target, "from", packet.source]
    question += ["iif", case.place] + (["mark", str(case.mark)] if case.mark else [])
    done = host.run(question)
    return "" if done.rc == 0 else done.err.strip() or "it is refused"


def selects(family: str, host: Host) -> bool:
    """Whether any rule is for some senders alone."""
    return any(_is_for_some(rule) for rule in asked(host, "ip", OPTION[family], "-j", "rule", "show"))


def _is_for_some(rule: Raw) -> bool:
    return rule.get("src", "all") != "all" or "iif" in rule


def way(case: Asked, host: Host) -> t.Optional[Way]:
    """The first rule with a route for the packet; None if none has one."""
    option, sure = OPTION[case.packet.family], True
    for rule in asked(host, "ip", option, "-j", "rule", "show"):
        sure = sure and not UNKNOWN & set(rule)
        if _fits(rule, case) == ("not" in rule):
            continue
        meant = sure and _is_for_some(rule)
        if rule.get("action", "to_tbl") in CLOSED:
            return Way("ip rule {0}".format(in_words(rule)), kind=str(rule["action"]), meant=meant)
        route = _route(rule, case, option, host)
        if route:
            found = _told(rule, route)
            return found._replace(meant=meant and found.kind in CLOSED and _length(route) == 0)
    return None


def _fits(rule: Raw, case: Asked) -> bool:
    packet, mask = case.packet, int(str(rule.get("fwmask", "0xffffffff")), 16)
    return (
        _within(packet.source, rule, "src")
        and _within(packet.target, rule, "dst")
        and rule.get("iif", case.place) == case.place
        and "oif" not in rule
        and ("fwmark" not in rule or case.mark & mask == int(str(rule["fwmark"]), 16))
        and str(rule.get("ipproto", packet.protocol)).replace("ipv6-icmp", "icmp") == packet.protocol
        and _port(packet.sport, rule, "sport")
        and _port(packet.dport, rule, "dport")
    )


def _within(address: str, rule: Raw, end: str) -> bool:
    if rule.get(end, "all") == "all":
        return True
    net = "{0}/{1}".format(rule[end], rule[end + "len"]) if end + "len" in rule else str(rule[end])
    return bool(network(address).subnet_of(t.cast("t.Any", network(net))))


def _port(port: int, rule: Raw, end: str) -> bool:
    if end + "_start" in rule:
        return bool(rule[end + "_start"] <= port <= rule[end + "_end"])
    return bool(rule.get(end, port) == port)


def _route(rule: Raw, case: Asked, option: str, host: Host) -> t.Optional[Raw]:
    """The longest prefix in the table of a rule."""
    table = str(rule.get("table", ""))
    listed = asked(host, "ip", option, "-j", "route", "show", "table", table, "match", case.packet.target)
    usable = [each for each in listed if "linkdown" not in (each.get("flags") or ()) or len(listed) == 1]
    best = max(usable, key=lambda each: (_length(each), -int(each.get("metric", 0))), default=None)
    if not best or best.get("type") == "throw" or _length(best) <= int(rule.get("suppress_prefixlen", -1)):
        return None
    return best


def _length(route: Raw) -> int:
    text = str(route.get("dst", "default"))
    return 0 if text == "default" else int(network(text).prefixlen)


def _told(rule: Raw, route: Raw) -> Way:
    kind = str(route.get("type", "unicast"))
    words = "route {0}{1}".format("" if kind == "unicast" else kind + " ", route.get("dst", "default"))
    for hop in route.get("nexthops") or [route]:
        words += " nexthop" * ("nexthops" in route)
        for key in ("gateway", "dev"):
            words += " {0} {1}".format({"gateway": "via"}.get(key, key), hop[key]) if key in hop else ""
    plain = rule.get("table") in ("main", "local", "default") and rule.get("priority") in (0, 32766, 32767)
    words += " of table {0}".format(rule.get("table")) if plain else " by ip rule {0}".format(in_words(rule))
    return Way(words, str(route.get("dev", "")), kind)


def in_words(rule: Raw) -> str:
    """As ``ip rule`` lists it."""
    words = "not " * ("not" in rule)
    for key, word in (("src", "from"), ("dst", "to")):
        if rule.get(key, "all") != "all":
            length = "/{0}".format(rule[key + "len"]) if key + "len" in rule else ""
            words += "{0} {1}{2} ".format(word, rule[key], length)
    for key in ("fwmark", "iif", "ipproto", "sport", "dport"):
        words += "{0} {1} ".format(key, rule[key]) if key in rule else ""
    action = rule.get("action") or "lookup {0}".format(rule.get("table"))
    return "{0} ({1}{2})".format(rule.get("priority"), words, action)
