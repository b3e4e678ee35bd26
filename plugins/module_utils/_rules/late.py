# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Rules that affect the lifetime or speed of connections but decide about none: item timers and flow offload."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._resolve.inside import sources_of
from .chains import ACCEPT, OFFLOAD, TIMERS, lan_interfaces, matches, wan_interfaces
from .model import Action, Match, Rule
from .nat import let_in, let_in_static

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.timers import Timeouts
    from .._resolve.resolved import Resolved

#: Option to nft's name of the state.
STATES = {
    "tcp_close": "close",
    "tcp_close_wait": "close_wait",
    "tcp_established": "established",
    "tcp_fin_wait": "fin_wait",
    "tcp_last_ack": "last_ack",
    "tcp_syn_recv": "syn_recv",
    "tcp_syn_sent": "syn_sent",
    "tcp_time_wait": "time_wait",
    "tcp_unacknowledged": "unack",
    "udp": "unreplied",
    "udp_stream": "replied",
}


def timers(gateway: Resolved) -> t.List[Rule]:
    """Timers of new connections, from the first matching item: port forwards, then NAT items in order."""
    rules: t.List[Rule] = []
    if not any([*(each.timeouts for each in gateway.port_forwards), *(each.timeouts for each in gateway.nat)]):
        return rules
    for forward in gateway.port_forwards:
        arriving = [rule.match for rule in let_in(gateway, forward)]
        rules += _assigned(gateway, forward.timeouts, "port_forward/" + forward.name, arriving)
    for item in gateway.nat:
        known = matches(gateway, item, sources_of(gateway, item))
        known = [replace(match, ipsec=item.ipsec) for match in known]
        known += [rule.match for rule in let_in_static(gateway, item)]
        rules += _assigned(gateway, item.timeouts, "nat/" + item.name, known)
    # Items after the last one with timers need no rule without timers.
    while rules and rules[-1].action == ACCEPT:
        rules.pop()
    return rules


def _assigned(gateway: Resolved, timeouts: Timeouts, key: str, known: t.Iterable[Match]) -> t.List[Rule]:
    found = []
    for match in known:
        new = replace(match, ct_state=("new",))
        for protocol in ("tcp", "udp"):
            if match.protocol in ("", protocol) and _named(timeouts, protocol):
                # The gateway's timers fill the gaps; otherwise nft would use the kernel's values at load time.
                policy = dict(_named(gateway.timeouts, protocol) + _named(timeouts, protocol))
                action = Action("timers", timers=tuple(sorted(policy.items())))
                found.append(Rule(TIMERS.name, replace(new, protocol=protocol), action, key))
        if match.protocol not in ("tcp", "udp") or not _named(timeouts, match.protocol):
            found.append(Rule(TIMERS.name, new, ACCEPT, key))
    return found


def _named(timeouts: t.Iterable[t.Tuple[str, int]], protocol: str) -> t.List[t.Tuple[str, int]]:
    return [(STATES[name], seconds) for name, seconds in timeouts if name in STATES and name.startswith(protocol)]


def offload(gateway: Resolved) -> t.List[Rule]:
    """Established connections bypass the rules; the reply that establishes them comes in from a WAN."""
    if gateway.offload == "none":
        return []
    match = Match(iif=wan_interfaces(gateway), oif=lan_interfaces(gateway), ct_state=("established",))
    return [
        Rule(OFFLOAD.name, replace(match, protocol=protocol), Action("offload"), "offload")
        for protocol in ("tcp", "udp")
    ]
