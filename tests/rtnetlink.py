# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of ip(8) that wire a test, without a process: nearly every test needs a dozen, in several namespaces.

Only tests use this; what the collection itself runs is the real program.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
import typing as t

from ansible_collections.ipmasq.linux.plugins.module_utils._base.netlink import (
    ACK,
    ERROR,
    HEADER,
    REQUEST,
    attribute,
    error_of,
)

if t.TYPE_CHECKING:
    from collections.abc import Sequence

#: linux/rtnetlink.h, linux/netlink.h
NEW_LINK, DEL_LINK, NEW_ADDRESS, NEW_ROUTE = 16, 17, 20, 24
EXCLUSIVE, REPLACE, CREATE = 0x200, 0x100, 0x400
UP, NO_DAD = 1, 2
MAIN_TABLE, BOOT, UNICAST = 254, 3, 1
#: Attributes: of links, of what they are, of veth, of addresses, of routes.
NAME, MASTER, LINK_INFO, NAMESPACE = 3, 10, 18, 28
KIND, DATA = 1, 2
PEER = 1
ADDRESS, LOCAL = 1, 2
DESTINATION, GATEWAY = 1, 5
VERBS = {"add": CREATE | EXCLUSIVE, "replace": CREATE | REPLACE}


def carry_out(commands: Sequence[str]) -> Sequence[str]:
    """Carry out commands up to the first that this does not know; the others are left for the program, which then has
    them in their order. Raises AssertionError where the program would fail."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for number, command in enumerate(commands):
            try:
                if not _is_known(kernel, command):
                    return commands[number:]
            except OSError as error:
                raise AssertionError("{0}: {1}".format(command, error)) from None
    return ()


def _is_known(kernel: socket.socket, command: str) -> bool:
    for form, asking in KNOWN.items():
        found = form.fullmatch(command)
        if found:
            asking(kernel, *found.groups())
            return True
    return False


def _add_veth(kernel: socket.socket, name: str, peer: str, path: str | None) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1
    try:
        where = attribute(NAMESPACE, struct.pack("=I", handle)) if path else b""
        body = _link(0, 0) + _named(name) + _is("veth", attribute(PEER, _link(0, 0) + _named(peer) + where))
        _ask(kernel, NEW_LINK, CREATE | EXCLUSIVE, body)
    finally:
        if path:
            os.close(handle)


def _add_bridge(kernel: socket.socket, name: str) -> None:
    _ask(kernel, NEW_LINK, CREATE | EXCLUSIVE, _link(0, 0) + _named(name) + _is("bridge"))


def _delete(kernel: socket.socket, name: str) -> None:
    _ask(kernel, DEL_LINK, 0, _link(socket.if_nametoindex(name), 0))


def _raise(kernel: socket.socket, name: str, bridge: str | None) -> None:
    to = attribute(MASTER, struct.pack("=I", socket.if_nametoindex(bridge))) if bridge else b""
    _ask(kernel, NEW_LINK, 0, _link(socket.if_nametoindex(name), UP) + to)


def _add_address(kernel: socket.socket, text: str, name: str, nodad: str | None) -> None:
    """struct ifaddrmsg; as ip does, addresses of 127.0.0.0/8 are of the host."""
    own = ipaddress.ip_interface(text)
    scope, flags = 254 if own.version == 4 and own.ip.is_loopback else 0, NO_DAD if nodad else 0
    index = socket.if_nametoindex(name)
    head = struct.pack("=BBBBI", _family(own.version), own.network.prefixlen, flags, scope, index)
    both = attribute(LOCAL, own.ip.packed) + attribute(ADDRESS, own.ip.packed)
    _ask(kernel, NEW_ADDRESS, CREATE | EXCLUSIVE, head + both)


def _add_route(kernel: socket.socket, verb: str, to: str, gateway: str) -> None:
    """struct rtmsg"""
    network, via = ipaddress.ip_network(to), ipaddress.ip_address(gateway)
    family = _family(via.version)
    head = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, MAIN_TABLE, BOOT, 0, UNICAST, 0)
    there = attribute(DESTINATION, network.network_address.packed) if network.prefixlen else b""
    _ask(kernel, NEW_ROUTE, VERBS[verb], head + there + attribute(GATEWAY, via.packed))


KNOWN: dict[re.Pattern[str], t.Callable[..., None]] = {
    re.compile(r"link add (\S+) type veth peer name (\S+)(?: netns (\S+))?"): _add_veth,
    re.compile(r"link add (\S+) type bridge"): _add_bridge,
    re.compile(r"link del (\S+)"): _delete,
    re.compile(r"link set (\S+)(?: master (\S+))? up"): _raise,
    re.compile(r"addr add (\S+) dev (\S+)( nodad)?"): _add_address,
    re.compile(r"route (add|replace) (\S+) via (\S+)"): _add_route,
}


def _ask(kernel: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """Raises OSError if the kernel refuses."""
    kernel.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | ACK | flags, 0, 0) + body)
    answer = kernel.recv(1 << 16)
    assert HEADER.unpack_from(answer)[1] == ERROR
    number = error_of(answer, 0)
    if number:
        raise OSError(number, os.strerror(number))


def _link(index: int, up: int) -> bytes:
    """struct ifinfomsg"""
    return struct.pack("=BxHiII", 0, 0, index, up, up)


def _named(name: str) -> bytes:
    return attribute(NAME, name.encode() + b"\0")


def _is(kind: str, data: bytes = b"") -> bytes:
    return attribute(LINK_INFO, attribute(KIND, kind.encode()) + (attribute(DATA, data) if data else b""))


def _family(version: int) -> int:
    return socket.AF_INET6 if version == 6 else socket.AF_INET
