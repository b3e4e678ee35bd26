# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where metrics go, as it is written: a mistake names the option, and what to write instead."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.metrics import (
    FOLDER,
    LONGEST_PATH,
    NO_METRICS,
    Metrics,
    describe_metrics,
    read_metrics,
)


def read(mode="textfile", folder=None):
    problems = Problems()
    return read_metrics(mode, folder, problems), list(problems.found)


def test_the_word_alone_is_enough():
    assert read() == (Metrics(FOLDER), [])
    assert read("none") == (NO_METRICS, [])
    assert describe_metrics(NO_METRICS) == []


@pytest.mark.parametrize("given", ["/srv/textfiles", "/srv/textfiles/", " /srv/textfiles "])
def test_another_folder(given):
    assert read(folder=given) == (Metrics("/srv/textfiles"), [])
    assert describe_metrics(Metrics("/srv/textfiles")) == ["metrics: textfile in /srv/textfiles"]


@pytest.mark.parametrize(
    "given",
    ["", "/", "srv/metrics", "/srv", "/srv/../etc/x", "/srv/.hidden", "/srv/a b", "/srv/$(id)", "/srv/a'b", "/srv/ü",
     "/srv//metrics", "/srv/" + "a" * LONGEST_PATH],
)  # fmt: skip
def test_what_is_not_a_folder(given):
    found, problems = read(folder=given)
    assert found == NO_METRICS
    assert len(problems) == 1 and problems[0].startswith("metrics_folder: '")
    told = "is not an absolute path of at least two folders, of letters, digits, '.', '_' and '-'; write "
    assert problems[0].endswith(told + FOLDER)


@pytest.mark.parametrize("given", ["/etc/ipmasq", "/proc/1", "/usr/share/metrics", "/sys/kernel"])
def test_where_nobody_wants_it(given):
    said = "metrics_folder: {0} must not hold a file that is written each minute; write {1}".format(given, FOLDER)
    assert read(folder=given) == (NO_METRICS, [said])


def test_a_folder_for_nothing():
    said = "metrics_folder: has no effect while metrics is none; set metrics to textfile"
    assert read("none", "/srv/textfiles") == (NO_METRICS, [said])
