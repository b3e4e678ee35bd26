# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""RFC 6296: map inside prefixes to outside prefixes, without changing the checksum if possible.

The RFC adds a constant to one 16-bit word, so that the sum over the address does not change. With prefixes of /48 or
shorter, that word is the subnet (section 3.4), so each /64 of a LAN has one outside /64. This is a plain NETMAP, which,
unlike the kernel's SNPT and DNPT targets, works with connection tracking and therefore with a filter. With longer
prefixes, the word is in the host bits (section 3.5), which NETMAP cannot change; then the host bits stay, and the
kernel corrects the checksums of the transports that it knows.
"""

from __future__ import annotations

import ipaddress
import typing as t

WORD = 0xFFFF
#: The subnet, the fourth 16-bit word of an address, as a shift.
SUBNET = 64


def is_neutral(inside: str) -> bool:
    """Whether translating this prefix preserves checksums."""
    return int(inside.split("/")[1]) <= 48


def neutral_pairs(inside: str, outside: str, networks: t.Iterable[str]) -> t.List[t.Tuple[str, str]]:
    """Inside network to outside network, for each network (of /64 or longer) in ``inside``."""
    whole_in, whole_out = ipaddress.IPv6Network(inside), ipaddress.IPv6Network(outside)
    if not is_neutral(inside):
        return [(inside, outside)]
    adjustment = _sum(int(whole_in.network_address)) - _sum(int(whole_out.network_address))
    pairs = []
    for text in networks:
        net = ipaddress.ip_network(text)
        if isinstance(net, ipaddress.IPv6Network) and net.subnet_of(whole_in):
            for subnet in net.subnets(new_prefix=64) if net.prefixlen < 64 else (net,):
                pairs.append((str(subnet), str(_translated(subnet, whole_out, adjustment))))
    return pairs


def _translated(
    subnet: ipaddress.IPv6Network, outside: ipaddress.IPv6Network, adjustment: int
) -> ipaddress.IPv6Network:
    address = int(subnet.network_address)
    word = ((address >> SUBNET) & WORD) + adjustment % WORD
    word = (word & WORD) + (word >> 16)
    if word == WORD:
        # The second zero of one's complement (section 3.4) is never sent, so that two subnets cannot become one.
        word = 0
    host = address & ((1 << (128 - outside.prefixlen)) - 1) & ~(WORD << SUBNET)
    return ipaddress.IPv6Network((int(outside.network_address) | host | (word << SUBNET), subnet.prefixlen))


def _sum(address: int) -> int:
    """The one's complement sum of the eight words, modulo 65535."""
    return sum((address >> shift) & WORD for shift in range(0, 128, 16)) % WORD
