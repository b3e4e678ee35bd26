# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A confirmation over ssh has its own connection, whatever the options of ssh, and leaves nothing behind."""

from __future__ import annotations

import pathlib
import re
import types
from typing import ClassVar

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.ipmasq.linux.plugins.plugin_utils import confirming

USUAL = "-C -o ControlMaster=auto -o ControlPersist=60s"
PLACE = re.compile(r"-o ControlPath=(/tmp/ipmasq-[a-z0-9_]{8}/ssh)\b ?(.*)")


class Ssh:
    transport = "ssh"

    def __init__(self, **options):
        self.options = {"ssh_args": USUAL, "ssh_common_args": "", "ssh_extra_args": None, **options}
        self.resets = []
        self._shell = types.SimpleNamespace(tmpdir="/tmp/ours")  # noqa: S108 - a name

    def get_option(self, name):
        return self.options[name]

    def set_option(self, name, value):
        self.options[name] = value

    def reset(self):
        self.resets.append(self.options["ssh_args"])


@pytest.fixture
def confirm():
    action = confirming.ConfirmingAction.__new__(confirming.ConfirmingAction)

    def using(connection):
        action._connection = connection
        return action._new_connection()

    return using


def test_its_place_comes_first_and_goes(confirm):
    ssh = Ssh()
    before = dict(ssh.options)
    with confirm(ssh):
        place, rest = PLACE.fullmatch(ssh.options["ssh_args"]).groups()
        assert rest == USUAL
        pathlib.Path(place).touch()
    assert ssh.resets == ["-o ControlPath={0} {1}".format(place, USUAL)]
    assert ssh.options == before and not pathlib.Path(place).parent.exists()


@pytest.mark.parametrize("words", ["-S /run/x -C", "-C -S/run/x", "-C"])
@pytest.mark.parametrize("name", ["ssh_args", "ssh_common_args", "ssh_extra_args"])
def test_no_other_place_is_left(confirm, name, words):
    ssh = Ssh(**{name: words})
    with confirm(ssh):
        said = ssh.options[name]
        assert PLACE.fullmatch(said).group(2) == "-C" if name == "ssh_args" else said == "-C"
    assert ssh.options[name] == words


def test_who_was_not_connected_is_not_asked_to_stop(confirm):
    ssh = Ssh(ssh_args="")
    with pytest.raises(RuntimeError), confirm(ssh):
        raise RuntimeError
    assert ssh.resets == [] and ssh.options["ssh_args"] == ""


def test_words_that_ansible_refuses_too_are_left_alone(confirm):
    ssh = Ssh(ssh_common_args="-o 'x")
    with confirm(ssh):
        assert ssh.options["ssh_common_args"] == "-o 'x"


@pytest.mark.parametrize("folder", ["/var/a b", "/var/%z", "/var/" + 80 * "x", "/nowhere"])
def test_a_folder_for_temporary_files_does_not_matter(confirm, monkeypatch, folder):
    monkeypatch.setattr(confirming.tempfile, "tempdir", folder)
    ssh = Ssh()
    with confirm(ssh):
        assert PLACE.fullmatch(ssh.options["ssh_args"])


def test_without_a_place_nothing_is_shared(confirm, monkeypatch):
    monkeypatch.setattr(confirming, "SHORT", "/nowhere/at/all")
    ssh = Ssh()
    with confirm(ssh):
        assert ssh.options["ssh_args"] == "-o ControlPath=none " + USUAL


# --- Who is reached --------------------------------------------------------------------------------------------------

PENDING = {"token": "secret", "seconds": 8, "until": "14:05:30", "host": "gw1"}
LATE = {"failed": True, "was": "reverted", "msg": "too late"}
#: What a host without this change says to its script.
NOT_KEPT = {"rc": 127, "stdout": "", "stderr": "sh: 0: cannot open /run/ipmasq/default/confirm: No such file"}


