# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What nft has written in tables that iptables-nft uses, too, and that keeps us from reading or loading rules there.

iptables-nft lists nothing of a table with a rule that it does not know (``ct state`` of nft), but loads into it: what
is loaded can neither be read back nor removed (measured with 1.8.9).
"""

from __future__ import annotations

import re
import typing as t

from ..._base.errors import GatewayError
from ..foreign import chains
from .listing import MARK

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.host import Sight
    from ..._rules.rows import Row, Rows
    from ..base import Backend

UNREAD = re.compile(r"^# Table `(\w+)' is incompatible", re.MULTILINE)
BESIDE = re.compile(r"^# Table `(\w+)' contains incompatible base-chains", re.MULTILINE)
#: Where iptables has its chains: the priority in each table, and of a chain if they differ.
PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "nat PREROUTING": -100,
    "filter": 0,
    "nat POSTROUTING": 100,
    "nat INPUT": 100,
}


def unread(listing: str) -> t.Set[str]:
    """Tables of which iptables-nft-save lists nothing, although they are there."""
    return set(UNREAD.findall(listing))


def strange(listing: str) -> t.Tuple[t.Set[str], t.Set[str]]:
    """Tables such as "ip filter" of which nothing is listed, and those of which some base chains are not."""
    families = [(part.split("\n", 1)[0], part) for part in ("\n" + listing).split("\n" + MARK)[1:]]
    lost = {"{0} {1}".format(family, table) for family, part in families for table in unread(part)}
    return lost, {"{0} {1}".format(family, table) for family, part in families for table in BESIDE.findall(part)}


def check_native(backend: Backend, listing: str, wanted: Rows, held: Rows, sight: Sight) -> None:
    """Raise GatewayError if rows could not be read back once loaded, or if those that are there are not listed.

    ``listing`` is what the backend has read, ``held`` the rows that it loaded earlier.
    """
    lost, beside = strange(listing)
    needed = {_place(row) for row in wanted} & lost
    left = {row.chain for row in held if row.key != "jump" and _place(row) in lost}
    jumps = {row.chain for row in wanted if row.key == "jump" and _place(row) in beside}
    found = chains(sight) if left or jumps else []
    by_name = {"{family} {table} {name}".format(**chain): chain for chain in found or ()}
    stuck = {chain.rpartition(" ")[0] for chain in left if found is None or chain in by_name}
    told = [
        "{0}: cannot list table {1}, because rules that iptables does not know are there; move these to a table of "
        "another name{2}".format(backend.programs, place, "" if place in stuck else ", or set backend=nftables")
        for place in sorted(needed | stuck)
    ]
    told += [
        "{0}: chain {name} of table {family} {table} is not at the hook or priority of iptables' own chain, which "
        "cannot be made beside it; move it to a table of another name".format(backend.programs, **chain)
        for name, chain in by_name.items()
        if name in jumps and not in_place(chain)
    ]
    if told:
        raise GatewayError(*told)


def _place(row: Row) -> str:
    return row.chain.rpartition(" ")[0]


def in_place(chain: t.Mapping[str, t.Any]) -> bool:
    """Whether a chain with the name of one of iptables' own is that one."""
    table, name = chain["table"], chain["name"]
    priority = PRIORITIES.get(table, PRIORITIES.get("{0} {1}".format(table, name)))
    return chain.get("hook", "").upper() == name and chain.get("prio") == priority
