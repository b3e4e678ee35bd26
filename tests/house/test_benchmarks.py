# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Benches compute and report correctly; no test asserts what they measure."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import typing as t
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from project import ROOT

from ansible_collections.ipmasq.linux.benchmarks import (
    __main__ as runner,
    control,
    control_told,
    controller,
    data,
    digits,
    fail_over,
    fleet,
    job,
    machine,
    measure,
    missed,
    offload,
    promises,
    report,
    sessions,
    summary,
)

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {"processor": "2 × fast", "kernel": "6.1", "ansible-core": "2.19", "podman": "not installed"}
OLD = {"date": "2026-11-21", "seconds": 60, "machine": MACHINE, "found": {"values": {"ours": [1.0, 2.0, None]}}}
CURVE = {"id": "x", "title": "Some curve", "x": "entries", "y": "per second", "series": {"ours": [[1, 2.0, 1.0, 3.0]]}}
DATA = {
    "parts": {"ways, bulk": OLD},
    "title": "Data plane",
    "tables": [
        {"id": "t", "title": "Bulk", "columns": ["way", "Gbit/s"], "rows": [["ours", 12.345], ["theirs", None]]}
    ],
    "curves": [CURVE],
    "budgets": [measure.budget("bulk", measure.Ratio(0.9, 0.8, 1.0), at_least=0.95, why="too many rules")],
    "notes": ["The generator takes half of it."],
}
MARKERS = ("summary", "budgets", "missed", "data", "fleet")


def stored() -> dict[str, dict]:
    return report.tell(report.load(runner.NAMES))


def test_candidates_are_measured_in_turn() -> None:
    order: list[str] = []

    def candidate(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = measure.alternately({"a": lambda: candidate("a"), "b": lambda: candidate("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [1, 3], "b": [2, 4]}


def test_ratio_is_that_of_each_round() -> None:
    """A machine that is ten times slower in one round alters nothing."""
    assert measure.ratio([2, 20, 3], [1, 10, 1]) == (2, 2, 3)


def test_ratio_wants_whole_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        measure.ratio([1, 2], [1])


def test_spread() -> None:
    assert measure.spread([1, 2, 3, 4, 5]) == (1, 2, 4, 5)
    assert measure.spread([7]) == (7, 7, 7, 7)


@pytest.mark.parametrize(
    "limit, measured, held, nearly",
    [
        ({"at_most": 1.5}, 1.5, True, True),
        ({"at_most": 1.5}, 1.8, False, True),
        ({"at_most": 1.5}, 1.9, False, False),
        ({"at_least": 0.95}, 0.95, True, True),
        ({"at_least": 0.95}, 0.8, False, True),
        ({"at_least": 0.95}, 0.7, False, False),
    ],
)
def test_budget(limit: dict, measured: float, held: bool, nearly: bool) -> None:
    line = measure.budget("x", measure.Ratio(measured, 0, 9), **limit)
    assert measure.is_held(line) is held
    assert measure.is_held(line, measure.MARGIN) is nearly


def test_what_was_not_measured_is_not_held_and_says_why() -> None:
    line = measure.budget("x", None, at_most=2, why="no podman here")
    assert measure.is_held(line) is None
    assert report.budget_row(line)[-1] == "not measured: no podman here"


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.0, "0"),
        (0.00123, "0.0012"),
        (0.0123, "0.012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (9e4, "90,000"),
    ],
)
def test_three_digits(value: float, shown: str) -> None:
    assert digits.number(value) == shown


def test_page_keeps_the_text_around_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n" + "b\n".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n" for name in MARKERS))
    report.write_page(("data", "fleet"), {"data": DATA}, page)
    text = page.read_text()
    assert text.startswith("a\n<!-- summary: begin -->\n\n![") and "\nb\n" in text
    assert "| bulk | ≥ 0.95 × | 0.900 × | 0.800 – 1.00 | **missed**: too many rules |" in text
    assert "- **bulk**: the reason is not written yet." in text
    assert "not run yet: `make bench BENCHES=fleet`" in text
    assert "| ours | 12.3 |\n| theirs | – |" in text
    assert "measured on 2026-11-21 on this machine: processor 2 × fast, kernel 6.1, ansible-core 2.19." in text
    assert "![Some curve](performance/x.svg)" in text
    report.write_page(("data", "fleet"), {"data": DATA}, page)
    assert page.read_text() == text


