# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""nftables: one table of our own, read with one ``nft -j list table``, replaced with one ``nft -j -f -``."""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
from dataclasses import replace
from hashlib import sha256

from ..._errors import GatewayError, MissingProgram
from ..._plan import Row
from ..._rules import (
    Action,
    Chain,
    Match,
    Rule,
    collapse,
    family_of,
    is_host,
    is_suffix,
    network,
    owner,
    split_wildcards,
)
from ..._values import addresses_in, ends_of
from ..base import Backend
from .lookup import FEW, Lookup, arranged
from .text import words

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._host import Host, Sight
    from ..._plan import Rows
    from ..._rules import RuleSet

Json = t.Any

#: The packets that a limit passes at once: the default of nft and iptables.
DEFAULT_BURST = 5
#: The maximum number of addresses in a pool of several ranges, each of which becomes a map element.
MOST_IN_POOL = 1024

#: Documented, and never a default priority: at equal priority, the chain registered last wins (measured, Linux 6.18),
#: so a restart of another tool would change the winner. Our chains filter and translate just before the defaults
#: (filter 0, srcnat 100); the guard comes after every srcnat. https://wiki.nftables.org Netfilter hooks
PRIORITIES = {
    "arrive": -105,
    "outside": -106,
    "helper": -105,
    "timers": -155,
    "reach": -6,
    "filter": -4,
    "offload": -3,
    "nat": 95,
    "unseen": 149,
    "guard": 150,
    "fence": 151,
}
#: The first instance filters before the others, so its marks need no chain of their own at the hook, which would cost
#: each packet more than one test.
FIRST = {"filter": -5, "offload": -4}
#: Before the dstnat (-100) of Docker and others, because the first translation of a flow wins; the fence as early as
#: the kernel takes a NAT chain.
PREROUTING = {"nat": -105, "fence": -199}
#: Chains loaded as text in a second step: before 1.0.9, nft loses timers given in JSON. Both chains handle connections
#: that the first step accepts, so nothing is open or closed in between.
LATE_CHAINS = ("timers", "offloaded")
LATE_OBJECTS = ("timers", "flowtable")
#: Separates the second step in the script, so that both fit in one string.
MARK = "# and then\n"
#: The hook priority of the flowtable's devices: the default priority of filter.
FLOWTABLE = {"name": "offloaded", "hook": "ingress", "prio": 0}
#: A NAT chain after all others sees the first packet of flows that none of them translated.
TYPES = {stage: "nat" if stage in ("nat", "unseen", "outside", "fence") else "filter" for stage in PRIORITIES}

#: nft knows protocols through /etc/protocols, which minimal hosts lack: there it accepts and lists numbers only
#: (measured, 1.0.6). https://www.iana.org/assignments/protocol-numbers
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "vrrp": 112,
    "sctp": 132,
}
NUMBERS = dict(PROTOCOLS, **{"ipv6-icmp": 58})
NAMES = {number: name for name, number in PROTOCOLS.items()}
L4PROTO = {"meta": {"key": "l4proto"}}
#: The kernel skips an IPv6 authentication header when it searches for the last protocol (ipv6_find_hdr, measured, Linux
#: 6.18), so it is matched where RFC 8200 section 4.1 puts it: first, unless options precede it.
NEXT_HEADER = {"payload": {"protocol": "ip6", "field": "nexthdr"}}
NFPROTO = {"meta": {"key": "nfproto"}}
MARK_OF_PACKET = {"meta": {"key": "mark"}}
ALL_BITS = 0xFFFFFFFF
#: nft accepts numbers, and lists known ones by these names: src/proto.c
ICMP_NAMES = {
    "icmp": {
        3: "destination-unreachable",
        8: "echo-request",
        9: "router-advertisement",
        10: "router-solicitation",
        11: "time-exceeded",
        12: "parameter-problem",
    },
    "icmpv6": {
        1: "destination-unreachable",
        2: "packet-too-big",
        3: "time-exceeded",
        4: "parameter-problem",
        128: "echo-request",
        130: "mld-listener-query",
        131: "mld-listener-report",
        132: "mld-listener-done",
        133: "nd-router-solicit",
        134: "nd-router-advert",
        135: "nd-neighbor-solicit",
        136: "nd-neighbor-advert",
        143: "mld2-listener-report",
    },
}

#: The packets that carry the MSS option.
SYN = Match(tcp_syn=True)
#: Prefix of the chain whose name identifies the loaded text.
FENCE_TEXT = "text-"
#: A dormant table: its rules exist but have no effect.
DORMANT = Row("", json.dumps({"table": {"flags": "dormant"}}))
OWNER = re.compile(r"ipmasq:[a-z0-9_]+/(.+)\Z")


