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

import functools
import hashlib
import itertools
import json
import re
import typing as t
from dataclasses import dataclass, replace

from ..._errors import GatewayError, first_lines
from ..._plan import Row
from ..._rules import owner, split_wildcards, without_length
from ..._words import CT_STATES
from ..base import Backend
from . import ipset
from .lookup import Branch, arranged

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._host import Host, Sight
    from ..._plan import Rows
    from ..._rules import Action, Chain, Match, Rule, RuleSet

#: The table of each stage. The guard has two halves, see GUARDS.
TABLES = {
    "arrive": ("mangle",),
    "outside": ("mangle",),
    "helper": ("raw",),
    "reach": ("mangle",),
    "unseen": ("mangle",),
    "mangle": ("mangle",),
    "filter": ("filter",),
    "nat": ("nat",),
    "guard": ("mangle", "nat"),
    "": ("filter",),
}
HOOKS = {"prerouting": "PREROUTING", "forward": "FORWARD", "input": "INPUT", "postrouting": "POSTROUTING"}
FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}
REJECT_WITH = {"ip": "icmp-admin-prohibited", "ip6": "icmp6-adm-prohibited"}
#: The protocol in rules. iptables itself knows tcp, udp, sctp, icmp, ipv6-icmp, esp and ah, and others only through
#: /etc/protocols, which minimal hosts lack: there it accepts and saves numbers only (measured, 1.8.9).
PROTOCOLS = {"icmpv6": "ipv6-icmp", "igmp": "2", "ipv6": "41", "gre": "47", "vrrp": "112"}
NAMES = {number: name for name, number in PROTOCOLS.items() if number.isdigit()}
NUMBERED = re.compile(r"(?<=-p )(?:{0})(?= )".format("|".join(NAMES)))
#: XT_EXTENSION_MAXNAMELEN - 1, include/uapi/linux/netfilter/x_tables.h
CHAIN_LENGTH = 28
#: Targets that end the evaluation of a kernel chain: above our jump, they decide instead of us.
FINAL = frozenset(
    ("ACCEPT", "DROP", "REJECT", "QUEUE", "NFQUEUE", "MASQUERADE", "SNAT", "DNAT", "NETMAP", "REDIRECT", "TPROXY")
)
#: The key of rules that lead to many port forwards.
LOOKUP = "lookup"
#: Separates the listings, so that both families fit in one string.
MARK = "# family "
#: Precedes the chain that holds new connections back, in a script and in a file.
HOLD = "# hold"
#: Rows that stop packets sort before this order, rows that accept at its end.
ORDER = ("raw", "nat", "mangle", "filter")
#: Used in place of a family for sets: the prefix of their names, and those that stay.
SETS, GONE = "set", "gone"
#: Networks to the name of their set.
Sets = t.Mapping[t.Tuple[str, ...], str]
OWNER = re.compile(r"ipmasq:([a-z0-9_]+)/(.+)\Z")
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
        sets = self._sets(ruleset)
        rows = list(dict.fromkeys(sets.values()))
        names = {networks: ipset.name_of(row) for networks, row in sets.items()}
        for family in self.families:
            for chain, rules in arranged(ruleset, family):
                for table in TABLES[chain.stage]:
                    rows += self._render_chain(ruleset, chain, rules, family, table, names)
        return tuple(rows)

    def _sets(self, ruleset: RuleSet) -> t.Dict[t.Tuple[str, ...], Row]:
        """The rows of the sets that replace many networks."""
        if not self.sets or not ruleset.whole:
            return {}
        many = {
            networks: rule.match.family
            for rule in ruleset.rules
            for networks in (rule.match.source, rule.match.destination)
            if len(networks) > ipset.FEW and rule.match.family in self.families
        }
        return {networks: ipset.row_of(ruleset.instance, family, networks) for networks, family in many.items()}

    @staticmethod
    def _render_chain(
        ruleset: RuleSet, chain: Chain, rules: t.Iterable[Rule | Branch], family: str, table: str, sets: Sets
    ) -> t.List[Row]:
        name = chain_name(ruleset.instance, chain.name)
        place = "{0} {1} {2}".format(family, table, name)
        rows = [_chain_row(family, table, name)]
        if chain.hook:
            # Jumps from one kernel chain follow the order of ours: in nat, the guard comes after the NAT itself.
            before = ruleset.chains[: ruleset.chains.index(chain)]
            position = 1 + sum(each.hook == chain.hook and table in TABLES[each.stage] for each in before)
            rows.append(_jump_row(family, table, HOOKS[chain.hook], name, ruleset.instance, position))
        for rule in rules:
            if isinstance(rule, Branch):
                text = _branch_text(rule, chain_name(ruleset.instance, rule.chain), owner(ruleset.instance, LOOKUP))
                rows.append(Row(place, text, LOOKUP))
            else:
                target = chain_name(ruleset.instance, rule.action.target) if rule.action.target else ""
                texts = _rule_texts(rule, family, table, target, ruleset.owner(rule), sets)
                rows += [Row(place, text, rule.key) for text in texts]
        return rows

    def parse(self, listing: str, instance: str) -> Rows:
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
                rows.append(_chain_row(family, table, line[1:].split()[0]))
            elif line.startswith(("-A ", "[")):
                row = _parse_rule(line, family, table, instance, above)
                if row:
                    rows.append(row)
        return tuple(rows + ipset.parse(listing.partition(MARK + SETS + "\n")[2], instance))

    def script(self, desired: Rows, live: Rows, instance: str) -> str:
        counted = {row: row for row in live}
        desired = tuple(_with_counts(row, counted.get(row)) for row in desired)
        before, after = _sets_of(desired), _sets_of(live)
        parts = []
        # Jumps are always inserted again, because the listing may be out of date.
        if before:
            parts.append(MARK + SETS + "\n" + ipset.script(before))
        for family in self.families:
            held = _hold(family, desired + live, instance)
            sections = [HOLD + "\n" + _section("filter", list(held), [])] if held else []
            for table in ORDER:
                place = "{0} {1} ".format(family, table)
                old = [row for row in live + held if row.chain.startswith(place)]
                new = [row for row in desired if row.chain.startswith(place)]
                if old or new:
                    sections.append(_section(table, new, old))
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
        return {"." + endings[part]: text for part, text in _parts(script) if part in endings}

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
        for part, text in _parts(script):
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
                for beginning in dict(_parts(script)).get(GONE, "").split()[:1]:
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
        tables = _policies(self.read(host, ""))
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
        sets = [ipset.sweep_line(ipset.prefix(instance))] if _sets_of(desired) else []
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


