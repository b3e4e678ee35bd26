#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Turn a Linux host into a masquerade (NAT) gateway
version_added: 1.0.0
description:
  - Owns one instance, a whole gateway. NAT, FORWARD rules and forwarding switches are applied in one transaction,
    and what is no longer declared is removed. Rules of others stay as they are.
  - Forwarding is the result of a successful load. Rules come first, C(ip_forward) last, now and at every boot.
  - No packet leaves a WAN with a private LAN source unless an item with O(nat[].action=exempt) says so.
  - From a WAN to a LAN passes only what belongs to a connection from inside.
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes
  - ipmasq.linux.options
  - ipmasq.linux.options.backend
options:
  state:
    description:
      - V(absent) leaves the host as it was before the first run, rules, switches, files and service.
    type: str
    default: present
    choices: [present, absent]
  wans:
    description:
      - The interfaces to the Internet.
      - When left out, the interface of the default route.
    type: list
    elements: dict
    suboptions:
      interface:
        description:
          - The name of the interface. It may appear later, vanish, or be there again with another address.
          - A V(*) at the end stands for any ending, as in V(ppp*).
        type: str
        required: true
  lans:
    description:
      - The local networks behind the gateway, isolated from each other.
      - When left out, every other interface with a private (RFC 1918) or unique local (RFC 4193) address that no
        container or VM manager owns.
    type: list
    elements: dict
    suboptions:
      name:
        description: What rules, messages and O(lans[].reaches) call this LAN.
        type: str
        required: true
      interfaces:
        description: The interfaces of this LAN. Interfaces of one LAN trust each other.
        type: list
        elements: str
        required: true
      networks:
        description:
          - The networks of this LAN, IPv4 and IPv6. Other sources are dropped as spoofed.
          - When left out, the interfaces' own networks, as they are on the host.
        type: list
        elements: str
      reaches:
        description: The names of LANs to which this LAN may open connections.
        type: list
        elements: str
        default: []
  nat:
    description:
      - NAT items in order; the first that matches decides.
      - When left out, every LAN is masqueraded on every WAN.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the item, part of the comment of its rules.
        type: str
        required: true
      action:
        description:
          - V(masquerade) rewrites the source to the address that the WAN interface has at that moment.
          - V(exempt) leaves the source as it is.
        type: str
        default: masquerade
        choices: [masquerade, exempt]
      source:
        description: Names of LANs, or networks. When left out, every LAN.
        type: list
        elements: str
      destination:
        description: Only packets to these networks.
        type: list
        elements: str
      wan:
        description: Only on this WAN, one of O(wans). When left out, on every WAN.
        type: str
  ipv6:
    description:
      - V(route) routes LAN networks of global addresses as they are, and masquerades unique local ones (RFC 4193),
        which nobody outside could answer.
      - V(masquerade) masquerades them all (NAT66).
    type: str
    default: route
    choices: [route, masquerade]
  clamp_mss:
    description: Whether to lower the MSS of TCP connections through a WAN to the path MTU, in both directions.
    type: bool
    default: true
seealso:
  - module: ipmasq.linux.gateway_info
  - module: ipmasq.linux.masquerade
  - module: ipmasq.linux.forward
  - module: ipmasq.linux.forwarding
"""

EXAMPLES = r"""
- name: Find WAN and LANs, and masquerade
  ipmasq.linux.gateway:

- name: Say what is what
  ipmasq.linux.gateway:
    wans:
      - interface: ppp0
    lans:
      - name: office
        interfaces: [lan0, lan1]
        networks: [192.168.1.0/24, "fd00:1::/64"]
      - name: guests
        interfaces: [guest0]
    nat:
      - name: vpn
        source: [office]
        destination: [10.0.0.0/8]
        action: exempt
      - name: rest

- name: Be no gateway any more
  ipmasq.linux.gateway:
    state: absent
"""

RETURN = r"""
backend:
  description: The packet filter in use, and why this one.
  returned: success
  type: dict
  contains:
    name:
      description: V(nftables), V(iptables), or V(none) if there was nothing to remove.
      type: str
      sample: nftables
    programs:
      description: V(nft), V(iptables-nft) or V(iptables-legacy).
      type: str
      sample: nft
    why:
      description: The reason for this choice.
      type: str
      sample: "nft: installed, and no iptables rules are in use"
wans:
  description: The WANs, with kernel names.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{interface: ppp0}]
lans:
  description: The LANs, with kernel names and networks.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{name: office, interfaces: [lan0], networks: [192.168.1.0/24], reaches: []}]
notes:
  description: What was chosen or resolved, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["WAN ppp0: chosen, it has the default route"]
differences:
  description: What was missing on the host (C(+)), too much (C(-)) or different (C(~)) before this run.
  returned: success
  type: list
  elements: str
  sample: ["~ net/ipv4/ip_forward: 0 to 1"]
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
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils import _argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._engine import apply_gateway, remove_instance
from ansible_collections.ipmasq.linux.plugins.module_utils._host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import gateway_from_params

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._host import Host


def main() -> None:
    spec = _argspec.merge(_argspec.INSTANCE, _argspec.BACKEND, _argspec.STATE, _argspec.GATEWAY)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params = module.params

    def step(host: Host) -> dict:
        gateway = gateway_from_params(params)
        if params["state"] == "absent":
            return remove_instance(gateway.instance, host, module.check_mode).to_dict()
        return apply_gateway(gateway, params["backend"], host, module.check_mode).to_dict()

    run_module(module, step)


if __name__ == "__main__":
    main()
