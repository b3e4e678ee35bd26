# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.holders import Holder
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import answering
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.asking import Asking
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Culprit, Seen
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.watch import Evidence
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_asking import KNOWN, NEVER
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_questions import (
    MAGIC,
    NAME,
    ROUTES,
    named,
)

NAMED = Holder("0.0.0.0", "12", "named", "named.service")
HELD = "port 53 of every address is held by named (PID 12) of named.service"
STOPPED = "dnsmasq for LANs does not run"


class Host:
    text = "interface=lan0\n"

    def read(self, path):
        return self.text


@pytest.fixture
def host(monkeypatch):
    made = Host()
    made.runs, made.holders = True, []
    monkeypatch.setattr(answering, "runs", lambda instance, host: host.runs)
    monkeypatch.setattr(answering, "holders", lambda port, at, host: host.holders)
    monkeypatch.setattr(answering, "ours", lambda pid, host: pid == "7")
    return made


def blamed(promise, host, came=False):
    talk = Asking(promise, 7, MAGIC)
    sent = talk.due()
    if came:
        talk.take(Seen("lan0", named(sent.packet)))
    return answering.culprit(talk, "default", (Evidence(), None), host)


def test_a_stopped_server(host):
    host.runs = False
    assert blamed(KNOWN, host) == Culprit("gateway", STOPPED)
    host.holders = [NAMED, Holder("192.168.1.1", "7", "dnsmasq")]
    assert blamed(KNOWN, host) == Culprit("other", STOPPED + "; " + HELD)


def test_what_answers_instead(host):
    assert blamed(KNOWN, host) == blamed(KNOWN, host, came=True) == Culprit()
    host.holders = [NAMED]
    assert blamed(KNOWN, host, came=True) == Culprit("other", HELD)


def test_what_must_not_answer(host):
    assert blamed(NEVER, host) == Culprit("gateway", "dnsmasq for LANs serves it")
    host.text = ""
    assert blamed(NEVER, host) == Culprit()
    assert blamed(replace(NEVER, asks=ROUTES), host) == Culprit()
    host.holders = [replace(NAMED, address="192.168.1.1")]
    assert blamed(replace(NEVER, asks=NAME), host).words == HELD.replace("every address", "192.168.1.1")