class Nftables(Backend):
    name = "nftables"
    features: t.ClassVar[t.Dict[str, str]] = {  # type: ignore[misc]
        "masquerade": "",
        "snat": "",
        "snat_pool": "by a hash of the client's address; up to 1,024 addresses",
        "netmap": "",
        "dnat": "",
        "dnat_shift": "",
        "balance_round_robin": "",
        "balance_source": "",
        "hairpin_external": "the address that the client connected to",
        "random_ports": "",
        "to_port": "",
        "ipsec": "",
        "rate": "",
        "guard": "after the NAT, sees every packet",
        "clamp_mss": "",
        "set_mss": "",
        "helper": "",
        "log": "",
        "timers": "",
        "offload": "if the kernel has flowtables",
    }
    programs = "nft"

    def render(self, ruleset: RuleSet) -> Rows:
        rows = _helper_rows(ruleset) + _timer_rows(ruleset)
        if any(rule.action.kind == "offload" for rule in ruleset.rules):
            rows.append(Row("", _text({"flowtable": FLOWTABLE}), "flowtable"))
        ruleset = _with_mss_inside(_with_reaches_inside(ruleset))
        rows += [_chain_row(chain.name, chain.hook, chain.stage, ruleset.instance) for chain in ruleset.chains]
        known = {chain.name for chain in ruleset.chains}
        # A chain after the NAT sees its result and needs no expect_nat.
        rules = [rule for rule in ruleset.rules if rule.action.kind != "expect_nat"]
        for part in arranged(rules, "dstnat" if ruleset.whole else "", "between"):
            if part.chain not in known:
                rows.append(_chain_row(part.chain))
            for rule in part.rules:
                rows += _rows_of(rule, part.chain, ruleset)
        return tuple(rows)

    def parse(self, listing: str, instance: str) -> Rows:
        if not listing:
            return ()
        rows = []
        try:
            entries = json.loads(listing)["nftables"]
        except ValueError:
            # nft 1.0.6 cuts off the flags of a table that has nothing else.
            return (DORMANT,)
        for entry in entries:
            ((kind, body),) = entry.items()
            if kind == "table" and "flags" in body:
                # Our table has no flags. nft 1.0.6 does not list which flags are set.
                rows.append(DORMANT)
            elif kind == "rule":
                packets, octets = _counted(body["expr"])
                row = _rule_row(body["chain"], _canonical(body["expr"]), body.get("comment", ""))
                rows.append(Row(row.chain, row.text, row.key, packets, octets))
            elif kind == "chain":
                kept = {key: body[key] for key in ("type", "hook", "prio", "policy") if key in body}
                rows.append(Row(body["name"], _text({"chain": kept}), "chain"))
            elif kind not in ("metainfo", "table"):
                # The devices of a flowtable depend on existing links; the policy is in the name of the timers.
                apart = ("family", "table", "handle", "dev", "policy")
                kept = {key: value for key, value in body.items() if key not in apart}
                if str(kept.get("protocol", "")).isdigit():
                    kept["protocol"] = NAMES.get(int(kept["protocol"]), kept["protocol"])
                rows.append(Row("", _text({kind: kept}), OBJECTS.get(kind, "")))
        # Put the chain before its rules, as render does; nft lists all chains of a table before the first rule.
        return tuple(rows)

    def script(self, desired: Rows, live: Rows, instance: str) -> str:
        counted = {row: row for row in live}
        return _transaction([counted.get(row, row) for row in desired], instance)

    def boot_files(self, desired: Rows, instance: str, instead_of: Rows = ()) -> t.Dict[str, str]:
        script, _mark, late = _transaction(desired, instance).partition(MARK)
        files = {".nft": script}
        if late:
            files[".late.nft"] = late
        return files

    def boot_lines(self, stem: str, instance: str) -> t.List[str]:
        # Without timers and offload, the gateway still works.
        late = "[ ! -e {0}.late.nft ] || nft -f {0}.late.nft || echo 'ipmasq: timers and offload were refused' >&2"
        return ["nft -j -f {0}.nft".format(stem), late.format(stem)]

    def read(self, host: Sight, instance: str) -> str:
        done = host.ask(["nft", "-j", "list", "table", "inet", table(instance)])
        if done.rc == 0:
            return done.out
        if done.rc == 127:
            raise MissingProgram(
                "nft", "nft is not installed, and table inet {0} may exist; install nftables".format(table(instance))
            )
        if "No such file or directory" in done.err:
            return ""
        raise GatewayError("nft: cannot list table inet {0}: {1}".format(table(instance), _first_line(done.err)))

    def load(self, host: Host, script: str) -> None:
        script, _mark, late = script.partition(MARK)
        done = host.run(["nft", "-j", "-f", "-"], stdin=script)
        if done.rc == 0 and late:
            done = host.run(["nft", "-f", "-"], stdin=late)
        if done.rc != 0:
            raise GatewayError("nft: the rules were refused: {0}".format(explain(done.err)))

    def offload_devices(self, listing: str) -> t.Optional[t.Set[str]]:
        for entry in json.loads(listing)["nftables"] if listing else ():
            if entry.get("flowtable", {}).get("name") == FLOWTABLE["name"]:
                devices = entry["flowtable"].get("dev", [])
                return {devices} if isinstance(devices, str) else set(devices)
        return None

    def add_offload_devices(self, host: Host, instance: str, devices: t.Iterable[str]) -> None:
        script = "".join(flowtable_text(instance, '"{0}"'.format(device)) + "\n" for device in devices)
        done = host.run(["nft", "-f", "-"], stdin=script)
        if done.rc != 0:
            raise GatewayError("offload: {0} refused: {1}".format(", ".join(devices), _first_line(done.err)))

    def offload_line(self, instance: str) -> str:
        return "nft '{0}' || true".format(flowtable_text(instance, '"\'"$link"\'"'))

    def check_offload(self, host: Sight) -> None:
        probe = "add table inet ipmasq_probe\n{0}\n".format(flowtable_text("probe"))
        done = host.ask(["nft", "-c", "-f", "-"], stdin=probe)
        if done.rc != 0:
            raise GatewayError(
                "offload: this kernel has no flowtables (module nf_flow_table_inet, Linux 5.8): {0}; set offload to "
                "none".format(_first_line(done.err))
            )

    def overrules(self, family: str, table: str) -> bool:
        return family == "inet" and (table == "ipmasq" or table.startswith("ipmasq_"))

    def show(self, row: Row) -> str:
        ((kind, body),) = json.loads(row.text).items()
        if kind == "rule":
            text = " ".join(word for part in body["expr"] for word in words(_named(part)))
            note = ' comment "{0}"'.format(body["comment"]) if "comment" in body else ""
            return "{0}: {1}{2}".format(row.chain, text, note)
        return "{0} {1}: {2}".format(kind, row.chain or body.get("name", ""), " ".join(str(body[key]) for key in body))

    def drops(self, row: Row) -> bool:
        return _text({"drop": None}) in row.text

    def is_frame(self, row: Row) -> bool:
        return row.key == "chain" or not row.chain


