#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lan_client
short_description: Send a Linux host's traffic through a gateway of its LAN
version_added: 1.0.0
description:
  - Sets the default route and DNS servers, now and at every boot.
  - A change of a default route that cuts Ansible off is rolled back, by a timer on the host that needs neither Ansible
    nor Python.
  - The route is set by C(ip route). Once the change is confirmed, the file that the network manager of the interface
    reads at boot is put in place. A reboot before that is a rollback, too.
  - Knows systemd-networkd, netplan, ifupdown, NetworkManager and dhcpcd. The renewal of a lease does not bring an old
    route back. No file of the user's is edited, except C(/etc/resolv.conf).
  - The role P(ipmasq.linux.lan_client#role) finds the gateway in the inventory and runs this module.
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes
  - ipmasq.linux.options.confirm_client
options:
  state:
    description: V(absent) restores routes, DNS and files to what they were before the first run.
    type: str
    default: present
    choices: [present, absent]
  gateway:
    description:
      - The gateway's IPv4 address. If empty, the one of O(gateways) that is in a network of this host.
      - V(none) leaves IPv4 unchanged.
    type: str
    default: ""
  gateway6:
    description:
      - The gateway's IPv6 address, not a link-local one. If empty, it is found like the IPv4 address, but a default
        route from router advertisements is kept instead.
      - V(none) leaves IPv6 unchanged.
    type: str
    default: ""
  gateways:
    description: The gateways to choose from.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name, for messages.
        type: str
        required: true
      declared:
        description: Addresses that take precedence over those of O(gateways[].addresses), such as one of VRRP.
        type: list
        elements: str
      addresses:
        description: Other addresses of this gateway.
        type: list
        elements: str
      asked:
        description:
          - With V(false), this gateway may have addresses that are not known yet. If none of O(gateways) matches,
            nothing is changed, and RV(ask) names it.
        type: bool
        default: true
      mirrored:
        description: Whether the host that asked this gateway reached itself instead.
        type: bool
        default: false
  interface:
    description: The interface towards the gateway. If empty, the one whose network contains the gateway.
    type: str
    default: ""
  dns:
    description:
      - Addresses of DNS servers, reached through the gateway. If empty, the resolver is left unchanged.
      - They are set in NetworkManager if it manages the interface, in systemd-resolved if it is in use, and otherwise
        in C(/etc/resolv.conf), whose other lines are kept.
    type: list
    elements: str
    default: []
  replace_default:
    description:
      - What to do if the host already has a default route through another interface or gateway.
      - V(false) refuses, because the controller may reach the host through that route.
      - V(true) gives the new default route priority, by a lower metric, or under ifupdown by replacing the old one.
    type: bool
    default: false
  unmanaged:
    description:
      - What to do if the interface is managed by something else, and its default route is another one.
      - V(fail) refuses and names what to do there. V(skip) says the same as a warning and leaves the host as it is.
    type: str
    default: fail
    choices: [fail, skip]
requirements:
  - C(ip) of iproute2 4.14 or later
notes:
  - Must run as root.
  - Needs only Python's standard library on the managed host.
seealso:
  - module: ipmasq.linux.gateway
  - module: ipmasq.linux.gateway_confirm
"""

EXAMPLES = r"""
- name: Use the gateway, also as DNS server
  ipmasq.linux.lan_client:
    gateway: 192.168.1.1
    dns: [192.168.1.1]

- name: Let it win over the default route through another interface, with a minute to confirm
  ipmasq.linux.lan_client:
    gateway: 192.168.1.1
    replace_default: true
    confirm_timeout: 60

- name: Give back the routes, DNS servers and files from before
  ipmasq.linux.lan_client:
    state: absent
"""

RETURN = r"""
manager:
  description: The network manager whose file was written. Empty if there is none.
  returned: success
  type: str
  sample: systemd-networkd
interface:
  description: The interface towards the gateway.
  returned: success
  type: str
  sample: eth0
gateway:
  description: The gateway's IPv4 address; empty without one.
  returned: success
  type: str
  sample: 192.168.1.1
gateway6:
  description: The gateway's IPv6 address; empty without one.
  returned: success
  type: str
  sample: fd00:1::1
ask:
  description: Gateways whose addresses are needed, see O(gateways[].asked). If there are any, nothing was done.
  returned: success
  type: list
  elements: str
  sample: [gw1]
addresses:
  description: The addresses of this host.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.20]
notes:
  description: What was chosen, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["IPv6 is left unchanged: eth0 learns its default route from router advertisements"]
differences:
  description: What was missing (C(+)), superfluous (C(-)) or different (C(~)) on the host before this run.
  returned: success
  type: list
  elements: str
  sample: ["+ default via 192.168.1.1 dev eth0 proto static"]
pending:
  description: A change that awaits confirmation; absent once this task has confirmed the change itself.
  returned: when a default route changed, and O(confirm_by=person)
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
      sample: desk1
instance:
  description: The name of this host's change for M(ipmasq.linux.gateway_confirm).
  returned: success
  type: str
  sample: lan_client
problems:
  description: The problems, one sentence each. The message contains the same, one per line.
  returned: failure
  type: list
  elements: str
  sample: ["dns: 'dns.example.org' is not an IP address"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.change import run

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=argspec.MODULES["lan_client"], supports_check_mode=True)
    params = module.params

    def step(host: Sight) -> t.Dict[str, t.Any]:
        return run(params, host)

    run_module(module, step)


if __name__ == "__main__":
    main()
