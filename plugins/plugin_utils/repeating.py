# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Ask a host whether the last run of the same task would have the same result, before the module is packed and sent.

The module leaves a script on the host that asks what it has asked (``module_utils/_change/again``). That is one
command. If the answers differ, the module's code runs without Ansible's archive where that is possible (``direct``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import TASK
from ansible_collections.ipmasq.linux.plugins.module_utils._change.again import DIFFERENT
from ansible_collections.ipmasq.linux.plugins.module_utils._change.asked import place
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES
from ansible_collections.ipmasq.linux.plugins.plugin_utils.confirming import INSTANCE, ConfirmingAction
from ansible_collections.ipmasq.linux.plugins.plugin_utils.direct import PLUGINS, Direct, answered, of_its_host, taken

Variables = t.Optional[t.Dict[str, t.Any]]


def code() -> str:
    """A digest of everything that a module may consist of."""
    found = hashlib.sha256()
    for path in sorted([*PLUGINS.glob("module_utils/**/*.py"), *PLUGINS.glob("modules/*.py")]):
        text = path.read_bytes()
        found.update("{0} {1}\n".format(path.relative_to(PLUGINS), len(text)).encode())
        found.update(text)
    return found.hexdigest()


#: Computed here, because Ansible loads the plugin once and then makes a process for each host.
CODE = code()


class RepeatingAction(ConfirmingAction):
    def _module(self, task_vars: Variables) -> t.Dict[str, t.Any]:
        instance = str(self._task.args.get("instance", "default"))
        key = self._key(task_vars) if INSTANCE.match(instance) else ""
        if not key:
            return super()._module(task_vars)
        absent = self._task.args.get("state") == "absent"
        direct = Direct(self, CODE, task_vars)
        result, known = self._again("" if absent else place(instance, "again"), key, direct.path)
        if result is None:
            result = direct.run(MODULES[self.MODULE], key, "" if absent else key, known)
        if result is not None:
            return result
        if absent:
            return super()._module(task_vars)
        with self._environment(**{TASK: key}):
            return super()._module(task_vars)

    def _key(self, task_vars: Variables) -> str:
        """Of whatever may change the result, except for the host; empty if it cannot be known."""
        python = of_its_host(self._task, task_vars).get("ansible_python_interpreter")
        try:
            known = json.dumps([self._task.args, str(python), CODE], sort_keys=True)
        except (TypeError, ValueError):
            return ""
        return hashlib.sha256(known.encode()).hexdigest()

    def _again(self, script: str, key: str, code: str) -> t.Tuple[t.Optional[t.Dict[str, t.Any]], bool]:
        """The result, if the host says that it is the same as before, and whether it has our code compiled."""
        asks = " ".join(["sh", script, key, "check" if self._task.check_mode else "run"]) if script else "false"
        words = "{0} || {{ [ ! -r {1} ] || echo {1}; exit {2}; }}".format(asks, code, DIFFERENT)
        try:
            done = self._low_level_execute_command((self._compute_environment_string() + " " + words).strip())
        except AnsibleConnectionFailure:
            raise
        except AnsibleError:
            return None, False  # the module fails in the same way
        lines = str(done.get("stdout", "")).splitlines()
        result = answered(key, lines) if done.get("rc") == 0 else None
        return self._shown(result), done.get("rc") == DIFFERENT and code in lines

    def _shown(self, result: t.Any) -> t.Optional[t.Dict[str, t.Any]]:
        if not isinstance(result, dict) or result.get("changed") is not False or result.get("pending"):
            return None
        hidden = () if self._task.diff else ("diff",)
        return taken({name: value for name, value in result.items() if name not in hidden})

    @contextlib.contextmanager
    def _environment(self, **more: str) -> t.Iterator[None]:
        """What the module finds in its environment, besides what the task says."""
        before = self._task.environment
        self._task.environment = [*(before if isinstance(before, list) else [before]), more]
        try:
            yield
        finally:
            self._task.environment = before
