#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: port_forward
short_description: Forward ports of a WAN interface to a server
version_added: 1.0.0
description:
  - Manages one named item, the destination translation (DNAT) with the FORWARD rules for the connection and its
    replies, on nftables or iptables.
  - Changes only the rules of this item. The interface need not exist yet.
  - The rules persist across reboots.
  - Single items and a gateway of M(ipmasq.linux.gateway) cannot share an instance. Only the gateway
    knows the LANs, so only O(ipmasq.linux.gateway#module:port_forwards) supports hairpin.
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
  in_interface:
    description:
      - The WAN interface. A V(*) at the end matches any suffix, as in V(ppp*).
      - Required with O(state=present).
    type: str
  source:
    description: Only outside clients in these networks.
    type: list
    elements: str
  destination:
    description: Only connections to these addresses. If omitted, to any address of this host.
    type: list
    elements: str
  protocol:
    description: The protocols to forward. V(both) is short for V(tcp) and V(udp).
    type: list
    elements: str
    choices: [tcp, udp, sctp, both]
    default: [tcp]
  port:
    description: The outside ports and ranges, such as V(443) or V(8000-8010). Required with O(state=present).
    type: list
    elements: str
  to:
    description: The server; several share the connections. Required with O(state=present).
    type: list
    elements: str
  to_port:
    description: The port of the server; for a range, the first one. If omitted, the same as outside.
    type: int
  balance:
    description:
      - How several servers share the connections. V(round_robin) sends each connection to the next server.
        V(source) sends a client to the same server every time.
    type: str
    default: round_robin
    choices: [round_robin, source]
seealso:
  - module: ipmasq.linux.forward
  - module: ipmasq.linux.masquerade
  - module: ipmasq.linux.gateway
"""

EXAMPLES = r"""
- name: Forward HTTPS to the web server
  ipmasq.linux.port_forward:
    name: web
    in_interface: ppp0
    port: [443]
    to: [192.168.1.20]
    to_port: 8443

- name: Remove the forward
  ipmasq.linux.port_forward:
    name: web
    state: absent
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
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import port_forward_from_params

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["port_forward"], supports_check_mode=True)
    params = module.params

    def step(host: Sight) -> t.Dict[str, t.Any]:
        item = port_forward_from_params(params)
        present = params["state"] == "present"
        confirmation = waiting(params, host)
        done = apply_item(params["instance"], item, present, params["backend"], host, confirmation=confirmation)
        return done.to_dict(module._verbosity > 0)

    run_module(module, step)


if __name__ == "__main__":
    main()
