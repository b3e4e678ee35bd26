# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host without Ansible gives the answers of a host with it, so that their digests can be compared."""

from __future__ import annotations

import json
import os
import sys

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import AnsibleHost
from ansible_collections.ipmasq.linux.plugins.module_utils._base.local import LocalHost


@pytest.fixture
def hosts(monkeypatch):
    basic = pytest.importorskip("ansible.module_utils.basic", reason="no ansible-core beside this Python")
    arguments = {"ANSIBLE_MODULE_ARGS": {"_ansible_remote_tmp": "/"}}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(arguments).encode("utf-8"))
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)  # 2.19 and later
    return AnsibleHost(basic.AnsibleModule({})), LocalHost()


@pytest.mark.parametrize(
    "script, stdin",
    [
        ("echo out; echo err >&2; exit 7", None),
        ("printf '\\377\\303\\274\\r\\n'; printf '\\377' >&2", None),
        ("echo $LC_ALL $LANGUAGE $LANG $PATH $POSIXLY_CORRECT", None),
        ("cat", "in \udcff\n"),
        ("kill -9 $$", None),
        ("pwd; umask; ulimit -n", None),
    ],
)
def test_programs(hosts, monkeypatch, script, stdin):
    for name in ("LC_ALL", "LANG", "LANGUAGE"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    one, other = [host.run(["sh", "-c", script], stdin) for host in hosts]
    assert one == other and one.rc in (0, 7, -9)


def test_nobody_waits_for_input(hosts):
    assert hosts[1].run(["cat"]).out == ""


@pytest.mark.parametrize("program", ["sh", "ls", "nft", "iptables-nft", "/bin/sh", "nothing-of-this-name"])
def test_places(hosts, monkeypatch, tmp_path, program):
    for path in ("/usr/bin:/bin", "", ":/bin:", "{0}:/bin:/usr/bin".format(tmp_path)):
        monkeypatch.setenv("PATH", path)
        one, other = [host.which(program) for host in hosts]
        assert one == other, path
    (tmp_path / "ls").write_text("", encoding="ascii")
    (tmp_path / "sh").mkdir()
    assert hosts[0].which(program) == hosts[1].which(program)
    assert hosts[1].run(["nothing-of-this-name"]) == hosts[0].run(["nothing-of-this-name"])


def test_what_cannot_be_run(hosts, monkeypatch, tmp_path):
    (tmp_path / "mine").write_bytes(b"\x7fELF")
    os.chmod(str(tmp_path / "mine"), 0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = []
    for host in hosts:
        with pytest.raises(GatewayError) as caught:
            host.run(["mine"])
        said.append(caught.value.problems)
    assert said[0] == said[1]


def test_a_module_keeps_the_key_of_its_task_from_other_programs(hosts, monkeypatch):
    assert hosts[0].task == hosts[1].task == ""
    monkeypatch.setenv("IPMASQ_TASK", "key")
    host = AnsibleHost(hosts[0]._module)
    assert host.task == "key"
    assert host.run([sys.executable, "-c", "import os; print(os.environ.get('IPMASQ_TASK'))"]).out == "None\n"