def _named(part: Json) -> Json:
    """Replace a protocol number with its name."""
    if "match" in part and part["match"]["left"] in (L4PROTO, NEXT_HEADER):
        return _match(part["match"]["left"], NAMES.get(part["match"]["right"], part["match"]["right"]))
    return part


#: Our objects: nft's keyword to the key of their rows.
OBJECTS = {"ct helper": "helper", "ct timeout": "timers", "flowtable": "flowtable"}


def fence_table(instance: str) -> str:
    """No instance is called so: their names have no hyphen."""
    return "ipmasq-fence" if instance == "default" else "ipmasq-fence-" + instance


def fence_text(ruleset: RuleSet) -> str:
    """A table that belongs to the process that loads this, as one transaction that replaces an earlier one.

    As text, because nft before 1.0.9 accepts no flags in JSON. The name of an empty chain identifies the loaded text.
    """
    place = "inet " + fence_table(ruleset.instance)
    chains, lines = [], []
    for row in Nftables().render(ruleset):
        ((kind, body),) = json.loads(row.text).items()
        if kind == "chain" and body:
            hook = "type {type} hook {hook} priority {prio}; policy {policy};".format(**body)
            chains.append("add chain {0} {1} {{ {2} }}".format(place, row.chain, hook))
        elif kind == "chain":
            chains.append("add chain {0} {1}".format(place, row.chain))
        else:
            text = " ".join(word for part in body["expr"] for word in words(part) or ["counter"])
            lines.append('add rule {0} {1} {2} comment "{3}"'.format(place, row.chain, text, body["comment"]))
    lines = chains + lines
    known = sha256("\n".join(lines).encode()).hexdigest()[:16]
    head = ["add table " + place, "delete table " + place, "add table {0} {{ flags owner; }}".format(place)]
    lines = [*head, "add chain {0} {1}{2}".format(place, FENCE_TEXT, known), *lines]
    return "".join(line + "\n" for line in lines)


def flowtable_text(instance: str, devices: str = "") -> str:
    """For the shell and for nft; an existing flowtable gets these devices in addition."""
    return "add flowtable inet {0} {1} {{ hook {2} priority {3}; {4}}}".format(
        table(instance),
        FLOWTABLE["name"],
        FLOWTABLE["hook"],
        FLOWTABLE["prio"],
        "devices = {{ {0} }}; ".format(devices) if devices else "",
    )


def table(instance: str) -> str:
    return "ipmasq" if instance == "default" else "ipmasq_" + instance


