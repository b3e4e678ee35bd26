# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateways that the inventory has for a LAN client. Pure."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lan_client_gateways
short_description: The gateways of an inventory with their addresses
version_added: 1.0.0
author:
  - ipmasq.linux contributors (@ipmasq)
description:
  - Collects for the role P(ipmasq.linux.lan_client#role) what is known of the addresses of gateways, as option
    O(ipmasq.linux.lan_client#module:gateways) takes it.
positional: _input
options:
  _input:
    description: Names of the gateways. A name may be an address.
    type: list
    elements: str
    required: true
  declared:
    description: For each gateway, the addresses that the inventory declares. They take precedence over all others.
    type: list
    elements: list
    default: []
  known:
    description: Lists of as many lists as there are gateways, each with addresses of one gateway.
    type: list
    elements: list
    default: []
  lans:
    description: For each gateway, the RV(ipmasq.linux.gateway#module:lans) that its own run returned.
    type: list
    elements: list
    default: []
  hints:
    description: For each gateway, a string that may be an address.
    type: list
    elements: str
    default: []
  asked:
    description:
      - For each gateway that was asked, its name (C(item)), its output of C(ip -j address show) (C(stdout)), and the
        addresses of the host that asked it (C(own)).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show the gateways
  ansible.builtin.debug:
    msg: "{{ ['gw1'] | ipmasq.linux.lan_client_gateways(declared=[['192.168.1.1']]) }}"
"""

RETURN = r"""
_value:
  description: One dictionary per gateway, with the keys C(name), C(declared), C(addresses), C(asked), C(mirrored).
  type: list
  elements: dict
"""

import json
import typing as t

from ansible_collections.ipmasq.linux.plugins.module_utils._base.net import is_address

Json = dict[str, t.Any]


def lan_client_gateways(
    hosts: list[str],
    declared: list[t.Any] | None = None,
    known: list[list[t.Any]] | None = None,
    lans: list[list[Json]] | None = None,
    hints: list[t.Any] | None = None,
    asked: list[Json] | None = None,
) -> list[Json]:
    return [
        {
            "name": str(host),
            "declared": listed(at(declared, index)),
            "addresses": [
                *(address for per_host in known or [] for address in listed(at(per_host, index))),
                *(str(address) for lan in dictionaries(at(lans, index)) for address in listed(lan.get("addresses"))),
                *(word for word in (str(host), str(at(hints, index) or "")) if is_address(word)),
                *(address for answer in answers(host, asked) for address in answer.addresses if not answer.mirrored),
            ],
            "asked": any(answers(host, asked)),
            "mirrored": any(answer.mirrored for answer in answers(host, asked)),
        }
        for index, host in enumerate(hosts)
    ]


def at(values: list[t.Any] | None, index: int) -> t.Any:
    return values[index] if values and index < len(values) else None


def listed(addresses: t.Any) -> list[str]:
    """A variable may be a single address."""
    several = addresses if isinstance(addresses, (list, tuple)) else [addresses]
    return [str(each) for each in several if each]


class Answer(t.NamedTuple):
    addresses: list[str]
    #: The connection has led back to the client that asked, whose address must not become the gateway of others.
    mirrored: bool


def answers(host: str, asked: list[Json] | None) -> list[Answer]:
    found = []
    for each in asked or []:
        if each.get("item") == host:
            addresses = said(each.get("stdout"))
            found.append(Answer(addresses, bool(addresses) and set(addresses) <= set(listed(each.get("own")))))
    return found


def said(stdout: t.Any) -> list[str]:
    """Empty if the gateway was not reached or has no ``ip``."""
    try:
        links = json.loads(str(stdout or "[]"))
    except (ValueError, RecursionError):
        return []
    return [
        str(info["local"])
        for link in dictionaries(links)
        for info in dictionaries(link.get("addr_info"))
        if link.get("ifname", "lo") != "lo" and info.get("scope") == "global" and is_address(str(info.get("local")))
    ]


def dictionaries(values: t.Any) -> list[Json]:
    """What a host says may have any shape."""
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"lan_client_gateways": lan_client_gateways}
