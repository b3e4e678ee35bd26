# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""iptables: chains IPMASQ-* in the kernel's tables, read with ``iptables-save``, replaced with ``iptables-restore``.

A restore is atomic per table and family, not across them, and ``--test`` proves nothing (measured with iptables-nft
1.8.9: it accepted a file whose second table then failed to load after the first was applied). Therefore the caller
keeps the live rows and reloads them if anything fails. While the tables do not match, a chain before all others holds
back new connections (without it, 2,670 packets left untranslated during changes, at 5,000 a second).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..._base.errors import GatewayError, first_lines
from ..base import Backend
from ..steps import Boot, files_of
from . import ipset
from .listing import MARK, SETS, parse
from .names import FAMILIES, HOOKS, NAMES
from .render import rows_of
from .script import boot_line, sets_of, steps

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.host import Sight
    from ..._rules.model import RuleSet
    from ..._rules.rows import Row, Rows
    from ..steps import Step

NUMBERED = re.compile(r"(?<=-p )(?:{0})(?= )".format("|".join(NAMES)))


@dataclass(frozen=True)
class Iptables(Backend):
    """``variant`` is ``nft`` or ``legacy``; ``families`` are those of the kernel; ``sets``: ipset is available."""

    variant: str = "nft"
    families: t.Tuple[str, ...] = ("ip", "ip6")
    sets: bool = False

    name: t.ClassVar[str] = "iptables"  # type: ignore[misc]
    features: t.ClassVar[t.Dict[str, str]] = {  # type: ignore[misc]
        "masquerade": "",
        "snat": "",
        "snat_pool": "by a hash of the client's address (`-m cluster`)",
        "netmap": "",
        "dnat": "",
        "dnat_shift": "",
        "balance_round_robin": "",
        "balance_source": "by a hash of the client's address (`-m cluster`)",
        "hairpin_external": "the addresses that are known during the run, of others the gateway's own",
        "random_ports": "",
        "to_port": "",
        "ipsec": "",
        "rate": "the kernel keeps 1/10,000 s, so 3000/second becomes 3333/second",
        "guard": "in two halves, see below",
        "clamp_mss": "",
        "set_mss": "",
        "helper": "",
        "log": "",
    }

    @property
    def programs(self) -> str:
        return "iptables-" + self.variant

    def program(self, family: str, action: str) -> str:
        """A program name such as ip6tables-legacy-restore."""
        return "{0}-{1}-{2}".format(FAMILIES[family], self.variant, action)

    def render(self, ruleset: RuleSet) -> Rows:
        return rows_of(ruleset, self.families, self.sets)

    def parse(self, listing: str, instance: str) -> Rows:
        return parse(listing, instance)

    def steps(self, desired: Rows, live: Rows, instance: str) -> t.Tuple[Step, ...]:
        return steps(desired, live, instance, self._restores())

    def boot(self, rows: Rows, stem: str, instance: str, instead_of: Rows = ()) -> Boot:
        """For a host from which the lines remove our jumps first."""
        known = tuple(row for row in instead_of if row.key != "jump")
        lines = [ipset.load_line(stem + ".ipset")] if self.sets else []
        for family in self.families:
            file = "{0}.{1}".format(stem, FAMILIES[family])
            lines.append(boot_line(self.program(family, "save"), self.program(family, "restore"), file, instance))
        lines += ipset.leaving_lines(instance, sets_of(instead_of), sets_of(rows))
        return Boot(tuple(lines), files_of(self.steps(rows, known, instance)))

    def _restores(self) -> t.Dict[str, str]:
        return {family: self.program(family, "restore") for family in self.families}

    def read(self, sight: Sight, instance: str) -> str:
        parts = []
        for family in self.families:
            done = sight.ask([self.program(family, "save"), "-c"])
            if done.rc != 0:
                told = "{0}: cannot list the rules: {1}".format(self.program(family, "save"), first_lines(done.err))
                if "Parsing nftables rule failed" in done.err:
                    told += " (move rules that nft has written there to a table of another name)"
                raise GatewayError(told)
            parts.append(MARK + family + "\n" + done.out)
        if self.sets:
            names = ipset.used("".join(parts), instance)
            parts += [MARK + SETS + "\n" + ipset.read(sight, names)] if names else []
        return "".join(parts)

    def show(self, row: Row) -> str:
        if row.key == ipset.KEY:
            return ipset.shown(row)
        below = "below '{0}': ".format(row.below) if row.below else ""
        return "{0}: {1}{2}".format(row.chain, below, NUMBERED.sub(lambda each: NAMES[each.group()], row.text))

    def overrules(self, family: str, table: str, chain: str) -> bool:
        # What legacy accepts in its own tables, the kernel also passes to nftables. What nft has written under another
        # name is beside our chain; under this name at another place, it refuses our rules (see native.py).
        return self.variant == "nft" and family in self.families and table == "filter" and chain in HOOKS.values()

    def drops(self, row: Row) -> bool:
        return row.text.endswith(" -j DROP")

    def is_frame(self, row: Row) -> bool:
        return row.key in ("chain", "jump")
