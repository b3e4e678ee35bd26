#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_probe
short_description: Prove with packets, on a gateway itself, that it does what was declared
version_added: 1.0.0
description:
  - Sends a packet for each promise of the applied declaration through the gateway, and looks at what comes out. It
    needs no client, no server and no Internet, and none of these packets ever reaches a wire.
  - The packets cross the real interfaces, the rules of this collection and of everybody else, connection tracking and
    routing. What is expected is derived from the declaration, never from the rules.
  - A promise V(holds), is V(broken), or is V(unmeasurable), with the reason. The module does not fail because of a
    broken promise; see the examples.
  - For a broken promise, the result names who is to blame. To find out, its packets are sent once more while the kernel
    reports which rules they meet (C(meta nftrace) in a table of its own; rule counters with iptables-legacy).
  - For as long as it runs, it adds TUN devices, filters of tc, and a neighbour entry for each LAN. They are gone
    afterwards, also if the module is killed. A second run on the same host waits for the first one.
  - In check mode it does the same, because nothing of it lasts.
author:
  - ipmasq.linux contributors (@ipmasq)
requirements:
  - tc (iproute2; the package is called iproute-tc on the RHEL family and iproute2-tc on Alpine), and a kernel with TUN,
    cls_u32, act_mirred and sch_ingress. Without them every promise is V(unmeasurable).
extends_documentation_fragment:
  - ipmasq.linux.attributes.probe
  - ipmasq.linux.options
  - ipmasq.linux.options.unused
options:
  backend:
    description: Not used. It is accepted so that C(module_defaults) can set it for the group.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
seealso:
  - module: ipmasq.linux.gateway
  - module: ipmasq.linux.gateway_info
"""

EXAMPLES = r"""
- name: Prove the gateway
  ipmasq.linux.gateway_probe:
  register: proof

- name: Stop if it does not do what was declared
  ansible.builtin.assert:
    that: proof.proven
    fail_msg: "{{ proof.broken | join('\n') or proof.notes | join('\n') }}"

- name: Show what could not be measured, and why
  ansible.builtin.debug:
    msg: "{{ proof.results | selectattr('outcome', 'eq', 'unmeasurable') }}"
"""

RETURN = r"""
proven:
  description: Whether at least one promise holds and none is broken. What is V(unmeasurable) does not count.
  returned: success
  type: bool
  sample: true
broken:
  description: Each broken promise with what was wrong and who is to blame, one sentence each.
  returned: success
  type: list
  elements: str
  sample:
    - >-
      office reaches the Internet through wan0 (tcp, IPv4) is broken: nothing came out of wan0; declared: source
      203.0.113.2; dropped by chain forward of table inet other (rule: ip saddr 192.168.1.0/24 drop)
counts:
  description: How many promises there are of each outcome.
  returned: success
  type: dict
  contains:
    holds:
      description: What was declared is what happened.
      type: int
      sample: 24
    broken:
      description: Something else happened.
      type: int
      sample: 0
    unmeasurable:
      description: It cannot be known here or now.
      type: int
      sample: 0
results:
  description: Every promise.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Its kind, such as V(reach), V(closed) or V(port_forward); see docs/proof.md.
      type: str
      sample: reach
    name:
      description: The promise in words.
      type: str
      sample: office reaches the Internet through wan0 (tcp, IPv4)
    items:
      description: The items of the declaration that it follows from.
      type: list
      elements: str
      sample: [nat/default]
    outcome:
      description: V(holds), V(broken) or V(unmeasurable).
      type: str
      sample: holds
    reason:
      description: Why it is broken or unmeasurable; empty if it holds.
      type: str
      sample: "wan0 is down"
    sent:
      description: The packets that were sent, each with the interface at which it arrived.
      type: list
      elements: str
      sample: ["lan0: tcp 192.168.1.253:50001 > 192.31.196.129:49443 SYN"]
    seen:
      description: The packets that came out, each with the interface through which it would have left.
      type: list
      elements: str
      sample: ["wan0: tcp 203.0.113.2:50001 > 192.31.196.129:49443 SYN"]
    by:
      description:
        - Whose fault it is that the promise is broken.
        - V(gateway) is a rule of this collection, V(other) a rule of somebody else, and V(host) a route, a switch or a
          filter of tc. Empty if it is not broken, or if nobody was found.
      type: str
      sample: other
    cause:
      description: What this rule, route, switch or filter did, and where it is.
      type: str
      sample: "dropped by chain forward of table inet other (rule: ip saddr 192.168.1.0/24 drop)"
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.6
notes:
  description: What to know about this proof, such as that nothing is applied.
  returned: success
  type: list
  elements: str
  sample: ["no gateway was applied to instance default, so there is nothing to prove"]
problems:
  description: The problems, one sentence each. The message contains the same, one per line.
  returned: failure
  type: list
  elements: str
  sample: ["instance: 'X' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base import host
from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["gateway_probe"], supports_check_mode=True)
    # What it does is gone afterwards, so check mode proves, too, and it takes the host itself.
    host.run_module(module, lambda _sight: gateway_probe(module.params["instance"], host.AnsibleHost(module)))


if __name__ == "__main__":
    main()
