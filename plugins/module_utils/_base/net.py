# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Networks, interface names and ports as text: the questions that every stage asks about them."""

from __future__ import annotations

import functools
import ipaddress
import typing as t

#: First and last port, inclusive.
Ports = t.Tuple[int, int]


def family_of(network: str) -> str:
    """``ip`` or ``ip6``, of an address or a network as text."""
    return "ip6" if ":" in network else "ip"


#: The option of ``ip`` for a family.
OPTION = {"ip": "-4", "ip6": "-6"}


@functools.lru_cache(maxsize=1 << 16)
def network(text: str) -> t.Any:
    """A parsed network, cached, because 10,000 items ask for the same ones several times."""
    return ipaddress.ip_network(text)


def is_address(text: str, version: int = 0) -> bool:
    """Whether this is an address without a zone, of this IP version if one is given.

    Since Python 3.9, ipaddress accepts any text as a zone, also further lines for a file.
    """
    try:
        return "%" not in text and ipaddress.ip_address(text).version in ((version,) if version else (4, 6))
    except ValueError:
        return False


def is_suffix(entry: str) -> bool:
    """Whether a server is given as an address suffix with a mask, such as ::11/::ffff:ffff:ffff:ffff."""
    return ":" in entry.partition("/")[2]


def is_host(text: str) -> bool:
    """Whether a network is a single address."""
    return text.endswith("/32" if family_of(text) == "ip" else "/128")


def without_length(text: str) -> str:
    """A network as tools print it: a single address without a length."""
    return text.split("/", maxsplit=1)[0] if is_host(text) else text


def collapse(networks: t.Iterable[str]) -> t.Tuple[str, ...]:
    """The shortest sorted list of networks of one family that covers the same addresses.

    nft merges adjacent networks when it stores a set (1.0.6: two /25 come back as one /24), so both sides are merged
    before the comparison.
    """
    return _collapsed(tuple(networks))


@functools.lru_cache(maxsize=1 << 16)
def _collapsed(networks: t.Tuple[str, ...]) -> t.Tuple[str, ...]:
    """Cached, because all parts of a gateway's rules ask for its 10,000 networks, and each port forward for its own."""
    if any(is_suffix(net) for net in networks):
        return networks
    parsed = [network(net) for net in networks]
    return tuple(map(str, ipaddress.collapse_addresses(parsed) if len(parsed) > 1 else parsed))


def by_family(networks: t.Iterable[str]) -> t.Dict[str, t.Tuple[str, ...]]:
    """Networks grouped into ``ip`` and ``ip6``; a family without networks is omitted."""
    listed = list(networks)
    if len(listed) < 2:
        return {family_of(net): collapse(listed) for net in listed}  # as nearly all port forwards have it
    grouped = {fam: [net for net in listed if family_of(net) == fam] for fam in ("ip", "ip6")}
    return {fam: collapse(nets) for fam, nets in grouped.items() if nets}


def matches_name(pattern: str, name: str) -> bool:
    """Whether a name or a pattern such as ``ppp*`` matches an interface name."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def matches_any(patterns: t.Iterable[str], name: str) -> bool:
    """Whether an interface is among these names and patterns."""
    return any(matches_name(pattern, name) for pattern in patterns)


def common_links(ours: t.Iterable[str], theirs: t.Sequence[str]) -> t.List[str]:
    """The links of two lists of names and patterns; names rather than patterns."""
    return [other if "*" in one else one for one in ours for other in theirs if patterns_overlap(one, other)]


def patterns_overlap(one: str, other: str) -> bool:
    """Whether both patterns can match the same interface name."""
    return matches_name(one, other.rstrip("*")) or matches_name(other, one.rstrip("*"))