def test_what_is_older_says_so() -> None:
    newer = {**OLD, "date": "2026-11-30", "machine": {**MACHINE, "kernel": "6.18"}}
    text = report.measured_by("control", {"peers, 50 entries": OLD, "50 entries": newer})
    assert "measured on 2026-11-30 on this machine: processor 2 × fast, kernel 6.18" in text
    assert "Older, of 2026-11-21, on processor 2 × fast, kernel 6.1, ansible-core 2.19: peers, 50 entries." in text


def test_older_rounds_of_a_peer_are_not_in_the_ratio_of_ours() -> None:
    """They have ours of that day beside it, for the peer's own ratio."""
    ours = {"rounds": [{"ping play": 1.0, "ours": 3.0}]}
    peers = {"rounds": [{"ping play": 1.0, "ours": 2.0, "ufw": 8.0}]}
    figures = control_told.Figures({"1 entries": ours, "peers, 1 entries": peers})
    assert figures.ratio(1, "ours") == (3.0, 3.0, 3.0) and figures.ratio(1, "ufw", "ours") == (4.0, 4.0, 4.0)
    assert figures.ratio(1, "nobody") is None


def test_results_are_kept_whole(tmp_path: Path) -> None:
    parts = {"a": OLD, "b": {**OLD, "machine": {"kernel": "6.18"}}, "c": OLD}
    path = report.store("data", parts, tmp_path)
    assert report.load(("data", "fleet"), tmp_path) == {"data": parts, "fleet": {}}
    assert len(json.loads(path.read_text())["machines"]) == 2
    assert '"ours": [1.0, 2.0, null]' in path.read_text()


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_is_kept_when_it_ends_and_one_that_breaks_keeps_the_old() -> None:
    kept: list[dict] = []
    one = job.Job(
        job.FULL,
        print,
        parts={"a": OLD, "b": OLD},
        date="2026-11-30",
        machine=MACHINE,
        keep=lambda parts: kept.append(dict(parts)),
    )
    with one.part("a") as found:
        found["values"] = {1: (2.0,)}
        assert not kept
    assert kept[0]["a"]["found"] == {"values": {"1": [2.0]}} and kept[0]["a"]["date"] == "2026-11-30"
    with one.part("b") as found:
        found["values"] = {}
        raise RuntimeError("no room")
    assert len(kept) == 1 and one.parts["b"] == OLD
    assert one.broken == {"b": "RuntimeError: no room"} and list(one.took) == ["a"]


def test_an_interrupt_is_no_broken_part() -> None:
    with pytest.raises(KeyboardInterrupt), job.Job().part("a"):
        raise KeyboardInterrupt


def test_slow_parts_of_others_are_kept_unless_asked_for_or_of_another_ansible() -> None:
    def wanted(mode: str = job.FULL, again: bool = False, **other: str) -> bool:
        one = job.Job(mode, print, parts={"peers": OLD}, again=again, machine={**MACHINE, **other})
        return one.wanted("peers")

    assert not wanted()
    assert not wanted(kernel="6.18", processor="1 × slow")
    assert wanted(again=True) and wanted(**{"ansible-core": "2.21"})
    assert wanted(job.SMOKE)
    assert job.Job(job.FULL, print, machine=MACHINE).wanted("peers")


