# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a rule does, in the words of iptables: its target, and the matches that a translation needs."""

from __future__ import annotations

import typing as t

from .match import port_words

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import Action, Rule


REJECT_WITH = {"ip": "icmp-admin-prohibited", "ip6": "icmp6-adm-prohibited"}


def target_of(action: Action, family: str, chain: str) -> t.List[str]:
    """Targets that do not translate."""
    known = {
        "jump": [chain],
        "guard": ["DROP"],
        "log": ["LOG", "--log-prefix", action.target],
        "log_guard": ["LOG", "--log-prefix", action.target],
        "reject": ["REJECT", "--reject-with", REJECT_WITH[family]],
        "clamp_mss": ["TCPMSS", "--clamp-mss-to-pmtu"],
        "set_mss": ["TCPMSS", "--set-mss", str(action.size)],
        "helper": ["CT", "--helper", action.target],
        "unmark": ["MARK", "--set-xmark", "0x0/0x{0:x}".format(action.size)],
        "mark": ["MARK", "--set-xmark", "0x{0:x}/0x{0:x}".format(action.size)],
    }
    if action.kind == "goto":
        return ["-g", chain]
    return ["-j"] + known.get(action.kind, [action.kind.upper()])


def translations(action: Action, family: str) -> t.List[t.Tuple[t.List[str], t.List[str]]]:
    """Matches and targets that translate a source."""
    random = ["--random-fully"] if action.random else []
    if action.kind == "masquerade":
        ports = ["--to-ports", port_words(action.ports, "-")] if action.ports else []
        return [([], ["-j", "MASQUERADE"] + ports + random)]
    if action.kind == "netmap":
        return [([], ["-j", "NETMAP", "--to", action.to[0]])]
    if action.kind == "hairpin":
        known = [
            (["-m", "conntrack", "--ctorigdst", address], ["-j", "SNAT", "--to-source", address])
            for address in action.to
        ]
        # iptables cannot match the original destination; for addresses unknown during the run, it uses the gateway's
        # own.
        return known + [([], ["-j", "MASQUERADE"])]
    ends = []
    for index, entry in enumerate(action.to):
        place = _with_ports(entry, action.ports, family)
        kept = ["--persistent"] if action.persistent and "-" in entry else []
        chosen = _share(index, len(action.to), "source" if action.persistent else "round_robin")
        ends.append((chosen, ["-j", "SNAT", "--to-source", place] + random + kept))
    return ends


def redirections(rule: Rule, family: str) -> t.List[t.Tuple[t.List[str], t.List[str]]]:
    """Matches and targets that translate a destination."""
    action = rule.action
    ends = []
    for index, server in enumerate(action.to):
        place = _with_ports(server, action.ports, family)
        if action.shift:
            place += "/{0}".format(rule.match.port[0][0])
        ends.append((_share(index, len(action.to), action.balance), ["-j", "DNAT", "--to-destination", place]))
    return ends


def _with_ports(address: str, ports: t.Optional[t.Tuple[int, int]], family: str) -> str:
    if not ports:
        return address
    form = "[{0}]:{1}" if family == "ip6" else "{0}:{1}"
    return form.format(address, port_words(ports, "-"))


def _share(index: int, count: int, balance: str) -> t.List[str]:
    """The match that gives one of several targets its share of the connections. The last one gets the rest."""
    if balance == "source" and count > 1:
        # Hashes the client's address, so that a client always gets the same target.
        mask = "0x{0:08x}".format(1 << index)
        total = ["--cluster-total-nodes", str(count), "--cluster-hash-seed", CLUSTER_SEED]
        return ["-m", "cluster", "--cluster-local-nodemask", mask] + total
    if count - index > 1:
        return ["-m", "statistic", "--mode", "nth", "--every", str(count - index), "--packet", "0"]
    return []


#: Any number works, but it is part of the rule, so it must not change.
CLUSTER_SEED = "0x00000001"