def chain_name(instance: str, chain: str) -> str:
    """IPMASQ-FORWARD, IPMASQ-OPENS-office, IPMASQ-guests-FORWARD; a name that is too long ends in a hash."""
    prefix = "IPMASQ-" if instance == "default" else "IPMASQ-{0}-".format(instance)
    word, dash, rest = chain.partition("-")
    name = prefix + word.upper() + dash + rest
    if len(name) <= CHAIN_LENGTH:
        return name
    return name[: CHAIN_LENGTH - 9] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8]


def is_ours(chain: str, instance: str) -> bool:
    """Instances are lower case and our chain words upper case, so an instance never resembles another one's chain."""
    if instance == "default":
        return re.match(r"IPMASQ-[A-Z]", chain) is not None
    return chain.startswith("IPMASQ-{0}-".format(instance))


def explain(err: str) -> str:
    message = first_lines(err)
    if "lock" in err:
        return message + " (another program holds the xtables lock; find it with 'lsof /run/xtables.lock')"
    if any(words in err for words in ("Table does not exist", "can't initialize", "unable to initialize table")):
        return message + " (this kernel lacks that table: modprobe iptable_nat, or use backend nftables)"
    return message


def _sets_of(rows: Rows) -> Rows:
    return tuple(row for row in rows if row.key == ipset.KEY)


