# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics themselves; test_collector.py shows what the collector makes of a host."""

from __future__ import annotations

import re

from ansible_collections.ipmasq.linux.plugins.module_utils._services import samples
from ansible_collections.ipmasq.linux.plugins.module_utils._services.collector import TEXT


def test_names_follow_the_rules_of_prometheus():
    """https://prometheus.io/docs/practices/naming/: promtool looks at one file; this is all of them."""
    for name, (kind, text) in samples.METRICS.items():
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name) and kind in ("counter", "gauge")
        assert (kind == "counter") == name.endswith("_total")
        assert text.endswith(".") and "\t" not in text and "\\" not in text


def test_the_programs_stand_between_single_quotes():
    programs = (samples.COUNTERS, samples.OURS, samples.PORTS, samples.LEASES, samples.PROOF, samples.SHAPE)
    assert not [program for program in programs if "'" in program]


def test_every_metric_is_made():
    """By awk here, or by the shell."""
    acts = TEXT.replace("conntrack_${each#*:}", "conntrack_entries conntrack_entries_limit")
    for name in samples.METRICS:
        assert len(re.findall(r"\b{0}\b".format(name), acts)) >= 2, name