class Clock:
    """Each look at it takes a second; nobody sleeps."""

    now = 0.0

    def monotonic(self):
        self.now += 1
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def ends(monkeypatch):
    """The task's message for these answers in turn, the last one repeated; exceptions are raised."""
    monkeypatch.setattr(confirming, "time", Clock())

    def confirmed(*answers, who="gw1\n1.2.3.4 5 192.0.2.1 22\n", script=None):
        action = confirming.ConfirmingAction.__new__(confirming.ConfirmingAction)
        action._connection = Ssh()
        left = list(answers)

        def execute(**options):
            assert options["module_args"] == {"instance": "default", "token": "secret"}
            # Each connection may reach another host, so none uses a folder of an earlier one.
            assert action._connection._shell.tmpdir is None
            action._connection._shell.tmpdir = "/tmp/theirs"  # noqa: S108 - a name
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, Exception):
                raise answer
            return dict(answer)

        def low_level(command, sudoable=True):
            if sudoable:
                assert command == "sh /run/ipmasq/default/confirm secret"
                if isinstance(script, Exception):
                    raise script
                return script or NOT_KEPT
            if isinstance(who, Exception):
                raise who
            return {"stdout": who}

        monkeypatch.setattr(action, "_execute_module", execute)
        monkeypatch.setattr(action, "_low_level_execute_command", low_level)
        removed = []
        monkeypatch.setattr(action, "_remove_tmp_path", removed.append)
        told = action._confirm("default", PENDING, {})
        assert set(removed) <= {"/tmp/theirs"}  # noqa: S108 - as above
        assert action._connection._shell.tmpdir == "/tmp/ours"  # noqa: S108 - as above
        return told

    return confirmed


def test_the_script_of_the_change_is_enough(ends):
    said = "ipmasq warns: has failed: systemctl enable ipmasq.service\nsomething else\n"
    told = ends(AssertionError("a module was sent"), script={"rc": 0, "stdout": "hello\nsecret\n", "stderr": said})
    assert told == {"warnings": ["has failed: systemctl enable ipmasq.service; check it before the next boot"]}


@pytest.mark.parametrize(
    "script",
    [
        NOT_KEPT,
        {"rc": 1, "stdout": "", "stderr": "ipmasq: default: something"},
        # A shell that runs nothing, and answers that all is well.
        {"rc": 0, "stdout": "This account is for backups only.\n", "stderr": ""},
        {"rc": 1, "stdout": "secret\n", "stderr": ""},
        AnsibleError("Incorrect sudo password"),
    ],
    ids=str,
)
def test_what_the_script_does_not_keep_is_asked_of_the_module(ends, script):
    assert ends({"was": "confirmed", "warnings": ["look"]}, script=script) == {"warnings": ["look"]}
    assert ends(LATE, script=script)["msg"] == ROLLED_BACK.format("no answer")