def _hold(family: str, rows: Rows, instance: str) -> Rows:
    """A first chain that drops new connections from and to a gateway's interfaces; replies pass."""
    forward = "{0} filter {1}".format(family, chain_name(instance, "forward"))
    known = (_after("-i", row.text.split()) for row in rows if row.chain == forward)
    links = [name for name in dict.fromkeys(known) if name]
    if not links:
        return ()
    name = chain_name(instance, "hold")
    place = "{0} filter {1}".format(family, name)
    drop = [*NEW, "-m", "comment", "--comment", owner(instance, "hold"), "-j", "DROP"]
    rules = tuple(Row(place, _join([way, link, *drop]), "hold") for link in links for way in ("-i", "-o"))
    jump = _jump_row(family, "filter", "FORWARD", name, instance, 1)
    return (_chain_row(family, "filter", name), jump, *rules)


def _parts(script: str) -> t.List[t.Tuple[str, str]]:
    """The parts by family, preceded by the sets they need and followed by the sets that stay."""
    parts = script.split(MARK)[1:]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1]) for part in parts]


def _policies(listing: str) -> t.Dict[str, t.Dict[str, bool]]:
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


def _section(table: str, new: t.List[Row], old: t.List[Row]) -> str:
    """One table of a restore file. Declaring a chain with ":" empties it; jumps are deleted and inserted again."""
    lines = ["*" + table]
    chains = [row.chain.split()[2] for row in new if row.key == "chain"]
    gone = [row.chain.split()[2] for row in old if row.key == "chain"]
    lines += [":{0} - [0:0]".format(name) for name in dict.fromkeys(chains + gone)]
    for row in old:
        if row.key == "jump":
            lines.append("-D {0} {1}".format(row.chain.split()[2], row.text))
    for row in new:
        counts = "[{0}:{1}] ".format(row.packets, row.bytes)
        name = row.chain.split()[2]
        if row.key == "jump":
            lines.append("{0}-I {1} {2} {3}".format(counts, name, row.position, row.text))
        elif row.key != "chain":
            lines.append("{0}-A {1} {2}".format(counts, name, row.text))
    lines += ["-X {0}".format(name) for name in dict.fromkeys(gone) if name not in chains]
    return "\n".join(lines + ["COMMIT", ""])


def _chain_row(family: str, table: str, name: str) -> Row:
    return Row("{0} {1} {2}".format(family, table, name), "chain", "chain")


def _jump_row(family: str, table: str, hook: str, chain: str, instance: str, position: int) -> Row:
    text = _join(["-m", "comment", "--comment", owner(instance, "jump"), "-j", chain])
    return Row("{0} {1} {2}".format(family, table, hook), text, "jump", position=position)


def _with_counts(row: Row, live: t.Optional[Row]) -> Row:
    if not live or (live.packets, live.bytes) == (row.packets, row.bytes):
        return row
    return replace(row, packets=live.packets, bytes=live.bytes)


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
    words = _split(arguments)
    if "-p" in words:
        named = words.index("-p") + 1
        words[named] = PROTOCOLS.get(words[named], words[named])
    return _join(words), _after("--comment", words), _after("-j", words)


def _after(option: str, words: t.List[str]) -> str:
    """The word after an option, searched from the end: comments and log prefixes come before the target."""
    for index in range(len(words) - 2, -1, -1):
        if words[index] == option:
            return words[index + 1]
    return ""


def _split(text: str) -> t.List[str]:
    """The words of an iptables-save line; inside double quotes, a backslash escapes a character."""
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', text)
    return [plain if plain else re.sub(r"\\(.)", r"\1", quoted) for quoted, plain in words]


def _join(words: t.Iterable[str]) -> str:
    """Join words for iptables-restore."""
    words = list(words)
    line = " ".join(words)
    # One look at the line instead of one at each word: hardly any word needs quotes.
    if line.count(" ") == len(words) - 1 and "" not in words and not SPECIAL.search(line):
        return line
    return " ".join(_quote(word) for word in words)


#: Characters besides the space that require quotes.
SPECIAL = re.compile(r"[\"'\\]|[^\S ]")


def _quote(word: str) -> str:
    if word and " " not in word and not SPECIAL.search(word):
        return word
    return '"{0}"'.format(word.replace("\\", "\\\\").replace('"', '\\"'))


