#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: Tell what a masquerade gateway does, and whether it is still what was applied
version_added: 1.0.0
description:
  - Reads what is live, compares it with what was applied, and names every difference.
  - The data are flat lists of dicts, made for C(json_query).
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes.info
  - ipmasq.linux.options
  - ipmasq.linux.options.unused
options:
  backend:
    description:
      - Where to look if nothing is applied to the instance. What is applied says by itself where it is.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
seealso:
  - module: ipmasq.linux.gateway
"""

EXAMPLES = r"""
- name: Look at the gateway
  ipmasq.linux.gateway_info:
  register: gateway

- name: Stop if somebody has changed the rules by hand, or taken all of it away
  ansible.builtin.assert:
    that: gateway.as_applied
    fail_msg: "{{ gateway.drift | join('\n') or 'no gateway is applied here' }}"

- name: Stop if this host forwards packets that nothing translates or filters
  ansible.builtin.assert:
    that: not gateway.forwarding_without_rules

- name: Stop if an interface that was declared is not there
  ansible.builtin.assert:
    that: gateway.interfaces | rejectattr('present') | length == 0
    fail_msg: "{{ gateway.interfaces | rejectattr('present') | map(attribute='name') | join(', ') }}"

- name: Stop while the table of connections is still not full
  ansible.builtin.assert:
    that: gateway.usage.percent | default(0, true) < 80
    fail_msg: "{{ gateway.usage.count }} of {{ gateway.usage.max }} connections; docs/sizing.md"

- name: Show how many packets were masqueraded
  ansible.builtin.debug:
    msg: "{{ gateway.counters | selectattr('name', 'match', 'nat/') | map(attribute='packets') | sum }}"

- name: The same as JMESPath, with community.general and jmespath on the controller
  ansible.builtin.debug:
    msg: "{{ gateway.counters | community.general.json_query(\"[?starts_with(name, 'nat/')].packets | sum(@)\") }}"
"""

RETURN = r"""
applied:
  description: Whether anything was applied to this instance.
  returned: success
  type: bool
  sample: true
as_applied:
  description:
    - Whether rules, switches and files are as they were applied. V(false) where nothing is applied.
    - While a change waits for its confirmation (RV(pending)), the host is compared with what was kept before it.
  returned: success
  type: bool
  sample: true
drift:
  description: What is missing on the host (C(+)), too much (C(-)) or different (C(~)). Of rules at most 200.
  returned: success
  type: list
  elements: str
  sample: ["- ip nat IPMASQ-SRCNAT: -j ACCEPT"]
pending:
  description: A change that waits for its confirmation, V(null) if none does.
  returned: success
  type: dict
  contains:
    until:
      description: When it takes itself back, in UTC.
      type: str
      sample: "2026-11-28T10:21:00Z"
    user:
      description: Who made it, by the name of their login.
      type: str
      sample: joe
    from:
      description: The address from which they came by SSH, empty without SSH.
      type: str
      sample: 192.0.2.1
    at:
      description: When it was made, in UTC.
      type: str
      sample: "2026-11-28T10:20:30Z"
forwarding_without_rules:
  description:
    - Whether this host forwards (IPv4 or IPv6) while no rule of the gateway is loaded, although one was applied; or
      while no instance is applied at all. Nothing translates, filters or isolates what such a host forwards.
    - After C(nft flush ruleset) this is V(true) until the next run, or the next start of C(ipmasq.service);
      see RV(fence).
  returned: success
  type: bool
  sample: false
