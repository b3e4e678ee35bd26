# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a load by iptables-nft creates in nftables beside our rows: the kernel's base chains and their tables.

Other programs list them and load into them, so they go only if they did not exist before and nobody uses them. Other
backends create none: our table of nftables goes as a whole, and the tables of iptables-legacy stay with their module,
empty and without effect.
"""

from __future__ import annotations

import typing as t

from ..foreign import chains
from .listing import MARK
from .names import FAMILIES
from .native import in_place, strange

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.host import Host, Sight
    from ..._rules.rows import Rows
    from ..base import Backend

PROGRAMS = "iptables-nft"


def existing(backend: Backend, sight: Sight) -> t.Tuple[str, ...]:
    """The base chains that are there, such as "ip nat POSTROUTING".

    By nft, because iptables-save lists all chains of an existing table, even those that do not exist.
    """
    if backend.programs != PROGRAMS or not sight.which("nft"):
        return ()
    return tuple(
        "{family} {table} {name}".format(**chain)
        for chain in chains(sight) or ()
        if "hook" in chain and chain["family"] in FAMILIES
    )


def drop(backend: Backend, before: t.Sequence[str], host: Host) -> None:
    """Remove the chains and tables that our loads created, if they are empty.

    iptables-nft does not list all that nft writes. Where it says so, nothing goes that may be theirs.
    """
    created = [chain.split() for chain in existing(backend, host) if chain not in before]
    if not created:
        return
    listing = backend.read(host, "")
    lost, beside = strange(listing)
    tables = policies(listing)
    emptied = [
        place
        for place in dict.fromkeys("{0} {1}".format(*chain) for chain in created)
        if all(tables.get(place, {}).values())
        and place not in lost | beside
        and not any(chain.startswith(place + " ") for chain in before)
    ]
    for place in emptied:
        host.run(["nft", "delete", "table"] + place.split())
    known = (chains(host) or ()) if beside else ()
    others = {"{family} {table} {name}".format(**each) for each in known if not in_place(each)}
    for family, table, name in created:
        place = "{0} {1}".format(family, table)
        theirs = place in beside and "{0} {1}".format(place, name) in others
        if place not in emptied and tables.get(place, {}).get(name) and not theirs:
            host.run(["nft", "delete", "chain", family, table, name])


def drop_lines(backend: Backend, desired: Rows, before: t.Sequence[str]) -> t.List[str]:
    """Shell lines that remove what a load of these rows created."""
    if backend.programs != PROGRAMS:
        return []
    created = [row.chain for row in desired if row.key == "jump" and row.chain not in before]
    # nft does not delete a chain with rules, which somebody else uses by then.
    lines = [
        "{{ ! nft list chain {0} 2> /dev/null | grep -q 'policy accept' || nft delete chain {0} 2> /dev/null || "
        "true; }}".format(chain)
        for chain in dict.fromkeys(created)
    ]
    tables = dict.fromkeys(" ".join(chain.split()[:2]) for chain in created)
    return lines + [
        "{{ nft list table {0} 2> /dev/null | grep -q chain || nft delete table {0} 2> /dev/null || true; }}".format(
            place
        )
        for place in tables
        if not any(chain.startswith(place + " ") for chain in before)
    ]


def policies(listing: str) -> t.Dict[str, t.Dict[str, bool]]:
    """The chains of each table, such as "ip nat", and whether they are empty with policy ACCEPT."""
    tables: t.Dict[str, t.Dict[str, bool]] = {}
    family = place = ""
    for line in listing.splitlines():
        if line.startswith(MARK):
            family = line[len(MARK) :]
        elif line.startswith("*"):
            place = "{0} {1}".format(family, line[1:])
            tables[place] = {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            tables[place][name] = policy == "ACCEPT"
        elif line.startswith(("-A ", "[")):
            tables[place][line.partition("-A ")[2].split(" ", 1)[0]] = False
    return tables