def _rule_texts(rule: Rule, family: str, table: str, target: str, comment: str, sets: Sets) -> t.List[str]:
    """A rule expanded over its interfaces, networks and ports, with words in the order that iptables-save prints."""
    note = ["-m", "comment", "--comment", comment]
    endings = _endings(rule, family, table, target)
    members = _members(rule.match, sets)
    asked = [[*TRACKED, "--ctorigdst", without_length(net)] for net in rule.match.asked] or [[]]
    return [
        _join(place + protocol + members + address + middle + note + action)
        for match in split_wildcards(rule.match)
        for place in _places(match, sets)
        for protocol in _protocols(match)
        for address in asked
        for middle, action in endings
    ]


def _branch_text(rule: Branch, chain: str, comment: str) -> str:
    words = ["-p", rule.protocol]
    if rule.translated:
        words += ["-m", "conntrack"]
        words += ["--ctorigdstport", _port_words(rule.ports, ":")] if rule.ports else ["--ctstate", "DNAT"]
    elif rule.ports:
        words += ["-m", rule.protocol, "--dport", _port_words(rule.ports, ":")]
    return _join([*words, "-m", "comment", "--comment", comment, "-j", chain])


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
        return [words + [_port_words(ports, ":")] for ports in match.port]
    if match.icmp_type:
        module, option = ("icmp6", "--icmpv6-type") if match.protocol == "icmpv6" else ("icmp", "--icmp-type")
        return [named + ["-m", module, option, str(kind)] for kind in match.icmp_type]
    return [named]


def _port_words(ports: t.Tuple[int, int], between: str) -> str:
    return str(ports[0]) if ports[0] == ports[1] else "{0}{1}{2}".format(ports[0], between, ports[1])


def _endings(rule: Rule, family: str, table: str, target: str) -> t.List[t.Tuple[t.List[str], t.List[str]]]:
    """What follows addresses and interfaces: other matches, the comment, and then the target."""
    action, kind = rule.action, rule.action.kind
    middle = _middle(rule.match)
    if kind in ("guard", "log_guard"):
        ways = _leaving(rule.match.leaves_as) if rule.match.leaves_as else GUARDS
        return [(middle + words, _target(action, family, target)) for words in ways] if table == "mangle" else []
    if kind == "expect_nat" and table == "mangle":
        return [(middle + NEW, ["-j", "RETURN"])]
    if kind == "expect_nat":
        return [(middle + words, end) for words, end in _translations(t.cast("Action", action.nat), family)]
    if kind in ("masquerade", "snat", "netmap", "hairpin"):
        return [(middle + words, end) for words, end in _translations(action, family)]
    if kind == "dnat":
        return [(middle + words, end) for words, end in _redirections(rule, family)]
    return [(middle, _target(action, family, target))]


def _leaving(networks: t.Iterable[str]) -> t.Iterable[t.List[str]]:
    """The source that conntrack gives a packet of a known flow, once for each direction."""
    known = [*TRACKED, "--ctstate", "RELATED,ESTABLISHED"]
    return [
        [*known, *TRACKED, option, without_length(net), "--ctdir", direction]
        for net in networks
        for option, direction in (("--ctrepldst", "ORIGINAL"), ("--ctorigdst", "REPLY"))
    ]


def _target(action: Action, family: str, chain: str) -> t.List[str]:
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


#: Each of these is a match of its own, because iptables-save prints the options of one match in its own order.
TRACKED = ("-m", "conntrack")


def _middle(match: Match) -> t.List[str]:
    words: t.List[str] = []
    if match.tcp_syn:
        words += ["-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN,RST", "SYN"]
    if match.local:
        words += LOCAL
    for net in match.not_destination + match.not_asked:
        # iptables-save omits the length of a single address here, but not after -d.
        words += [*TRACKED, "!", "--ctorigdst", without_length(net)]
    words += _tracked(match)
    if match.mark:
        words += ["-m", "mark", "--mark", "0x{0:x}/0x{1:x}".format(*match.mark)]
    for field, said in WORDS.items():
        if getattr(match, field):
            words += said
    if match.rate:
        words += ["-m", "limit", "--limit", limit_text(match.rate)]
        # The kernel counts in 32 bits, which the default burst of 5 overflows (xt_limit.c; measured, Linux 6.18).
        words += ["--limit-burst", "1"] if match.rate == "1/day" else []
    return words