foreign_drops:
  description:
    - Chains of others whose policy drops forwarded packets, whatever is accepted here. See
      O(ipmasq.linux.gateway#module:foreign_drops).
  returned: success
  type: list
  elements: dict
  contains:
    table:
      description: Family and name of the table.
      type: str
      sample: inet mine
    chain:
      description: The name of the chain.
      type: str
      sample: forward
interfaces:
  description: Every interface of the host but C(lo), and those that were declared and are not there.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name. Of one that is not there, the name or pattern that was declared.
      type: str
      sample: lan0
    role:
      description:
        - V(wan) or V(lan) as declared, V(managed) for one of a container, VM or VPN manager, and V(undeclared) for any
          other.
      type: str
      sample: lan
    present:
      description: Whether it is there now.
      type: bool
      sample: true
    addresses:
      description: Its addresses, without those that are valid on the link only.
      type: list
      elements: str
      sample: [192.168.1.1]
wans:
  description:
    - The WANs, with kernel names. Empty for single items, as are RV(lans), RV(nat), RV(outbound), RV(multicast),
      RV(input_allow) and RV(helpers).
  returned: success
  type: list
  elements: dict
  contains:
    interface:
      description: Its name or pattern.
      type: str
      sample: "ppp0"
    mss:
      description: V(pmtu), V(keep), or a number of bytes.
      type: str
      sample: "pmtu"
lans:
  description: The LANs, with what was left out filled in.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: "office"
    interfaces:
      description: Names and patterns.
      type: list
      elements: str
      sample: ["lan0"]
    networks:
      description: Its networks.
      type: list
      elements: str
      sample: ["192.168.1.0/24"]
    reaches:
      description: The LANs that it may open connections to.
      type: list
      elements: str
      sample: []
    spoof_check:
      description: Whether it may send its own sources only.
      type: bool
      sample: true
    follows:
      description: Whether its networks were read from its links, and follow them.
      type: bool
      sample: false
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
nat:
  description: The items of NAT, in order, by the option O(ipmasq.linux.gateway#module:nat).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN, or of port forwards and input_allow for everybody.
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN, empty for every one.
      type: str
      sample: "ppp0"
    protocol:
      description: Protocols; empty for all.
      type: list
      elements: str
      sample: ["tcp"]
    port:
      description: Ports and ranges; empty for all.
      type: list
      elements: str
      sample: ["443"]
    action:
      description: What is done.
      type: str
      sample: "masquerade"
    to:
      description: Addresses, ranges or a network to translate to.
      type: list
      elements: str
      sample: []
    to_port:
      description: Ports to translate to, V(null) for any.
      type: str
      sample: "1024-65535"
    random:
      description: Whether ports are random.
      type: bool
      sample: false
    persistent:
      description: Whether a client keeps one address of several.
      type: bool
      sample: true
    ipsec:
      description: Whether it is for what IPsec encrypts.
      type: bool
      sample: false
    inbound:
      description: Whether it is open from outside.
      type: bool
      sample: false
    hairpin:
      description: Whether clients inside reach its servers by the addresses outside.
      type: bool
      sample: false
    to_address:
      description: How its addresses come to the host; empty for what the networks of the WAN say.
      type: str
      sample: ""
    timeouts:
      description: Timers of its connections, in seconds by name.
      type: dict
      sample: {"udp": 300}
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
port_forwards:
  description:
    - The port forwards, in order, by the option O(ipmasq.linux.gateway#module:port_forwards).
    - Or the single items of M(ipmasq.linux.port_forward), by name, with C(in_interface) as C(wan).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN, or of port forwards and input_allow for everybody.
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN, empty for every one.
      type: str
      sample: "ppp0"
    protocol:
      description: Protocols; empty for all.
      type: list
      elements: str
      sample: ["tcp"]
    port:
      description: Ports and ranges; empty for all.
      type: list
      elements: str
      sample: ["443"]
    to:
      description: The servers.
      type: list
      elements: str
      sample: ["192.168.1.20"]
    to_port:
      description: The port of the servers, V(null) for the same.
      type: int
      sample: 8443
    hairpin:
      description: Whether clients inside may use it.
      type: bool
      sample: true
    hairpin_source:
      description: The source that the server sees then.
      type: str
      sample: "external"
    balance:
      description: How several servers share the clients.
      type: str
      sample: "round_robin"
    timeouts:
      description: Timers of its connections, in seconds by name.
      type: dict
      sample: {"udp": 300}
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
masquerade:
  description:
    - The single items of M(ipmasq.linux.masquerade), by name. Empty for a whole gateway, as is RV(forward).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: lan
    source:
      description: Networks inside.
      type: list
      elements: str
      sample: ["192.168.1.0/24"]
    out_interface:
      description: The WAN.
      type: str
      sample: ppp0
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    closed:
      description: Whether nothing that the WAN opens gets in.
      type: bool
      sample: false
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
forward:
  description: The single items of M(ipmasq.linux.forward), by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: answers
    action:
      description: What is done.
      type: str
      sample: accept
    source:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    in_interface:
      description: Where packets enter, empty for everywhere.
      type: str
      sample: ppp0
    out_interface:
      description: Where they leave, empty for everywhere.
      type: str
      sample: ""
    ct_state:
      description: States of connections; empty for all.
      type: list
      elements: str
      sample: [established, related]
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
outbound:
  description: What LANs may open, in order, by the option O(ipmasq.linux.gateway#module:outbound).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN, or of port forwards and input_allow for everybody.
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN, empty for every one.
      type: str
      sample: "ppp0"
    protocol:
      description: Protocols; empty for all.
      type: list
      elements: str
      sample: ["tcp"]
    port:
      description: Ports and ranges; empty for all.
      type: list
      elements: str
      sample: ["443"]
    action:
      description: What is done.
      type: str
      sample: "reject"
    rate:
      description: Up to how many, empty without a limit.
      type: str
      sample: "10/second"
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
multicast:
  description: Groups of multicast that come in, by the option O(ipmasq.linux.gateway#module:multicast).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "tv"
    group:
      description: The groups, as networks.
      type: list
      elements: str
      sample: ["239.0.0.0/8"]
    source:
      description: Networks of the senders; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN, empty for every one.
      type: str
      sample: "wan1"
    lan:
      description: Names of LANs; empty for every one.
      type: list
      elements: str
      sample: ["office"]
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
input_allow:
  description: What the gateway itself lets in, by the option O(ipmasq.linux.gateway#module:input_allow).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN, or of port forwards and input_allow for everybody.
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN, empty for every one.
      type: str
      sample: "ppp0"
    protocol:
      description: Protocols; empty for all.
      type: list
      elements: str
      sample: ["tcp"]
    port:
      description: Ports and ranges; empty for all.
      type: list
      elements: str
      sample: ["443"]
    packets:
      description: How many packets its rules have counted.
      type: int
      sample: 42
    bytes:
      description: How many bytes its rules have counted.
      type: int
      sample: 2520
helpers:
  description: The conntrack helpers.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The service.
      type: str
      sample: "ftp"
    port:
      description: Its ports, empty for its own.
      type: list
      elements: int
      sample: [21]
fence:
  description:
    - The table that stays when someone flushes all rules. It drops new connections that nothing translates, if they
      would leave with a private source or come in from outside.
  returned: success
  type: dict
  contains:
    stands:
      description: Whether it is loaded, as it was applied.
      type: bool
      sample: true
    why_not:
      description: Why this host has none; empty where it should have one, and for single items.
      type: str
      sample: ""
who:
  description: Who applied what is applied, V(null) where nothing is.
  returned: success
  type: dict
  contains:
    user:
      description: Who it was, by the name of their login, not by that of root.
      type: str
      sample: joe
    from:
      description: The address from which they came by SSH, empty without SSH.
      type: str
      sample: 192.0.2.1
    at:
      description: When the declaration last changed, in UTC. What only puts drift right leaves it.
      type: str
      sample: "2026-11-28T10:20:30Z"
    version:
      description: The version of this collection.
      type: str
      sample: 1.0.0
backend:
  description: The packet filter in use, and why this one.
  returned: success
  type: dict
  sample: {name: nftables, programs: nft, why: "nft: in use by this instance since it was first applied"}
owner:
  description: V(gateway) for a whole gateway, V(items) for single items, empty if nothing was applied.
  returned: success
  type: str
  sample: gateway
declared:
  description: What was declared, in words, a line each.
  returned: success
  type: list
  elements: str
  sample: ["wan ppp0", "lan office: 192.168.1.0/24 on lan0, reaches no other LAN"]
counters:
  description: Every item with live rules, and what they have counted.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The item, as in the comments of its rules.
      type: str
    rules:
      description: How many rules it has.
      type: int
    packets:
      description: How many packets its rules have counted.
      type: int
    bytes:
      description: How many bytes its rules have counted.
      type: int
  sample: [{name: nat/default, rules: 1, packets: 42, bytes: 2520}]
switches:
  description: The switches of this instance, with the value that was applied and the live one.
  returned: success
  type: list
  elements: dict
  sample: [{key: net/ipv4/ip_forward, applied: "1", live: "1"}]
instances:
  description: The names of all instances on this host.
  returned: success
  type: list
  elements: str
  sample: [default]
usage:
  description:
    - How full the table of connection tracking is. It is the host's, not this instance's.
    - V(null) for what this kernel does not tell, so for all of it while nothing tracks connections.
  returned: success
  type: dict
  contains:
    count:
      description: How many connections are tracked now.
      type: int
    max:
      description: How many there may be, as O(ipmasq.linux.gateway#module:conntrack_max) sets it; V(0) for no limit.
      type: int
    percent:
      description: The one of the other, rounded down.
      type: int
    buckets:
      description: How many buckets the table has. As many as connections, or more, keep each of them short.
      type: int
    drop:
      description: New connections that were refused since boot, for want of room or of a free port.
      type: int
    early_drop:
      description: Unanswered connections that were thrown out since boot, to make room for new ones.
      type: int
    insert_failed:
      description: New connections that could not be entered since boot, for want of a free port above all.
      type: int
  sample: {count: 1200, max: 262144, percent: 0, buckets: 262144, drop: 0, early_drop: 0, insert_failed: 0}
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
from ansible_collections.ipmasq.linux.plugins.module_utils._host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._info import gateway_info

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._host import Host


def main() -> None:
    module = AnsibleModule(argument_spec=_argspec.MODULES["gateway_info"], supports_check_mode=True)

    def step(host: Host) -> dict:
        return gateway_info(module.params["instance"], host, module.params["backend"])

    run_module(module, step)


if __name__ == "__main__":
    main()
