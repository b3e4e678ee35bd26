# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A rule in the words of iptables-save: one line for each interface, network and port."""

from __future__ import annotations

import itertools
import typing as t

from ..._base.net import without_length
from ..._rules.model import split_wildcards
from .known import TRANSLATED
from .match import BEGINNING, TRACKED, other_matches, port_words
from .names import PROTOCOLS
from .quoting import join_words
from .target import redirections, target_of, translations

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import Action, Match, Rule
    from .lookup import Branch

#: Networks to the name of their set.
Sets = t.Mapping[t.Tuple[str, ...], str]


def rule_texts(rule: Rule, place: t.Tuple[str, str], target: str, comment: str, sets: Sets) -> t.List[str]:
    """A rule expanded over its interfaces, networks and ports, with words in the order that iptables-save prints.

    ``place``: family and table.
    """
    note = ["-m", "comment", "--comment", comment]
    endings = _endings(rule, *place, target)
    members = _members(rule.match, sets)
    asked = [[*TRACKED, "--ctorigdst", without_length(net)] for net in rule.match.asked] or [[]]
    return [
        join_words(where + protocol + members + address + middle + note + action)
        for match in split_wildcards(rule.match)
        for where in _places(match, sets)
        for protocol in _protocols(match)
        for address in asked
        for middle, action in endings
    ]


def branch_text(rule: Branch, chain: str, comment: str) -> str:
    words = ["-p", rule.protocol]
    if rule.translated:
        words += ["-m", "conntrack"]
        words += ["--ctorigdstport", port_words(rule.ports, ":")] if rule.ports else ["--ctstate", "DNAT"]
    elif rule.ports:
        words += ["-m", rule.protocol, "--dport", port_words(rule.ports, ":")]
    return join_words([*words, "-m", "comment", "--comment", comment, "-j", chain])


def _members(match: Match, sets: Sets) -> t.List[str]:
    sides = ((match.source, "src"), (match.destination, "dst"))
    named = [["-m", "set", "--match-set", sets[nets], side] for nets, side in sides if nets in sets]
    return [word for words in named for word in words]


def _places(match: Match, sets: Sets) -> t.List[t.List[str]]:
    options = (("-s", match.source), ("-d", match.destination), ("-i", match.iif), ("-o", match.oif))
    # iptables-save omits a network that covers everything.
    given = [
        [(option, value.replace("*", "+")) for value in values]
        for option, values in options
        if values and not values[0].endswith("/0") and values not in sets
    ]
    return [[word for pair in pairs for word in pair] for pairs in itertools.product(*given)]


def _protocols(match: Match) -> t.List[t.List[str]]:
    """The words from -p to the port; one rule per port or range."""
    if not match.protocol:
        return [[]]
    if (match.family, match.protocol) == ("ip6", "ah"):
        # "-p ah" warns that it never matches, but it does.
        return [["-m", "ah"]]
    named = ["-p", PROTOCOLS.get(match.protocol, match.protocol)]
    if match.port:
        words = named + ["-m", match.protocol, "--dport"]
        return [words + [port_words(ports, ":")] for ports in match.port]
    if match.icmp_type:
        module, option = ("icmp6", "--icmpv6-type") if match.protocol == "icmpv6" else ("icmp", "--icmp-type")
        return [named + ["-m", module, option, str(kind)] for kind in match.icmp_type]
    return [named]


def _endings(rule: Rule, family: str, table: str, target: str) -> t.List[t.Tuple[t.List[str], t.List[str]]]:
    """What follows addresses and interfaces: other matches, the comment, and then the target."""
    if rule.action.kind in IN_MANGLE and table != "mangle":
        return []
    middle = other_matches(rule.match)
    return [(middle + words, end) for words, end in _ways(rule, family, table, target)]


def _ways(rule: Rule, family: str, table: str, target: str) -> t.Iterable[t.Tuple[t.List[str], t.List[str]]]:
    """The last matches, and the target."""
    action, kind = rule.action, rule.action.kind
    if kind in ("guard", "log_guard"):
        ways = _leaving(rule.match.leaves_as) if rule.match.leaves_as else GUARDS
        return [(words, target_of(action, family, target)) for words in ways]
    if kind == TRANSLATED.kind:
        return [(SENT_ON, ["-j", "RETURN"])]
    if kind == "expect_nat" and table == "mangle":
        return [(BEGINNING, ["-j", "RETURN"])]
    if kind == "dnat":
        return redirections(rule, family)
    if kind in ("expect_nat", "masquerade", "snat", "netmap", "hairpin"):
        return translations(t.cast("Action", action.nat if kind == "expect_nat" else action), family)
    return [([], target_of(action, family, target))]


#: What the nat table does not do.
IN_MANGLE = ("guard", "log_guard", TRANSLATED.kind)


#: A packet whose source conntrack translates, in the direction of the first one of its flow: GUARDS are for others.
SENT_ON = ["-m", "conntrack", "--ctstate", "SNAT", "--ctdir", "ORIGINAL"]


def _leaving(networks: t.Iterable[str]) -> t.Iterable[t.List[str]]:
    """The source that conntrack gives a packet of a known flow, once for each direction."""
    known = [*TRACKED, "--ctstate", "RELATED,ESTABLISHED"]
    return [
        [*known, *TRACKED, option, without_length(net), "--ctdir", direction]
        for net in networks
        for option, direction in (("--ctrepldst", "ORIGINAL"), ("--ctorigdst", "REPLY"))
    ]


#: No iptables table comes after nat POSTROUTING, and nat refuses DROP. Therefore the guard has two halves. The one in
#: mangle, before the NAT, drops what will not be translated: untracked and invalid packets, packets of connections that
#: began without translation, and new connections that no NAT item matches. It must pass new connections that an item
#: matches. For these, the half in nat, after the NAT items, repeats the same items, in case somebody removed them. "!
#: --ctstate SNAT" is a second match, because one match cannot express both.
#:
#: A connection without an answer stays NEW, but only its first packet is translated: later ones, whose route may have
#: moved here, are what the first one was. So is a copy of a multicast packet that another link got first.
GUARDS: t.Tuple[t.List[str], ...] = (
    ["-m", "conntrack", "--ctstate", "INVALID,UNTRACKED"],
    [
        "-m",
        "conntrack",
        "--ctstate",
        "NEW,RELATED,ESTABLISHED",
        "--ctdir",
        "ORIGINAL",
        "-m",
        "conntrack",
        "!",
        "--ctstate",
        "SNAT",
    ],
    [
        "-m",
        "conntrack",
        "--ctstate",
        "RELATED,ESTABLISHED",
        "--ctdir",
        "REPLY",
        "-m",
        "conntrack",
        "!",
        "--ctstate",
        "DNAT",
    ],
)
