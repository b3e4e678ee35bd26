# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host is asked first; whatever it does not answer is for the module."""

from __future__ import annotations

import json
import types

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.ipmasq.linux.plugins.plugin_utils import repeating

RESULT = {"changed": False, "instance": "default", "diff": [{"prepared": "x"}], "notes": ["ü"]}
SENT = {"changed": True, "instance": "default"}


class Task:
    """One task against a host whose script answers with ``done``; ``said`` are the commands, ``sent`` the modules."""

    def __init__(self, done=None, **args):
        self.done, self.said, self.sent = done, [], []
        self.variables = {}
        action = self.action = repeating.RepeatingAction.__new__(repeating.RepeatingAction)
        action.MODULE = "gateway"
        action._task = types.SimpleNamespace(
            args=args, check_mode=False, diff=False, environment=[{"A": "b c"}], delegate_to=None
        )
        action._connection = types.SimpleNamespace()  # which gives no standard input to commands
        action._compute_environment_string = lambda: "A='b c'"
        action._low_level_execute_command = self._command
        action._execute_module = self._execute

    def _command(self, command):
        assert command.startswith("A='b c' ") and command.endswith(
            " || {{ [ ! -r {0} ] || echo {0}; exit 3; }}".format(self.code)
        )
        self.said.append(command)
        if isinstance(self.done, Exception):
            raise self.done
        done = self.done(self.key) if callable(self.done) else self.done
        return {"rc": 3, "stdout": "", "stderr": ""} if done is None else done

    def _execute(self, module_name, task_vars):
        assert module_name == "ipmasq.linux.gateway" and task_vars is self.variables
        self.sent.append(self.action._task.environment)
        return dict(SENT)

    @property
    def key(self):
        """As the host was given it."""
        return self.said[-1].split()[4]

    @property
    def code(self):
        return repeating.Direct(self.action, repeating.CODE, self.variables).path

    def run(self):
        before = self.action._task.environment
        found = self.action._module(self.variables)
        assert self.action._task.environment is before
        return found


def same(key, **more):
    """What the script prints, after what a login shell may print."""
    text = json.dumps(dict(RESULT, **more))
    return {"rc": 0, "stdout": "Welcome!\r\n{0} {1}\r\n".format(key, text), "stderr": ""}


def test_what_the_host_knows_is_not_sent():
    task = Task(same)
    assert task.run() == {"changed": False, "instance": "default", "notes": ["ü"]}
    assert task.sent == []
    assert task.said[0].startswith("A='b c' sh /run/ipmasq/default.again {0} run || ".format(task.key))
    assert len(task.key) == 64


def test_check_mode_and_diff_are_told():
    task = Task(same, instance="branch")
    task.action._task.check_mode = task.action._task.diff = True
    assert task.run()["diff"] == RESULT["diff"]
    assert task.said[0].startswith("A='b c' sh /run/ipmasq/branch.again {0} check || ".format(task.key))


def test_what_only_ansible_may_say_is_left_out():
    acting = {
        "_ansible_no_log": True,
        "add_host": {"host_name": "evil", "groups": ["lan_clients"]},
        "add_group": "evil",
        "ansible_facts": {"ansible_connection": "local"},
        "ansible_stats": {"data": {"a": 1}},
        "results": [{"add_host": {"host_name": "evil"}}],
    }
    assert set(Task(lambda key: same(key, **acting)).run()) == {"changed", "instance", "notes"}


@pytest.mark.parametrize(
    "done",
    [
        None,
        {"rc": 127, "stdout": "", "stderr": "sh: 0: cannot open /run/ipmasq/default.again: No such file"},
        {"rc": 0, "stdout": "This account is for backups only.\n", "stderr": ""},
        lambda key: dict(same(key), rc=1),
        lambda key: same("0" + key[1:] if key[0] != "0" else "1" + key[1:]),
        lambda key: dict(same(key), stdout=same(key)["stdout"][:-20]),
        lambda key: dict(same(key), stdout=key + " {}"),
        lambda key: dict(same(key), stdout=key + " []"),
        lambda key: same(key, changed=True),
        lambda key: same(key, pending={"token": "x"}),
        AnsibleError("Incorrect sudo password"),
    ],
    ids=[
        "different",
        "no script",
        "no shell",
        "failed",
        "another key",
        "cut",
        "nothing",
        "a list",
        "changed",
        "pending",
        "sudo",
    ],
)
def test_whatever_else_comes_is_for_the_module(done):
    task = Task(done)
    assert task.run() == SENT
    # The module leaves the script for this key.
    assert task.sent == [[{"A": "b c"}, {"IPMASQ_TASK": task.key}]]