def explain(err: str) -> str:
    """nft's message, with an explanation of unclear ones."""
    line = _first_line(err)
    if "Operation not supported" in err or ("No such file or directory" in err and "chain" in err):
        return line + " (this kernel lacks nftables NAT or a module of it: modprobe nft_chain_nat nft_masq nft_ct)"
    return line


def _first_line(err: str) -> str:
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return lines[0] if lines else "no message"


def _transaction(rows: t.Iterable[Row], instance: str) -> str:
    """Add, delete, add: nft before 1.0.7 has no "destroy", and a chain's priority cannot change in place."""
    place = {"family": "inet", "table": table(instance)}
    whole = {"table": {"family": "inet", "name": table(instance)}}
    commands: t.List[Json] = [{"add": whole}, {"delete": whole}]
    late = [row for row in rows if row.chain in LATE_CHAINS or row.key in LATE_OBJECTS]
    listed = [row for row in rows if row not in late]
    if listed:
        commands.append({"add": whole})
    # Objects come before the rules that refer to them.
    for row in sorted(listed, key=lambda row: (bool(row.chain), row.key != "chain")):
        ((kind, body),) = json.loads(row.text).items()
        if kind == "table":
            continue
        if kind == "chain":
            body = dict(body, name=row.chain)
        elif kind == "rule":
            body = dict(body, chain=row.chain, expr=_with_counts(body["expr"], row))
        commands.append({"add": {kind: dict(body, **place)}})
    # One command per line, because people read this file, too.
    script = '{"nftables": [\n' + ",\n".join(json.dumps(command) for command in commands) + "\n]}\n"
    return script + (MARK + _late_text(late, instance) if late else "")


def _late_text(rows: t.Iterable[Row], instance: str) -> str:
    """What nft accepts only as text, as lines that add to the table."""
    lines, place = [], "inet " + table(instance)
    for row in sorted(rows, key=lambda row: (bool(row.chain), row.key != "chain")):
        ((kind, body),) = json.loads(row.text).items()
        if kind == "flowtable":
            lines.append(flowtable_text(instance))
        elif kind == "ct timeout":
            policy = ", ".join("{0} : {1}".format(*state) for state in _policy(body["name"]))
            lines.append(
                "add ct timeout {0} {1} {{ protocol {2}; l3proto {3}; policy = {{ {4} }}; }}".format(
                    place, body["name"], body["protocol"], body["l3proto"], policy
                )
            )
        elif kind == "chain":
            hook = "type {type} hook {hook} priority {prio}; policy {policy};".format(**body)
            lines.append("add chain {0} {1} {{ {2} }}".format(place, row.chain, hook))
        else:
            parts = _with_counts(body["expr"], row)
            text = " ".join(word for part in parts for word in words(part) or ["counter"])
            lines.append('add rule {0} {1} {2} comment "{3}"'.format(place, row.chain, text, body["comment"]))
    return "".join(line + "\n" for line in lines)


def _with_counts(expr: t.List[Json], row: Row) -> t.List[Json]:
    """A rule that stays keeps its counters."""
    counts = {"packets": row.packets, "bytes": row.bytes} if row.packets else None
    return [{"counter": counts} if "counter" in part else part for part in expr]


def _counted(expr: t.List[Json]) -> t.Tuple[int, int]:
    for part in expr:
        if isinstance(part.get("counter"), dict):
            return part["counter"]["packets"], part["counter"]["bytes"]
    return 0, 0


def _chain_row(name: str, hook: str = "", stage: str = "", instance: str = "default") -> Row:
    body: t.Dict[str, Json] = {}
    if hook:
        known = dict(PRIORITIES, **FIRST) if instance == "default" else PRIORITIES
        priority = PREROUTING.get(stage, known[stage]) if hook == "prerouting" else known[stage]
        body = {"type": TYPES[stage], "hook": hook, "prio": priority, "policy": "accept"}
    return Row(name, _text({"chain": body}), "chain")


def _helper_rows(ruleset: RuleSet) -> t.List[Row]:
    """Helpers are objects of the table, one per protocol and family."""
    names = {}
    for rule in ruleset.rules:
        if rule.action.kind == "helper":
            body = {"type": rule.action.target, "protocol": rule.match.protocol, "l3proto": rule.match.family}
            names[_helper_name(rule)] = _text({"ct helper": dict(body, name=_helper_name(rule))})
    return [Row("", text, "helper") for _name, text in sorted(names.items())]


def _timer_rows(ruleset: RuleSet) -> t.List[Row]:
    """Timers are objects, too. nft 1.0.6 does not list their policies, so the name contains the policy."""
    names = {}
    for rule in ruleset.rules:
        if rule.action.kind == "timers":
            body = {"name": _timer_name(rule), "protocol": rule.match.protocol, "l3proto": rule.match.family}
            names[body["name"]] = _text({"ct timeout": body})
    return [Row("", text, "timers") for _name, text in sorted(names.items())]


