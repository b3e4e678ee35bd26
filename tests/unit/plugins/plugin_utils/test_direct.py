# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options and our files by one command; wherever that is not possible, Ansible sends the module."""

from __future__ import annotations

import ast
import json
import pathlib
import types
import zlib

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES
from ansible_collections.ipmasq.linux.plugins.plugin_utils import direct

PYTHON = {"ansible_python_interpreter": "/opt/python"}
RESULT = {"changed": True, "instance": "default", "notes": ["ü"]}


class Action:
    """Against a host that answers each command with the next of ``answers``."""

    def __init__(self, *answers, variables=PYTHON, **args):
        self.answers, self.said, self.given = list(answers), [], []
        self._connection = types.SimpleNamespace(has_pipelining=True, become=None)
        self._task = types.SimpleNamespace(
            args=args, check_mode=False, diff=True, no_log=False, async_val=0, delegate_to=None
        )
        self._templar = types.SimpleNamespace(template=lambda text: text)
        self.variables = variables

    @staticmethod
    def _compute_environment_string():
        return "A=b"

    def _low_level_execute_command(self, words, in_data):
        self.said.append(words)
        self.given.append(in_data)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return {"rc": 0, "stdout": found, "stderr": "x"}

    def run(self, known=False):
        made = direct.Direct(self, "code", self.variables)
        return made.run(MODULES["gateway"], "key", "task", known)


def said(**more):
    return "Welcome!\r\nkey {0}\r\n".format(json.dumps(dict(RESULT, **more)))


def test_a_host_with_our_code_gets_the_options():
    action = Action(said(_ansible_x=1), lans=[{"name": "a", "interfaces": ["x"]}], mss="keep")
    assert action.run(known=True) == RESULT
    (words,), (given,) = action.said, action.given
    asked = json.loads(given)
    assert words == "A=b sh /run/ipmasq/.code-" + asked["code"]
    assert len(asked["code"]) == 64
    assert asked["params"]["mss"] == "keep" and asked["params"]["lans"][0]["name"] == "a"
    assert asked["params"]["confirm_timeout"] == 30, "with their defaults"
    told = {name: asked[name] for name in ("key", "task", "quiet", "check", "diff")}
    assert told == {"key": "key", "task": "task", "quiet": False, "check": False, "diff": True}


def test_a_host_without_it_gets_our_files():
    action = Action(said())
    assert action.run() == RESULT
    (words,), (given,) = action.said, action.given
    assert words.startswith("A=b /opt/python -I -S -X utf8 -c ")
    boot = (direct.UTILS / "_base/boot.py").read_bytes()
    assert given.startswith(boot)
    unpacked = zlib.decompressobj()
    files = json.loads(unpacked.decompress(given[len(boot) :]))
    assert json.loads(unpacked.unused_data)["params"]["state"] == "present"
    assert files["digest"] == "code"
    assert files["sources"]["_base/boot"].encode() == boot


def test_a_damaged_file_on_the_host_costs_another_command():
    action = Action("", said())
    assert action.run(known=True) == RESULT
    assert len(action.said) == 2 and "/opt/python" in action.said[1]


@pytest.mark.parametrize("answer", ["", "key {", "key []", "other {}", AnsibleError("sudo: a terminal is required")])
def test_whatever_else_the_host_says_the_module_is_sent(answer):
    assert Action(answer).run() is None


def test_who_cannot_be_reached_is_not_asked_twice():
    action = Action(AnsibleConnectionFailure("no route to host"))
    with pytest.raises(AnsibleConnectionFailure):
        action.run()


def without_input(action):
    action._connection.has_pipelining = False


def by_su(action):
    action._connection.become = types.SimpleNamespace(name="ansible.builtin.su", pipelining=False)


def by_machinectl(action):
    action._connection.become = types.SimpleNamespace(name="machinectl")


def wrong(action):
    action._task.args["backend"] = "wrong"


def unknown(action):
    action._task.args["nothing"] = "1"


def in_background(action):
    action._task.async_val = 10


@pytest.mark.parametrize("change", [without_input, by_su, by_machinectl, wrong, unknown, in_background])
def test_what_cannot_be_done_or_has_to_be_explained_is_for_the_module(change):
    action = Action()
    change(action)
    assert action.run(known=True) is None and action.said == []


def test_remote_files_that_are_kept_are_those_of_the_module(monkeypatch):
    monkeypatch.setattr(direct.C, "DEFAULT_KEEP_REMOTE_FILES", True)
    assert Action().run(known=True) is None


