# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which processes hold a port at addresses of this host. Reads /proc, because minimal hosts have no ss."""

from __future__ import annotations

import ipaddress
import re
import struct
import sys
import typing as t
from dataclasses import dataclass

from .._base import netlink
from .._base.errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

TABLES = ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6")
#: Column st: TCP_LISTEN, and of UDP sockets that are not connected TCP_CLOSE; include/net/tcp_states.h
WAITING = ("0A", "07")
ANY = ("0.0.0.0", "::")
#: What the kernel is asked for, by family: struct inet_diag_req_v2, with a filter of states; TCP_LISTEN is 10.
TCP, LISTEN = 6, 1 << 10
ASKED = struct.Struct("=BBxxI48x")
#: Its answer, struct inet_diag_msg: port, address, inode.
ANSWER = struct.Struct("=4x2s2x16s44xI")


@dataclass(frozen=True)
class Holder:
    address: str  # one of ANY: every address
    pid: str  # empty: a process that we may not see, or the kernel
    name: str = ""
    unit: str = ""  # of systemd

    def __str__(self) -> str:
        named = " of ".join(filter(None, (self.name and "{0} (PID {1})".format(self.name, self.pid), self.unit)))
        return named or "a process that is not visible here"


def holders(port: int, addresses: t.Collection[str], host: Sight) -> t.List[Holder]:
    """Those that keep another process from listening at one of these addresses, each once."""
    held = {
        "socket:[{0}]".format(each.inode): each.address
        for each in _waiting(host)
        if each.port == port and _concerns(each.address, addresses)
    }
    if not held:
        return []
    found: t.Dict[str, Holder] = {}
    for path in host.find("/proc/[0-9]*"):
        pid = path.split("/")[2]
        for each in (held.get(host.link(file)) for file in host.find("/proc/{0}/fd/*".format(pid))):
            if each and pid not in found:
                found[pid] = Holder(each, pid, _text(host, pid, "comm").strip(), _unit(_text(host, pid, "cgroup")))
    return list(found.values()) or [Holder(next(iter(held.values())), "")]


def listening(host: Sight) -> t.Tuple[t.Tuple[str, int], ...]:
    """The protocols and ports on which this host waits for connections from elsewhere."""
    try:
        # To write the files of TCP, the kernel walks its table of connections, which may have a million buckets.
        waiting = [*_told(host), *_waiting(host, TABLES[2:])]
    except OSError:
        waiting = [*_waiting(host)]
    found = (each for each in waiting if not ipaddress.ip_address(each.address).is_loopback)
    return tuple(dict.fromkeys((each.protocol, each.port) for each in found))


class _Socket(t.NamedTuple):
    protocol: str
    address: str
    port: int
    inode: str


def _told(host: Sight) -> t.Iterator[_Socket]:
    """The TCP sockets on which processes wait for others, by netlink. Raises OSError if the kernel refuses."""
    with host.kernel(netlink.SOCK_DIAG) as kernel:
        for family, size in netlink.FAMILIES.items():
            kernel.send(netlink.sockets(ASKED.pack(family, TCP, LISTEN)))
            more = True
            while more:
                data = kernel.receive()
                for kind, at, _end in netlink.messages(data):
                    more = kind not in (netlink.DONE, netlink.ERROR)
                    if more:
                        port, address, inode = ANSWER.unpack_from(data, at + netlink.HEADER.size)
                        place = str(ipaddress.ip_address(address[:size]))
                        yield _Socket("tcp", place, int.from_bytes(port, "big"), str(inode))
                    elif netlink.error_of(data, at):
                        raise OSError(netlink.error_of(data, at), "the kernel does not list sockets")


def _waiting(host: Sight, tables: t.Sequence[str] = TABLES) -> t.Iterator[_Socket]:
    """The sockets on which processes wait for others."""
    for table in tables:
        for line in _read(host, table).splitlines()[1:]:
            fields = line.split()
            place, _colon, number = fields[1].partition(":")
            if fields[3] in WAITING:
                yield _Socket(table.rpartition("/")[2][:3], _address(place), int(number, 16), fields[9])


def _concerns(address: str, addresses: t.Collection[str]) -> bool:
    """A socket of IPv6 that is bound to no address takes IPv4 as well, as a rule."""
    return address in addresses or address == "::" or (address in ANY and any("." in each for each in addresses))


def _address(place: str) -> str:
    """The address consists of 32-bit words in this machine's byte order."""
    words = [bytes.fromhex(place[at : at + 8]) for at in range(0, len(place), 8)]
    octets = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(octets))


def _unit(cgroup: str) -> str:
    units = re.findall(r"/([^/\s]+\.service)", cgroup)
    return units[-1] if units else ""


def _text(host: Sight, pid: str, name: str) -> str:
    return _read(host, "/proc/{0}/{1}".format(pid, name))


def _read(host: Sight, path: str) -> str:
    """Empty if the process has ended or is hidden."""
    try:
        return host.read(path) or ""
    except GatewayError:
        return ""
