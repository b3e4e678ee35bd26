#!/usr/bin/python
# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_confirm
short_description: Confirm or roll back a change to a gateway
version_added: 1.0.0
description:
  - Ends a change by M(ipmasq.linux.gateway) that awaits confirmation.
  - A task with M(ipmasq.linux.gateway) does this itself unless O(ipmasq.linux.gateway#module:confirm_by=person).
  - With O(instance=lan_client), the same for M(ipmasq.linux.lan_client).
author:
  - ipmasq.linux contributors (@ipmasq)
extends_documentation_fragment:
  - ipmasq.linux.attributes.confirm
  - ipmasq.linux.options
  - ipmasq.linux.options.unused
options:
  backend:
    description: Not used. It is accepted so that C(module_defaults) can set it for the group.
    type: str
    default: auto
    choices: [auto, nftables, iptables]
  state:
    description:
      - V(confirmed) keeps the change, now and at every boot. V(reverted) rolls it back at once.
      - Fails if the change has already ended the other way, and reports when, or if there is no change to confirm.
    type: str
    default: confirmed
    choices: [confirmed, reverted]
  token:
    description:
      - Ends only the change with this RV(ipmasq.linux.gateway#module:pending.token). If omitted, any change.
      - The token is unique, so it proves that the connection reached the right host.
    type: str
    default: ""
seealso:
  - module: ipmasq.linux.gateway
  - module: ipmasq.linux.lan_client
"""

EXAMPLES = r"""
- name: Keep the change, because the phones work
  ipmasq.linux.gateway_confirm:

- name: Roll the change back, because they do not
  ipmasq.linux.gateway_confirm:
    state: reverted
"""

RETURN = r"""
was:
  description:
    - The change that this run found. V(pending) is a change that it has ended, V(confirmed) or V(reverted) one that had
      already ended, V(failed) one that could not be rolled back completely, and V(unfinished) one that could not be
      written to disk completely. Empty if there was none.
  returned: always
  type: str
  sample: pending
at:
  description: When that change ended, in the host's local time. Empty if this run ended it, or if there was none.
  returned: always
  type: str
  sample: "14:05:30"
host:
  description: The own name of the host that answered.
  returned: always
  type: str
  sample: gw1
instance:
  description: The instance.
  returned: success
  type: str
  sample: default
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import run_module
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.confirm import OPTIONS, end_change

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    params = module.params

    def step(host: Sight) -> t.Dict[str, t.Any]:
        return end_change(params["instance"], params["token"], params["state"] == "confirmed", host)

    run_module(module, step)


if __name__ == "__main__":
    main()