def test_another_code_or_python_is_another_file():
    action = Action()
    paths = [
        direct.Direct(action, code, {"ansible_python_interpreter": python}).path for code in "ab" for python in "cd"
    ]
    assert len(set(paths)) == 4 and all(path.startswith("/run/ipmasq/.code-") for path in paths)


def test_the_python_is_the_one_that_ansible_has_found():
    action = Action(said(), variables={"ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3.11"}})
    assert action.run() == RESULT
    assert action.said[0].startswith("A=b /usr/bin/python3.11 ")


def test_the_python_is_looked_for_as_ansible_does(monkeypatch):
    def discover(action, name, mode, _variables):
        assert (name, mode) == ("python", "auto")
        action._discovery_warnings = ["a future Python"]
        return "/usr/bin/python3.13"

    monkeypatch.setattr(direct, "discover_interpreter", discover)
    action = Action(said(), variables=None)
    facts = {"discovered_interpreter_python": "/usr/bin/python3.13"}
    assert action.run() == dict(RESULT, ansible_facts=facts, warnings=["a future Python"])
    assert "/usr/bin/python3.13" in action.said[0]
    # Its warnings go with those of the run.
    assert Action(said(warnings=["w"]), variables=None).run()["warnings"] == ["a future Python", "w"]


#: What a host that somebody has taken over may answer, besides the result.
ACTING = {
    "add_host": {"host_name": "evil", "groups": ["lan_clients"], "host_vars": {"ansible_connection": "local"}},
    "add_group": "evil",
    "ansible_facts": {"ansible_connection": "local", "discovered_interpreter_python": "/opt/x"},
    "ansible_stats": {"data": {"a": 1}},
    "_ansible_notify": ["x"],
    "results": [{"add_host": {"host_name": "evil"}}],
    "warnings": 7,
    "deprecations": "x",
}


def test_no_answer_acts_on_the_controller():
    assert Action(said(**ACTING)).run() == RESULT
    assert Action(said(**ACTING)).run(known=True) == RESULT


def delegated(gateway, **here):
    """By a host with the variables ``here``, to a gateway."""
    action = Action(said(), variables={**here, "ansible_delegated_vars": {"gw": gateway, "other": PYTHON}})
    action._task.delegate_to = "gw"
    return action


def test_on_another_host_runs_the_python_of_that_host():
    facts = {"discovered_interpreter_python": "/usr/bin/python3.11"}
    for gateway, python in ((PYTHON, "/opt/python"), ({"ansible_facts": facts}, "/usr/bin/python3.11")):
        here = {"ansible_facts": {"discovered_interpreter_python": "/srv/alice/python"}}
        action = delegated(gateway, ansible_python_interpreter="/srv/alice/python", **here)
        assert action.run() == RESULT
        assert action.said[0].startswith("A=b {0} ".format(python))
    # The code that the host keeps for it is the same as in a task of its own.
    action = delegated(PYTHON, ansible_python_interpreter="/srv/alice/python")
    assert direct.Direct(action, "a", action.variables).path == direct.Direct(Action(), "a", PYTHON).path


def test_on_another_host_the_python_is_looked_for_with_the_variables_of_that_host(monkeypatch):
    seen = []
    monkeypatch.setattr(direct, "discover_interpreter", lambda *given: seen.append(given[-1]) or "/usr/bin/python3")
    gateway = {"ansible_interpreter_python_fallback": ["/usr/bin/python3"]}
    assert delegated(gateway, **PYTHON).run()["ansible_facts"]["discovered_interpreter_python"] == "/usr/bin/python3"
    assert seen == [gateway]


def test_on_another_host_the_system_log_is_told_as_much_as_by_ansible():
    for here, quiet in (({}, False), ({"ansible_no_target_syslog": True}, True)):
        action = delegated(PYTHON, **here)
        action.run()
        boot = len((direct.UTILS / "_base/boot.py").read_bytes())
        unpacked = zlib.decompressobj()
        unpacked.decompress(action.given[0][boot:])
        assert json.loads(unpacked.unused_data)["quiet"] is quiet


def test_the_files_are_all_that_the_module_imports():
    found = direct.sources()
    files = {str(path.relative_to(direct.UTILS))[:-3] for path in direct.UTILS.rglob("*.py")}
    needed, left = set(), ["_change/direct"]
    while left:
        name = left.pop()
        needed.add(name)
        for node in ast.walk(ast.parse(found[name])):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = pathlib.PurePath(name).parents[node.level - 1]
                module = str(folder.joinpath(*(node.module or "").split("."))) if node.module else str(folder)
                named = {module, *("{0}/{1}".format(module, each.name) for each in node.names)}
                left += sorted(named & files - needed)
    assert needed <= set(found)
    assert not {name.split("/")[0] for name in found} & set(direct.OTHERS)
