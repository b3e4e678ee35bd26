# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Argument specifications. A test compares them with the documentation."""

from __future__ import annotations

import typing as t

from .._base.words import (
    BALANCES,
    CT_STATES,
    FILTER_ACTIONS,
    FILTERINGS,
    FORWARDED,
    HAIRPIN_SOURCES,
    HELPERS,
    INPUTS,
    IPV6_MODES,
    LOGGED,
    MAPPINGS,
    METRICS,
    NAT_ACTIONS,
    OFFLOADS,
    PROFILES,
    PROTOCOLS,
    RA_MODES,
    TIMEOUTS,
    TO_ADDRESS,
    UNDECLARED,
)

Spec = t.Dict[str, t.Dict[str, t.Any]]

INSTANCE: Spec = {"instance": {"type": "str", "default": "default"}}
BACKEND: Spec = {"backend": {"type": "str", "default": "auto", "choices": ["auto", "nftables", "iptables"]}}
STATE: Spec = {"state": {"type": "str", "default": "present", "choices": ["present", "absent"]}}
NAMES: Spec = {"type": "list", "elements": "str"}  # type: ignore[dict-item]

#: Only TCP and UDP have per-connection timers (nft 1.1.3, ct timeout).
ITEM_TIMEOUTS: Spec = {
    "timeouts": {
        "type": "dict",
        "options": {name: {"type": "int"} for name in sorted(TIMEOUTS) if name.startswith(("tcp", "udp"))},
    }
}
#: Which packets an item matches; the same for every kind of item.
TRAFFIC: Spec = {
    "name": {"type": "str", "required": True},
    "source": NAMES,
    "destination": NAMES,
    "wan": {"type": "str"},
    "protocol": {"type": "list", "elements": "str", "choices": list(PROTOCOLS)},
    "port": NAMES,
}
NAT: Spec = {
    "action": {"type": "str", "default": "masquerade", "choices": list(NAT_ACTIONS)},
    "to": NAMES,
    "to_port": {"type": "str"},
    "to_address": {"type": "str", "choices": list(TO_ADDRESS)},
    "random": {"type": "bool"},
    "persistent": {"type": "bool"},
    "ipsec": {"type": "bool"},
    "inbound": {"type": "bool"},
    "hairpin": {"type": "bool"},
    **ITEM_TIMEOUTS,
}
PORT_FORWARD: Spec = {
    "to": {"type": "list", "elements": "str", "required": True},
    "to_port": {"type": "int"},
    "hairpin": {"type": "bool", "default": False},
    "hairpin_source": {"type": "str", "default": "external", "choices": list(HAIRPIN_SOURCES)},
    "balance": {"type": "str", "default": "round_robin", "choices": list(BALANCES)},
    **ITEM_TIMEOUTS,
}
#: What a forward requires.
FORWARDED_TRAFFIC: Spec = dict(
    TRAFFIC,
    protocol={"type": "list", "elements": "str", "default": ["tcp"], "choices": list(FORWARDED)},
    port={"type": "list", "elements": "str", "required": True},
)
OUTBOUND: Spec = {
    "action": {"type": "str", "default": "accept", "choices": list(FILTER_ACTIONS)},
    "rate": {"type": "str"},
}
GATEWAY: Spec = {
    "choice": {"type": "str", "default": "keep", "choices": ["keep", "renew"]},
    "wans": {
        "type": "list",
        "elements": "dict",
        "options": {
            "interface": {"type": "str", "required": True},
            "mss": {"type": "str"},
            "carried_from": {"type": "list", "elements": "str", "default": []},
        },
    },
    "lans": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "interfaces": {"type": "list", "elements": "str", "required": True},
            "networks": NAMES,
            "reaches": {"type": "list", "elements": "str", "default": []},
            "spoof_check": {"type": "bool", "default": True},
            "dhcp": {"type": "raw"},
            "ra": {"type": "str", "choices": list(RA_MODES)},
            "dns": {"type": "bool"},
        },
    },
    "nat": {"type": "list", "elements": "dict", "options": dict(TRAFFIC, **NAT)},
    "port_forwards": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": dict(FORWARDED_TRAFFIC, **PORT_FORWARD),
    },
    "outbound": {"type": "list", "elements": "dict", "default": [], "options": dict(TRAFFIC, **OUTBOUND)},
    "multicast": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "group": {"type": "list", "elements": "str", "required": True},
            "source": NAMES,
            "wan": {"type": "str"},
            "lan": NAMES,
        },
    },
    "profile": {"type": "str", "default": "peer_to_peer", "choices": list(PROFILES)},
    "ipv6": {"type": "str", "default": "route", "choices": list(IPV6_MODES)},
    "mss": {"type": "str", "default": "pmtu"},
    "undeclared": {"type": "str", "default": "drop", "choices": list(UNDECLARED)},
    "managed_links": {"type": "list", "elements": "str", "default": []},
    "drop_bogons": {"type": "bool", "default": False},
    "input": {"type": "str", "default": "open", "choices": list(INPUTS)},
    "input_allow": {"type": "list", "elements": "dict", "default": [], "options": TRAFFIC},
    "input_controller_ports": {"type": "list", "elements": "int"},
    "dns_upstream": NAMES,
    "dns_domain": {"type": "str"},
    "helpers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True, "choices": sorted(HELPERS)},
            "port": {"type": "list", "elements": "int"},
        },
    },
    "conntrack_max": {"type": "str", "default": "keep"},
    "timeouts": {"type": "dict", "options": {name: {"type": "int"} for name in sorted(TIMEOUTS)}},
    "offload": {"type": "str", "default": "none", "choices": list(OFFLOADS)},
    "log": {"type": "list", "elements": "str", "default": [], "choices": list(LOGGED)},
    "log_prefix": {"type": "str", "default": "ipmasq "},
    "log_rate": {"type": "str", "default": "10/minute"},
    "metrics": {"type": "str", "default": "none", "choices": list(METRICS)},
    "metrics_folder": {"type": "str"},
}
NEIGHBOURS: Spec = {"foreign_drops": {"type": "str", "default": "refuse", "choices": ["refuse", "warn"]}}
PROOF: Spec = {"proof": {"type": "str", "default": "required", "choices": ["required", "report", "off"]}}
CONFIRM: Spec = {
    "confirm_timeout": {"type": "int", "default": 30},
    "confirm_by": {"type": "str", "default": "controller", "choices": ["controller", "person"]},
    "wait": {"type": "int", "default": 0},
}
MASQUERADE: Spec = {
    "name": {"type": "str", "required": True},
    "source": NAMES,
    "destination": NAMES,
    "out_interface": {"type": "str"},
    "closed": {"type": "bool", "default": False},
}
FORWARD: Spec = {
    "name": {"type": "str", "required": True},
    "action": {"type": "str", "default": "accept", "choices": ["accept", "drop", "reject"]},
    "source": NAMES,
    "destination": NAMES,
    "in_interface": {"type": "str"},
    "out_interface": {"type": "str"},
    "ct_state": {"type": "list", "elements": "str", "choices": list(CT_STATES)},
}
SINGLE_PORT_FORWARD: Spec = {
    "name": {"type": "str", "required": True},
    "in_interface": {"type": "str"},
    "source": NAMES,
    "destination": NAMES,
    "protocol": {"type": "list", "elements": "str", "default": ["tcp"], "choices": list(FORWARDED)},
    "port": NAMES,
    "to": NAMES,
    "to_port": {"type": "int"},
    "balance": {"type": "str", "default": "round_robin", "choices": list(BALANCES)},
}
FORWARDING: Spec = {
    "ipv4": {"type": "bool"},
    "ipv6": {"type": "bool"},
    "interfaces": NAMES,
}
EXPLAIN: Spec = {
    "from": {"type": "str", "required": True},
    "to": {"type": "str", "required": True},
    "port": {"type": "str"},
    "protocol": {"type": "str", "choices": ["tcp", "udp", "icmp"]},
}
NAT_PROBE: Spec = {
    "servers": NAMES,
    "tcp": NAMES,
    "ping": NAMES,
    "dns_server": {"type": "str"},
    "dns_name": {"type": "str"},
    "expect": {
        "type": "dict",
        "options": {
            "addresses": NAMES,
            "mapping": {"type": "str", "choices": list(MAPPINGS)},
            "filtering": {"type": "str", "choices": list(FILTERINGS)},
            "hairpin": {"type": "bool"},
            "mtu": {"type": "int"},
        },
    },
    "idle": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 3},
}
LAN_CLIENT: Spec = {
    "gateway": {"type": "str", "default": ""},
    "gateway6": {"type": "str", "default": ""},
    "gateways": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "declared": NAMES,
            "addresses": NAMES,
            "asked": {"type": "bool", "default": True},
            "mirrored": {"type": "bool", "default": False},
        },
    },
    "interface": {"type": "str", "default": ""},
    "dns": {"type": "list", "elements": "str", "default": []},
    "replace_default": {"type": "bool", "default": False},
    "unmanaged": {"type": "str", "default": "fail", "choices": ["fail", "skip"]},
}