def test_who_cannot_be_reached_is_not_asked_twice():
    task = Task(AnsibleConnectionFailure("no route to host"))
    with pytest.raises(AnsibleConnectionFailure):
        task.run()
    assert task.sent == []


@pytest.mark.parametrize(
    "args",
    [{"instance": "../x"}, {"instance": "A"}, {"instance": "a;b"}, {"wans": [object()]}],
    ids=["path", "name", "shell", "object"],
)
def test_what_is_no_question_goes_to_the_module_at_once(args):
    task = Task(same, **args)
    assert task.run() == SENT
    assert task.said == [] and task.sent == [[{"A": "b c"}]]


def test_a_removal_is_never_the_same_as_before():
    task = Task(same, state="absent")
    assert task.run() == SENT
    assert task.said[0].startswith("A='b c' false || ")
    assert task.sent == [[{"A": "b c"}]]


def test_the_code_of_the_host_runs_where_the_answers_differ(monkeypatch):
    asked = []

    def run(direct, spec, key, task, known):
        asked.append((direct.path, spec["instance"]["type"], key, task, known))
        return dict(SENT)

    monkeypatch.setattr(repeating.Direct, "run", run)
    task = Task(lambda _key: {"rc": 3, "stdout": "Welcome!\r\n{0}\r\n".format(task.code), "stderr": ""})
    assert task.run() == SENT and task.sent == []
    assert asked == [(task.code, "str", task.key, task.key, True)]
    # Another file is not this one.
    task.done = {"rc": 3, "stdout": task.code + "0\n", "stderr": ""}
    task.run()
    assert not asked[-1][-1]
    removal = Task({"rc": 3, "stdout": task.code + "\n", "stderr": ""}, state="absent")
    removal.run()
    assert asked[-1][3:] == ("", True)


def key(**args):
    task = Task(None, **args)
    task.variables = args.pop("_vars", {})
    task.action._task.args = args
    task.run()
    return task.key


def test_the_key_is_of_options_code_and_python(monkeypatch):
    assert key(mss="keep", lans=[{"name": "a"}]) == key(lans=[{"name": "a"}], mss="keep")
    keys = [key(), key(mss="keep"), key(lans=[{"name": "a"}]), key(lans=[{"name": "b"}])]
    keys += [key(_vars={"ansible_python_interpreter": "/usr/bin/python3.{0}".format(n)}) for n in (11, 13)]
    monkeypatch.setattr(repeating, "CODE", "another")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_the_key_is_of_the_python_of_the_host_that_is_asked():
    gateway, here = ({"ansible_python_interpreter": python} for python in ("/usr/bin/python3", "/opt/python"))
    task = Task()
    task.variables = {**here, "ansible_delegated_vars": {"gw": gateway}}
    task.action._task.delegate_to = "gw"
    task.run()
    assert task.key == key(_vars=gateway) != key(_vars=here)


def test_every_file_counts_as_code(monkeypatch, tmp_path):
    monkeypatch.setattr(repeating, "PLUGINS", tmp_path)
    found = [repeating.code()]
    for name, text in (
        ("modules/gateway.py", "a"), ("module_utils/_a/b.py", "a"), ("module_utils/_a/b.py", "b"),
        ("module_utils/_a/c.py", ""), ("module_utils/d/e/f.py", "a"),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
        found.append(repeating.code())
    assert len(set(found)) == len(found)
    (tmp_path / "module_utils/_a/__pycache__").mkdir()
    (tmp_path / "module_utils/_a/__pycache__/b.pyc").write_bytes(b"x")
    assert repeating.code() == found[-1]


def test_an_environment_of_one_dictionary_is_kept():
    task = Task()
    task.action._task.environment = {"A": "b"}
    task.run()
    assert task.sent == [[{"A": "b"}, {"IPMASQ_TASK": task.key}]]
