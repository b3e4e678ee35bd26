# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options that several modules share."""

    DOCUMENTATION = r"""
options:
  instance:
    description:
      - The set of rules and switches to manage, with its own state file under C(/etc/ipmasq).
      - Its table is C(inet ipmasq) for V(default), and C(inet ipmasq_<instance>) for others.
      - 1 to 10 lower-case letters, digits and underscores, starting with a letter.
    type: str
    default: default
requirements:
  - C(nft) (nftables 0.9.8 or later) or C(iptables) 1.8 or later
  - C(ip) of iproute2
notes:
  - Must run as root.
  - Needs only Python's standard library on the managed host.
"""

    BACKEND = r"""
options:
  backend:
    description:
      - The packet filter that holds the rules.
      - V(auto) keeps the backend that this instance already uses. In a first run it selects iptables if other programs'
        iptables rules are in use (an nftables table could not overrule their drops), otherwise nftables if C(nft) is
        installed.
      - The return value RV(ignore:backend) contains the choice and its reason.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
"""

    CONFIRM = r"""
options:
  confirm_timeout:
    description:
      - Seconds after which a change is rolled back unless Ansible has reached the host through a new connection; V(0)
        turns this off. The change is saved for the next boot only once it is confirmed.
      - A timer on the host restores rules, switches and addresses; it needs neither Ansible nor Python.
    type: int
    default: 30
  confirm_by:
    description:
      - With V(controller), this task opens the new connection itself and fails if the change was rolled back.
      - With V(person), the task ends at once, and a person confirms the change in time with
        M(ipmasq.linux.gateway_confirm) or the playbook C(ipmasq.linux.confirm).
    type: str
    default: controller
    choices: [controller, person]
  wait:
    description:
      - Seconds to wait for another change in progress on this host before this one is refused; at most 3600.
    type: int
    default: 0
"""

    CONFIRM_CLIENT = r"""
options:
  confirm_timeout:
    description:
      - Seconds after which a change of a default route is rolled back unless Ansible has reached the host through a new
        connection; V(0) turns this off. The change is saved for the next boot only once it is confirmed.
    type: int
    default: 30
  confirm_by:
    description:
      - With V(controller), this task opens the new connection itself and fails if the change was rolled back.
      - With V(person), the task ends at once, and a person confirms the change in time with
        M(ipmasq.linux.gateway_confirm) and C(instance=lan_client).
    type: str
    default: controller
    choices: [controller, person]
  wait:
    description:
      - Seconds to wait for another change in progress on this host before this one is refused; at most 3600.
    type: int
    default: 0
"""

    UNUSED = r"""
options:
  confirm_timeout:
    description: Not used. It is accepted so that C(module_defaults) can set it for the group.
    type: int
    default: 30
  confirm_by:
    description: Not used. It is accepted so that C(module_defaults) can set it for the group.
    type: str
    default: controller
    choices: [controller, person]
  wait:
    description: Not used. It is accepted so that C(module_defaults) can set it for the group.
    type: int
    default: 0
"""
