# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Run the module, come back by a new connection, and confirm. Who cannot come back is told that the host went back."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

from ansible_collections.ipmasq.linux.plugins.module_utils._argspec import GATEWAY, MODULES
from ansible_collections.ipmasq.linux.plugins.module_utils._host import shortened
from ansible_collections.ipmasq.linux.plugins.plugin_utils.arguments import (
    BESIDE,
    in_words_of_the_role,
    mistyped,
    read,
    variable,
)

display = Display()
#: What ssh is told, in this order.
SSH_ARGS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
#: TMPDIR may be long, or hold what ssh takes for more than a path.
SHORT = "/tmp"  # noqa: S108 - for folders of our own
#: How long after the deadline to ask what became of the change, in seconds.
GRACE = 30
PAUSE = 1


class ConfirmingAction(ActionBase):
    #: The module that makes the change.
    MODULE = ""
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict] = None) -> dict:
        result = super().run(tmp, task_vars)
        named = variable if self._in_role() else str
        if self._in_role():
            for sentence in mistyped(variable(""), map(variable, [*MODULES["gateway"], *BESIDE]), task_vars or {}):
                display.warning(sentence)
        if self.MODULE == "gateway" and self._task.args.get("state") == "absent":
            # The way out does not depend on what else is said, rightly or wrongly.
            self._task.args = {name: value for name, value in self._task.args.items() if name not in GATEWAY}
        self._task.args, problems = read(MODULES[self.MODULE], self._task.args, named)
        if problems:
            return {**result, **self._failed("\n".join(problems)), "problems": problems}
        result.update(self._execute_module(module_name="ipmasq.linux." + self.MODULE, task_vars=task_vars))
        self._leave_out_long_lists()
        if result.get("problems") and self._in_role():
            result["problems"] = [in_words_of_the_role(each) for each in result["problems"]]
            result["msg"] = "\n".join(result["problems"])
        pending = result.get("pending")
        if not pending or self._task.args.get("confirm_by") == "person":
            return result
        del result["pending"]
        ended = self._confirm(result["instance"], pending, task_vars)
        warnings = [*result.get("warnings", ()), *ended.get("warnings", ())]
        return {**result, **ended, **({"warnings": warnings} if warnings else {})}

    def _in_role(self) -> bool:
        """Whether options came as variables of our role, so that its user knows them by those names."""
        role = getattr(self._task, "_role", None)
        return bool(role) and role.get_name() == "ipmasq.linux.gateway"

    def _confirm(self, instance: str, pending: t.Mapping[str, t.Any], task_vars: t.Optional[dict]) -> dict:
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
                    "rolled back: within {0} s there was no new connection to this host ({1}); it is as it was before "
                    "the change".format(pending["seconds"], problem)
                )
            if answer.get("was") == "failed":
                return self._failed(
                    "not rolled back: there was no new connection to this host within {0} s ({1}), and not every step "
                    "of the rollback has worked; look at the host".format(pending["seconds"], problem)
                )
            problem = " ".join(str(answer.get("msg") or answer).split())[:200]
            if problem.endswith("it was taken back"):
                return self._failed("rolled back: " + problem)
            display.vv("ipmasq: not confirmed yet: {0}".format(problem))
            time.sleep(PAUSE)
        return self._failed(
            "not confirmed: this host does not answer ({0}); it takes the change back by itself at {1}, its "
            "time".format(problem, pending["until"])
        )

    def _asked(self, instance: str, pending: t.Mapping[str, t.Any], task_vars: t.Optional[dict]) -> dict:
        """What gateway_confirm says. Only the host that the change waits on knows its token; who else answers is named.

        A host that is reached in its place has the same user and key in most fleets, so anything may go wrong there.
        """
        try:
            answer = self._execute_module(
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
            answer["msg"] = "{0}{1} answered, and knows nothing of this change".format(name, known)
        return answer

    def _who(self) -> t.Tuple[str, str]:
        """Who answers a new connection, by its own word: its name, and the address that was reached."""
        try:
            done = self._low_level_execute_command('uname -n; echo "$SSH_CONNECTION"', sudoable=False)
        except AnsibleError:
            return "", ""
        name, connection, *_rest = [*str(done.get("stdout", "")).splitlines(), "", ""]
        return name.strip(), [*connection.split(), "", "", ""][2]

    def _leave_out_long_lists(self) -> None:
        """A worker sends its task back with the result; at 10,000 items that costs more than the module on the node."""
        if not self._task.until:  # Otherwise it may run again.
            self._task.args.update(shortened(self._task.args))

    @staticmethod
    def _failed(message: str) -> dict:
        return {"failed": True, "changed": False, "msg": message}

    @contextlib.contextmanager
    def _new_connection(self) -> t.Iterator[None]:
        """One that shares nothing with those before: what is open already would outlive a rule that cuts it off."""
        connection = self._connection
        if getattr(connection, "transport", "") != "ssh":
            # Those that keep nothing open have no reset of their own, and the common one warns.
            if type(connection).reset is not ConnectionBase.reset:
                connection.reset()
            yield
            return
        before = {name: connection.get_option(name) for name in SSH_ARGS}
        with contextlib.ExitStack() as stack:
            socket = _place(stack)
            told = {name: _without_place(words or "") for name, words in before.items()}
            # OpenSSH takes the first word on each option. All steps share the one new connection.
            told["ssh_args"] = "-o ControlPath={0} {1}".format(socket, told["ssh_args"]).strip()
            try:
                for name, words in told.items():
                    connection.set_option(name, words)
                yield
            finally:
                try:
                    if os.path.exists(socket):
                        # ControlPersist would keep it for a minute, in which nobody asks for it.
                        connection.reset()
                finally:
                    for name, words in before.items():
                        connection.set_option(name, words)


def _place(stack: contextlib.ExitStack) -> str:
    """Where OpenSSH keeps the connection while it is shared, or none. A socket's path has to be short and plain."""
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