def _timer_name(rule: Rule) -> str:
    """A name such as ip-udp-replied-3600-unreplied-300."""
    policy = ["{0}-{1}".format(*state) for state in rule.action.timers]
    return "-".join([rule.match.family, rule.match.protocol] + policy)


def _policy(name: str) -> t.List[t.Tuple[str, str]]:
    words = name.split("-")[2:]
    return list(zip(words[::2], words[1::2]))


def _helper_name(rule: Rule) -> str:
    """A name such as sip-udp-ip6, without dots, unlike the kernel's Q.931."""
    return "-".join((rule.action.target.replace(".", ""), rule.match.protocol, rule.match.family)).lower()


def _with_mss_inside(ruleset: RuleSet) -> RuleSet:
    """The filter chain sets the MSS, because another chain at the hook costs each packet more than one test."""
    mss = next((chain.name for chain in ruleset.chains if chain.stage == "mangle"), "")
    if not mss:
        return ruleset
    chains = tuple(Chain(mss) if chain.name == mss else chain for chain in ruleset.chains)
    rules = [
        replace(rule, match=replace(rule.match, tcp_syn=False)) if rule.chain == mss else rule for rule in ruleset.rules
    ]
    return replace(ruleset, chains=chains, rules=(Rule("forward", SYN, Action("jump", mss), "mss"), *rules))


def _with_reaches_inside(ruleset: RuleSet) -> RuleSet:
    """The first instance sets marks in the filter chain, where one test separates new, related and invalid packets."""
    first = [rule for rule in ruleset.rules if rule.chain == "reaches"]
    if not first or ruleset.instance != "default":
        return ruleset
    jump, others, inside = first[0], first[1:], first[0].action.target
    invalid = [rule for rule in ruleset.rules if (rule.chain, rule.match.ct_state) == ("forward", ("invalid",))]
    rest = [rule for rule in ruleset.rules if rule.chain != "reaches" and rule not in invalid]
    head = replace(jump, chain="forward", match=replace(jump.match, ct_state=("invalid", *jump.match.ct_state)))
    moved = [replace(rule, chain=inside) for rule in invalid]
    chains = tuple(chain for chain in ruleset.chains if chain.name != "reaches")
    others = [replace(rule, chain="forward") for rule in others]
    return replace(ruleset, chains=chains, rules=(head, *others, *moved, *rest))


def _rows_of(rule: Rule | Lookup, chain: str, ruleset: RuleSet) -> t.List[Row]:
    if isinstance(rule, Lookup):
        return [_rule_row(chain, _lookup(rule), owner(ruleset.instance, "jump"))]
    # Packets that go on to another chain are counted there.
    counted: t.List[Json] = [] if rule.action.kind in ("jump", "goto") else [{"counter": None}]
    return [
        _rule_row(chain, _matches(each, rule.action.kind == "guard") + counted + _action(rule), ruleset.owner(rule))
        for match in split_wildcards(rule.match)
        for each in by_length(match)
    ]


def by_length(match: Match) -> t.List[Match]:
    """Split many networks into sets of one prefix length each, in which one hash finds a masked address.

    A set of mixed networks is a tree; with 10,000 of them, a new flow costs a third more (docs/performance.md).
    """
    if match.rate:
        return [match]  # a limit applies to all of them together
    return [
        replace(match, source=source, destination=destination)
        for source in _lengths(match.source)
        for destination in _lengths(match.destination)
    ]


def _lengths(networks: t.Tuple[str, ...]) -> t.List[t.Tuple[str, ...]]:
    if len(networks) <= FEW:
        return [networks]
    lengths: t.Dict[str, t.List[str]] = {}
    for net in networks:
        lengths.setdefault(net.partition("/")[2], []).append(net)
    many = [tuple(nets) for nets in lengths.values() if len(nets) > FEW]
    rest = tuple(net for nets in lengths.values() if len(nets) <= FEW for net in nets)
    return many + [rest] * bool(rest)


def _lookup(rule: Lookup) -> t.List[Json]:
    port = _payload(rule.protocol, "dport")
    key = {"concat": [_payload(rule.family, "daddr"), port]} if rule.family else port
    data = [
        [{"concat": list(known)} if rule.family else _ports(t.cast("t.Any", known)), {"jump": {"target": name}}]
        for known, name in rule.targets.items()
    ]
    return [{"vmap": {"key": key, "data": {"set": sorted(data, key=_text)}}}]


def _rule_row(chain: str, expr: t.List[Json], comment: str) -> Row:
    owned = OWNER.match(comment)
    body = {"expr": expr, "comment": comment} if comment else {"expr": expr}
    return Row(chain, _text({"rule": body}), owned.group(1) if owned else "")


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def _match(left: Json, right: Json, op: str = "==") -> Json:
    return {"match": {"op": op, "left": left, "right": right}}