def test_rows_that_were_kept_show_their_date() -> None:
    first = "ipmasq.linux.site, first run"
    own = {"date": "2026-11-30", "rounds": [{"ping play": 1.0, first: 2.0, "common, first run": 40.0}]}
    theirs = {"date": "2026-11-21", "rounds": [{"ping play": 2.0, first: 4.0, "ufw, first run": 120.0}], "gaps": {}}
    long = {**theirs, "rounds": [{"ping play": 2.0, first: 4.0, "common, first run": 600.0}]}
    long["gaps"] = {"common": "stopped after 600 s"}
    found = {"50 entries": own, "peers, 50 entries": theirs, "1000 entries": own, "peers, 1000 entries": long}
    found["1000 entries"] = {**own, "rounds": [{"ping play": 1.0, first: 2.5}]}
    told = control.told(found)
    rows = {(row[0], row[1]): row[-1] for row in told["tables"][0]["rows"]}
    assert rows[50, "ipmasq.linux.site, first run"] == "2.00"
    assert rows[50, "posix.sysctl + builtin.iptables, first run"] == "40.00"
    assert rows[50, "community.general.ufw, first run, on 2026-11-21"] == "60.00"
    budgets = {line["what"]: line for line in told["budgets"]}
    line = budgets["posix.sysctl + builtin.iptables, 1,000 entries, first run, against ours"]
    assert (line["measured"], line["why"]) == (150, "at least: stopped after 600 s, on 2026-11-21")


def test_a_resumed_run_keeps_what_was_measured_today() -> None:
    def due(date: str, **other: t.Any) -> bool:
        how = {"resume": True, "machine": MACHINE, **other}
        one = job.Job(job.FULL, print, parts={"a": OLD}, date=date, **how)
        return one.due("a")

    assert not due("2026-11-21")
    assert due("2026-11-22") and due("2026-11-21", resume=False) and due("2026-11-21", machine={"kernel": "6.18"})


def test_a_value_of_the_data_plane_that_breaks_off_is_measured_once_more() -> None:
    values = iter([RuntimeError("of 10 packets 3 came through"), 7.0])

    def sample(_row: t.Any) -> float:
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    said: list[str] = []
    bench = data.Bench(data.SMOKE, job.Job(job.SMOKE, said.append), contextlib.ExitStack())
    assert bench.once(data.Measure("udp", "", "", sample), mock.Mock(says="ours")) == 7.0
    assert said == ["    udp, ours: once more, as it broke off: of 10 packets 3 came through"]


def test_an_estimate_knows_what_the_last_run_took() -> None:
    plan = {"a": 10, "b": 20, "c": 40}
    assert job.estimate(plan, {}) == 70
    assert job.estimate(plan, {"b": OLD}) == 110
    assert job.estimate(plan, {"b": OLD, "c": {**OLD, "seconds": 0}}, kept=["b"]) == 50


def test_a_full_run_keeps_what_was_measured_before_it_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published: list[dict] = []
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report.load, "__defaults__", (tmp_path,))
    monkeypatch.setattr(report.store, "__defaults__", (tmp_path,))
    monkeypatch.setattr(runner, "publish", lambda: published.append(report.load(runner.NAMES)))
    monkeypatch.setattr(machine, "in_use", lambda _seconds=2.0: 0.0)

    def interrupted(one: job.Job) -> None:
        with one.part("held") as found:
            found["kept"] = 7
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions, "run", interrupted)
    monkeypatch.setitem(sys.modules, "benchmarks.sessions", sessions)
    with pytest.raises(KeyboardInterrupt):
        runner.full(["sessions"], again=False)
    assert published[0]["sessions"]["held"]["found"] == {"kept": 7}


@pytest.mark.parametrize("name", ["report", *runner.NAMES])
def test_a_bench_can_be_imported_first(name: str) -> None:
    path = os.pathsep.join(map(str, (ROOT, ROOT / ".cache/collections", ROOT / "tests")))
    env = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", f"import benchmarks.{name}"], env=env, cwd=ROOT, check=True)


