# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A module by itself, whose options are read as those of all others: what is empty means its default."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.ipmasq.linux.plugins.plugin_utils.arguments import read

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.plugin_utils.arguments import Spec


class PlainAction(ActionBase):
    #: The module, and its options.
    MODULE = ""
    SPEC: t.ClassVar[Spec] = {}
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        self._task.args, problems = read(self.SPEC, self._task.args)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(problems), "problems": problems}
        module = "ipmasq.linux." + self.MODULE
        done = self._execute_module(module_name=module, task_vars=task_vars, wrap_async=self._task.async_val)
        return {**result, **done}
