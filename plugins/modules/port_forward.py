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
  - One named item, the translation of the destination (DNAT) together with the FORWARD rules for the connection and its
    answers, on nftables or iptables.
  - Touches only the rules of this item. The interface need not exist yet.
  - The rules are kept over a reboot.
  - Items and a whole gateway of M(ipmasq.linux.gateway) cannot share an instance. Only the gateway knows the LANs, so
    only O(ipmasq.linux.gateway#module:port_forwards) can do hairpin.
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes
  - ipmasq.linux.options
  - ipmasq.linux.options.backend
  - ipmasq.linux.options.confirm
options:
  name:
    description: The name of this item. Another run with this name replaces it.
    type: str
    required: true
  state:
    description: Whether the item should be there. V(absent) removes every rule of it, duplicates too.
    type: str
    default: present
    choices: [present, absent]
  in_interface:
    description:
      - The WAN interface. A V(*) at the end stands for any ending, as in V(ppp*).
      - Needed when O(state=present).
    type: str
  source:
    description: Only clients outside with these networks.
    type: list
    elements: str
  destination:
    description: Only connections to these addresses. When left out, to any address of this host.
    type: list
    elements: str
  protocol:
    description: The protocols to forward. V(both) is short for V(tcp) and V(udp).
    type: list
    elements: str
    choices: [tcp, udp, sctp, both]
    default: [tcp]
  port:
    description: The ports and ranges outside, such as V(443) or V(8000-8010). Needed when O(state=present).
    type: list
    elements: str
  to:
    description: The server; several share the connections. Needed when O(state=present).
    type: list
    elements: str
  to_port:
    description: The port of the server, for a range the first one. When left out, the same as outside.
    type: int
  balance:
    description:
      - How several servers share. With V(round_robin) each connection goes to the next one. With V(source) a client
        gets the same one each time.
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

- name: Forward it no more
  ipmasq.linux.port_forward:
    name: web
    state: absent
"""

RETURN = r"""
backend:
  description: The packet filter in use, and why this one.
  returned: success
  type: dict
  sample: {name: nftables, programs: nft, why: "nft: installed, and no iptables rules are in use"}
notes:
  description: What was resolved, such as an alternative interface name, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["wan is an alternative name of enp3s0; the rules use enp3s0"]
differences:
  description:
    - What was missing on the host (C(+)), too much (C(-)) or different (C(~)) before this run. Of rules at most 200.
  returned: success
  type: list
  elements: str
  sample: ["~ net/ipv4/ip_forward: 0 to 1"]
pending:
  description: A change that waits for its confirmation; empty of it once this task has confirmed the change itself.
  returned: when something changed, and O(confirm_by=person)
  type: dict
  contains:
    token:
      description: What M(ipmasq.linux.gateway_confirm) may name, to mean this change and no other.
      type: str
      sample: 0b9b2d5e3d1f4c0c8f7a6e5d4c3b2a19
    seconds:
      description: How long it waits.
      type: int
      sample: 30
    until:
      description: When it takes itself back, in the host's local time.
      type: str
      sample: "14:05:30"
    host:
      description: The name of this host, as it knows itself.
      type: str
      sample: gw1
instance:
  description: The instance worked on.
  returned: success
  type: str
  sample: default
problems:
  description: Each problem as one sentence. The message holds the same, one a line.
  returned: failure
  type: list
  elements: str
  sample: ["instance: 'X' has to be 1 to 10 of a-z, 0-9 and _, beginning with a letter"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils import _argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._engine import apply_item, waiting
from ansible_collections.ipmasq.linux.plugins.module_utils._host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import port_forward_from_params

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._host import Host


def main() -> None:
    module = AnsibleModule(argument_spec=_argspec.MODULES["port_forward"], supports_check_mode=True)
    params = module.params

    def step(host: Host) -> dict:
        item = port_forward_from_params(params)
        present = params["state"] == "present"
        done = apply_item(
            params["instance"], item, present, params["backend"], host, module.check_mode,
            waiting(params, host),
        )  # fmt: skip
        return done.to_dict(module._verbosity > 0)

    run_module(module, step)


if __name__ == "__main__":
    main()
