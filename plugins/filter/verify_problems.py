# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: verify_problems
short_description: What is wrong with the user's own promises
version_added: 1.0.0
author:
  - ipmasq.linux contributors (@ipmasq)
description:
  - Checks the promises of the playbook C(ipmasq.linux.verify) before any host is asked. See
    P(ipmasq.linux.verify_report#filter) for their form.
  - Promises need the Python package C(jmespath) on the controller.
positional: _input
options:
  _input:
    description: The promises, each with a C(name), a C(query) and possibly a C(group).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the promises
  ansible.builtin.assert:
    that: verify_expect | ipmasq.linux.verify_problems | length == 0
"""

RETURN = r"""
_value:
  description: One sentence for each mistake. Empty if all promises can be judged.
  type: list
  elements: str
"""

import typing as t

try:
    import jmespath
except ImportError:  # reported where it is used
    jmespath = None  # type: ignore[assignment]

EXAMPLE = '{name: headroom, query: "usage.connections.percent <= `80`"}'


def search(query: str, result: t.Any) -> t.Any:
    return jmespath.search(query, result)


def verify_problems(expect: t.Any) -> t.List[str]:
    if not expect:
        return []
    if not isinstance(expect, (list, tuple)):
        return ["verify_expect: '{0}' is not a list; write [{1}]".format(expect, EXAMPLE)]
    if jmespath is None:
        return ["verify_expect: needs the Python package jmespath on the controller; install it with pip"]
    return [words for index, each in enumerate(expect) for words in _problem("verify_expect[{0}]".format(index), each)]


def _problem(where: str, each: t.Any) -> t.List[str]:
    if not isinstance(each, dict) or not {"name", "query"} <= set(each) <= {"name", "query", "group"}:
        return ["{0}: write it as {1}".format(where, EXAMPLE)]
    if each.get("group", "gateways") not in ("gateways", "lan_clients"):
        return ["{0} '{1}': group '{2}' is not gateways or lan_clients".format(where, each["name"], each["group"])]
    try:
        jmespath.compile(str(each["query"]))
    except jmespath.exceptions.JMESPathError as error:
        return ["{0} '{1}': query: {2}".format(where, each["name"], " ".join(str(error).split()))]
    return []


class FilterModule:
    def filters(self) -> t.Dict[str, t.Any]:
        return {"verify_problems": verify_problems}
