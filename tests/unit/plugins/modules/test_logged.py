# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a managed host writes to its log about a run: no option is a secret, not even the one that sounds like it."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import confirm, rollback
from ansible_collections.ipmasq.linux.tests.unit import fakes

#: What ansible-core takes for the name of a secret, and more.
SECRET = re.compile(r"pass(?!ing)|secret|token|cred|private|(?:^|_)(?:key|pin)$|auth", re.I)
SPECS = {name: spec for name, spec in vars(argspec).items() if name.isupper() and isinstance(spec, dict)}
SPECS["gateway_confirm"] = confirm.OPTIONS
TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - names a change, see below


def names(spec):
    for name, option in spec.items():
        if isinstance(option, dict):
            yield name, option
            yield from names(option.get("options") or {})


def test_no_option_is_a_secret():
    found = {name for spec in SPECS.values() for name, _option in names(spec) if SECRET.search(name)}
    assert found == {"token"}
    # Said explicitly; the next test shows what it is.
    assert confirm.OPTIONS["token"]["no_log"] is False


def pending():
    host = fakes.FakeHost(fakes.NFT)
    prepared = rollback.Prepared(rollback.Restoring((), {}), rollback.Keeping("/etc/ipmasq/default.commit"))
    rollback.arm("default", rollback.Confirmation(30, TOKEN, "14:05:30"), prepared, host)
    rollback.ready("default", rollback.Confirmation(30, TOKEN, "14:05:30"), host)
    return host


def test_the_token_opens_nothing():
    """It names a change, so that a late answer confirms no other. Root needs none, and nobody else can use one."""
    assert rollback.finish("default", "", True, pending()).was == "pending"
    host = pending()
    host.root = False
    with pytest.raises(GatewayError, match="root"):
        confirm.end_change("default", TOKEN, True, host)


COMMON = {"instance", "backend", "confirm_timeout", "confirm_by", "wait"}


@pytest.mark.parametrize("token", ["'; reboot; '", "$(reboot)", "`reboot`", "a\nb", "\x00", "\ud800", "-", "x" * 10000])
def test_a_token_is_compared_and_no_more(token):
    host = pending()
    before = dict(host.files)
    calls = len(host.calls)
    assert rollback.finish("default", token, True, host) == rollback.Answer(False, "")
    assert host.files == before and len(host.calls) == calls


@pytest.mark.parametrize(
    ("name", "options", "logged"),
    [
        ("gateway_confirm", dict(token=TOKEN), {*COMMON, "state", "token"}),
        ("gateway_info", dict(), COMMON),
        ("gateway_probe", dict(), COMMON),
        ("gateway_explain", {"from": "no", "to": "no"}, {*COMMON, "from", "to", "port", "protocol"}),
        ("forwarding", dict(ipv4=True), {*COMMON, "state", "ipv4", "ipv6", "interfaces"}),
    ],
)
def test_what_is_logged(run, monkeypatch, name, options, logged):
    """ansible-core logs the options of each run, and nothing of ours logs anything beside that."""
    basic = pytest.importorskip("ansible.module_utils.basic")
    lines = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda _self, message, log_args=None: lines.append(log_args or {}))
    run(name, fakes.FakeHost(fakes.NFT), **options)
    assert [set(line) for line in lines] == [logged]
