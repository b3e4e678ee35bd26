#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: Report what a masquerade gateway does, and whether it still matches what was applied
version_added: 1.0.0
description:
  - Reads the live state, compares it with what was applied, and reports every difference.
  - Returns flat lists of dicts, suitable for C(json_query).
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes.info
  - ipmasq.linux.options
  - ipmasq.linux.options.unused
options:
  backend:
    description:
      - Where to look if nothing was applied to the instance. An applied instance has recorded its backend.
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

- name: Stop if somebody changed or removed the rules by hand
  ansible.builtin.assert:
    that: gateway.as_applied
    fail_msg: "{{ gateway.drift | join('\n') or 'no gateway was applied here' }}"

- name: Stop if this host forwards packets without translating or filtering them
  ansible.builtin.assert:
    that: not gateway.forwarding_without_rules

- name: Stop if a declared interface does not exist
  ansible.builtin.assert:
    that: gateway.interfaces | rejectattr('present') | length == 0
    fail_msg: "{{ gateway.interfaces | rejectattr('present') | map(attribute='name') | join(', ') }}"

- name: Stop before the connection tracking table is full
  ansible.builtin.assert:
    that: gateway.usage.connections.percent | default(0, true) < 80
    fail_msg: "{{ gateway.usage.connections.count }} of {{ gateway.usage.connections.max }}; docs/sizing.md"

- name: Show how many packets were masqueraded
  ansible.builtin.debug:
    msg: "{{ gateway.counters | selectattr('name', 'match', 'nat/') | map(attribute='packets') | sum }}"

- name: Do the same with JMESPath (requires community.general, and jmespath on the controller)
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
    - Whether rules, switches and files match what was applied. V(false) if nothing was applied.
    - While a change awaits confirmation (RV(pending)), the host is compared with the last confirmed state.
  returned: success
  type: bool
  sample: true
drift:
  description:
    - What is missing (C(+)), superfluous (C(-)) or different (C(~)) on the host.
      At most 200 rules, and 500 characters of each.
  returned: success
  type: list
  elements: str
  sample: ["- ip nat IPMASQ-SRCNAT: -j ACCEPT"]
pending:
  description: A change that awaits confirmation; V(null) if there is none.
  returned: success
  type: dict
  contains:
    until:
      description: When it is rolled back, in UTC.
      type: str
      sample: "2026-11-28T10:21:00Z"
    user:
      description: The login name of the user who made it.
      type: str
      sample: joe
    from:
      description: The address from which the user connected over SSH; empty without SSH.
      type: str
      sample: 192.0.2.1
    at:
      description: When it was made, in UTC.
      type: str
      sample: "2026-11-28T10:20:30Z"
    overdue:
      description:
        - Whether RV(pending.until) passed more than three minutes ago by the clock of this host, and nothing has rolled
          the change back.
      type: bool
      sample: false
forwarding_without_rules:
  description:
    - Whether this host forwards IPv4 or IPv6 although the applied rules are not loaded, or no instance was applied at
      all. Nothing translates, filters or isolates what such a host forwards.
    - After C(nft flush ruleset), this is V(true) until the next run, or the next start of C(ipmasq.service);
      see RV(fence).
  returned: success
  type: bool
  sample: false
proof:
  description:
    - The last proof with packets since the host was booted, of the change that is applied or by
      M(ipmasq.linux.gateway_probe); V(null) if there was none.
  returned: success
  type: dict
  contains:
    at:
      description: When it ended, in UTC.
      type: str
      sample: "2026-11-28T10:20:30Z"
    seconds:
      description: How long it took.
      type: float
      sample: 0.31
    counts:
      description: How many promises hold, are broken, or cannot be measured.
      type: dict
      sample: {holds: 28, broken: 0, unmeasurable: 0}
    broken:
      description: The broken promises, one sentence each.
      type: list
      elements: str
      sample: ["office reaches the Internet through ppp0 (tcp, IPv4) is broken: nothing came out of ppp0"]
