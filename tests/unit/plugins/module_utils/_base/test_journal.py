# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line for each event. tests/integration/test_journal.py shows with the real shell what the scripts log."""

from __future__ import annotations

import subprocess
import syslog

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import journal
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import AnsibleHost
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = {"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
WEB = {"name": "web", "port": ["443"], "to": ["192.168.1.20"]}


def apply(host, confirmation=None, check_mode=False, **given):
    gateway = gateway_from_params(gateway_params(lans=[LAN], **given))
    return engine.apply_gateway(gateway, "auto", fakes.seen(host, check_mode), confirmation=confirmation)


def test_a_long_list_is_its_beginning():
    line = journal.changed("by joe", ["+ " + "x" * 500] + ["+ nat/{0}".format(n) for n in range(50)])
    assert len(line) < 1000 and line.endswith("; and 43 more") and "\n" not in line


def test_what_changed_is_told_in_the_words_that_declared_it():
    host = fakes.FakeHost()
    host.files["/proc/self/environ"] = "USER=joe\0SSH_CONNECTION=192.0.2.1 50022 192.0.2.2 22\0"
    apply(host)
    apply(host)
    apply(host, check_mode=True, drop_bogons=True)
    apply(host, rollback.Confirmation(30, "secret", "14:05:30"), port_forwards=[WEB])
    kept = [call[2] for call in host.calls if call[:1] == ["sh"] and call[1].endswith("/keep")]
    assert len(kept) == 1 and kept[0].startswith("changed by joe from 192.0.2.1: + wan ppp0; + lan lan: ")
    (waits,) = host.logged
    assert waits == (
        "default: changed by joe from 192.0.2.1, awaits confirmation until 14:05:30: "
        "+ port_forward web: anybody tcp port 443 on every WAN goes to 192.168.1.20"
    )
    assert "secret" not in waits


def test_what_somebody_else_has_changed_is_told_as_it_is_put_right():
    host = fakes.FakeHost()
    apply(host)
    host.files["/proc/sys/net/ipv4/ip_forward"] = "0\n"
    apply(host)
    (_first, said) = [call[2] for call in host.calls if call[:1] == ["sh"] and call[1].endswith("/keep")]
    assert said == "changed by root: ~ net/ipv4/ip_forward: 0 to 1"


def test_a_failure_is_told_with_its_reason():
    host = fakes.FakeHost()
    host.forget = True
    with pytest.raises(GatewayError):
        apply(host)
    (said,) = [call[2] for call in host.calls if call[:1] == ["sh"] and call[1].endswith("/restore")]
    assert said.startswith("the change by root has failed: nft: the rules read back differ")
    assert host.logged == []


def full(path):
    raise GatewayError(path + ": cannot be written: No space left on device")


def test_a_failure_before_anything_is_armed_is_told_by_the_run():
    host = fakes.FakeHost()
    host.write = lambda path, text, mode: full(path)
    with pytest.raises(GatewayError):
        apply(host)
    assert [line.partition(": ")[2].partition(":")[0] for line in host.logged] == ["the change by root has failed"]


def test_a_refusal_touches_nothing_and_is_no_event():
    host = fakes.FakeHost()
    host.nft.tables["theirs"] = [{"chain": {"name": "c", "hook": "forward", "policy": "drop"}}]
    with pytest.raises(GatewayError):
        apply(host)
    assert host.logged == []


@pytest.mark.parametrize("silent", [False, True])
def test_the_real_host_keeps_silent_where_ansible_is_told_to(monkeypatch, silent):
    said = []
    monkeypatch.setattr(syslog, "openlog", lambda *words: said.append(words[0]))
    monkeypatch.setattr(syslog, "syslog", lambda _level, line: said.append(line))

    class Module:
        no_log = silent

    AnsibleHost(Module()).log("default: confirmed")
    assert said == ([] if silent else ["ipmasq", "default: confirmed"])


@pytest.mark.parametrize("stream", ["", "8:1"])
@pytest.mark.parametrize("logger", ["there", "refused", "missing"])
def test_the_shell_says_it_once_where_somebody_reads(tmp_path, logger, stream):
    """To the journal; to the terminal, too, unless that ends in the journal by itself."""
    if logger != "missing":
        program = tmp_path / "logger"
        program.write_text('#!/bin/sh\nprintf "%s|" "$@" >> "${0}.said"\nexit ' + ("1" if logger == "refused" else "0"))
        program.chmod(0o755)
    script = journal.SAY + 'say "it\'s -n \\$HOME"\n'
    env = {"PATH": str(tmp_path), "JOURNAL_STREAM": stream}
    done = subprocess.run(["/bin/sh", "-ec", script], env=env, capture_output=True, text=True, check=True)
    silent = logger == "there" and stream
    assert done.stderr == ("" if silent else "ipmasq: it's -n $HOME\n") and done.stdout == ""
    if logger != "missing":
        assert (tmp_path / "logger.said").read_text() == "-t|ipmasq|--|it's -n $HOME|"
