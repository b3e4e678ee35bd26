# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options with fixed values (protocols, helpers, timers, actions) pass no other value to our code."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("hypothesis", reason="this Python has no hypothesis")

from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.tests.unit import fakes, hostile

TEXTS = ["tcp\n", "tcp; reboot", "$(>canary)", '"', "\\", "\x00", "\u202e", "-j", "{0}", "x" * 10000, ""]


def choices(spec, path=()):
    """The path of every option whose words are known, and of every dictionary whose keys are."""
    for name, option in spec.items():
        if "choices" in option or (option.get("type") == "dict" and "options" in option):
            yield (*path, name)
        if option.get("options"):
            yield from choices(option["options"], (*path, name))


def spoilt(path, text):
    options = copy.deepcopy({key: hostile.RIGHT[key] for key in ("wans", "lans", "nat", "port_forwards", "outbound")})
    options.update(input_allow=[{"name": "a"}], helpers=[{"name": "ftp"}])
    place, spec = options, hostile.GATEWAY_SPEC
    for name in path[:-1]:
        place, spec = place[name][0], spec[name]["options"]
    kind = spec[path[-1]]["type"]
    place[path[-1]] = {"dict": {text: 30}, "list": [text], "str": text}[kind]
    return options


PATHS = list(choices(hostile.GATEWAY_SPEC))


def test_every_kind_of_word_is_tried():
    assert {"protocol", "action", "timeouts", "log", "offload", "profile"} <= {path[-1] for path in PATHS}
    assert ("helpers", "name") in PATHS and ("nat", "timeouts") in PATHS


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_other_words_are_refused_by_name(run, path):
    host = fakes.FakeHost(fakes.NFT)
    host.frozen = True
    for text in TEXTS:
        failed, values = run("gateway", host, **spoilt(path, text))
        assert failed and "Traceback" not in values["msg"] and "bug" not in values["msg"]
        assert path[-1] in values["msg"] or "Unsupported parameters" in values["msg"], values["msg"][:300]


@pytest.mark.parametrize("option", ["state", "backend"])
def test_other_words_for_all_modules(run, option):
    for text in TEXTS:
        failed, values = run("gateway", fakes.FakeHost(fakes.NFT), **{option: text})
        assert failed and option in values["msg"]
    assert option in {**argspec.STATE, **argspec.BACKEND}