#: What else a match may say, in this order.
WORDS = {
    # Only in prerouting: kernels before 6.0 refuse it elsewhere.
    "routed": _match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, True),
    "astray": _match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False),
    "foreign": _match({"fib": {"result": "type", "flags": ["saddr"]}}, "local", "!="),
    "translated": _match({"ct": {"key": "status"}}, "dnat", "in"),
    "mapped": _match({"ct": {"key": "status"}}, "snat", "in"),
    "decrypted": _match({"meta": {"key": "ipsec"}}, True),
    "ipsec": _match({"rt": {"key": "ipsec"}}, True),
}
LOOKED_UP = {
    "local": _match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"),
    "elsewhere": _match({"fib": {"result": "type", "flags": ["daddr", "iif"]}}, "local", "!="),
}


def _matches(match: Match, guard: bool = False) -> t.List[Json]:
    links = [
        _match({"meta": {"key": key}}, _one_or_set(names))
        for key, names in (("iifname", match.iif), ("oifname", match.oif))
        if names
    ]
    addresses, state = _addresses(match), _state(match)
    # The rarest match first: an invalid packet or, after the NAT, a LAN's source (unless there are many networks).
    if match.ct_state == ("invalid",):
        expr = state + links + addresses
    elif guard and len(match.source) == 1:
        expr = addresses + links + state
    else:
        expr = links + addresses + state
    if match.mark:
        value, bits = match.mark
        expr.append(_match({"&": [MARK_OF_PACKET, bits]}, value))
    expr += [said for name, said in WORDS.items() if getattr(match, name)]
    expr += _protocol(match) + _asked(match)
    # Last, because these are look-ups, and few packets of other ports get here.
    expr += [said for name, said in LOOKED_UP.items() if getattr(match, name)]
    if match.rate:
        rate, per = match.rate.split("/")
        expr.append({"limit": {"rate": int(rate), "per": per}})
    return expr


def _asked(match: Match) -> t.List[Json]:
    """Conntrack's original tuple. nft accepts a port here only after a protocol."""
    expr = []
    for nets, op in ((match.asked, "=="), (match.not_asked, "!=")):
        if nets:
            left = {"ct": {"key": family_of(nets[0]) + " daddr", "dir": "original"}}
            expr.append(_match(left, _one_or_set([_address(net) for net in nets]), op))
    if match.asked_port:
        expr.append(_match({"ct": {"key": "proto-dst", "dir": "original"}}, _ports(match.asked_port)))
    return expr


def _state(match: Match) -> t.List[Json]:
    states = sorted(match.ct_state)
    expr = [_match({"ct": {"key": "state"}}, states[0] if len(states) == 1 else states, "in")] if states else []
    return expr + ([_match({"ct": {"key": "direction"}}, match.direction)] if match.direction else [])


def _addresses(match: Match) -> t.List[Json]:
    sides = (
        # The guard sees the source with which a packet leaves.
        ("saddr", match.source or match.leaves_as, "=="),
        ("daddr", match.destination, "=="),
        ("daddr", match.not_destination, "!="),
    )
    expr = [_match(*_networks(side, nets), op) for side, nets, op in sides if nets]
    # ICMP, header fields and addresses of conntrack imply a family; nft omits the other match (1.1 the last one, too).
    own = match.protocol.startswith("icmp") or (match.family, match.protocol) == ("ip6", "ah")
    if match.family and not expr and not own and not match.asked and not match.not_asked:
        expr.append(_match(NFPROTO, {"ip": "ipv4", "ip6": "ipv6"}[match.family]))
    return expr


def _networks(side: str, networks: t.Tuple[str, ...]) -> t.Tuple[Json, Json]:
    """The part of the packet to compare, and the value."""
    address, first = _payload(family_of(networks[0]), side), networks[0]
    if is_suffix(first):
        suffix, mask = first.split("/")
        return {"&": [address, mask]}, suffix
    if len(networks) <= FEW or len({net.partition("/")[2] for net in networks}) > 1 or is_host(first):
        return address, _one_or_set([_address(net) for net in networks])
    starts = [net.partition("/")[0] for net in networks]
    return {"&": [address, str(network(first).netmask)]}, _one_or_set(starts)


def _protocol(match: Match) -> t.List[Json]:
    if match.tcp_syn:
        return [_match({"&": [_payload("tcp", "flags"), {"|": ["rst", "syn"]}]}, "syn")]
    if match.port:
        return [_match(_payload(match.protocol, "dport"), _one_or_set([_ports(ports) for ports in match.port]))]
    if match.icmp_type:
        names = [ICMP_NAMES[match.protocol].get(kind, kind) for kind in match.icmp_type]
        return [_match(_payload(match.protocol, "type"), _one_or_set(names))]
    if match.protocol:
        place = NEXT_HEADER if (match.family, match.protocol) == ("ip6", "ah") else L4PROTO
        return [_match(place, PROTOCOLS[match.protocol])]
    return []