def test_nothing_of_a_run_that_is_stopped_stays() -> None:
    """Ansible's workers are in sessions of their own, and waited without end to write to a pipe that nobody read."""
    done = controller.run(["sh", "-c", "setsid sleep 60 & echo $!; wait"], limit=0.5)
    assert done.stopped
    # It may wait for the first process to ask how it ended.
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", done.output.strip()], capture_output=True, text=True, check=False
    )
    assert state.stdout.strip()[:1] in ("", "Z")


def test_every_part_of_a_full_run_is_in_its_plan() -> None:
    """So that the estimate knows it; and a part that there is no longer would stay on the page."""
    for name, bench in {
        "control": control,
        "fleet": fleet,
        "data": data,
        "sessions": sessions,
        "promises": promises,
        "offload": offload,
    }.items():
        assert set(report.load([name]).get(name, {})) <= set(bench.PLAN), name


# --- budgets ----------------------------------------------------------------------------------------------------------

#: What was promised. A limit changes together with docs/decisions.md.
PROMISED = {
    r"(`site\.yml`|role, .*): converged gateway, 1 entry": "≤ 1.3 ×",
    r"(`site\.yml`|role, .*): converged gateway, modules run": "≤ 1",
    r"(`site\.yml`|role, .*): 1,000 entries, first run": "≤ 2.5 ×",
    r"(`site\.yml`|role, .*): 1,000 entries, no-op": "≤ 1.6 ×",
    r"(`site\.yml`|role, .*): 10,000 entries, no-op": "≤ 3.5 ×",
    r"(1 gateway|10+ gateways|50 gateways), no-op.*": "≤ 1.3 ×",
    r"(1 gateway|10+ gateways|50 gateways), one line changed.*": "≤ 2.5 ×",
    r"the closed loop by itself: 2 LANs, 1 WAN, 10 port forwards": "≤ 1 s",
    r"the closed loop: its packets on a wire": "≤ 0 packets",
    r"packets that established flows lose during 100 applied changes": "≤ 0 packets",
    r"nftables: .* against the four classic lines.*": "≥ 0.98 ×",
    r"iptables: .* against the four classic lines.*": "≥ 0.85 ×",
    r"nftables, 10,000 .* against one: (bulk|small|new TCP).*": "≥ 0.95 ×",
    r"nftables, 10,000 .* against one: new UDP flows": "≥ 0.95 ×",
    r"nftables, 10,000 .* against one: new UDP flows inward": "≥ 0.9 ×",
    r"nftables, 10,000 .*: to load them": "≤ 3 s",
    r"offload: .* against the four classic lines": "≥ 1.3 ×",
    r"fail-over, (masqueraded|with `snat`): from a link set down .* leave through the other WAN": "≤ 1 s",
    r"fail-over, (masqueraded|with `snat`): TCP and UDP packets with the source of another link": "≤ 0 packets",
}


def test_every_promised_budget_has_a_row_with_its_limit() -> None:
    lines = [line for name in runner.NAMES for line in report.tell({name: {}})[name]["budgets"]]
    for pattern, limit in PROMISED.items():
        found = {line["limit"] for line in lines if re.fullmatch(pattern, line["what"])}
        assert found == {limit}, pattern
    assert len([line for line in lines if line["what"].startswith("role, ")]) == 2 * 5
    assert len({line["what"] for line in lines}) == len(lines)


def test_offload_against_the_four_lines() -> None:
    """What a virtual machine has measured, round by round."""
    values = {offload.CLASSIC: [1.0, 2.0], offload.OURS: [0.9, 1.8], offload.OFFLOADED: [1.4, 2.6]}
    told = offload.told({offload.PART: {"frames": values, "date": "2026-11-30"}})
    (row,) = [row for row in told["tables"][0]["rows"] if row[0] == offload.OFFLOADED]
    assert row[-1] == pytest.approx(1.35)
    frames = {line["what"]: measure.is_held(line) for line in told["budgets"]}
    assert frames["offload: bulk in single frames against the four classic lines"]
    assert frames["offload: small packets against the four classic lines"] is None


