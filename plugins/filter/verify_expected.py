# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: verify_expected
short_description: The outside addresses that a client of a gateway may have
version_added: 1.0.0
author:
  - ipmasq.linux contributors (@ipmasq)
description:
  - Determines from the declarations of gateways which addresses the far side may see of a client, for O(routers), the
    addresses of its default routes.
  - Empty if no gateway has one of these addresses.
positional: _input
options:
  _input:
    description: Results of M(ipmasq.linux.gateway_info), one for each gateway.
    type: list
    elements: dict
    required: true
  routers:
    description: The addresses to which the client sends what leaves its network.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what servers may see of this client
  ansible.builtin.debug:
    msg: "{{ [gateway] | ipmasq.linux.verify_expected(['192.168.1.1']) }}"
"""

RETURN = r"""
_value:
  description: Addresses, ranges and networks.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.ipmasq.linux.plugins.plugin_utils import verified


def verify_expected(gateways: t.Sequence[t.Dict[str, t.Any]], routers: t.Sequence[str]) -> t.List[str]:
    return verified.expected(gateways, routers)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Any]:
        return {"verify_expected": verify_expected}