UNKNOWN = {"failed": True, "was": "", "msg": "nothing is known of that change", "host": "gw1"}
DESK = "desk1\n1.2.3.4 5 192.168.10.11 22\n"
ROLLED_BACK = "rolled back: no new connection reached this host within 8 s ({0}); it is as it was before the change"
WRONG = [
    AnsibleError("failed to transfer file to ~/.ansible/tmp/AnsiballZ_gateway_confirm.py"),
    AnsibleError("Incorrect sudo password"),
    AnsibleError("Timeout (12s) waiting for privilege escalation prompt: "),
    {"failed": True, "msg": "The module interpreter '/usr/bin/python3.13' was not found."},
    # With its own pending change: the token does not match.
    dict(UNKNOWN, host="desk1"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_another_host_that_answers_is_no_confirmation_and_is_named(ends, wrong):
    said = str(wrong) if isinstance(wrong, Exception) else wrong["msg"]
    told = ends(wrong, LATE, who=DESK)["msg"]
    assert told == ROLLED_BACK.format("desk1 (192.168.10.11) answered in its place: " + said.strip())


def test_a_host_of_the_same_name_is_not_the_same(ends):
    told = ends(UNKNOWN, LATE)["msg"]
    assert told == ROLLED_BACK.format("gw1 (192.0.2.1) answered and does not know this change")


def test_a_host_that_was_restarted_is_not_said_to_be_silent(ends):
    told = ends(UNKNOWN)
    assert told["failed"] and "(gw1 (192.0.2.1) answered and does not know this change)" in told["msg"]


@pytest.mark.parametrize("who", ["gw1\n\n", "", AnsibleError("no")], ids=str)
def test_what_is_wrong_with_this_host_itself_is_told_as_it_is(ends, who):
    assert ends(WRONG[1], LATE, who=who)["msg"] == ROLLED_BACK.format("Incorrect sudo password")


def test_no_connection_asks_nobody_for_a_name(ends):
    told = ends(AnsibleConnectionFailure("timed out"), LATE, who=AssertionError())
    assert told["msg"] == ROLLED_BACK.format("timed out")


def test_what_works_at_last_is_a_confirmation(ends):
    assert ends(WRONG[0], {"was": "pending", "warnings": ["look"]}, who=DESK) == {"warnings": ["look"]}


def test_what_is_not_all_on_the_disk_is_a_failure(ends):
    assert ends({"failed": True, "was": "unfinished", "msg": "not all"})["msg"] == "not all"


@pytest.mark.parametrize("wrong", [{"ipv6": "no"}, {"lan": []}, {"nat": [{"nam": 1}]}], ids=str)
def test_the_way_out_does_not_depend_on_what_else_is_said(monkeypatch, wrong):
    asked = []

    class Task:
        args: ClassVar = {"state": "absent", "instance": "lab", "confirm_timeout": 0, **wrong}
        until = None
        _role = None

    class Action(confirming.ConfirmingAction):
        MODULE = "gateway"

        def __init__(self):
            self._task = Task()

        def _execute_module(self, **options):
            asked.append(dict(self._task.args))
            return {"changed": True, "instance": "lab"}

    monkeypatch.setattr(confirming.ActionBase, "run", lambda *_words: {})
    result = Action().run(None, {})
    if "lan" in wrong:
        # Not an option at all, so it may be a mistyped one of those that count.
        assert result["failed"] and not asked
    else:
        assert result["changed"] and asked == [{"state": "absent", "instance": "lab", "confirm_timeout": 0}]


def answers(monkeypatch, **answer):
    """The result of a task, where the host says this of its change, and what the host is asked then."""
    action = confirming.ConfirmingAction.__new__(confirming.ConfirmingAction)
    action.MODULE, action._connection, said = "gateway", Ssh(), []
    action._task = types.SimpleNamespace(args={}, until=None, _role=None)
    monkeypatch.setattr(confirming.ActionBase, "run", lambda *_words: {})
    monkeypatch.setattr(action, "_module", lambda _vars: dict({"changed": True, "instance": "default"}, **answer))
    monkeypatch.setattr(action, "_kept", lambda *words: said.append(words) or [])
    return action.run(None, {}), said


@pytest.mark.parametrize(
    "wrong",
    [
        "x", ["token"], {"token": "secret"}, dict(PENDING, seconds="8"), dict(PENDING, seconds=True),
        dict(PENDING, until=None), dict(PENDING, host=7),
        *({**PENDING, "token": token} for token in (["x"], "x; id", "x\n", "")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_answer_of_our_module_is_not_confirmed(monkeypatch, wrong):
    result, said = answers(monkeypatch, pending=wrong)
    assert result["failed"] and result["msg"].startswith("not confirmed: ") and not said
    assert answers(monkeypatch, pending=PENDING)[1] == [("default", "secret")]


@pytest.mark.parametrize("instance", ["../../tmp/x", "a;b", "", None, ["default"]])
def test_no_other_folder_is_one_of_a_change(monkeypatch, instance):
    result, said = answers(monkeypatch, pending=PENDING, instance=instance)
    assert result["failed"] and result["msg"].startswith("not confirmed: ") and not said


def test_a_token_is_a_word_and_no_command(monkeypatch):
    action = confirming.ConfirmingAction.__new__(confirming.ConfirmingAction)
    said = []
    monkeypatch.setattr(action, "_low_level_execute_command", lambda words: said.append(words) or NOT_KEPT)
    action._kept("a; id", "b; id")
    assert said == ["sh '/run/ipmasq/a; id'/confirm 'b; id'"]


class Templar:
    @staticmethod
    def template(value):
        return ["templated", value]


SECRET = object()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([{"name": "web", "port": 443, "log": True, "x": None, "source": ["ü"]}], None),
        ([], None),
        ("[{'name': 'web'}]", None),
        ("{{ web + mail }}", True),
        ([{"name": "web", "to": "{{ server }}"}], True),
        ([{"name": "{% if x %}a{% endif %}"}], True),
        ([{"name": "{# a #}b"}], True),
        ([{"name": SECRET}], True),
    ],
)
def test_long_options_without_templates_are_read_as_they_are(value, read):
    action = confirming.ConfirmingAction.__new__(confirming.ConfirmingAction)
    action.MODULE, action._templar = "gateway", Templar
    action._task = types.SimpleNamespace(args={"nat": ["given"]})
    found = action._long({"gateway_port_forwards": value, "gateway_nat": ["x"], "gateway_outbound": None})
    assert found == {"port_forwards": ["templated", value] if read else value}
    assert action._long({}) == {}
