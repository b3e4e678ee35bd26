# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What iptables-save prints, as rows: our chains, the jumps to them, and what decides before these."""

from __future__ import annotations

import functools
import re
import typing as t

from ..._rules.rows import Row
from . import ipset
from .names import PROTOCOLS, chain_row, is_ours
from .quoting import join_words, split_words, word_after

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.rows import Rows

#: Targets that end the evaluation of a kernel chain: above our jump, they decide instead of us. RETURN leaves it to the
#: chain's policy, and so does, in the end, what goes to another chain (-g). The collector of metrics knows the same.
FINAL = frozenset((
    "ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE", "MASQUERADE", "SNAT", "DNAT", "NETMAP", "REDIRECT",
    "TPROXY", "SYNPROXY", "TARPIT",
))  # fmt: skip
#: Separates the listings, so that both families fit in one string.
MARK = "# family "
#: In place of a family: what follows is the listing of the sets.
SETS = "set"
OWNER = re.compile(r"ipmasq:([a-z0-9_]+)/(.+)\Z")


def parse(listing: str, instance: str) -> Rows:
    """All rows of our chains, foreign ones included, and the jumps to them."""
    rows: t.List[Row] = []
    family = table = ""
    above: t.Dict[str, t.List[str]] = {}
    for line in listing.splitlines():
        if line.startswith(MARK):
            family = line[len(MARK) :]
        elif family == SETS:
            break
        elif line.startswith("*"):
            table, above = line[1:], {}
        elif line.startswith(":") and is_ours(line[1:].split()[0], instance):
            rows.append(chain_row(family, table, line[1:].split()[0]))
        elif line.startswith(("-A ", "[")):
            row = _parse_rule(line, family, table, instance, above)
            if row:
                rows.append(row)
    return tuple(rows + ipset.parse(listing.partition(MARK + SETS + "\n")[2], instance))


def _parse_rule(line: str, family: str, table: str, instance: str, above: t.Dict[str, t.List[str]]) -> t.Optional[Row]:
    """A rule in one of our chains, or a jump to one.

    For each kernel chain, ``above`` records the previous rules: the text of one that decides, otherwise nothing.
    """
    counts, _bracket, rest = line[1:].partition("] ") if line.startswith("[") else ("0:0", "", line)
    packets, octets = (int(number) for number in counts.split(":"))
    _append, chain, arguments = (rest + " ").split(" ", 2)
    text, comment, target = _read_rule(arguments)
    owned = OWNER.match(comment)
    key = owned.group(2) if owned and owned.group(1) == instance else ""
    place = "{0} {1} {2}".format(family, table, chain)
    if is_ours(chain, instance):
        return Row(place, text, key, packets, octets)
    seen = above.setdefault(chain, [])
    deciding = next((rule for rule in reversed(seen) if rule), "")
    seen.append(text if target in FINAL else "")
    if not is_ours(target, instance):
        return None
    return Row(place, text, "jump", packets, octets, len(seen), deciding)


@functools.lru_cache(maxsize=1 << 14)  # A change lists its rules before and after the load, and most are the same.
def _read_rule(arguments: str) -> t.Tuple[str, str, str]:
    """A rule as we write it, its comment and its target."""
    words = split_words(arguments)
    if "-p" in words:
        named = words.index("-p") + 1
        words[named] = PROTOCOLS.get(words[named], words[named])
    goes = "-g" in words[-2:-1]
    return join_words(words), word_after("--comment", words), "RETURN" if goes else word_after("-j", words)
