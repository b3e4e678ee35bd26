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

from ansible_collections.ipmasq.linux.plugins.filter.verify_problems import search, verify_problems
from ansible_collections.ipmasq.linux.plugins.plugin_utils import verified


def verify_report(
    hosts: t.Iterable[t.Mapping[str, t.Any]], expect: t.Optional[t.Sequence[t.Dict[str, t.Any]]] = None
) -> t.Dict[str, t.Any]:
    problems = verify_problems(expect)
    if problems:
        raise AnsibleFilterError("\n".join(problems))
    return verified.report([_entry(each) for each in hosts], expect or [], search)


def _entry(variables: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What was registered on one host."""
    found = {key: variables.get("verify_" + key) for key in ("kind", "before", "proof", "after", "probe", "started")}
    return dict(found, host=str(variables["inventory_hostname"]))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Any]:
        return {"verify_report": verify_report}