def test_a_fail_over_is_judged_by_its_slowest_round_and_all_of_its_packets() -> None:
    fast = {"seconds": {"a": [0.01, 0.02], "b": [0.03, 0.9]}, "packets": 9, "wrong": 0, "errors": 1, "sources": []}
    slow = {**fast, "seconds": {"a": [fail_over.NEVER], "b": [0.5]}, "wrong": 2}
    found = {
        fail_over.MASQUERADE: {"nftables": fast, "iptables": fast},
        fail_over.SNAT: {"nftables": fast, "iptables": slow},
    }
    told = promises.told({promises.FAIL_OVER: {**found, "date": "2026-12-01"}})
    lines = [line for line in told["budgets"] if line["what"].startswith("fail-over")]
    assert [(line["measured"], measure.is_held(line)) for line in lines] == [
        (0.9, True),
        (0, True),
        (fail_over.NEVER, False),
        (2, False),
    ]
    assert lines[2]["why"] == "some flows had not moved after 2 s"
    rows = {row[0]: row[1] for row in told["tables"][0]["rows"]}
    assert rows["fail-over, iptables, with `snat`: TCP and UDP packets with the source of another link"] == 2
    assert rows["fail-over, nftables, masqueraded: ICMP errors with the source of another link"] == 1
    assert rows["fail-over, nftables, masqueraded: seconds until all leave through the other WAN, when b"] == 0.465
    assert not [line for line in promises.told({}, full=False)["budgets"] if line["what"].startswith("fail-over")]


@pytest.mark.parametrize("proto, port", [(17, 7001), (6, 7002), (1, 0), (58, 0)])
def test_what_a_packet_on_a_wire_says(proto: int, port: int) -> None:
    body = struct.pack("!HH", 40000, 7001 if proto == 17 else 7002)
    four = struct.pack("!B8xB2x4s4s", 0x45, proto, bytes((192, 0, 2, 1)), bytes(4))
    six = struct.pack("!B5xBx16s16s", 0x60, proto, bytes((0xFD, *[0] * 14, 1)), bytes(16))
    assert fail_over.read(four + body) == ("192.0.2.1", (4, port), port == 0)
    assert fail_over.read(six + body) == ("fd00::1", (6, port), port == 0)


