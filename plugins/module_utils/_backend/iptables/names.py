# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The names of chains, tables and protocols, and the rows of chains and jumps."""

from __future__ import annotations

import hashlib
import re

from ..._rules.model import owner
from ..._rules.rows import Row
from .quoting import join_words

HOOKS = {"prerouting": "PREROUTING", "forward": "FORWARD", "input": "INPUT", "postrouting": "POSTROUTING"}
FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}
#: The protocol in rules. iptables itself knows tcp, udp, sctp, icmp, ipv6-icmp, esp and ah, and others only through
#: /etc/protocols, which minimal hosts lack: there it accepts and saves numbers only (measured, 1.8.9).
PROTOCOLS = {"icmpv6": "ipv6-icmp", "igmp": "2", "ipv6": "41", "gre": "47", "vrrp": "112"}
NAMES = {number: name for name, number in PROTOCOLS.items() if number.isdigit()}
#: XT_EXTENSION_MAXNAMELEN - 1, include/uapi/linux/netfilter/x_tables.h
CHAIN_LENGTH = 28


def chain_name(instance: str, chain: str) -> str:
    """IPMASQ-FORWARD, IPMASQ-OPENS-office, IPMASQ-guests-FORWARD; a name that is too long ends in a hash."""
    prefix = "IPMASQ-" if instance == "default" else "IPMASQ-{0}-".format(instance)
    word, dash, rest = chain.partition("-")
    name = prefix + word.upper() + dash + rest
    if len(name) <= CHAIN_LENGTH:
        return name
    return name[: CHAIN_LENGTH - 9] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8]


def is_ours(chain: str, instance: str) -> bool:
    """Instances are lower case and our chain words upper case, so an instance never resembles another one's chain."""
    if instance == "default":
        return re.match(r"IPMASQ-[A-Z]", chain) is not None
    return chain.startswith("IPMASQ-{0}-".format(instance))


def chain_row(family: str, table: str, name: str) -> Row:
    return Row("{0} {1} {2}".format(family, table, name), "chain", "chain")


def jump_row(place: str, chain: str, instance: str, position: int) -> Row:
    """``place`` is the kernel's chain, such as "ip nat POSTROUTING"."""
    text = join_words(["-m", "comment", "--comment", owner(instance, "jump"), "-j", chain])
    return Row(place, text, "jump", position=position)
