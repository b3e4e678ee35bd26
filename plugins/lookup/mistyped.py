# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warn of variables that only look like those of a role."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mistyped
short_description: Warn of variables whose names resemble those of a role
version_added: 1.0.0
author:
  - ipmasq.linux contributors (@ipmasq)
description:
  - Ansible ignores a variable that nothing reads, so a mistyped one has no effect and causes no message.
  - The roles of this collection use this lookup themselves. It works only inside a role.
options:
  _terms:
    description: The prefix of the role's variables, with the underscore. Names with two underscores are the role's own.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Run a program, and warn of mistyped variables
  ansible.builtin.command:
    argv: "{{ ['true'] + query('ipmasq.linux.mistyped', 'lab_') }}"
"""

RETURN = r"""
_list:
  description: Always empty. Each mistyped variable is a warning.
  type: list
  elements: str
"""

import re
import typing as t

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.ipmasq.linux.plugins.plugin_utils.arguments import mistyped

display = Display()
VARIABLE = re.compile(r"^(\w+):", re.MULTILINE)


class LookupModule(LookupBase):
    def run(self, terms: t.List[str], variables: t.Optional[t.Dict[str, t.Any]] = None, **kwargs: t.Any) -> t.List[str]:
        variables = variables or {}
        folder = variables.get("role_path", "")
        with open("{0}/defaults/main.yml".format(folder), encoding="utf-8") as handle:
            known = VARIABLE.findall(handle.read())
        for prefix in terms:
            for sentence in mistyped(str(prefix), known, variables):
                display.warning(sentence)
        return []
