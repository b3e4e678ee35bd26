#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: forward
short_description: Accept, drop or reject forwarded packets
version_added: 1.0.0
description:
  - Manages one named item, a line of the FORWARD chain, on nftables or iptables.
  - Changes only the rules of this item. The interfaces need not exist yet.
  - Items keep the order in which they were first added; the first that matches decides.
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
  action:
    description: What to do with the packets. V(reject) informs the sender.
    type: str
    default: accept
    choices: [accept, drop, reject]
  source:
    description: Only packets from these networks.
    type: list
    elements: str
  destination:
    description: Only packets to these networks.
    type: list
    elements: str
  in_interface:
    description: Only packets that come in on this interface. A V(*) at the end matches any suffix.
    type: str
  out_interface:
    description: Only packets that go out on this interface. A V(*) at the end matches any suffix.
    type: str
  ct_state:
    description: Only packets whose connection is in one of these states.
    type: list
    elements: str
    choices: [invalid, new, related, established, untracked]
seealso:
  - module: ipmasq.linux.masquerade
  - module: ipmasq.linux.forwarding
  - module: ipmasq.linux.gateway
"""

EXAMPLES = r"""
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
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import forward_from_params

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["forward"], supports_check_mode=True)
    params = module.params

    def step(host: Sight) -> t.Dict[str, t.Any]:
        item = forward_from_params(params)
        present = params["state"] == "present"
        confirmation = waiting(params, host)
        done = apply_item(params["instance"], item, present, params["backend"], host, confirmation=confirmation)
        return done.to_dict(module._verbosity > 0)

    run_module(module, step)


if __name__ == "__main__":
    main()