#: Items that may be given by one of their options alone: [wan0] for [{interface: wan0}].
BARE = {"wans": "interface", "helpers": "name"}
#: Options of the module gateway that may have thousands of items.
LONG = ("lans", "nat", "port_forwards", "outbound")


def merge(*specs: Spec) -> Spec:
    """Merge argument specs; no option may be declared twice."""
    merged: Spec = {}
    for spec in specs:
        doubled = set(merged) & set(spec)
        if doubled:
            raise ValueError("declared twice: {0}".format(", ".join(sorted(doubled))))
        merged.update(spec)
    return merged


#: The options of each module.
MODULES: t.Dict[str, Spec] = {
    "gateway": merge(INSTANCE, BACKEND, STATE, GATEWAY, CONFIRM, NEIGHBOURS, PROOF),
    "masquerade": merge(INSTANCE, BACKEND, STATE, CONFIRM, MASQUERADE),
    "forward": merge(INSTANCE, BACKEND, STATE, CONFIRM, FORWARD),
    "port_forward": merge(INSTANCE, BACKEND, STATE, CONFIRM, SINGLE_PORT_FORWARD),
    "forwarding": merge(INSTANCE, BACKEND, STATE, CONFIRM, FORWARDING),
    "gateway_info": merge(INSTANCE, BACKEND, CONFIRM),
    "gateway_probe": merge(INSTANCE, BACKEND, CONFIRM),
    "gateway_explain": merge(INSTANCE, BACKEND, CONFIRM, EXPLAIN),
    "nat_probe": NAT_PROBE,
    "lan_client": merge(STATE, LAN_CLIENT, CONFIRM),
}
