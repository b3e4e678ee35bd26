#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: forwarding
short_description: Turn the kernel's IPv4 and IPv6 forwarding on or off
version_added: 1.0.0
description:
  - Sets the kernel's forwarding switches now and at every boot, where C(ipmasq.service) sets them after the rules.
  - Without O(interfaces), it sets the global switch and also corrects each interface with a different value, which
    writing the global switch again would not do. What a task with O(interfaces) sets for single interfaces stays, in a
    run and at boot, also if another instance has set it; a warning names those that stay on when IPv4 forwarding is
    turned off. Only the interfaces of a gateway are always on after its run.
  - Before IPv6 forwarding is turned on, C(accept_ra) is set to 2 on interfaces whose default route comes from router
    advertisements, because the kernel would otherwise remove that route.
  - Does not change the system's sysctl files. Lines in them that set another value are returned in RV(overridden_by)
    with file and line.
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes
  - ipmasq.linux.options
  - ipmasq.linux.options.confirm
options:
  backend:
    description:
      - Not used, because switches need no packet filter. It is accepted so that C(module_defaults) can set it for the
        group.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
  state:
    description: V(absent) restores the previous value of every switch that this instance has set.
    type: str
    default: present
    choices: [present, absent]
  ipv4:
    description: Whether to forward IPv4. If omitted, it is unchanged.
    type: bool
  ipv6:
    description: Whether to forward IPv6. If omitted, it is unchanged.
    type: bool
  interfaces:
    description: Set only these interfaces and leave the global switch unchanged.
    type: list
    elements: str
seealso:
  - module: ipmasq.linux.masquerade
  - module: ipmasq.linux.forward
"""

EXAMPLES = r"""
- name: Forward IPv4
  ipmasq.linux.forwarding:
    ipv4: true

- name: Forward IPv6, too, and still accept the provider's router advertisements
  ipmasq.linux.forwarding:
    ipv4: true
    ipv6: true

- name: Do not forward IPv4 packets that come in on the management interface
  ipmasq.linux.forwarding:
    ipv4: false
    interfaces: [mgmt0]
"""

RETURN = r"""
switches:
  description: The switches whose values differed, with slashes as in C(/proc/sys).
  returned: success
  type: list
  elements: dict
  contains:
    key:
      description: The name of the switch.
      type: str
    before:
      description: Its value before.
      type: str
    after:
      description: Its value now.
      type: str
  sample: [{key: net/ipv4/ip_forward, before: "0", after: "1"}]
overridden_by:
  description: Lines of other sysctl files that set a switch to another value. Each also causes a warning.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: The file.
      type: str
    line:
      description: The number of the line.
      type: int
    key:
      description: The switch.
      type: str
    value:
      description: The value there.
      type: str
  sample: [{file: /etc/sysctl.conf, line: 28, key: net/ipv4/ip_forward, value: "0"}]
backend:
  description: The packet filter of this instance's items, if it has any.
  returned: success
  type: dict
  sample: {name: none, programs: "", why: ""}
notes:
  description: What was resolved, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["wan is an alternative name of enp3s0; the rules use enp3s0"]
differences:
  description: What was different (C(~)) before this run.
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
  description: The instance that keeps the switches.
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
from ansible_collections.ipmasq.linux.plugins.module_utils._change.items import apply_switches
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import forwarding_from_params

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(
        argument_spec=argspec.MODULES["forwarding"],
        supports_check_mode=True,
        required_if=[("state", "present", ("ipv4", "ipv6"), True)],
    )
    params = module.params

    def step(host: Sight) -> t.Dict[str, t.Any]:
        wanted = forwarding_from_params(params) if params["state"] == "present" else None
        confirmation = waiting(params, host)
        done = apply_switches(params["instance"], wanted, host, confirmation)
        return done.to_dict(module._verbosity > 0)

    run_module(module, step)


if __name__ == "__main__":
    main()
