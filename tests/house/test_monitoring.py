# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts and dashboard ask for metrics, labels and values that the collector really writes."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
import yaml
from project import ROOT

from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._services.test_collector import Machine, full

FOLDER = ROOT / "examples/monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
#: What others write: node_exporter, and Prometheus itself.
OTHERS = {"node_textfile_mtime_seconds": {"file": {"/srv/ipmasq-default.prom"}}}
ADDED = {"instance", "job"}
SELECTOR = re.compile(r"\b(ipmasq_\w+|node_\w+)\b(?:\{([^}]*)\})?")
CONDITION = re.compile(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"')

Written = t.Dict[str, t.Dict[str, t.Set[str]]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Metric to label to values."""
    machine = full(Machine(tmp_path_factory.mktemp("machine")))
    found: Written = dict(OTHERS)
    for line in (machine.folder / "ipmasq-default.prom").read_text().splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"(\w+)\{(.*)\} ", line).groups()
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                found.setdefault(name, {}).setdefault(label, set()).add(value)
    return found


def faults(expression: str, written: Written) -> list[str]:
    """What an expression asks for in vain."""
    found, labels = [], set(ADDED)
    for name, conditions in SELECTOR.findall(expression):
        if name not in written:
            found.append(name)
            continue
        labels |= set(written[name])
        for label, operator, value in CONDITION.findall(conditions):
            if label in ADDED or value.startswith("$"):
                continue
            pattern = value if operator == "=~" else re.escape(value)
            if not any(re.fullmatch(pattern, each) for each in written[name].get(label, ())):
                found.append("{0}{{{1}{2}{3}}}".format(name, label, operator, value))
    for names in re.findall(r"\b(?:by|without|on) \(([^)]*)\)", expression):
        found += [name.strip() for name in names.split(",") if name.strip() not in labels]
    return found


def targets() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_what_they_ask_for_is_written(written: Written) -> None:
    asked = [(rule["alert"], rule["expr"]) for rule in ALERTS] + targets()
    asked += [("changes", each["expr"]) for each in DASHBOARD["annotations"]["list"]]
    assert {title: faults(expression, written) for title, expression in asked if faults(expression, written)} == {}
    named = {name for _title, expression in asked for name, _conditions in SELECTOR.findall(expression)}
    assert len(named) > 12


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(ipmasq_items_packets_total[5m])", "ipmasq_items_packets_total"),
        ('ipmasq_as_applied{what="rule"}', "ipmasq_as_applied{what=rule}"),
        ('ipmasq_item_packets_total{kind=~"net|lam"}', "ipmasq_item_packets_total{kind=~net|lam}"),
        ("sum by (reason, item) (ipmasq_stopped_packets_total)", "item"),
        ('ipmasq_dhcp_leases{network="x"}', "ipmasq_dhcp_leases{network=x}"),
    ],
)
def test_a_wrong_name_is_found(written: Written, expression: str, fault: str) -> None:
    assert faults(expression, written) == [fault]


def test_labels_in_words_are_those_of_the_expression(written: Written) -> None:
    for rule in ALERTS:
        names = [name for name, _conditions in SELECTOR.findall(rule["expr"])]
        known = ADDED | {label for name in names for label in written[name]}
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        kept = re.search(r"^(?:sum|count|max|min) by \(([^)]*)\)", rule["expr"])
        assert used <= (set(kept.group(1).split(", ")) if kept else known), rule["alert"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = re.search(r"\b(?:sum|min) by \(([^)]*)\)", target["expr"])
            names = [name for name, _conditions in SELECTOR.findall(target["expr"])]
            known = ADDED | {label for name in names for label in written[name]}
            assert used <= (set(kept.group(1).split(", ")) if kept else known), panel["title"]


def test_panels_have_their_own_places() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_is_tested_and_on_the_page() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    raised = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    quiet = {each["alertname"] for test in tests for each in test["alert_rule_test"] if not each.get("exp_alerts")}
    names = {rule["alert"] for rule in ALERTS}
    assert raised == quiet == names
    page = (ROOT / "docs/monitoring.md").read_text()
    assert [name for name in names if "`{0}`".format(name) not in page] == []


def test_the_page_has_every_metric(written: Written) -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    table = {name for row in re.findall(r"^\| (`ipmasq_.*?) \|", page, re.M) for name in re.findall(r"ipmasq_\w+", row)}
    assert table == set(written) - set(OTHERS)
