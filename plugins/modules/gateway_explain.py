#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_explain
short_description: Explain what a gateway does with one packet, and why
version_added: 1.0.0
description:
  - Says whether a packet between two addresses passes the gateway, and where it ends. That is the item of the
    declaration that decides, or the rule of another program that drops it; the route and the WAN; the source with
    which it leaves; and whether its answer gets back.
  - It sends such a packet through the host, and catches it before it leaves, so that no other host sees it
    (RV(by=packet)). Connections of hosts that have these addresses are not touched. Where that is not possible, it
    shows what the declaration says (RV(by=declaration)), and why it could not send a packet.
  - For as long as it runs, it adds the same devices and filters as M(ipmasq.linux.gateway_probe). They are gone
    afterwards, also if the module is killed.
  - A packet to the gateway itself reaches the service that listens there.
  - In check mode it does the same, because nothing of it lasts.
author:
  - ipmasq.linux contributors (@ipmasq)
requirements:
  - tc (iproute2; the package is called iproute-tc on the RHEL family and iproute2-tc on Alpine), and a kernel with TUN,
    cls_u32, act_mirred and sch_ingress. Without them, only the declaration is explained.
extends_documentation_fragment:
  - ipmasq.linux.attributes.probe
  - ipmasq.linux.options
  - ipmasq.linux.options.unused
options:
  from:
    description:
      - The IP address of the host that sends the packet. It may be in a LAN, outside, or elsewhere.
    type: str
    required: true
  to:
    description:
      - The IP address that it is sent to, in the same address family. It may be outside, in another LAN, or
        of the gateway itself.
    type: str
    required: true
  port:
    description:
      - The destination port of tcp or udp. It may also be part of O(to), as in C(203.0.113.7:443).
    type: str
  protocol:
    description:
      - V(tcp) if a port is given, otherwise V(icmp), which is a ping.
    type: str
    choices: [tcp, udp, icmp]
  backend:
    description: Not used. It is accepted so that C(module_defaults) can set it for the group.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
seealso:
  - module: ipmasq.linux.gateway_probe
  - module: ipmasq.linux.gateway_info
"""

EXAMPLES = r"""
- name: Ask why a client does not reach a web server
  ipmasq.linux.gateway_explain:
    from: 192.168.1.5
    to: 203.0.113.7
    port: 443
  register: explained

- name: Show the explanation
  ansible.builtin.debug:
    msg: "{{ explained.lines }}"

- name: Stop if a port forward does not reach its server
  ipmasq.linux.gateway_explain: {from: 198.51.100.1, to: 203.0.113.2, port: 443}
  register: web
  failed_when: not web.passes
"""

RETURN = r"""
passes:
  description: Whether the packet passes and its answer gets back; V(null) if nothing shows it.
  returned: success
  type: bool
  sample: false
verdict:
  description: Why, in one sentence.
  returned: success
  type: str
  sample: "outbound 'no-mail' says reject; the sender gets ICMP prohibited"
by:
  description: V(packet) if a packet was sent, V(declaration) if not.
  returned: success
  type: str
  sample: packet
reason:
  description: Why no packet was sent; empty if one was.
  returned: success
  type: str
  sample: ""
as_declared:
  description: Whether the packet did what the declaration says.
  returned: success
  type: bool
  sample: true
culprit:
  description: What stops the packet or its answer from passing as declared; empty if nothing does, or if it is unknown.
  returned: success
  type: str
  sample: "table inet foe, chain f: ip saddr 192.168.1.0/24 drop"
items:
  description: The items of the declaration that decide.
  returned: success
  type: list
  elements: str
  sample: [outbound/no-mail]
question:
  description: The packet in words.
  returned: success
  type: str
  sample: "tcp 192.168.1.5 > 203.0.113.7:25"
arrives:
  description: Where the packet comes in.
  returned: success
  type: dict
  contains:
    interface:
      description: The interface.
      type: str
      sample: lan0
    role:
      description: V(lan), V(wan) or V(undeclared).
      type: str
      sample: lan
    lan:
      description: The name of the LAN; empty for others.
      type: str
      sample: office
route:
  description: Where it goes, after its destination is translated.
  returned: success
  type: dict
  contains:
    interface:
      description: The interface; empty if there is none.
      type: str
      sample: wan0
    role:
      description: V(lan), V(wan), V(undeclared), V(here) for the gateway itself, or V(nowhere).
      type: str
      sample: wan
    lan:
      description: The name of the LAN; empty for others.
      type: str
      sample: ""
    next_hop:
      description: The neighbour that it is handed to; empty on links without neighbours.
      type: str
      sample: 203.0.113.1
    problem:
      description: Why the kernel does not route it; empty if it does.
      type: str
      sample: ""
leaves:
  description: How it leaves; V(null) if it does not leave, or if it is for the gateway itself.
  returned: success
  type: dict
  contains:
    interface:
      description: The interface through which it leaves.
      type: str
      sample: wan0
    source:
      description: The source with which it leaves; several if only the declaration is known, and allows several.
      type: list
      elements: str
      sample: [203.0.113.2]
    source_port:
      description: What happens to the source port.
      type: str
      sample: unchanged
    destination:
      description: The destination with which it leaves.
      type: str
      sample: 203.0.113.7
    port:
      description: The destination port with which it leaves; 0 for icmp.
      type: int
      sample: 443
comes_back:
  description: Whether the answer gets back to the sender; V(null) if none was sent.
  returned: success
  type: bool
  sample: true
sent:
  description: The packet that was sent, with the interface at which it arrived.
  returned: success
  type: str
  sample: "lan0: tcp 192.168.1.5:23456 > 203.0.113.7:25 SYN"
seen:
  description: The packets that came out, each with the interface through which it would have left.
  returned: success
  type: list
  elements: str
  sample: ["lan0: icmp 192.168.1.1 > 192.168.1.5 type 3 code 13 about [tcp 192.168.1.5:23456 > 203.0.113.7:25 SYN]"]
lines:
  description: All of this for people, one line each.
  returned: success
  type: list
  elements: str
  sample: ["tcp 192.168.1.5 > 203.0.113.7:25: does not pass"]
notes:
  description: What to know about this explanation.
  returned: success
  type: list
  elements: str
  sample: ["no protocol was given, so this is about tcp; for udp, give protocol=udp"]
problems:
  description: The problems, one sentence each. The message contains the same, one per line.
  returned: failure
  type: list
  elements: str
  sample: ["to: 203.0.113.7 is the same address as from; give another one"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base import host
from ansible_collections.ipmasq.linux.plugins.module_utils._change.explaining import gateway_explain
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["gateway_explain"], supports_check_mode=True)
    # What it does is gone afterwards, so check mode explains, too, and it takes the host itself.
    host.run_module(module, lambda _sight: gateway_explain(module.params, host.AnsibleHost(module)))


if __name__ == "__main__":
    main()