def _tracked(match: Match) -> t.List[str]:
    words: t.List[str] = []
    if match.asked_port:
        words += [*TRACKED, "--ctorigdstport", _port_words(match.asked_port, ":")]
    if match.ct_state:
        states = [state.upper() for state in CT_STATES if state in match.ct_state]
        words += [*TRACKED, "--ctstate", ",".join(states)]
    if match.direction:
        words += [*TRACKED, "--ctdir", match.direction.upper()]
    return words


#: XT_LIMIT_SCALE and print_rate() in libxt_limit.c: the kernel stores a period in 1/10000 s; 3000/sec becomes 3333/sec.
LIMIT_SCALE = 10000
UNITS = (("day", 86400), ("hour", 3600), ("min", 60), ("sec", 1))


def limit_text(rate: str) -> str:
    """A rate such as 60/minute in the form of iptables-save: 1/sec."""
    number, per = rate.split("/")
    seconds = dict(day=86400, hour=3600, minute=60, second=1)[per]
    period = LIMIT_SCALE * seconds // int(number)
    chosen = UNITS[0]
    for unit in UNITS[1:]:
        size = unit[1] * LIMIT_SCALE
        if period > size or size // period < size % period:
            break
        chosen = unit
    return "{0}/{1}".format(chosen[1] * LIMIT_SCALE // period, chosen[0])


def _translations(action: Action, family: str) -> t.List[t.Tuple[t.List[str], t.List[str]]]:
    """Matches and targets that translate a source."""
    random = ["--random-fully"] if action.random else []
    if action.kind == "masquerade":
        ports = ["--to-ports", _port_words(action.ports, "-")] if action.ports else []
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


def _redirections(rule: Rule, family: str) -> t.List[t.Tuple[t.List[str], t.List[str]]]:
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
    return form.format(address, _port_words(ports, "-"))


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
NEW = ["-m", "conntrack", "--ctstate", "NEW"]
#: Before the NAT, the first packet of a connection shows nothing: packets that others will translate pass here, too.
#: The next packet of a known, untranslated connection can be recognized.
UNTRANSLATED = ["-m", "conntrack", "--ctstate", "NEW", "--ctstatus", "CONFIRMED"]
UNTRANSLATED += ["-m", "conntrack", "!", "--ctstate", "SNAT"]
LOCAL = ["-m", "addrtype", "--dst-type", "LOCAL"]
ELSEWHERE = ["-m", "addrtype", "!", "--dst-type", "LOCAL", "--limit-iface-in"]
#: Other parts that a match may combine with, in this order.
WORDS = {
    "routed": ["-m", "rpfilter"],
    "astray": ["-m", "rpfilter", "--invert"],
    "elsewhere": ELSEWHERE,
    "decrypted": ["-m", "policy", "--dir", "in", "--pol", "ipsec"],
    "foreign": ["-m", "addrtype", "!", "--src-type", "LOCAL"],
    "untranslated": UNTRANSLATED,
    "translated": ["-m", "conntrack", "--ctstate", "DNAT"],
    "mapped": ["-m", "conntrack", "--ctstate", "SNAT"],
    "ipsec": ["-m", "policy", "--dir", "out", "--pol", "ipsec"],
}
#: No iptables table comes after nat POSTROUTING, and nat refuses DROP. Therefore the guard has two halves. The one in
#: mangle, before the NAT, drops what will not be translated: untracked and invalid packets, packets of connections that
#: began without translation, and new connections that no NAT item matches. It must pass new connections that an item
#: matches. For these, the half in nat, after the NAT items, repeats the same items, in case somebody removed them. "!
#: --ctstate SNAT" is a second match, because one match cannot express both.
GUARDS: t.Tuple[t.List[str], ...] = (
    ["-m", "conntrack", "--ctstate", "INVALID,NEW,UNTRACKED"],
    [
        "-m",
        "conntrack",
        "--ctstate",
        "RELATED,ESTABLISHED",
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
