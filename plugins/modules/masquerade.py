#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: masquerade
short_description: Masquerade one LAN on one WAN interface
version_added: 1.0.0
description:
  - Manages one named item, the line C(-t nat -A POSTROUTING -s LAN -o ppp0 -j MASQUERADE), on nftables or iptables.
  - Changes only the rules of this item. The interface need not exist yet.
  - The rules persist across reboots.
  - Single items and a gateway of M(ipmasq.linux.gateway) cannot share an instance.
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes
  - ipmasq.linux.options
  - ipmasq.linux.options.backend
  - ipmasq.linux.options.confirm
options:
  name:
    description: The name of this item. A later run with the same name replaces it.
    type: str
    required: true
  state:
    description: Whether the item should exist. V(absent) removes all its rules, duplicates included.
    type: str
    default: present
    choices: [present, absent]
  source:
    description: The networks to masquerade. Required with O(state=present).
    type: list
    elements: str
  destination:
    description: Only packets to these networks.
    type: list
    elements: str
  out_interface:
    description:
      - The WAN interface. A V(*) at the end matches any suffix, as in V(ppp*).
      - Required with O(state=present).
    type: str
  closed:
    description:
      - Whether to close what this line leaves open on a host that forwards.
      - New connections from O(out_interface) are dropped, in IPv4 and IPv6, unless another program's DNAT or an item of
        M(ipmasq.linux.forward) or M(ipmasq.linux.port_forward) accepts them, regardless of the order.
      - Untranslated packets from O(source) to destinations outside private networks are dropped on every interface.
    type: bool
    default: false
seealso:
  - module: ipmasq.linux.forward
  - module: ipmasq.linux.forwarding
  - module: ipmasq.linux.gateway
"""

EXAMPLES = r"""
# The four classic lines.
- name: Forward packets
  ipmasq.linux.forwarding:
    ipv4: true

- name: Masquerade the LAN on ppp0
  ipmasq.linux.masquerade:
    name: lan
    source: 192.168.1.0/24
    out_interface: ppp0

- name: Accept packets from the LAN
  ipmasq.linux.forward:
    name: out
    source: 192.168.1.0/24
    out_interface: ppp0

- name: Accept replies
  ipmasq.linux.forward:
    name: answers
    destination: 192.168.1.0/24
    in_interface: ppp0
    ct_state: [established, related]
"""

RETURN = r"""
backend:
  description: The packet filter in use, and why it was chosen.
  returned: success
  type: dict
  sample: {name: nftables, programs: nft, why: "nft: installed, and no iptables rules are in use"}
notes:
  description: What was resolved, such as an alternative interface name, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["wan is an alternative name of enp3s0; the rules use enp3s0"]
differences:
  description:
    - What was missing (C(+)), superfluous (C(-)) or different (C(~)) on the host before this run.
      At most 200 rules, and 500 characters of each.
  returned: success
  type: list
  elements: str
  sample: ["~ net/ipv4/ip_forward: 0 to 1"]
pending:
  description: A change that awaits confirmation; absent once this task has confirmed the change itself.
  returned: when something changed, and O(confirm_by=person)
  type: dict
  contains:
    token:
      description: Identifies this change for M(ipmasq.linux.gateway_confirm).
      type: str
      sample: 0b9b2d5e3d1f4c0c8f7a6e5d4c3b2a19
    seconds:
      description: Seconds until it is rolled back.
      type: int
      sample: 30
    until:
      description: When it is rolled back, in the host's local time.
      type: str
      sample: "14:05:30"
    host:
      description: The host's own name.
      type: str
      sample: gw1
instance:
  description: The instance.
  returned: success
  type: str
  sample: default
problems:
  description: The problems, one sentence each. The message contains the same, one per line.
  returned: failure
  type: list
  elements: str
  sample: ["instance: 'X' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._change.confirming import waiting
from ansible_collections.ipmasq.linux.plugins.module_utils._change.items import apply_item
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import masquerade_from_params

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["masquerade"], supports_check_mode=True)
    params = module.params

    def step(host: Sight) -> t.Dict[str, t.Any]:
        item = masquerade_from_params(params)
        present = params["state"] == "present"
        confirmation = waiting(params, host)
        done = apply_item(params["instance"], item, present, params["backend"], host, confirmation=confirmation)
        return done.to_dict(module._verbosity > 0)

    run_module(module, step)


if __name__ == "__main__":
    main()
