# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Run the module gateway without Ansible's archive: one command has the options, and our files if the host lacks them.

To collect a module's 250 files, Ansible parses each of them, and a host compiles each of them in every run. Here, the
host gets the options on standard input, as from Ansible with pipelining. It keeps our code compiled
(``module_utils/_change/direct``), and a run that finds none there sends it as it is. Wherever this is not possible,
Ansible sends the module as ever.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import shlex
import typing as t
import zlib

from ansible import constants as C  # noqa: N812 - as in Ansible itself
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.executor.interpreter_discovery import discover_interpreter
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.utils.display import Display

from ansible_collections.ipmasq.linux.plugins.module_utils._change.repeat import CODE as KEPT

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.plugins.action import ActionBase

PLUGINS = pathlib.Path(__file__).resolve().parents[1]
UTILS = PLUGINS / "module_utils"
#: The folders that the module gateway does not need.
OTHERS = ("_client", "_explain", "_lan_client", "_managers")
#: What Python does first with code that is sent.
START = (
    "import sys; names = dict(__name__='ipmasq._base.boot'); "
    "exec(sys.stdin.buffer.read({0}), names); names['sent']({1})"
)
#: Connection plugins that give standard input to commands, but not to Ansible's own pipelining.
READING = ("podman",)
#: These become plugins leave no standard input to the command.
NO_INPUT = ("su", "machinectl")
#: Names of results, and beginnings of names, that Ansible acts on.
ACTING = ("add_host", "add_group", "results")
FOR_ANSIBLE = ("_ansible", "ansible_")
Result = t.Dict[str, t.Any]
display = Display()


def sources() -> t.Dict[str, str]:
    """Our files by their names, as ``_base/host``."""
    paths = [path for path in sorted(UTILS.glob("*/**/*.py")) if path.relative_to(UTILS).parts[0] not in OTHERS]
    found = {str(path.relative_to(UTILS))[: -len(".py")]: path.read_text(encoding="utf-8") for path in paths}
    return {"__init__": "", **found}


def answered(key: str, lines: t.Iterable[str]) -> t.Any:
    """What follows the key in one of the lines; None if that is nowhere, or damaged."""
    for line in lines:
        first, _space, text = line.partition(" ")
        if first == key:
            try:
                return json.loads(text)
            except ValueError:
                continue
    return None


def taken(found: t.Mapping[str, t.Any]) -> Result:
    """What a host has answered, without what would act on the controller: add_host, facts, and so on.

    Ansible takes these names from no module either, except for facts and statistics, of which ours have none.
    """
    kept = {name: value for name, value in found.items() if not name.startswith(FOR_ANSIBLE) and name not in ACTING}
    wrong = [name for name in ("warnings", "deprecations") if not isinstance(kept.get(name, []), list)]
    return {name: value for name, value in kept.items() if name not in wrong}


def of_its_host(task: t.Any, task_vars: t.Optional[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """The variables of the host on which the task runs.

    With ``delegate_to``, ``task_vars`` are those of another host, whose Python must not run here.
    """
    found = task_vars or {}
    return (found.get("ansible_delegated_vars") or {}).get(task.delegate_to) or {} if task.delegate_to else found


def _last(name: str) -> str:
    """A plugin's name without its collection."""
    return name.rpartition(".")[2]


class Direct:
    """``code`` is a digest of everything that a module may consist of."""

    def __init__(self, action: ActionBase, code: str, task_vars: t.Optional[t.Dict[str, t.Any]]) -> None:
        self._action, self._code = action, code
        self._vars = of_its_host(action._task, task_vars)
        #: Ansible itself looks here for what concerns the system log.
        self._play_vars = task_vars or {}
        self._told = str(self._vars.get("ansible_python_interpreter"))
        #: Of the code and the Python that is asked for.
        self._key = hashlib.sha256("{0} {1}".format(code, self._told).encode()).hexdigest()
        self.path = KEPT + self._key

    def run(self, spec: t.Mapping[str, t.Any], key: str, task: str, known: bool) -> t.Optional[Result]:
        """The result; None if the module has to be sent. ``known``: the host has our code."""
        if not self._possible():
            return None
        options = self._options(spec, key, task)
        if options is None:
            return None
        result = self._said(key, "sh " + self.path, options) if known else None
        return self._whole(key, options) if result is None else result

    def _possible(self) -> bool:
        connection = self._action._connection
        become = getattr(connection, "become", None)
        reads = getattr(connection, "has_pipelining", False) or _last(getattr(connection, "transport", "")) in READING
        reads = reads and getattr(become, "pipelining", True) and _last(getattr(become, "name", "")) not in NO_INPUT
        return bool(reads and not C.DEFAULT_KEEP_REMOTE_FILES and not self._action._task.async_val)

    def _options(self, spec: t.Mapping[str, t.Any], key: str, task: str) -> t.Optional[bytes]:
        """None if there is something to say about the options: the module says it."""
        # It copies the options, which takes long with the origins that ansible-core 2.19 gives to each value.
        read = ArgumentSpecValidator(spec).validate(json.loads(json.dumps(self._action._task.args)))
        if read.error_messages or read.unsupported_parameters or read._warnings or read._deprecations:
            return None
        its_task = self._action._task
        quiet = its_task.no_log or C.config.get_config_value("DEFAULT_NO_TARGET_SYSLOG", variables=self._play_vars)
        asked = {
            "params": read.validated_parameters, "key": key, "task": task, "code": self._key, "quiet": bool(quiet),
            "check": bool(its_task.check_mode), "diff": bool(its_task.diff), "verbose": display.verbosity > 0,
        }  # fmt: skip
        return json.dumps(asked).encode("utf-8")

    def _whole(self, key: str, options: bytes) -> t.Optional[Result]:
        """With our files."""
        python, more = self._python()
        if not python:
            return None
        boot = (UTILS / "_base/boot.py").read_bytes()
        files = zlib.compress(json.dumps({"digest": self._code, "sources": sources()}).encode("ascii"), 1)
        words = "{0} -I -S -X utf8 -c {1}".format(python, shlex.quote(START.format(len(boot), len(files))))
        result = self._said(key, words, boot + files + options)
        if result is None:
            return None
        told = [*more.get("warnings", ()), *result.get("warnings", ())]
        return {**result, **more, **({"warnings": told} if told else {})}

    def _said(self, key: str, words: str, given: bytes) -> t.Optional[Result]:
        words = (self._action._compute_environment_string() + " " + words).strip()
        try:
            done = self._action._low_level_execute_command(words, in_data=given)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError:
            return None
        found = answered(key, str(done.get("stdout", "")).splitlines())
        if not isinstance(found, dict):
            display.vv("ipmasq: the module is sent: {0}".format(str(done.get("stderr", ""))[-200:]))
            return None
        return taken(found)

    def _python(self) -> t.Tuple[str, Result]:
        """The Python that Ansible would use, as a word for the shell, and what its choice adds to the result."""
        told = C.config.get_config_value("INTERPRETER_PYTHON", variables=self._vars)
        told = str(self._action._templar.template(told)).strip()
        if not told.startswith("auto"):
            return told, {}
        found = (self._vars.get("ansible_facts") or {}).get("discovered_interpreter_python")
        if found:
            return str(found), {}
        found = discover_interpreter(self._action, "python", told, self._vars)
        warnings = list(getattr(self._action, "_discovery_warnings", ()))
        facts = {"ansible_facts": {"discovered_interpreter_python": found}}
        return str(found or ""), {**facts, **({"warnings": warnings} if warnings else {})}