foreign_drops:
  description:
    - Other programs' chains whose policy drops forwarded packets that the gateway accepts. See
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
  description: Every interface of the host except C(lo), and declared interfaces that do not exist.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name. For an interface that does not exist, the declared name or pattern.
      type: str
      sample: lan0
    role:
      description:
        - V(wan) or V(lan) as declared, V(managed) for interfaces that the rules leave to a container, VM or VPN
          manager, and V(undeclared) for the rest.
      type: str
      sample: lan
    present:
      description: Whether it exists now.
      type: bool
      sample: true
    addresses:
      description: Its addresses, without link-local ones.
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
    carried_from:
      description: Sources of the packets that carry its traffic over another link.
      type: list
      elements: str
      sample: ["2001:db8:ff::c1a7/128"]
lans:
  description: The LANs, with omitted options filled in.
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
      description: The LANs to which it may open connections.
      type: list
      elements: str
      sample: []
    spoof_check:
      description: Whether packets with sources outside its networks are dropped.
      type: bool
      sample: true
    follows:
      description: Whether its networks come from its links and follow them.
      type: bool
      sample: false
    dhcp:
      description: What its hosts get by DHCP, with the ranges that were chosen; empty without DHCP.
      type: dict
      sample: {"range": ["192.168.1.100-192.168.1.250"], "lease": "12h", "reserve": [], "options": {}}
    ra:
      description: How its hosts get IPv6 addresses from the gateway.
      type: str
      sample: "slaac"
    dns:
      description: Whether the gateway answers its DNS questions.
      type: bool
      sample: true
    packets:
      description: Packets counted by its rules.
      type: int
      sample: 42
    bytes:
      description: Bytes counted by its rules.
      type: int
      sample: 2520