def _payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def _ports(ports: t.Sequence[int]) -> Json:
    first, last = ports
    return first if first == last else {"range": [first, last]}


def _action(rule: Rule) -> t.List[Json]:
    action, kind = rule.action, rule.action.kind
    if kind in ("snat", "dnat", "netmap", "hairpin"):
        return [_translation(rule)]
    if kind in ("clamp_mss", "set_mss"):
        # The kernel uses the smaller MTU of both directions' routes: net/netfilter/nft_rt.c, get_tcpmss()
        size: Json = {"rt": {"key": "mtu"}} if kind == "clamp_mss" else action.size
        return [{"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": size}}]
    if kind == "mark":
        return [{"mangle": {"key": MARK_OF_PACKET, "value": {"|": [MARK_OF_PACKET, action.size]}}}]
    if kind == "unmark":
        return [{"mangle": {"key": MARK_OF_PACKET, "value": {"&": [MARK_OF_PACKET, ALL_BITS ^ action.size]}}}]
    if kind == "timers":
        return [{"ct timeout": _timer_name(rule)}, {"accept": None}]
    known: t.Dict[str, Json] = {
        "offload": {"flow": {"op": "add", "flowtable": "@" + str(FLOWTABLE["name"])}},
        "jump": {"jump": {"target": action.target}},
        "goto": {"goto": {"target": action.target}},
        "guard": {"drop": None},
        "log": {"log": {"prefix": action.target}},
        "log_guard": {"log": {"prefix": action.target}},
        "reject": {"reject": {"type": "icmpx", "expr": "admin-prohibited"}},
        "masquerade": {"masquerade": _with_flags(action, {}) or None},
        "helper": {"ct helper": _helper_name(rule)},
    }
    return [known.get(kind, {kind: None})]


def _translation(rule: Rule) -> Json:
    action, family = rule.action, rule.match.family
    body: t.Dict[str, Json] = {"family": family}
    if action.kind == "hairpin":
        body["addr"] = {"ct": {"key": family + " daddr", "dir": "original"}}
        return {"snat": body}
    if action.kind == "netmap":
        body.update(addr=_address(action.to[0]), flags="netmap", type_flags="prefix")
        return {"dnat" if rule.match.iif else "snat": body}
    if action.kind == "snat":
        body["addr"] = _pool(action, family)
        return {"snat": _with_flags(action, body)}
    body["addr"] = action.to[0] if len(action.to) == 1 else _spread(action.to, _chooser(action.balance, family))
    if action.ports:
        body["port"] = _shifted(rule) if action.shift else action.ports[0]
    return {"dnat": body}


def _pool(action: Action, family: str) -> Json:
    """One address or range unchanged. Several ranges: by a hash of the client, or in turn."""
    if len(action.to) == 1:
        first, last = ends_of(action.to[0])
        return first if first == last else {"range": [first, last]}
    addresses = [address for entry in action.to for address in addresses_in(entry, MOST_IN_POOL) or ()]
    return _spread(addresses, _chooser("source" if action.persistent else "round_robin", family))


def _chooser(balance: str, family: str) -> Json:
    if balance == "source":
        # Without a seed, each load uses another one and redistributes the clients.
        return {"jhash": {"expr": _payload(family, "saddr"), "seed": 1}}
    return {"numgen": {"mode": "inc", "offset": 0}}


def _spread(values: t.Sequence[Json], chooser: Json) -> Json:
    ((kind, body),) = chooser.items()
    key = {kind: dict(body, mod=len(values))}
    return {"map": {"key": key, "data": {"set": [[index, value] for index, value in enumerate(values)]}}}


def _shifted(rule: Rule) -> Json:
    """nft cannot express an offset from the first port, so each port is listed."""
    (first, last), (to_first, _to_last) = rule.match.port[0], t.cast("t.Any", rule.action.ports)
    pairs = [[first + step, to_first + step] for step in range(last - first + 1)]
    return {"map": {"key": _payload(rule.match.protocol, "dport"), "data": {"set": pairs}}}


def _with_flags(action: Action, body: t.Dict[str, Json]) -> t.Dict[str, Json]:
    if action.ports:
        body["port"] = _ports(action.ports)
    pool = action.kind == "snat" and action.persistent and _is_range(action.to)
    flags = ["fully-random"] * action.random + ["persistent"] * pool
    if flags:
        body["flags"] = flags[0] if len(flags) == 1 else flags
    return body


