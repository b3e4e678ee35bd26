# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Compare what a rule set needs with what a backend offers, and report everything missing before anything is touched.

Each backend declares its features with a remark on how it implements them. ``docs/backends.md`` lists them.
"""

from __future__ import annotations

import typing as t

from .._base.errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from .._rules.model import Rule, RuleSet
    from .base import Backend

#: Feature to what a user writes to get it, and what to write if a backend lacks it (empty: there is no alternative).
FEATURES: t.Dict[str, t.Tuple[str, str]] = {
    "masquerade": ("`nat: action: masquerade`", ""),
    "snat": ("`nat: action: snat`, one address or one range", ""),
    "snat_pool": ("`nat: action: snat`, several separate ranges", "give one range in to"),
    "netmap": ("`nat: action: static` or `prefix`, a network", ""),
    "dnat": ("`port_forwards`", ""),
    "dnat_shift": ("`port_forwards: to_port` for a range of ports", "write one forward for each port"),
    "balance_round_robin": ("`port_forwards: to` several servers", "name one server in to"),
    "balance_source": ("`port_forwards: balance: source`", "set balance to round_robin"),
    "hairpin_external": ("`hairpin: true`", "set hairpin_source to gateway"),
    "random_ports": ("`random: true`, `profile: server_egress`", "set random to false"),
    "to_port": ("`nat: to_port`", "leave to_port out"),
    "ipsec": ("`nat: ipsec: true`", "exempt by destination"),
    "rate": ("`outbound: rate`", "leave rate out"),
    "guard": ("egress guard", ""),
    "clamp_mss": ("`mss: pmtu`", "set mss to a number"),
    "set_mss": ("`mss: 1452`", "set mss to pmtu"),
    "helper": ("`helpers`", "leave helpers out"),
    "log": ("`log`", "leave log out"),
    "timers": ("`timeouts` of a NAT item or port forward", "set timeouts for the whole gateway"),
    "offload": ("`offload: software`", "set offload to none"),
}

#: Actions that are features of the same name; every backend has accept, drop, reject, return and jump.
ACTIONS = frozenset(
    ("masquerade", "snat", "netmap", "dnat", "guard", "clamp_mss", "set_mss", "helper", "log", "timers", "offload")
)


def needed_by(rule: Rule) -> t.List[str]:
    """The features that a backend needs for this rule."""
    action, match = rule.action, rule.match
    several = len(action.to) > 1
    needs = {
        action.kind: action.kind in ACTIONS,
        "snat_pool": action.kind == "snat" and several,
        "dnat_shift": action.shift,
        "balance_" + action.balance: action.kind == "dnat" and several,
        "hairpin_external": action.kind == "hairpin",
        "random_ports": action.random,
        "to_port": action.kind in ("masquerade", "snat") and action.ports is not None,
        "ipsec": match.ipsec,
        "rate": bool(match.rate),
    }
    return [feature for feature, needed in needs.items() if needed]


def check_supported(ruleset: RuleSet, backend: Backend) -> None:
    """Raises GatewayError with a sentence for each item and feature that this backend lacks."""
    missing = [
        "{0}: {1} is not possible with backend {2}; {3}".format(
            rule.key,
            FEATURES[feature][0].replace("`", ""),
            backend.name,
            FEATURES[feature][1] or "remove it or choose another backend",
        )
        for rule in ruleset.rules
        for feature in needed_by(rule)
        if feature not in backend.features
    ]
    if missing:
        raise GatewayError(*dict.fromkeys(missing))
