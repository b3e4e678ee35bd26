#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_confirm
short_description: Confirm a change of a gateway, or take it back
version_added: 1.0.0
description:
  - Ends the time in which a change of M(ipmasq.linux.gateway) waits for its confirmation.
  - The task M(ipmasq.linux.gateway) calls it by itself unless O(ipmasq.linux.gateway#module:confirm_by=person).
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes.confirm
  - ipmasq.linux.options
  - ipmasq.linux.options.unused
options:
  backend:
    description: Not used. It is taken so that C(module_defaults) may give it to the group.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
  state:
    description:
      - V(confirmed) keeps the change, now and at every boot. V(reverted) takes it back at once.
      - Fails if it is too late for that, and says when the change has ended the other way, or if no change waits that
        could be confirmed.
    type: str
    default: confirmed
    choices: [confirmed, reverted]
  token:
    description:
      - Only the change with this RV(ipmasq.linux.gateway#module:pending.token). When left out, any.
      - Another host never has a change with this token, so it proves that the right one was reached.
    type: str
    default: ""
seealso:
  - module: ipmasq.linux.gateway
"""

EXAMPLES = r"""
- name: The phones ring, so the change may stay
  ipmasq.linux.gateway_confirm:

- name: They do not
  ipmasq.linux.gateway_confirm:
    state: reverted
"""

RETURN = r"""
was:
  description:
    - What this run found. V(pending) is a change that it has ended, V(confirmed) and V(reverted) one that had ended
      before, V(failed) one that could not be taken back in full, V(unfinished) one that could not be written to the
      disk in full, and empty is none at all.
  returned: always
  type: str
  sample: pending
at:
  description: When that change had ended, in the time of the host. Empty if it has ended now, or there is none.
  returned: always
  type: str
  sample: "14:05:30"
host:
  description: The name of the host that has answered, as it knows itself.
  returned: always
  type: str
  sample: gw1
instance:
  description: The instance worked on.
  returned: success
  type: str
  sample: default
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import OPTIONS, end_change

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._host import Host


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    params = module.params

    def step(host: Host) -> dict:
        return end_change(params["instance"], params["token"], params["state"] == "confirmed", host, module.check_mode)

    run_module(module, step)


if __name__ == "__main__":
    main()