def _is_range(to: t.Sequence[str]) -> bool:
    return len(to) == 1 and "-" in to[0]


def _address(network: str) -> Json:
    address, length = network.split("/")
    if length == ("128" if ":" in address else "32"):
        return address
    return {"prefix": {"addr": address, "len": int(length)}}


def _one_or_set(values: t.Sequence[Json]) -> Json:
    """nft turns a set of one element into that element."""
    ordered = sorted(values, key=_text)
    return ordered[0] if len(ordered) == 1 else {"set": ordered}


def _canonical(expr: t.List[Json]) -> t.List[Json]:
    """Remove differences between loaded and listed rules, and between versions of nft."""
    if any("vmap" in part for part in expr):
        # 0.9.8 lists what the addresses in the key imply.
        expr = [part for part in expr if part.get("match", {}).get("left") != NFPROTO]
    return [_canonical_part(part) for part in expr]


def _canonical_part(part: Json) -> Json:
    if "counter" in part:
        return {"counter": None}
    if "vmap" in part or "match" in part:
        return _canonical_lookup(part)
    if "limit" in part and part["limit"].get("burst") == DEFAULT_BURST:
        # 0.9.8 omits what later versions print.
        return {"limit": {key: value for key, value in part["limit"].items() if key != "burst"}}
    if "snat" in part and part["snat"].get("flags") != "netmap":
        # nft lists a range that equals a network as that network.
        return {"snat": dict(part["snat"], addr=_range(part["snat"].get("addr")))}
    return part


def _canonical_lookup(part: Json) -> Json:
    if "vmap" in part:
        data = part["vmap"].get("data")
        known = isinstance(data, dict) and "set" in data
        return {"vmap": dict(part["vmap"], data={"set": sorted(data["set"], key=_text)})} if known else part
    match = part["match"]
    if match["left"] in (L4PROTO, NEXT_HEADER) and isinstance(match["right"], str):
        return _match(match["left"], NUMBERS.get(match["right"], match["right"]), match["op"])
    return _match(_flat(match["left"]), _right(match["left"], match["right"]), match["op"])


def _range(addr: Json) -> Json:
    if isinstance(addr, dict) and "prefix" in addr:
        net = ipaddress.ip_network("{addr}/{len}".format(**addr["prefix"]))
        return {"range": [str(net.network_address), str(net.broadcast_address)]}
    return addr


def _flat(left: Json) -> Json:
    """A mask of flags in the form that every version takes: 0.9.8 and 1.1.3 list {"|": [...]}, 1.0.6 lists [...]."""
    if isinstance(left, dict) and "&" in left:
        value, mask = left["&"]
        if isinstance(mask, list) or (isinstance(mask, dict) and "|" in mask):
            return {"&": [value, {"|": sorted(_flags(mask), key=str)}]}
    return left


def _flags(mask: Json) -> t.List[Json]:
    """The flags of a mask, however it is nested: [a, b], {"|": [a, b]} or {"|": [{"|": [a, b]}, c]}."""
    if isinstance(mask, dict) and "|" in mask:
        mask = mask["|"]
    return [flag for part in mask for flag in _flags(part)] if isinstance(mask, list) else [mask]


def _right(left: Json, right: Json) -> Json:
    if isinstance(right, list):
        return sorted(right, key=_text) if len(right) > 1 else right[0]
    payload, tracked = (left.get(kind, {}) if isinstance(left, dict) else {} for kind in ("payload", "ct"))
    addresses = payload.get("protocol") in ("ip", "ip6") and payload.get("field") in ("saddr", "daddr")
    addresses = addresses or tracked.get("key") in ("ip daddr", "ip6 daddr")
    if addresses and isinstance(right, dict) and "range" in right:
        # As nft reads back a set of one range that it printed.
        right = {"set": [right]}
    if not (isinstance(right, dict) and "set" in right):
        return right
    if addresses and all(_is_network(element) for element in right["set"]):
        networks = [net for element in right["set"] for net in _covered(element)]
        return _one_or_set([_address(net) for net in collapse(networks)])
    return _one_or_set(right["set"])


def _is_network(element: Json) -> bool:
    """Whether we would write this element; one with a comment or a timeout is foreign and stays unchanged."""
    return isinstance(element, str) or (isinstance(element, dict) and bool({"prefix", "range"} & set(element)))


def _covered(element: Json) -> t.List[str]:
    """The networks that a set element covers; nft lists adjacent networks that it merged as a range."""
    if isinstance(element, str):
        return [element + ("/128" if ":" in element else "/32")]
    if "prefix" in element:
        return ["{addr}/{len}".format(**element["prefix"])]
    first, last = (t.cast("t.Any", ipaddress.ip_address(end)) for end in element["range"])
    return [str(net) for net in ipaddress.summarize_address_range(first, last)]
