# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A host's connection tracking: timers, table size, and the connections themselves.

Source: Documentation/networking/nf_conntrack-sysctl.rst, conntrack(8)
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import sys
import typing as t
import zlib
from dataclasses import dataclass

from .._base import netlink
from .._base.words import CONNTRACK as PREFIX, TIMEOUTS
from . import ending
from .flow import entry_of, parse
from .groups import Groups

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._base.netlink import Entry
    from .._base.sockets import Netlink
    from .judges import Far, Judges

MAX, BUCKETS = PREFIX + "max", PREFIX + "buckets"
#: A connection costs about 400 bytes with NAT and its two entries (measured with slabtop, Linux 6.x); "auto" gives
#: connections a sixteenth of the memory.
BYTES = 400
SHARE = 16
LEAST, MOST = 65536, 4194304
PAGE = 512
STATISTICS = "/proc/net/stat/nf_conntrack"
#: Counters of refusals: no room, evicted to make room, no free port.
TELLING = ("drop", "early_drop", "insert_failed")

#: Seconds allowed for reading connections, and again for deleting them.
LONGEST = 20
#: Connections passed to conntrack(8) at a time; each costs it a walk through the table.
FEW = 50

Switches = t.List[t.Tuple[str, str]]


def switches(
    maximum: str, timeouts: t.Iterable[t.Tuple[str, int]], host: Sight
) -> t.Tuple[Switches, t.Tuple[str, ...]]:
    """What to set, and a note about what cannot be set on this host."""
    found = [(TIMEOUTS[name], str(seconds)) for name, seconds in timeouts]
    if maximum == "keep":
        return found, ()
    if host.exists("/proc/sys/" + MAX) and not host.writable("/proc/sys/" + MAX):
        # The table belongs to the first network namespace; containers can only read its size.
        return found, (
            "conntrack_max: skipped, because it is read-only here; set it on the machine that runs this container",
        )
    size = _from_memory(host) if maximum == "auto" else int(maximum)
    # One bucket per connection, the kernel's ratio since Linux 5.15; the table fills whole pages (64 bit, 4 KiB).
    buckets = -(-size // PAGE) * PAGE
    return [(BUCKETS, str(buckets)), (MAX, str(size))] + found, ()


def load(host: Sight) -> None:
    """The module's default values, for the case that the first rules load it, too late to read them."""
    acting = None if host.exists("/proc/sys/" + MAX) else host.acting()
    if acting:
        acting.run(["modprobe", "-q", "nf_conntrack"])


def option_of(key: str) -> str:
    """The user's option for this switch."""
    names = {switch: "timeouts." + name for name, switch in TIMEOUTS.items()}
    return names.get(key, "conntrack_max")


def _from_memory(host: Sight) -> int:
    """The largest power of two below this share of the memory."""
    given = re.search(r"^MemTotal:\s+([0-9]+) kB", host.read("/proc/meminfo") or "", re.MULTILINE)
    fitting = int(given.group(1)) * 1024 // SHARE // BYTES if given else LEAST
    size = LEAST
    while size * 2 <= min(fitting, MOST):
        size *= 2
    return size


@dataclass(frozen=True)
class Found:
    """Wrong connections, each with what deletes it: a netlink message or arguments of conntrack(8)."""

    messages: t.Tuple[bytes, ...] = ()
    words: t.Tuple[str, ...] = ()
    sockets: t.Tuple[str, ...] = ()  # of servers on this host, each as a filter for ss(8)
    looked: bool = True  # False: this host does not tell its connections
    whole: bool = True  # False: the time was over before all had been looked at

    @property
    def count(self) -> int:
        return len(self.messages) + len(self.words)


def wrong(judging: t.Callable[[], Judges], host: Sight, longest: float = LONGEST) -> Found:
    """Find the connections that only the old rules explain, within this many seconds."""
    if not _number(host, PREFIX + "count"):
        return Found()  # nothing is tracked yet, and a query would load the module
    clock, judges = _Clock(host, longest), judging()
    try:
        return _by_netlink(judges, host, clock)
    except OSError:
        # Not allowed for us, but perhaps for the conntrack program.
        return _by_program(judges, host, clock)


def _by_netlink(judges: Judges, host: Sight, clock: _Clock) -> Found:
    found: t.Dict[bytes, bytes] = {}  # tuple to message
    sockets: t.Dict[bytes, str] = {}
    # With the helper, the tuple and the message.
    doubtful: t.List[t.Tuple[Entry, str, t.Tuple[bytes, bytes]]] = []
    announced: t.List[t.Tuple[bytes, bytes, bytes]] = []  # by a helper: the tuples of it and of its master, the message
    with host.kernel(netlink.NETFILTER) as kernel:
        kernel.send(netlink.dump())
        for data, at, end in _told(kernel, clock):
            entry = netlink.entry(data, at, end)
            if not entry:
                continue
            helper = netlink.details(data, at, end).helper if judges.helpers else ""
            expected = netlink.is_expected(data, at, end)
            wrong = not expected and judges.wrong(entry, helper)
            doubt = _untranslated(entry) and (wrong or judges.closing)
            if not (expected or wrong or doubt):
                continue
            known = netlink.details(data, at, end)
            name, deletion = netlink.tuple_of(data, at), netlink.deletion(data, at, end)
            if known.zone:
                continue  # our rules use no zones, so it belongs to somebody else
            if expected:
                announced.append((name, known.master, deletion))
                continue
            sockets[name] = ending.socket_of(entry, judges.local)
            if wrong:
                found[name] = deletion
            if doubt:
                doubtful.append((entry, helper, (name, deletion)))
    elsewhere = _by_link(judges, [(entry, helper) for entry, helper, _how in doubtful], host)
    judged = {how: wrong for (_entry, _helper, how), wrong in zip(doubtful, elsewhere)}
    found.update(how for how, wrong in judged.items() if wrong)
    right = {name for (name, _deletion), wrong in judged.items() if wrong is False}
    found = {name: deletion for name, deletion in found.items() if name not in right}
    _add_announced(found, announced)
    closed = tuple(sockets[name] for name in found if sockets.get(name))
    return Found(tuple(found.values()), sockets=closed, whole=not clock.over)


def _add_announced(found: t.Dict[bytes, bytes], announced: t.Sequence[t.Tuple[bytes, bytes, bytes]]) -> None:
    """What a helper has announced goes with the connection that it announced it in."""
    following = [True]
    while following:
        # An announced connection may have announced another one, as that of SIP does.
        following = [name not in found and master in found for name, master, _deletion in announced]
        found.update({name: deletion for (name, _m, deletion), goes in zip(announced, following) if goes})
        following = [goes for goes in following if goes]


def _untranslated(entry: Entry) -> bool:
    return entry.source == entry.answer_destination and entry.destination == entry.answer_source


def _told(kernel: Netlink, clock: _Clock) -> t.Iterator[t.Tuple[bytes, int, int]]:
    """Raises OSError if the kernel does not answer or refuses."""
    while True:
        data = kernel.receive()
        for kind, at, end in netlink.messages(data):
            if kind == netlink.DONE:
                return
            if kind == netlink.ERROR:
                raise OSError(netlink.error_of(data, at), "netlink")
            if kind == netlink.NEW:
                yield data, at, end
        if clock.over:
            return


def _by_program(judges: Judges, host: Sight, clock: _Clock) -> Found:
    if not host.which("conntrack"):
        return Found(looked=False)
    listings = [host.ask(["conntrack", "-L", "-f", family]) for family in ("ipv4", "ipv6")]
    if any(done.rc != 0 for done in listings):
        return Found(looked=False)
    # conntrack 1.4.7 shows both families when asked for one; a connection counts once.
    listed = dict.fromkeys(flow for done in listings for flow in parse(done.out))
    found, doubtful = {}, []
    for flow in listed:
        if clock.over:
            break
        entry = entry_of(flow)
        wrong = judges.wrong(entry, flow.helper)
        if wrong:
            found[flow] = True
        if _untranslated(entry) and (wrong or judges.closing):
            doubtful.append(flow)
    elsewhere = _by_link(judges, [(entry_of(flow), flow.helper) for flow in doubtful], host)
    found.update({flow: wrong for flow, wrong in zip(doubtful, elsewhere) if wrong is not None})
    gone = [flow for flow, wrong in found.items() if wrong]
    words = tuple(" ".join(flow.delete_words) for flow in gone)
    closed = tuple(filter(None, (ending.socket_of(entry_of(flow), judges.local) for flow in gone)))
    return Found(words=words, sockets=closed, whole=not clock.over)


def usage(host: Sight) -> t.Dict[str, t.Optional[int]]:
    """How full the table is, and what was refused; None for values that this kernel does not provide."""
    count, maximum, buckets = (_number(host, PREFIX + name) for name in ("count", "max", "buckets"))
    found: t.Dict[str, t.Optional[int]] = {"count": count, "max": maximum, "percent": None, "buckets": buckets}
    if count is not None and maximum:  # 0: no limit
        found["percent"] = count * 100 // maximum
    counted = _statistics(host)
    found.update((name, counted.get(name)) for name in TELLING)
    return found


def _number(host: Sight, key: str) -> t.Optional[int]:
    text = (host.read("/proc/sys/" + key) or "").strip()
    return int(text) if text.isdigit() else None


def _statistics(host: Sight) -> t.Dict[str, int]:
    """The kernel's counters, summed over all processors, from its file or else from conntrack."""
    lines = [line.split() for line in (host.read(STATISTICS) or "").splitlines()]
    if lines:
        cells = [(name, int(value, 16)) for line in lines[1:] for name, value in zip(lines[0], line)]
    else:
        done = host.ask(["conntrack", "-S"]) if host.which("conntrack") else None
        text = done.out if done and done.rc == 0 else ""
        cells = [(name, int(value)) for name, value in re.findall(r"([a-z_]+)=([0-9]+)", text)]
    found: t.Dict[str, int] = {}
    for name, value in cells:
        found[name] = found.get(name, 0) + value
    return found


def forget(found: Found, host: Host) -> int:
    """Delete these connections and return how many remain; one that has ended is not an error."""
    # Before their entries are deleted, as the reset belongs to them.
    ending.close(found.sockets, host, LONGEST)
    clock = _Clock(host, LONGEST)
    if found.messages:
        return _forget_by_netlink(found.messages, host, clock)
    left = len(found.words)
    for first in range(0, len(found.words), FEW):
        if clock.over:
            break
        some = ["-D -w 0 " + words for words in found.words[first : first + FEW]]
        done = host.run(["conntrack", "--load-file", "-"], stdin="".join(line + "\n" for line in some))
        if done.rc != 0:
            # conntrack before 1.4.7 has no such option.
            for line in some:
                host.run(["conntrack", *line.split()])
        left -= len(some)
    return left


#: A Python script that sends the messages; nothing else of ours is on the host at that time.
SENDER = """\
import base64, socket, struct, zlib
kernel = socket.socket(getattr(socket, "AF_NETLINK", 16), socket.SOCK_RAW, {netfilter})
kernel.settimeout(10)
for number, line in enumerate(TEXT.split(), 1):
    kernel.send(zlib.decompress(base64.b64decode(line)))
    answered = False
    while not answered:
        data, at = kernel.recv(1 << 17), 0
        while at < len(data):
            size, _kind, _flags, sequence = struct.unpack_from("=IHHI", data, at)
            answered, at = answered or sequence == number, at + size + -size % 4
"""
#: Commands of conntrack(8), as long as time permits. Each walks through the table: 0.5 s at 200,000 connections.
COMMANDS = """\
end=$(($(date +%s) + {seconds})) left={left}
half=$((end - {seconds} / 2))
D() {{
    [ "$(date +%s)" -lt "$end" ] || {{ left=$((left + 1)); return; }}
    conntrack -D -w 0 "$@" > /dev/null 2>&1
}}
{functions}{lines}
[ $left = 0 ] || logger -t ipmasq "{instance}: $left groups of connections that began under other rules remain"
"""
SCRIPT_END = 'rm -f "$0"\n'


def script(found: Found, instance: str) -> str:
    """The shell text that deletes these connections; empty if there are none."""
    closing = ending.lines(found.sockets, LONGEST)
    if found.messages:
        lines = [base64.b64encode(zlib.compress(packet)).decode() for packet in netlink.batches(found.messages)]
        sender = SENDER.format(netfilter=netlink.NETFILTER)
        text = 'TEXT = """\n{0}\n"""\n{1}'.format("\n".join(lines), sender)
        failed = 'logger -t ipmasq "{0}: connections that began under other rules remain"'.format(instance)
        python = shlex.quote(sys.executable)
        return "{0}{1} - << 'END' || {2}\n{3}END\n{4}".format(closing, python, failed, text, SCRIPT_END)
    return closing + commands(Groups(found.words), instance)


def commands(groups: Groups, instance: str) -> str:
    """The same with conntrack(8)."""
    own = groups.own
    lines = ["E '{0}' {1}".format(own[each], each) if each in own else "D " + each for each in groups.words]
    told = {"seconds": 3 * LONGEST, "left": groups.left, "instance": instance, "lines": "\n".join(lines)}
    return COMMANDS.format(functions=ending.FUNCTION if own else "", **told) + SCRIPT_END if lines else ""


def _forget_by_netlink(messages: t.Sequence[bytes], host: Sight, clock: _Clock) -> int:
    left = len(messages)
    try:
        with host.kernel(netlink.NETFILTER) as kernel:
            for number, packet in enumerate(netlink.batches(messages), 1):
                if clock.over:
                    break
                kernel.send(packet)
                refused = _refused(kernel, number)
                left += refused - min(netlink.BATCH, len(messages) - (number - 1) * netlink.BATCH)
    except OSError:
        pass  # unacknowledged deletions count as remaining
    return left


def _refused(kernel: Netlink, number: int) -> int:
    """The number of refused messages in a packet; it is not a refusal if the connection has ended."""
    found = 0
    while True:
        data = kernel.receive()
        for kind, at, _end in netlink.messages(data):
            if kind == netlink.ERROR:
                found += netlink.error_of(data, at) not in (0, netlink.ENOENT)
                if netlink.sequence_of(data, at) == number:
                    return found


def _by_link(judges: Judges, doubtful: t.Sequence[t.Tuple[Entry, str]], host: Sight) -> t.List[t.Optional[bool]]:
    """For each connection, whether it is wrong by the link that the routes name for its far end, such as a VPN or an
    undeclared link. None if that is a WAN, as assumed, or unknown.

    A connection from before there was any NAT looks like a VPN connection.
    """
    ends = [judges.far_end(entry) for entry, _helper in doubtful]
    asked = {end.far: end for end in ends if end}
    links = _routes(list(asked.values()), host) if asked else {}
    found: t.List[t.Optional[bool]] = []
    for (entry, helper), end in zip(doubtful, ends):
        link = links.get(end.far, "") if end else ""
        found.append(judges.wrong(entry, helper, link) if link and not judges.is_wan(link) else None)
    return found


def _routes(ends: t.Sequence[Far], host: Sight) -> t.Dict[str, str]:
    """The link through which this host would send to each address, or a LAN client would, if policy routing differs."""
    lines = ["route get {0}".format(end.far) for end in ends]
    lines += ["route get {0} from {1} iif {2}".format(*end) for end in ends if end.iif]
    done = host.ask(["ip", "-j", "-force", "-batch", "-"], stdin="".join(line + "\n" for line in lines))
    found = {}
    for line in done.out.splitlines():
        try:
            found.update({route["dst"]: route["dev"] for route in json.loads(line) if "dev" in route})
        except (ValueError, TypeError, KeyError):
            continue
    return found


class _Clock:
    """A time limit for all work on connections."""

    def __init__(self, host: Sight, longest: float) -> None:
        self._host, self._end = host, host.clock() + longest

    @property
    def over(self) -> bool:
        return self._host.clock() > self._end
