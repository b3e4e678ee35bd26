# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the playbook verify makes of the results of gateways and clients: one line for each promise and host. Pure."""

from __future__ import annotations

import ipaddress
import typing as t
from xml.etree import ElementTree as ET

HOLDS, BROKEN, UNMEASURABLE = OUTCOMES = ("holds", "broken", "unmeasurable")
#: Longer reasons would make the table unreadable; the JSON has all of them.
LONGEST = 160
#: Kinds of lines that are about what was read, without a packet.
UNTRIED = ("drift", "expected")
#: With one gateway, they have.
ONLY_CLIENTS = "{0}: no promise could be measured there, and clients do not say whether they have tried it"
Result = t.Mapping[str, t.Any]


class Row(t.NamedTuple):
    """One line of the table."""

    host: str
    name: str
    kind: str
    outcome: str
    reason: str = ""


# --- What the far side may see ---------------------------------------------------------------------------------------


def expected(gateways: t.Sequence[Result], routers: t.Sequence[str]) -> t.List[str]:
    """From the declarations of gateways, the addresses outside of a client with these routers. Empty: not known.

    ``gateways`` are results of gateway_info.
    """
    found: t.List[str] = []
    for each in gateways:
        own = {address for link in each.get("interfaces", ()) for address in link["addresses"]}
        if own & set(routers):
            found += _outside(each)
    return list(dict.fromkeys(found))


def _outside(gateway: Result) -> t.List[str]:
    links = [each["addresses"] for each in gateway["interfaces"] if each["role"] == "wan"]
    translated = [entry for item in gateway["nat"] if item["action"] != "exempt" for entry in item["to"]]
    exempt = any(item["action"] == "exempt" for item in gateway["nat"])
    networks = [net for lan in gateway["lans"] for net in lan["networks"] if exempt or _is_public(net)]
    return [address for addresses in links for address in addresses] + [
        entry for entry in translated + networks if _is_known(entry)
    ]


def _is_public(network: str) -> bool:
    """Networks that are routed, not translated."""
    try:
        net = ipaddress.ip_network(network)
    except ValueError:
        return False
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
    return not any(net.overlaps(each) for each in map(ipaddress.ip_network, private) if each.version == net.version)


def _is_known(entry: str) -> bool:
    """Not the end of an address whose beginning a provider decides."""
    first = entry.partition("-")[0]
    try:
        ipaddress.ip_network(first)
    except ValueError:
        return False
    return True


# --- The table -------------------------------------------------------------------------------------------------------


def report(entries: t.Sequence[Result], expectations: t.Sequence[Result], search: t.Any) -> t.Dict[str, t.Any]:
    """Rows, lines, JUnit and notes. ``search`` evaluates JMESPath; None if it is not installed."""
    rows = [row for entry in entries for row in rows_of(entry)]
    rows += expected_rows(entries, expectations, search)
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in OUTCOMES}
    notes = [note for entry in entries for note in _notes(entry)]
    silent, by_clients = _silent(entries, rows)
    notes += [ONLY_CLIENTS.format(host) for host in by_clients]
    if silent:
        notes.append("nothing was verified: no promise could be measured on " + ", ".join(silent))
    return {
        "rows": [dict(row._asdict()) for row in rows],
        "counts": counts,
        "verified": not silent and not counts[BROKEN],
        "lines": table(rows) + notes + [summary(counts)],
        "notes": notes,
        "junit": junit(rows),
    }


def _silent(entries: t.Sequence[Result], rows: t.Sequence[Row]) -> t.Tuple[t.List[str], t.List[str]]:
    """The gateways that no packet has tried, and those that only packets of clients may have tried.

    All hosts are of the first kind if no packet has tried any of them. A state that is as applied is nothing that
    packets have proven. Clients do not say which gateway they have tried.
    """
    tried = {row.host for row in rows if row.outcome == BROKEN or (row.outcome == HOLDS and row.kind not in UNTRIED)}
    if not tried:
        return [entry["host"] for entry in entries] or ["any host"], []
    gateways = [entry["host"] for entry in entries if entry["kind"] == "gateway"]
    left = [host for host in gateways if host not in tried]
    if tried & {entry["host"] for entry in entries if entry["kind"] == "client"}:
        return [], left if len(gateways) > 1 else []
    return left, []


def rows_of(entry: Result) -> t.List[Row]:
    """``entry``: the host, its kind, and the registered results of its tasks."""
    host, kind = entry["host"], entry["kind"]
    tasks = {"gateway": ("before", "proof"), "client": ("probe",), "reflector": ("started",)}[kind]
    rows = [row for task in tasks for row in _failed(host, task, entry.get(task))]
    if rows:
        return rows
    if kind == "gateway":
        return _applied(host, entry["before"]) + _results(host, entry["proof"])
    return _results(host, entry["probe"]) or _nothing(host, entry["probe"]) if kind == "client" else []


WORDS = {
    "before": "its state can be read",
    "proof": "it can be proven",
    "probe": "it can be asked",
    "started": "its reflector can be started",
}


