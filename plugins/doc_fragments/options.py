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
      - The set of rules and switches to work on, with a state file of its own under C(/etc/ipmasq).
      - Its table is C(inet ipmasq) for V(default), and C(inet ipmasq_<instance>) for others.
      - 1 to 10 lower-case letters, digits and underscores, beginning with a letter.
    type: str
    default: default
requirements:
  - C(nft) (nftables 0.9.8 or later) or C(iptables) 1.8 or later
  - C(ip) of iproute2
notes:
  - Has to run as root.
  - Needs nothing but Python's standard library on the managed host.
"""

    BACKEND = r"""
options:
  backend:
    description:
      - The packet filter that holds the rules.
      - V(auto) stays with the one this instance already uses. At first it takes iptables where others' iptables rules
        are in use (a table of nftables could not overrule their drops), otherwise nftables if C(nft) is installed.
      - The choice and its reason are in the return value RV(ignore:backend).
    type: str
    default: auto
    choices: [auto, nftables, iptables]
"""

    CONFIRM = r"""
options:
  confirm_timeout:
    description:
      - Seconds after which a change takes itself back, unless Ansible has come through to the host by a new connection
        since; V(0) turns this off. It is written for the next boot only once it is confirmed.
      - Rules, switches and addresses are restored by a timer on the host, which needs neither Ansible nor Python.
    type: int
    default: 30
  confirm_by:
    description:
      - With V(controller), this task opens the new connection itself and fails if the change was taken back.
      - With V(person), the task ends at once and somebody confirms with M(ipmasq.linux.gateway_confirm), or the
        playbook C(ipmasq.linux.confirm), within the time.
    type: str
    default: controller
    choices: [controller, person]
  wait:
    description:
      - Seconds to wait for a change that somebody else has under way on this host, before this one is refused; at most
        3600.
    type: int
    default: 0
"""

    UNUSED = r"""
options:
  confirm_timeout:
    description: Not used. It is taken so that C(module_defaults) may give it to the group.
    type: int
    default: 30
  confirm_by:
    description: Not used. It is taken so that C(module_defaults) may give it to the group.
    type: str
    default: controller
    choices: [controller, person]
  wait:
    description: Not used. It is taken so that C(module_defaults) may give it to the group.
    type: int
    default: 0
"""
