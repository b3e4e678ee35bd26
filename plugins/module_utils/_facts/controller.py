# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Find the ports used to administer this host, so that the filter never locks anyone out.

The port of this run is not enough: another operator, or cron, may run next. Therefore every port counts on which an SSH
server listens, and every port that an earlier run used.

Everybody on this host names processes and sets environments as they like, so both count only with what the kernel
says: the process and its socket belong to root.
"""

from __future__ import annotations

import re
import sys
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

SSH = 22
#: Processes between this one and the login: python, sh, sudo, sshd.
MOST_ANCESTORS = 32
#: Process names of SSH servers.
SERVERS = ("sshd", "dropbear", "lshd")
PROCESSES = "/proc/[0-9]*"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
#: Sockets that systemd holds itself, with their units and the units that these activate.
SOCKETS = ("systemctl", "list-sockets", "--no-legend", "--no-pager")
SOCKET = re.compile(r"^\s*\S*:(\d+)\s+(\S+\.socket\b.*)$", re.MULTILINE)
OF_SSH = re.compile(r"ssh|dropbear")
#: Column st of /proc/net/tcp: TCP_LISTEN, include/net/tcp_states.h
LISTEN = "0A"
#: Column uid: the user that has opened the socket.
ROOT = "0"


@dataclass(frozen=True)
class Reach:
    """``run`` is the SSH port that this run uses; None without SSH. ``ends``: the controller's address and
    ours, as sshd writes them: UNKNOWN where it does not know one, a link-local address with its link.
    """

    run: t.Optional[int]
    servers: t.Tuple[int, ...]
    ends: t.Tuple[str, ...] = ()

    @property
    def ports(self) -> t.Tuple[int, ...]:
        return tuple(sorted({*self.servers, *(() if self.run is None else (self.run,))}))


@dataclass(frozen=True)
class Kept:
    """Ports that stay open, those of them that were found and not assumed, and notes about them."""

    ports: t.Tuple[int, ...]
    known: t.Tuple[int, ...]
    notes: t.Tuple[str, ...] = ()


def reach(host: Sight) -> Reach:
    """The key of a record has the answer, so its questions do not belong to the record."""
    host = host.aside()
    listening = _listening(host)
    run, ends = _run(host)
    if run not in listening.values():
        run, ends = None, ()
    return Reach(run, _server_ports(host, listening), ends)


def kept_open(wanted: t.Optional[t.Tuple[int, ...]], earlier: t.Iterable[int], found: Reach) -> Kept:
    """``wanted`` is the user's own list, which is final; ``earlier`` are the ports that the last run knew."""
    if wanted is not None:
        return Kept(wanted, wanted)
    known = tuple(sorted({*found.ports, *earlier}))
    if not known:
        note = (
            "input: this run does not use SSH, and no SSH server listens on this host; port {0} stays open; to open "
            "another one, list it in input_controller_ports".format(SSH)
        )
        return Kept((SSH,), (), (note,))
    unused = [str(port) for port in known if port not in found.ports]
    note = (
        "input: port {0} stays open for SSH as before, although no SSH server listens there now; to close it, list the "
        "ports to keep open in input_controller_ports".format(", ".join(unused))
    )
    return Kept(known, known, (note,) if unused else ())


def refusal(wanted: t.Optional[t.Tuple[int, ...]], found: Reach) -> t.Tuple[str, ...]:
    """Why the user's list is refused: this run would cut itself off."""
    if wanted is None or found.run is None or found.run in wanted:
        return ()
    return (
        "input_controller_ports: this run uses SSH on port {0}, which is not in the list ({1}); add it, or connect "
        "through a listed port".format(found.run, ", ".join(map(str, wanted)) or "empty"),
    )


def _run(host: Sight) -> t.Tuple[t.Optional[int], t.Tuple[str, ...]]:
    """The SSH server's port of this run, and the addresses of both ends, as its user tells it. sudo removes
    SSH_CONNECTION (ssh(1)) from the environment, so parent processes are searched, too.
    """
    pid = "self"
    for _generation in range(MOST_ANCESTORS):
        found = re.search(r"(?:^|\0)SSH_CONNECTION=(\S+) \d+ (\S+) (\d+)", _text(host, pid, "environ"))
        if found:
            return int(found.group(3)), found.groups()[:2]
        parent = _parent(host, pid)
        if parent in ("", "0"):
            break
        pid = parent
    return None, ()


def _server_ports(host: Sight, listening: t.Mapping[str, int]) -> t.Tuple[int, ...]:
    """The ports on which SSH servers listen beyond loopback. Reads /proc, because minimal hosts have no ss."""
    if not listening:
        return ()
    found = set()
    for path in host.find(PROCESSES):
        pid = path.split("/")[2]
        if _text(host, pid, "comm").strip() in SERVERS and _is_root(host, pid) and not _is_session(host, pid):
            found |= _ports_of(host, pid, listening)
    if _text(host, "1", "comm").strip() == "systemd":
        # systemd itself listens for socket-activated servers (Ubuntu since 22.10), and for other services.
        held = _ports_of(host, "1", listening)
        if held:
            found |= held & {int(port) for port, unit in SOCKET.findall(host.ask(SOCKETS).out) if OF_SSH.search(unit)}
    return tuple(sorted(found))


def _is_root(host: Sight, pid: str) -> bool:
    """Whether root has started the process and is its user; a program with the setuid bit was started by another."""
    return bool(re.search(r"^Uid:\s+0\s+0\s", _text(host, pid, "status"), re.MULTILINE))


def _is_session(host: Sight, pid: str) -> bool:
    """Whether the process is a login session, which may listen for forwarded ports (ssh -R) that are not SSH.

    It is a child of the server and has the title "sshd: joe@pts/0"; the server's is "sshd: /usr/sbin/sshd -D
    [listener] …".
    """
    title = _text(host, pid, "cmdline")
    if title.startswith("sshd: ") and "[listener]" not in title:
        return True
    return _text(host, _parent(host, pid), "comm").strip() in SERVERS


def _ports_of(host: Sight, pid: str, listening: t.Mapping[str, int]) -> t.Set[int]:
    links = (host.link(path) for path in host.find("/proc/{0}/fd/*".format(pid)))
    return {listening[link] for link in links if link in listening}


def _listening(host: Sight) -> t.Dict[str, int]:
    """TCP sockets of root that listen for other hosts, named as in /proc/PID/fd, with their ports."""
    found = {}
    for path in TABLES:
        for line in (_read(host, path)).splitlines()[1:]:
            fields = line.split()
            address, _colon, port = fields[1].partition(":")
            if fields[3] == LISTEN and fields[7] == ROOT and not _is_loopback(address):
                found["socket:[{0}]".format(fields[9])] = int(port, 16)
    return found


def _is_loopback(address: str) -> bool:
    """The address consists of 32-bit words in this machine's byte order."""
    words = [bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8)]
    octets = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return octets[0] == 127 if len(octets) == 4 else octets == bytes(15) + b"\1"


def _parent(host: Sight, pid: str) -> str:
    found = re.search(r"^PPid:\s+(\d+)", _text(host, pid, "status"), re.MULTILINE)
    return found.group(1) if found else ""


def _text(host: Sight, pid: str, name: str) -> str:
    return _read(host, "/proc/{0}/{1}".format(pid, name)) if pid else ""


def _read(host: Sight, path: str) -> str:
    """A file of a process; empty if the process has ended or is hidden (another user namespace, hidepid)."""
    try:
        return host.read(path) or ""
    except GatewayError:
        return ""