def _failed(host: str, task: str, result: t.Optional[Result]) -> t.List[Row]:
    if result and not result.get("failed") and not result.get("unreachable"):
        return []
    reason = (result or {}).get("stderr") or (result or {}).get("msg") or "the task did not run"
    if (result or {}).get("unreachable"):
        reason = "unreachable: {0}".format(reason)
    return [Row(host, WORDS[task], "reach", BROKEN, " ".join(str(reason).split()))]


def _applied(host: str, info: Result) -> t.List[Row]:
    name = "what is live is what was applied"
    if info.get("pending"):
        reason = "a change by {0} awaits confirmation until {1}".format(
            info["pending"]["user"], info["pending"]["until"]
        )
        return [Row(host, name, "drift", UNMEASURABLE, reason)]
    if not info["applied"]:
        return [Row(host, name, "drift", BROKEN, "nothing was applied here")]
    outcome = HOLDS if info["as_applied"] else BROKEN
    return [Row(host, name, "drift", outcome, "; ".join(info["drift"]))]


def _results(host: str, result: Result) -> t.List[Row]:
    return [Row(host, each["name"], each["kind"], each["outcome"], _why(each)) for each in result["results"]]


def _why(result: t.Mapping[str, t.Any]) -> str:
    """The culprit comes first, as long reasons are cut."""
    return "; ".join(filter(None, (result.get("cause"), result["reason"])))


def _nothing(host: str, result: Result) -> t.List[Row]:
    return [Row(host, "it reaches servers outside", "reach", UNMEASURABLE, "; ".join(result["notes"]))]


def _notes(entry: Result) -> t.List[str]:
    found = [note for task in ("proof", "probe") for note in (entry.get(task) or {}).get("notes", ())]
    dropped = _guarded(entry.get("after")) - _guarded(entry.get("before"))
    if entry.get("after") and dropped > 0:
        found.append("its guard stopped {0} packets that would have left untranslated".format(dropped))
    return ["{0}: {1}".format(entry["host"], note) for note in found]


def _guarded(info: t.Optional[Result]) -> int:
    return sum(each["packets"] for each in (info or {}).get("counters", ()) if each["name"] == "guard")


# --- The user's own expectations -------------------------------------------------------------------------------------


def expected_rows(entries: t.Sequence[Result], expectations: t.Sequence[Result], search: t.Any) -> t.List[Row]:
    """Each query against the result of each host of its group."""
    rows: t.List[Row] = []
    for each in expectations:
        kind = "client" if each.get("group") == "lan_clients" else "gateway"
        answers = [(entry["host"], _answer(entry, each["query"], search)) for entry in entries if entry["kind"] == kind]
        rows += [_judged(host, each["name"], value) for host, value in answers]
    return rows


def _answer(entry: Result, query: str, search: t.Any) -> t.Any:
    """In gateway_info's result with ``proof``, or in nat_probe's."""
    data = dict(entry.get("after") or entry.get("before") or entry.get("probe") or {})
    return search(str(query), dict(data, proof=entry.get("proof")))


def _judged(host: str, name: str, value: t.Any) -> Row:
    if isinstance(value, bool):
        return Row(host, name, "expected", HOLDS if value else BROKEN, "" if value else "the query yields false")
    if value is None:
        return Row(host, name, "expected", BROKEN, "the result has no such value")
    reason = "the query yields '{0}', which is neither true nor false; compare it with something".format(value)
    return Row(host, name, "expected", BROKEN, reason)


# --- Forms -----------------------------------------------------------------------------------------------------------


def table(rows: t.Sequence[Row]) -> t.List[str]:
    """Broken promises come last, beside the summary, where they are seen."""
    ordered = sorted(rows, key=lambda row: (row.outcome == BROKEN, row.outcome == UNMEASURABLE))
    widths = [max([len(row[place]) for row in rows] + [0]) for place in (0, 1)]
    return [_line(row, widths) for row in ordered]


def _line(row: Row, widths: t.Sequence[int]) -> str:
    reason = row.reason if len(row.reason) <= LONGEST else row.reason[: LONGEST - 1] + "…"
    return "{0:<{3}}  {1:<12}  {2:<{4}}  {5}".format(row.host, row.outcome, row.name, *widths, reason).rstrip()


def summary(counts: t.Mapping[str, int]) -> str:
    return ", ".join("{0} {1}".format(counts[outcome], outcome) for outcome in OUTCOMES)


def junit(rows: t.Sequence[Row]) -> str:
    """As CI servers read it: one suite for each host."""
    root = ET.Element("testsuites")
    for host in dict.fromkeys(row.host for row in rows):
        own = [row for row in rows if row.host == host]
        numbers = {"tests": len(own), "failures": sum(row.outcome == BROKEN for row in own)}
        numbers["skipped"] = sum(row.outcome == UNMEASURABLE for row in own)
        counts = {key: str(each) for key, each in numbers.items()}
        suite = ET.SubElement(root, "testsuite", {"name": host, **counts})
        for row in own:
            case = ET.SubElement(suite, "testcase", classname="{0}.{1}".format(host, row.kind), name=row.name)
            if row.outcome != HOLDS:
                tag = "failure" if row.outcome == BROKEN else "skipped"
                ET.SubElement(case, tag, message="".join(c for c in row.reason if c.isprintable()))
    return ET.tostring(root, encoding="unicode")
