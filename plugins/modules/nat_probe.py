#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nat_probe
short_description: Measure what a client behind a NAT reaches, and how it looks from outside
version_added: 1.0.0
description:
  - Runs on a client in a LAN, sends packets through its gateway, and reports who answers and which address the far side
    saw. It needs only Python, and root only to ping where C(net.ipv4.ping_group_range) does not allow it.
  - Determines how the NAT maps and filters (RFC 5780) and whether a client can reach its own outside address, and
    measures the path MTU in both directions.
  - Every check has one of three outcomes. V(unmeasurable) is not a failure, and says what is missing. The module never
    fails because of an outcome; see RV(proven).
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes.probe
options:
  servers:
    description:
      - STUN servers, as C(host) or C(host:port), with port 3478 by default. Any public server will do; two at different
        addresses show how the NAT maps.
      - Filtering needs a server with two addresses, as coturn may be, or the collection's own reflector, which also
        measures the path MTU inwards. See C(docs/proof.md).
    type: list
    elements: str
  tcp:
    description: Hosts to which a TCP connection must be possible, as C(host:port).
    type: list
    elements: str
  ping:
    description: Hosts that must answer a ping. The O(servers) are pinged as well, but need not answer.
    type: list
    elements: str
  dns_name:
    description: A name that the DNS server must know. If omitted, only the names of the other options are looked up.
    type: str
  dns_server:
    description: The address of the DNS server to ask for O(dns_name). If omitted, every server in C(/etc/resolv.conf).
    type: str
  expect:
    description: What must be seen. What is omitted is measured and reported, but is not a promise.
    type: dict
    suboptions:
      addresses:
        description:
          - The addresses that the far side may see, as addresses, ranges or networks. A family without an entry is
            not checked.
          - If only private addresses are expected and a public one is seen, there is another NAT behind the gateway,
            and the outcome is V(unmeasurable).
        type: list
        elements: str
      mapping:
        description:
          - How the NAT maps ports (RFC 4787). V(independent) is the same outside port for every server, V(address)
            a different one for each server, V(address_port) a different one for each port of a server, and V(none) no
            NAT.
        type: str
        choices: [none, independent, address, address_port]
      filtering:
        description:
          - From whom the NAT lets packets in to a mapped port. V(independent) is everybody, V(address) every port of an
            address that the client has contacted, and V(address_port) only ports that it has contacted.
        type: str
        choices: [independent, address, address_port]
      hairpin:
        description: Whether a client reaches the outside address and port of another client, or of itself.
        type: bool
      mtu:
        description: The smallest path MTU to accept in either direction. If omitted, 1280.
        type: int
  idle:
    description:
      - Seconds that a UDP flow is left alone before the server writes to it, to see whether the NAT still knows it.
        V(0) turns this off, and 60 is a useful value. The run takes that long.
    type: int
    default: 0
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 3
seealso:
  - module: ipmasq.linux.gateway
"""

EXAMPLES = r"""
- name: See how this client looks from outside
  ipmasq.linux.nat_probe:
    servers: [stun.example.net, stun.example.org]
  register: probe

- name: Stop if anything is not as it should be, or if nothing could be measured
  ansible.builtin.assert:
    that: probe.proven
    fail_msg: "{{ probe.broken | join('\n') or probe.notes | join('\n') }}"

- name: Check a gateway against its declaration
  ipmasq.linux.nat_probe:
    servers: [203.0.113.10]
    tcp: [www.example.net:443]
    dns_name: www.example.net
    idle: 60
    expect:
      addresses: [203.0.113.2]
      mapping: independent
      mtu: 1492
"""

RETURN = r"""
proven:
  description: Whether at least one promise holds and none is broken. V(false) if there was nothing to ask.
  returned: success
  type: bool
  sample: false
broken:
  description: Each broken promise with what was wrong, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["udp over IPv4: 203.0.113.1: no answer"]
counts:
  description: How many promises there are of each outcome.
  returned: success
  type: dict
  contains:
    holds:
      description: What was expected is what was measured.
      type: int
      sample: 4
    broken:
      description: Something else was measured.
      type: int
      sample: 1
    unmeasurable:
      description: It cannot be known here or now.
      type: int
      sample: 0
results:
  description: Every promise. Empty if there was nothing to ask.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One of V(reach), V(address), V(dns), V(mapping), V(filtering), V(hairpin), V(mtu) and V(idle).
      type: str
      sample: reach
    name:
      description: The promise in words.
      type: str
      sample: udp over IPv4
    outcome:
      description: V(holds), V(broken) or V(unmeasurable).
      type: str
      sample: broken
    reason:
      description: Why it is broken or unmeasurable; empty if it holds.
      type: str
      sample: "203.0.113.1: no answer"
    sent:
      description: What was sent.
      type: list
      elements: str
      sample: ["STUN from 192.168.1.10:40000 to 203.0.113.1:3478"]
    seen:
      description: What came back.
      type: list
      elements: str
      sample: []
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 3.1
addresses:
  description: The addresses of this client that servers saw.
  returned: success
  type: list
  elements: str
  sample: [203.0.113.2]
nat:
  description:
    - How the NAT behaves, for each address family in which a server answered. If there are several NATs on the way,
      this is what all of them do together.
    - V(unknown) where there is no proof; V(null) for a path MTU that could not be measured.
  returned: success
  type: list
  elements: dict
  contains:
    family:
      description: V(ipv4) or V(ipv6).
      type: str
      sample: ipv4
    mapping:
      description:
        - As in O(expect.mapping), or V(dependent) if servers at different addresses saw different ports and none of
          them has two addresses.
      type: str
      sample: independent
    mapping_why:
      description: What shows it.
      type: str
      sample: 203.0.113.1:3478 saw 203.0.113.2:40000, 198.18.0.1:3478 saw 203.0.113.2:40000
    filtering:
      description: As in O(expect.filtering).
      type: str
      sample: unknown
    filtering_why:
      description: What shows it, or why it is unknown.
      type: str
      sample: no server has a second address (RFC 5780), which filtering needs
    hairpin:
      description: V(yes), V(no) or V(unknown).
      type: str
      sample: "no"
    hairpin_why:
      description: What shows it.
      type: str
      sample: a packet to 203.0.113.2:40001, this client's own outside address, did not come back
    mtu_out:
      description: The largest packet that gets out, in bytes.
      type: int
      sample: 1500
    mtu_in:
      description: The largest packet that gets in, in bytes.
      type: int
      sample: 1492
notes:
  description: What to know about this run, such as a server that is down, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["stun.example.org (198.51.100.7): no answer"]
problems:
  description: The problems, one sentence each. The message contains the same, one per line.
  returned: failure
  type: list
  elements: str
  sample: ["tcp[0]: 'www.example.net' has no port; write www.example.net:443"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._client.probe import nat_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["nat_probe"], supports_check_mode=True)

    def step(sight: Sight) -> t.Dict[str, t.Any]:
        return nat_probe(module.params, sight)

    run_module(module, step)


if __name__ == "__main__":
    main()
