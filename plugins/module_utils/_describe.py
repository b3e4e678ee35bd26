# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Describe a gateway in words, one line per declared item, for diffs."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ._intent import Forward, Gateway, Masquerade, PortForwardItem

if t.TYPE_CHECKING:
    from ._intent import Item, Multicast, NatItem, Outbound, PortForward, Timeouts, Traffic


def describe_gateway(gateway: Gateway) -> t.List[str]:
    lines = ["wan {0}".format(wan.interface) for wan in gateway.wans or ()]
    lines += [
        "lan {0}: {1} on {2}, reaches {3}{4}".format(
            lan.name,
            _words(lan.networks or ()),
            _words(lan.interfaces),
            _words(lan.reaches, "no other LAN"),
            "" if lan.spoof_check else ", sources not checked",
        )
        for lan in gateway.lans or ()
    ]
    lines += ["nat {0}: {1}".format(item.name, _describe_nat(item)) for item in gateway.nat]
    lines += ["port_forward {0}: {1}".format(item.name, _describe_forward(item)) for item in gateway.port_forwards]
    lines += ["outbound {0}: {1}".format(item.name, _describe_outbound(item)) for item in gateway.outbound]
    lines += ["multicast {0}: {1}".format(item.name, _describe_multicast(item)) for item in gateway.multicast]
    if gateway.profile != Gateway.profile:
        lines.append("profile: {0}".format(gateway.profile))
    lines.append("ipv6: {0}".format(gateway.ipv6))
    for wan in gateway.wans or ():
        meaning = {"pmtu": "clamped to the path MTU", "keep": "left alone"}
        lines.append("mss on {0}: {1}".format(wan.interface, meaning.get(wan.mss, wan.mss)))
    if gateway.undeclared != Gateway.undeclared:
        lines.append("undeclared: left alone")
    if gateway.drop_bogons:
        lines.append("bogons: dropped")
    if gateway.input == "protect":
        ports = _words([str(port) for port in gateway.controller_ports], "none")
        final = ", no other" if gateway.input_controller_ports is not None else ""
        lines.append("input: protected, open for SSH: {0}{1}".format(ports, final))
    lines += ["input_allow {0}: {1}".format(item.name, _traffic(item, "anybody")) for item in gateway.input_allow]
    for helper in gateway.helpers:
        ports = _words([str(port) for port in helper.port], "its own ports")
        lines.append("helper {0}: on {1}".format(helper.name, ports))
    if gateway.conntrack_max != "keep":
        lines.append("conntrack_max: {0}".format(gateway.conntrack_max))
    lines.append("timeouts: {0}".format(_timers(gateway.timeouts)))
    if gateway.offload != "none":
        lines.append("offload: {0}".format(gateway.offload))
    if gateway.log:
        words = (_words(gateway.log), gateway.log_rate, gateway.log_prefix)
        lines.append("log: {0}, up to {1} each, as '{2}'".format(*words))
    return lines


def describe_item(item: Item) -> str:
    if isinstance(item, PortForwardItem):
        return _describe_forward(replace(item, wan=item.in_interface))
    parts = []
    if isinstance(item, Forward):
        parts += [item.action] + (["in " + item.in_interface] if item.in_interface else [])
    if item.source:
        parts.append("from " + _words(item.source))
    if item.destination:
        parts.append("to " + _words(item.destination))
    if item.out_interface:
        parts.append(("on " if isinstance(item, Masquerade) else "out ") + item.out_interface)
    if isinstance(item, Masquerade) and item.closed:
        parts.append("and nothing else in or out")
    if isinstance(item, Forward) and item.ct_state:
        parts.append("if " + _words(item.ct_state))
    return " ".join(parts)


def _describe_nat(item: NatItem) -> str:
    words = [item.action, _traffic(item, "every LAN")]
    if item.ipsec:
        words.append("that IPsec encrypts")
    if item.to:
        words.append("as " + _words(item.to))
    if item.to_address:
        words.append({"existing": "existing", "routed": "routed here", "add": "added"}[item.to_address])
    if item.to_port:
        words.append("from ports {0}-{1}".format(*item.to_port))
    if item.random:
        words.append("at random")
    if item.action == "snat" and not item.persistent:
        words.append("not persistent")
    if item.action in ("static", "prefix"):
        words.append("and back" if item.inbound else "closed from outside")
    if item.hairpin:
        words.append("also from inside")
    if item.timeouts:
        words.append("timeouts " + _timers(item.timeouts))
    return " ".join(words)


def _describe_forward(item: PortForward) -> str:
    words = [_traffic(item, "anybody"), "goes to", _words(item.to)]
    if item.to_port:
        words.append("port {0}".format(item.to_port))
    if len(item.to) > 1:
        words.append("balanced by " + item.balance)
    if item.hairpin:
        words.append("also from inside, seen as " + item.hairpin_source)
    if item.timeouts:
        words.append("timeouts " + _timers(item.timeouts))
    return " ".join(words)


def _timers(timeouts: Timeouts) -> str:
    return _words(["{0} {1} s".format(*timeout) for timeout in timeouts])


def _describe_outbound(item: Outbound) -> str:
    return " ".join([item.action, _traffic(item, "every LAN")] + (["up to " + item.rate] if item.rate else []))


def _describe_multicast(item: Multicast) -> str:
    return "{0} from {1} on {2}, for {3}".format(
        _words(item.group), _words(item.source, "anybody"), item.wan or "every WAN", _words(item.lan, "every LAN")
    )


def _traffic(item: Traffic, anybody: str) -> str:
    words = [_words(item.source, anybody)]
    if item.destination:
        words.append("to " + _words(item.destination))
    if item.protocol:
        words.append(_words(item.protocol))
    if item.port:
        words.append(
            "port " + _words([str(low) if low == high else "{0}-{1}".format(low, high) for low, high in item.port])
        )
    return " ".join(words) + " on " + (item.wan or "every WAN")


def is_cut(line: str) -> bool:
    """Whether two different items may share this line."""
    return bool(re.search(r" and [0-9]+ more\b", line))


def _words(values: t.Sequence[str], none: str = "nothing", most: int = 20) -> str:
    """A list for people. A long one is cut, because the rules below show the rest."""
    if len(values) > most:
        return "{0} and {1} more".format(" ".join(values[:most]), len(values) - most)
    return " ".join(values) or none
