# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Run the module, reconnect, and confirm. If reconnecting fails, report that the host has rolled back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tempfile
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import shortened
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import GATEWAY, LAN_CLIENT, LONG, MODULES
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.rollback import folder_of, warned
from ansible_collections.ipmasq.linux.plugins.plugin_utils.arguments import (
    BESIDE,
    in_words_of_the_role,
    mistyped,
    read,
    variable,
)

display = Display()
#: The options with ssh's arguments, in ssh's order.
SSH_ARGS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
#: TMPDIR may be too long, or contain characters that ssh interprets.
SHORT = "/tmp"  # noqa: S108 - for folders of our own
#: The options that say what a module sets up.
NEEDLESS = {"gateway": GATEWAY, "lan_client": LAN_CLIENT}
#: Names that the module accepts; for any other, it says what is wrong.
INSTANCE = re.compile(r"[a-z][a-z0-9_]{0,9}\Z")
#: What a change is confirmed with.
TOKEN = re.compile(r"\w{1,64}\Z", re.ASCII)
#: Where a template begins.
TEMPLATED = re.compile(r"\{[{%#]")
#: Seconds after the deadline in which to ask for the outcome of the change.
GRACE = 30
PAUSE = 1


class ConfirmingAction(ActionBase):
    #: The module that makes the change.
    MODULE = ""
    #: The role whose variables are this module's options.
    ROLE = "gateway"
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        result: t.Dict[str, t.Any] = super().run(tmp, task_vars)
        named = self._variable if self._in_role() else str
        if self._in_role():
            known = map(self._variable, [*MODULES[self.ROLE], *BESIDE[self.ROLE]])
            for sentence in mistyped(self._variable(""), known, task_vars or {}):
                display.warning(sentence)
            if self._task.args.get("state") != "absent":
                self._task.args = {**self._task.args, **self._long(task_vars or {})}
        if self._task.args.get("state") == "absent":
            # Removal does not depend on the other options, valid or not.
            needless = NEEDLESS.get(self.MODULE, {})
            self._task.args = {name: value for name, value in self._task.args.items() if name not in needless}
        self._task.args, problems = read(MODULES[self.MODULE], self._task.args, named)
        if problems:
            return {**result, **self._failed("\n".join(problems)), "problems": problems}
        result.update(self._module(task_vars))
        self._leave_out_long_lists()
        if result.get("problems") and self._in_role():
            result["problems"] = [in_words_of_the_role(each, self.ROLE) for each in result["problems"]]
            result["msg"] = "\n".join(result["problems"])
        pending = result.get("pending")
        if not pending or self._task.args.get("confirm_by") == "person":
            return result
        if not (_awaited(pending) and INSTANCE.match(str(result.get("instance")))):
            return {
                **result,
                **self._failed("not confirmed: what this host answers is not the gateway module's answer"),
            }
        del result["pending"]
        ended = self._confirm(str(result["instance"]), pending, task_vars)
        warnings = [*result.get("warnings", ()), *ended.get("warnings", ())]
        return {**result, **ended, **({"warnings": warnings} if warnings else {})}

    def _module(self, task_vars: t.Optional[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
        """The result of the module."""
        done: t.Dict[str, t.Any] = self._execute_module(module_name="ipmasq.linux." + self.MODULE, task_vars=task_vars)
        return done

    def _in_role(self) -> bool:
        """Whether the options are variables of our role, so that messages must use these names."""
        role = getattr(self._task, "_role", None)
        return role is not None and bool(role.get_name() == "ipmasq.linux." + self.ROLE)

    def _variable(self, option: str) -> str:
        return variable(option, self.ROLE)

    def _long(self, task_vars: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        """The options that may have thousands of items, from the role's variables.

        Ansible's templates look at each value of a list, which takes longer than all the rest of a run.
        """
        given = {option: task_vars.get(self._variable(option)) for option in LONG if option in MODULES[self.MODULE]}
        return {
            option: self._templated(value)
            for option, value in given.items()
            if value is not None and option not in self._task.args
        }

    def _templated(self, value: t.Any) -> t.Any:
        """The value without templates. As JSON, it is clear at once whether there are any."""
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            return self._templar.template(value)  # a secret, or a date
        return self._templar.template(value) if TEMPLATED.search(text) else json.loads(text)

    def _confirm(
        self, instance: str, pending: t.Mapping[str, t.Any], task_vars: t.Optional[t.Dict[str, t.Any]]
    ) -> t.Dict[str, t.Any]:
        deadline = time.monotonic() + pending["seconds"]
        problem = "no answer"
        while time.monotonic() < deadline + GRACE:
            try:
                with self._new_connection():
                    answer = self._asked(instance, pending, task_vars)
            except AnsibleError as error:
                answer = {"msg": str(error)}
            if answer.get("was") in ("pending", "confirmed"):
                return {"warnings": answer.get("warnings", [])}
            if answer.get("was") == "unfinished":
                return self._failed(str(answer.get("msg")))
            if answer.get("was") == "reverted":
                return self._failed(
                    "rolled back: no new connection reached this host within {0} s ({1}); it is as it was before the "
                    "change".format(pending["seconds"], problem)
                )
            if answer.get("was") == "failed":
                return self._failed(
                    "not rolled back: no new connection reached this host within {0} s ({1}), and the rollback did not "
                    "complete; inspect the host".format(pending["seconds"], problem)
                )
            problem = " ".join(str(answer.get("msg") or answer).split())[:200]
            if problem.endswith("it was rolled back"):
                return self._failed("rolled back: " + problem)
            display.vv("ipmasq: not confirmed yet: {0}".format(problem))
            time.sleep(PAUSE)
        return self._failed(
            "not confirmed: this host does not answer ({0}); it rolls the change back on its own at {1} (host "
            "time)".format(problem, pending["until"])
        )

    def _asked(
        self, instance: str, pending: t.Mapping[str, t.Any], task_vars: t.Optional[t.Dict[str, t.Any]]
    ) -> t.Dict[str, t.Any]:
        """The answer of gateway_confirm. Only the changed host knows the token; another host that answers is named.

        In most fleets, a host reached by mistake accepts the same user and key, so any error is possible there.
        """
        kept = self._kept(instance, pending["token"])
        if kept is not None:
            return {"was": "pending", "warnings": kept}
        try:
            with self._own_folder():
                answer: t.Dict[str, t.Any] = self._execute_module(
                    module_name="ipmasq.linux.gateway_confirm",
                    module_args={"instance": instance, "token": pending["token"]},
                    task_vars=task_vars,
                )
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            answer = {"msg": str(error)}
        if answer.get("was"):
            return answer
        name, address = self._who()
        known = " ({0})".format(address) if address else ""
        if name and name != pending.get("host", name):
            answer["msg"] = "{0}{1} answered in its place: {2}".format(name, known, answer.get("msg", ""))
        elif name and "was" in answer:
            answer["msg"] = "{0}{1} answered and does not know this change".format(name, known)
        return answer

    def _kept(self, instance: str, token: str) -> t.Optional[t.List[str]]:
        """The warnings of the change's own script, which keeps it with one command, without a module to send.

        None: it has not kept the change, and gateway_confirm finds out why.
        """
        try:
            # Both are words of a host, and by now another one may answer.
            words = "sh {0}/confirm {1}".format(shlex.quote(folder_of(instance)), shlex.quote(token))
            done = self._low_level_execute_command(words)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError:
            return None
        if done.get("rc") != 0 or token not in str(done.get("stdout", "")).split():
            return None
        return list(warned(str(done.get("stderr", ""))))

    def _who(self) -> t.Tuple[str, str]:
        """The name that the reached host gives itself, and the address that was reached."""
        try:
            done = self._low_level_execute_command('uname -n; echo "$SSH_CONNECTION"', sudoable=False)
        except AnsibleError:
            return "", ""
        name, connection, *_rest = [*str(done.get("stdout", "")).splitlines(), "", ""]
        return name.strip(), [*connection.split(), "", "", ""][2]

    @contextlib.contextmanager
    def _own_folder(self) -> t.Iterator[None]:
        """A temporary folder on the host that answers this time; Ansible would go on with that of another one."""
        shell = self._connection._shell
        before, shell.tmpdir = shell.tmpdir, None
        try:
            yield
        finally:
            with contextlib.suppress(AnsibleError):
                self._remove_tmp_path(shell.tmpdir)
            shell.tmpdir = before

    def _leave_out_long_lists(self) -> None:
        """A worker returns its task with the result, which with 10,000 items costs more than the module itself."""
        if not self._task.until:  # otherwise the task may run again
            self._task.args.update(shortened(self._task.args))

    @staticmethod
    def _failed(message: str) -> t.Dict[str, t.Any]:
        return {"failed": True, "changed": False, "msg": message}

    @contextlib.contextmanager
    def _new_connection(self) -> t.Iterator[None]:
        """A connection that shares nothing with earlier ones, which would survive a rule that cuts Ansible off."""
        connection = self._connection
        if getattr(connection, "transport", "") != "ssh":
            # Plugins without persistent connections do not override reset, and the default one warns.
            if type(connection).reset is not ConnectionBase.reset:
                connection.reset()
            yield
            return
        before = {name: connection.get_option(name) for name in SSH_ARGS}
        with contextlib.ExitStack() as stack:
            socket = _place(stack)
            told = {name: _without_place(words or "") for name, words in before.items()}
            # OpenSSH uses the first value of each option. All steps share the one new connection.
            told["ssh_args"] = "-o ControlPath={0} {1}".format(socket, told["ssh_args"]).strip()
            try:
                for name, words in told.items():
                    connection.set_option(name, words)
                yield
            finally:
                try:
                    if os.path.exists(socket):
                        # Otherwise ControlPersist would keep the unused connection for a minute.
                        connection.reset()
                finally:
                    for name, words in before.items():
                        connection.set_option(name, words)


def _awaited(pending: t.Any) -> bool:
    """Whether it says all that is needed to confirm a change."""
    if not isinstance(pending, dict) or isinstance(pending.get("seconds"), bool):
        return False
    words = [pending.get("token"), pending.get("until"), pending.get("host", "")]
    return (
        isinstance(pending.get("seconds"), (int, float))
        and all(isinstance(each, str) for each in words)
        and bool(TOKEN.match(pending["token"]))
    )


def _place(stack: contextlib.ExitStack) -> str:
    """The ControlPath of the shared connection, or none. A socket's path must be short and plain."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="ipmasq-", dir=SHORT, ignore_cleanup_errors=True)
    except OSError:
        return "none"
    return os.path.join(stack.enter_context(folder), "ssh")


def _without_place(words: str) -> str:
    """ssh's -S overrules ControlPath wherever it stands."""
    try:
        split = shlex.split(words)
    except ValueError:
        return words
    kept, before = [], ""
    for word in split:
        if before != "-S" and not word.startswith("-S"):
            kept.append(word)
        before = word
    return shlex.join(kept) if len(kept) < len(split) else words