def test_the_page_and_the_readme_show_what_is_stored(tmp_path: Path) -> None:
    """Written by make bench, or python -m benchmarks --report; not by hand."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.svg"))
    report.write_page(runner.NAMES, stored(), tmp_path / "docs" / report.PAGE.name)
    for path in (tmp_path / "docs").glob("*.md"):
        assert path.read_text(encoding="utf-8") == (ROOT / "docs" / path.name).read_text(encoding="utf-8"), path.name
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert summary.figures(stored()) in readme
    assert summary.in_readme(readme, stored()) == readme


def test_each_missed_budget_and_no_other_has_its_reason() -> None:
    assert missed.wrong(stored()) == ([], [])


def test_a_missed_budget_without_a_reason_is_told_and_so_is_a_reason_for_one_that_is_held() -> None:
    known = {"title": "Bulk", "budgets": ["bulk"], "reason": "Rules.", "tried": "Fewer: 0.9.", "next": "None."}
    assert missed.wrong({"data": DATA}, []) == (["bulk"], [])
    assert missed.wrong({"data": DATA}, [known]) == ([], [])
    assert missed.wrong({"data": DATA}, [{**known, "budgets": ["bulk", "small"]}]) == ([], ["small"])
    # What was known before a run measured it is not out of date.
    unknown = {"data": {**DATA, "budgets": [*DATA["budgets"], measure.budget("small", None, at_least=1)]}}
    assert missed.wrong(unknown, [{**known, "budgets": ["bulk", "small"]}]) == ([], [])
    assert missed.text({"data": DATA}, [known]) == "- **Bulk** (bulk). Rules. *Tried*: Fewer: 0.9. *Next*: None."


def test_an_entry_without_what_was_tried_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "missed.yml"
    path.write_text("missed: [{title: a, budgets: [b], reason: c, tried: '', next: d}]")
    with pytest.raises(ValueError, match="exactly budgets, next, reason, title, tried"):
        missed.entries(path)


def test_what_a_buyer_reads_is_short_and_from_the_results() -> None:
    said = summary.sentences(stored())
    assert 5 <= len(said) <= 10
    found = report.load(["control"])["control"]
    rounds = found["50 entries"]["found"]["rounds"]
    for each in rounds:
        each["common, first run"] = each["ipmasq.linux.site, first run"] * 42
    twice = summary.sentences(report.tell({"control": found}))
    assert "50 entries are applied **42 times** as fast as with one task for each rule" in twice[0]


@pytest.mark.skipif(not runner.PLOTTER.exists(), reason="no matplotlib; make bench sets it up")
def test_pictures_are_the_same_each_time_and_can_be_read_on_a_dark_page(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        runner.plot({"data": {**DATA, "budgets": []}, **stored()}, tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    text = (tmp_path / "a/summary.svg").read_text()
    assert re.search(r'id="patch_1">\s+<path[^>]*style="fill: #ffffff"', text)
    assert "ipmasq" in text or "ours" in text


# --- how it is run ----------------------------------------------------------------------------------------------------


def test_quick_run_fails_past_the_margin_and_on_what_was_not_measured(capsys: pytest.CaptureFixture) -> None:
    assert runner.judge({"data": DATA}) == 0
    late = {**DATA, "budgets": [measure.budget("bulk", measure.Ratio(0.1, 0.1, 0.1), at_least=0.95)]}
    assert runner.judge({"data": late}) == 1
    assert "past its budget by more than 25%: bulk" in capsys.readouterr().err
    assert runner.judge({"data": {"broken": "no room", "budgets": []}}) == 1
    silent = measure.budget("loading", None, at_most=2, why="takes more than 40 s")
    assert runner.judge({"data": {**DATA, "budgets": [silent]}}) == 1


def test_every_bench_has_its_place_on_the_page() -> None:
    text = report.PAGE.read_text(encoding="utf-8")
    for name in ("summary", "budgets", "missed", *runner.NAMES):
        report.between(text, name, "")


def test_a_busy_machine_tells_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "in_use", lambda: 0.9)
    monkeypatch.setattr(runner, "run", lambda *_args: pytest.fail("it measures"))
    assert runner.main(["--quick"]) == 2
    assert capsys.readouterr().err == "this machine is too busy to tell: 90% of its processors' time is in use\n"


def test_nor_does_one_that_becomes_busy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No part may take the end of its time for something that broke in it."""

    def late(name: str, one: job.Job) -> None:
        with one.part("a"):
            time.sleep(30)

    monkeypatch.setattr(machine, "in_use", lambda: 0.0)
    monkeypatch.setattr(runner, "QUICK_WITHIN", 1)
    monkeypatch.setattr(runner, "run", late)
    assert runner.main(["--quick"]) == 2
    assert capsys.readouterr().err == "this machine is too busy to tell: not done after 1 s\n"


def test_a_smoke_run_fails_if_a_part_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def breaks(name: str, one: job.Job) -> job.Job:
        with one.part("a"):
            raise RuntimeError("no such option")
        return one

    monkeypatch.setattr(runner, "run", breaks)
    monkeypatch.setattr(runner, "publish", lambda *_paths: 0)
    monkeypatch.setattr(runner, "SMOKED", tmp_path)
    assert runner.main(["--smoke", "sessions"]) == 1
    assert "broken: sessions, a: RuntimeError: no such option" in capsys.readouterr().err


def test_what_others_use_is_seen() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as spins:
        used = machine.in_use(0.5)
        spins.kill()
    assert 0.4 / (os.cpu_count() or 1) < used <= 1
