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

import json
import re
import typing as t
from dataclasses import dataclass

from ..._errors import GatewayError, first_lines
from ..base import Backend
from . import ipset
from .listing import GONE, MARK, SETS, parse, policies
from .names import FAMILIES, NAMES
from .render import rows_of
from .script import HOLD, ORDER, hold, parts, section, sets_of, with_counts

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._host import Host, Sight
    from ..._plan import Row, Rows
    from ..._rules import RuleSet

NUMBERED = re.compile(r"(?<=-p )(?:{0})(?= )".format("|".join(NAMES)))
#: Seconds to wait for the xtables lock; after that it is an error, never a missing rule.
LOCK_WAIT = "5"


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

    def script(self, desired: Rows, live: Rows, instance: str) -> str:
        counted = {row: row for row in live}
        desired = tuple(with_counts(row, counted.get(row)) for row in desired)
        before, after = sets_of(desired), sets_of(live)
        parts = []
        # Jumps are always inserted again, because the listing may be out of date.
        if before:
            parts.append(MARK + SETS + "\n" + ipset.script(before))
        for family in self.families:
            held = hold(family, desired + live, instance)
            sections = [HOLD + "\n" + section("filter", list(held), [])] if held else []
            for table in ORDER:
                place = "{0} {1} ".format(family, table)
                old = [row for row in live + held if row.chain.startswith(place)]
                new = [row for row in desired if row.chain.startswith(place)]
                if old or new:
                    sections.append(section(table, new, old))
            if sections:
                parts.append(MARK + family + "\n" + "".join(sections))
        if before or after:
            kept = [ipset.name_of(row) for row in before]
            parts.append(MARK + GONE + "\n" + "".join(name + "\n" for name in [ipset.prefix(instance), *kept]))
        return "".join(parts)

    def boot_files(self, desired: Rows, instance: str, instead_of: Rows = ()) -> t.Dict[str, str]:
        """The same script, for a host from which our jumps were removed (boot_lines)."""
        known = tuple(row for row in instead_of if row.key != "jump")
        script = self.script(desired, known, instance)
        endings = dict(FAMILIES, **{SETS: "ipset"})
        return {"." + endings[part]: text for part, text in parts(script) if part in endings}

    def boot_lines(self, stem: str, instance: str) -> t.List[str]:
        """Remove jumps that another tool has restored, because restoring ours would duplicate them.

        The whole comment is compared, because a log prefix may contain the same words.
        """
        lines = [ipset.load_line(stem + ".ipset")] if self.sets else []
        for family in self.families:
            save, restore = self.program(family, "save"), self.program(family, "restore")
            file = "{0}.{1}".format(stem, FAMILIES[family])
            # Remove the old jumps and insert ours in one transaction per table; in between, our rules would be bypassed
            # (measured: packets leaked on a host that forwards). Read everything before the first table is replaced, so
            # that the script never reads its own result.
            lines.append(
                "text=$(sed -n '/^# hold/,/^COMMIT/p' {4}; "
                'for table in {5}; do sed "/^# hold/,/^COMMIT/d" {4} | grep -q "^[*]$table" || continue; '
                'echo "*$table"; {0} -t $table | sed -n \'/ --comment "*ipmasq:{1}\\/jump"* -j /s/^-A /-D /p\'; '
                'sed "/^# hold/,/^COMMIT/d" {4} | sed -n "/^[*]$table/,/^COMMIT/p" | sed 1d; done); '
                "printf '%s\\n' \"$text\" | {2} -w {3} --noflush".format(
                    save, instance, restore, LOCK_WAIT, file, " ".join(ORDER)
                )
            )
        return lines

    def read(self, host: Sight, instance: str) -> str:
        parts = []
        for family in self.families:
            done = host.ask([self.program(family, "save"), "-c"])
            if done.rc != 0:
                raise GatewayError(
                    "{0}: cannot list the rules: {1}".format(self.program(family, "save"), first_lines(done.err))
                )
            parts.append(MARK + family + "\n" + done.out)
        if self.sets:
            names = ipset.used("".join(parts), instance)
            parts += [MARK + SETS + "\n" + ipset.read(host, names)] if names else []
        return "".join(parts)

    def load(self, host: Host, script: str) -> None:
        for part, text in parts(script):
            if part == SETS:
                ipset.load(host, text)
                continue
            if part == GONE:
                beginning, *kept = text.split()
                ipset.sweep(host, beginning, kept)
                continue
            restore = self.program(part, "restore")
            done = host.run([restore, "-w", LOCK_WAIT, "--noflush", "--counters"], stdin=text)
            if done.rc != 0:
                # Sets that no rule uses yet can be found only by name, and only now.
                for beginning in dict(parts(script)).get(GONE, "").split()[:1]:
                    ipset.sweep(host, beginning, ())
                raise GatewayError("{0}: the rules were refused: {1}".format(restore, explain(done.err)))

    def base_chains(self, host: Sight) -> t.Tuple[str, ...]:
        """Uses nft, because iptables-save lists all chains of an existing table, even those that do not exist."""
        if self.variant != "nft" or not host.which("nft"):
            return ()
        done = host.ask(["nft", "-j", "list", "chains"])
        if done.rc != 0:
            return ()
        chains = [entry["chain"] for entry in json.loads(done.out)["nftables"] if "chain" in entry]
        return tuple(
            "{family} {table} {name}".format(**chain)
            for chain in chains
            if "hook" in chain and chain["family"] in FAMILIES
        )

    def drop_base_chains(self, host: Host, before: t.Sequence[str]) -> None:
        """Only for iptables-nft: the tables of iptables-legacy stay with their module, empty and without effect."""
        created = [chain.split() for chain in self.base_chains(host) if chain not in before]
        if not created:
            return
        tables = policies(self.read(host, ""))
        emptied = [
            place
            for place in dict.fromkeys("{0} {1}".format(*chain) for chain in created)
            if all(tables.get(place, {}).values()) and not any(chain.startswith(place + " ") for chain in before)
        ]
        for place in emptied:
            host.run(["nft", "delete", "table"] + place.split())
        for family, table, name in created:
            place = "{0} {1}".format(family, table)
            if place not in emptied and tables.get(place, {}).get(name):
                host.run(["nft", "delete", "chain", family, table, name])

    def drop_lines(self, desired: Rows, before: t.Sequence[str], instance: str) -> t.List[str]:
        sets = [ipset.sweep_line(ipset.prefix(instance))] if sets_of(desired) else []
        if self.variant != "nft":
            return sets
        created = [row.chain for row in desired if row.key == "jump" and row.chain not in before]
        # nft does not delete a chain with rules, which somebody else uses by then.
        lines = [
            "{{ ! nft list chain {0} 2> /dev/null | grep -q 'policy accept' || nft delete chain {0} 2> /dev/null || "
            "true; }}".format(chain)
            for chain in dict.fromkeys(created)
        ]
        tables = dict.fromkeys(" ".join(chain.split()[:2]) for chain in created)
        return (
            sets
            + lines
            + [
                "{{ nft list table {0} 2> /dev/null | grep -q chain || "
                "nft delete table {0} 2> /dev/null || true; }}".format(place)
                for place in tables
                if not any(chain.startswith(place + " ") for chain in before)
            ]
        )

    def show(self, row: Row) -> str:
        if row.key == ipset.KEY:
            return ipset.shown(row)
        below = "below '{0}': ".format(row.below) if row.below else ""
        return "{0}: {1}{2}".format(row.chain, below, NUMBERED.sub(lambda each: NAMES[each.group()], row.text))

    def overrules(self, family: str, table: str) -> bool:
        # What legacy accepts in its own tables, the kernel also passes to nftables.
        return self.variant == "nft" and family in self.families and table == "filter"

    def drops(self, row: Row) -> bool:
        return row.text.endswith(" -j DROP")

    def is_frame(self, row: Row) -> bool:
        return row.key in ("chain", "jump")


def explain(err: str) -> str:
    message = first_lines(err)
    if "lock" in err:
        return message + " (another program holds the xtables lock; find it with 'lsof /run/xtables.lock')"
    if any(words in err for words in ("Table does not exist", "can't initialize", "unable to initialize table")):
        return message + " (this kernel lacks that table: modprobe iptable_nat, or use backend nftables)"
    return message