nat:
  description: The NAT items in order, as in the option O(ipmasq.linux.gateway#module:nat).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN (in port_forwards and input_allow, for any client).
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN; empty for every WAN.
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
      description: The action.
      type: str
      sample: "masquerade"
    to:
      description: Addresses, ranges or a network to translate to.
      type: list
      elements: str
      sample: []
    to_port:
      description: Ports to translate to; V(null) for any.
      type: str
      sample: "1024-65535"
    random:
      description: Whether ports are random.
      type: bool
      sample: false
    persistent:
      description: Whether a client keeps one address of a pool.
      type: bool
      sample: true
    ipsec:
      description: Whether it matches only what IPsec encrypts.
      type: bool
      sample: false
    inbound:
      description: Whether it accepts connections from outside.
      type: bool
      sample: false
    hairpin:
      description: Whether clients inside can use the outside addresses.
      type: bool
      sample: false
    to_address:
      description: How its addresses reach the host; empty if the WAN's networks decide.
      type: str
      sample: ""
    timeouts:
      description: Timeouts of its connections, in seconds by name.
      type: dict
      sample: {"udp": 300}
    packets:
      description: Packets counted by its rules.
      type: int
      sample: 42
    bytes:
      description: Bytes counted by its rules.
      type: int
      sample: 2520
port_forwards:
  description:
    - The port forwards in order, as in the option O(ipmasq.linux.gateway#module:port_forwards).
    - For single items, those of M(ipmasq.linux.port_forward) by name, with C(in_interface) as C(wan).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN (in port_forwards and input_allow, for any client).
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN; empty for every WAN.
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
      description: The port of the servers; V(null) for the same port.
      type: int
      sample: 8443
    hairpin:
      description: Whether clients inside can use it.
      type: bool
      sample: true
    hairpin_source:
      description: The source that the server sees for such clients.
      type: str
      sample: "external"
    balance:
      description: How several servers share the connections.
      type: str
      sample: "round_robin"
    timeouts:
      description: Timeouts of its connections, in seconds by name.
      type: dict
      sample: {"udp": 300}
    packets:
      description: Packets counted by its rules.
      type: int
      sample: 42
    bytes:
      description: Bytes counted by its rules.
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
  description: The outbound items in order, as in the option O(ipmasq.linux.gateway#module:outbound).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN (in port_forwards and input_allow, for any client).
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN; empty for every WAN.
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
      description: The action.
      type: str
      sample: "reject"
    rate:
      description: The limit; empty without a limit.
      type: str
      sample: "10/second"
    packets:
      description: Packets counted by its rules.
      type: int
      sample: 42
    bytes:
      description: Bytes counted by its rules.
      type: int
      sample: 2520
multicast:
  description: Multicast groups let in, as in the option O(ipmasq.linux.gateway#module:multicast).
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
      description: The WAN; empty for every WAN.
      type: str
      sample: "wan1"
    lan:
      description: Names of LANs; empty for every LAN.
      type: list
      elements: str
      sample: ["office"]
    packets:
      description: Packets counted by its rules.
      type: int
      sample: 42
    bytes:
      description: Bytes counted by its rules.
      type: int
      sample: 2520
input_allow:
  description: What the gateway itself accepts, as in the option O(ipmasq.linux.gateway#module:input_allow).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the item.
      type: str
      sample: "web"
    source:
      description: Names of LANs, or networks; empty for every LAN (in port_forwards and input_allow, for any client).
      type: list
      elements: str
      sample: []
    destination:
      description: Networks; empty for all.
      type: list
      elements: str
      sample: []
    wan:
      description: The WAN; empty for every WAN.
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
      description: Packets counted by its rules.
      type: int
      sample: 42
    bytes:
      description: Bytes counted by its rules.
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
      description: Its ports; empty for the default ports.
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
  description: Who applied the present declaration; V(null) if nothing was applied.
  returned: success
  type: dict
  contains:
    user:
      description: The user's login name, not root.
      type: str
      sample: joe
    from:
      description: The address from which the user connected over SSH; empty without SSH.
      type: str
      sample: 192.0.2.1
    at:
      description: When the declaration last changed, in UTC. A run that only corrects drift does not change it.
      type: str
      sample: "2026-11-28T10:20:30Z"
    version:
      description: The version of this collection.
      type: str
      sample: 1.0.0
backend:
  description: The packet filter in use, and why it was chosen.
  returned: success
  type: dict
  sample: {name: nftables, programs: nft, why: "nft: in use by this instance since it was first applied"}
owner:
  description: V(gateway) for a whole gateway, V(items) for single items; empty if nothing was applied.
  returned: success
  type: str
  sample: gateway
declared:
  description: What was declared, in words, one line per item.
  returned: success
  type: list
  elements: str
  sample: ["wan ppp0", "lan office: 192.168.1.0/24 on lan0, reaches no other LAN"]
counters:
  description: Every item with live rules, and their counters.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The item, as in the comments of its rules.
      type: str
    rules:
      description: Number of its rules.
      type: int
    packets:
      description: Packets counted by its rules.
      type: int
    bytes:
      description: Bytes counted by its rules.
      type: int
  sample: [{name: nat/default, rules: 1, packets: 42, bytes: 2520}]
switches:
  description: The switches of this instance, with their applied and live values.
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
  description: How much of what the host has is in use.
  returned: success
  type: dict
  contains:
    connections:
      description:
        - How full the host's connection tracking table is. All instances share it.
        - V(null) for values that this kernel does not provide, and for all values while nothing tracks connections.
      type: dict
      contains:
        count:
          description: Connections tracked now.
          type: int
        max:
          description: The limit, as set by O(ipmasq.linux.gateway#module:conntrack_max); V(0) for no limit.
          type: int
        percent:
          description: RV(usage.connections.count) as a percentage of RV(usage.connections.max), rounded down.
          type: int
        buckets:
          description: Buckets of the hash table. With at least as many buckets as connections, look-ups are fast.
          type: int
        drop:
          description: New connections refused since boot because the table was full or no port was free.
          type: int
        early_drop:
          description: Unanswered connections evicted since boot to make room for new ones.
          type: int
        insert_failed:
          description: New connections that could not be inserted since boot, mostly because no port was free.
          type: int
  sample:
    connections: {count: 1200, max: 262144, percent: 0, buckets: 262144, drop: 0, early_drop: 0, insert_failed: 0}
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
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["gateway_info"], supports_check_mode=True)

    def step(host: Sight) -> t.Dict[str, t.Any]:
        return gateway_info(module.params["instance"], host, module.params["backend"])

    run_module(module, step)


if __name__ == "__main__":
    main()
