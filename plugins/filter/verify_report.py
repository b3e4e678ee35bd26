# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: verify_report
short_description: Results of gateways and clients as one table
version_added: 1.0.0
author:
  - ipmasq.linux contributors (@ipmasq)
description:
  - Turns what the playbook C(ipmasq.linux.verify) has registered on each host into one line for each promise and host.
positional: _input
options:
  _input:
    description:
      - The variables of each host, of which C(verify_kind) is V(gateway), V(client) or V(reflector). Registered are
        C(verify_before) and C(verify_after) by M(ipmasq.linux.gateway_info), C(verify_proof) by
        M(ipmasq.linux.gateway_probe), C(verify_probe) by M(ipmasq.linux.nat_probe), and C(verify_started).
    type: list
    elements: dict
    required: true
  expect:
    description:
      - More promises, each with a C(name) and a C(query) in JMESPath that has to yield V(true).
      - It is applied to the result of M(ipmasq.linux.gateway_info) on each gateway, with that of
        M(ipmasq.linux.gateway_probe) as C(proof); with C(group) V(lan_clients), to that of M(ipmasq.linux.nat_probe) on
        each client.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts_all | map('extract', hostvars) | ipmasq.linux.verify_report).lines }}"
"""

RETURN = r"""
_value:
  description:
    - The keys C(rows) (a dictionary for each line), C(lines) (the table, notes and a summary), C(counts), C(notes),
      C(junit) (XML), and C(verified) (whether packets have tried at least one promise of each gateway, and none is
      broken). The packets of a client may have gone through any gateway; with several, a note names those on which
      nothing else was tried.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.ipmasq.linux.plugins.plugin_utils import verified

try:
    import jmespath
except ImportError:  # reported where it is used
    jmespath = None  # type: ignore[assignment]

EXAMPLE = '{name: headroom, query: "usage.connections.percent <= `80`"}'


def verify_report(
    hosts: t.Iterable[t.Mapping[str, t.Any]], expect: t.Optional[t.Sequence[t.Dict[str, t.Any]]] = None
) -> t.Dict[str, t.Any]:
    problems = _problems(expect or [])
    if problems:
        raise AnsibleFilterError("\n".join(problems))
    return verified.report([_entry(each) for each in hosts], expect or [], jmespath.search if jmespath else None)


def _entry(variables: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What was registered on one host."""
    found = {key: variables.get("verify_" + key) for key in ("kind", "before", "proof", "after", "probe", "started")}
    return dict(found, host=str(variables["inventory_hostname"]))


def _problems(expect: t.Any) -> t.List[str]:
    if not isinstance(expect, (list, tuple)):
        return ["verify_expect: '{0}' is not a list; write [{1}]".format(expect, EXAMPLE)]
    if expect and jmespath is None:
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
        return {"verify_report": verify_report}
