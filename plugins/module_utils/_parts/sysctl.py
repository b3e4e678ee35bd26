# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Kernel switches: which ones a gateway needs, in which order, their previous values, and who else sets them.

Keys use slashes, as in /proc/sys: in "net.ipv4.conf.eth0.100.forwarding", the dots of the VLAN name would be ambiguous.
Source: Documentation/networking/ip-sysctl.rst
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError
from .._base.net import matches_any

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._facts.links import Facts, Interface
    from .._intent.forwarding import Forwarding

PROC = "/proc/sys/"
#: Timers and size of connection tracking; they exist once its module is loaded, at the latest with the first rule.
CONNTRACK = "net/netfilter/nf_conntrack_"
GLOBAL = {"ip": "net/ipv4/ip_forward", "ip6": "net/ipv6/conf/all/forwarding"}
TREE = {"ip": "net/ipv4/conf", "ip6": "net/ipv6/conf"}
#: Folders with sysctl settings; a file in a later folder hides one of the same name (sysctl.d(5)).
FOLDERS = ("/usr/lib/sysctl.d", "/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d")
FILES = ("/etc/sysctl.conf", "/etc/ufw/sysctl.conf")

#: What has a meaning in a file of sysctl.d(5). The kernel takes no white space, slash or colon in the name of a link.
NOT_IN_FILES = frozenset("*?[]{}\\=")

#: The kernel's defaults: net/netfilter/nf_conntrack_proto*.c, Linux 6.x. They cannot be read before the module is
#: loaded.
DEFAULTS = {
    CONNTRACK + name: value
    for name, value in (
        ("generic_timeout", "600"),
        ("icmp_timeout", "30"),
        ("icmpv6_timeout", "30"),
        ("tcp_timeout_close", "10"),
        ("tcp_timeout_close_wait", "60"),
        ("tcp_timeout_established", "432000"),
        ("tcp_timeout_fin_wait", "120"),
        ("tcp_timeout_last_ack", "30"),
        ("tcp_timeout_syn_recv", "60"),
        ("tcp_timeout_syn_sent", "120"),
        ("tcp_timeout_time_wait", "120"),
        ("tcp_timeout_unacknowledged", "300"),
        ("udp_timeout", "30"),
        ("udp_timeout_stream", "120"),
    )
}

#: In the order of writing.
Switches = t.Tuple[t.Tuple[str, str], ...]


@dataclass(frozen=True)
class Change:
    key: str
    before: str
    after: str


@dataclass(frozen=True)
class Other:
    """A line in another file that sets one of our switches to another value."""

    file: str
    line: int
    key: str
    value: str


def read(host: Sight, key: str) -> t.Optional[str]:
    text = host.read(PROC + key)
    return None if text is None else text.strip()


def gateway_switches(
    families: t.Sequence[str],
    wans: t.Sequence[str],
    lans: t.Sequence[str],
    host: Sight,
    facts: Facts,
    *,
    earlier: Switches = (),
) -> Switches:
    """All switches of a gateway: accept_ra first, then forwarding, then the interfaces that the global switch missed.

    ``wans`` and ``lans`` are names or patterns, ``earlier`` is what the previous run set. Turning IPv6 forwarding on
    immediately removes a default route from router advertisements, unless the interface already has ``accept_ra=2``
    (measured, Linux 6.18). An interface that is 0 while the global switch is 1 stays 0 when 1 is written over 1, so
    each one is set.
    """
    switches: t.List[t.Tuple[str, str]] = []
    if "ip6" in families:
        inside, known = _present(lans, facts), dict(earlier)
        listening = [
            each.name
            for each in facts.interfaces
            if each.name not in inside and (_advertised(each, facts) or _accept_ra(each.name) in known)
        ]
        switches += accept_ra_switches(dict.fromkeys(_present(wans, facts) + listening), host)
    for family in families:
        switches.append((GLOBAL[family], "1"))
        switches += interface_switches(family, _present([*wans, *lans], facts), "1", host)
    return in_order(dict(switches))


def forwarding_switches(wanted: Forwarding, host: Sight, facts: Facts) -> Switches:
    """What to set now and at boot."""
    switches: t.List[t.Tuple[str, str]] = []
    if wanted.values.get("ip6") == "1":
        listening = [each.name for each in facts.interfaces if _advertised(each, facts)]
        switches += accept_ra_switches(dict.fromkeys([*facts.default_routes, *listening]), host)
    for family, value in wanted.values.items():
        if wanted.interfaces is not None:
            names = [_kernel_name(name, facts) for name in wanted.interfaces]
            switches += [("{0}/{1}/forwarding".format(TREE[family], name), value) for name in names]
        else:
            switches.append((GLOBAL[family], value))
    return in_order(dict(switches))


def _kernel_name(name: str, facts: Facts) -> str:
    found = facts.named(name)
    return found.name if found else name


def _advertised(interface: Interface, facts: Facts) -> bool:
    """Whether a link depends on router advertisements: its default route, or addresses with a lifetime."""
    route = any(each.protocol == "ra" and each.interface == interface.name for each in facts.routes)
    return route or any(":" in address for address in interface.dynamic)


def _accept_ra(name: str) -> str:
    return "{0}/{1}/accept_ra".format(TREE["ip6"], name)


def accept_ra_switches(interfaces: t.Iterable[str], host: Sight) -> t.List[t.Tuple[str, str]]:
    """accept_ra=2 for interfaces that accept router advertisements; 0 is somebody's decision and stays.

    A link with a name like ``l*`` gets none: in sysctl.d(5) it would be a pattern, which stands for others, too.
    """
    keys = [_accept_ra(name) for name in interfaces if name.isprintable() and not NOT_IN_FILES & set(name)]
    return [(key, "2") for key in keys if read(host, key) in ("1", "2")]


def coming_switches(wans: t.Iterable[str], host: Sight, facts: Facts) -> t.List[t.Tuple[str, str]]:
    """The same for WANs that are not there yet: by name, or by pattern, as sysctl.d takes it."""
    coming = [name for name in wans if name.endswith("*") or not facts.meant_by(name)]
    if not coming or read(host, _accept_ra("default")) != "1":
        return []
    return [
        (_accept_ra(name), "2")
        for name in coming
        if all(read(host, _accept_ra(each.name)) != "0" for each in facts.meant_by(name))
    ]


def interface_switches(family: str, interfaces: t.Iterable[str], value: str, host: Sight) -> t.List[t.Tuple[str, str]]:
    keys = ["{0}/{1}/forwarding".format(TREE[family], name) for name in interfaces]
    return [(key, value) for key in keys if host.exists(PROC + key)]


def _present(patterns: t.Iterable[str], facts: Facts) -> t.List[str]:
    return list(dict.fromkeys(found.name for pattern in patterns for found in facts.meant_by(pattern)))


def changes(switches: Switches, host: Sight, loads: bool = False) -> t.Tuple[Change, ...]:
    """The switches that have other values. A key that the kernel lacks is an error, unless its interface is absent.

    ``loads``: rules are loaded first, and with them connection tracking and its defaults.
    """
    found = []
    coming = DEFAULTS if loads and not tracks(host) else {}
    for key, value in switches:
        live = read(host, key) or coming.get(key)
        if live is None and key in GLOBAL.values():
            raise GatewayError(
                "{0}: this kernel has no such switch; boot a kernel with IP forwarding".format(PROC + key)
            )
        if live is not None and live != value:
            found.append(Change(key, live, value))
    return tuple(found)


def beginnings(switches: Switches) -> t.Dict[str, str]:
    """The kernel's defaults, for switches whose first value is no longer known, except computed ones."""
    found = {}
    for key, _value in switches:
        if key in DEFAULTS:
            found[key] = DEFAULTS[key]
        elif key.endswith("/accept_ra"):
            found[key] = "1"
        elif key.endswith(("/forwarding", "/ip_forward")):
            found[key] = "0"
    return found


def tracks(host: Sight) -> bool:
    """Whether the connection tracking module is loaded and its settings are readable."""
    return host.exists(PROC + CONNTRACK + "max")


def check_writable(wanted: t.Iterable[Change], host: Sight) -> None:
    """Check whether /proc/sys is writable, before rules are loaded; in many containers it is read-only."""
    blocked = [each for each in wanted if host.exists(PROC + each.key) and not host.writable(PROC + each.key)]
    if blocked:
        raise GatewayError(
            "{0}: is {1}, must be {2}, and is read-only; "
            "set it from outside the container, or make /proc/sys/net writable".format(
                PROC + blocked[0].key, blocked[0].before, blocked[0].after
            )
        )


def snapshot(keys: t.Iterable[str], host: Sight) -> t.Dict[str, str]:
    """All switches that writing these keys can change. Global forwarding switches change those of interfaces, and
    redirects.
    """
    listed: t.List[str] = []
    for key in keys:
        if key == GLOBAL["ip"]:
            listed.append(TREE["ip"] + "/all/accept_redirects")
        for family in ("ip", "ip6"):
            if key == GLOBAL[family]:
                listed += [path[len(PROC) :] for path in host.find(PROC + TREE[family] + "/*/forwarding")]
        listed.append(key)
    values = {key: read(host, key) for key in dict.fromkeys(listed)}
    if any(values[key] is None for key in values if key in DEFAULTS) and not tracks(host):
        values.update((key, DEFAULTS[key]) for key in values if key in DEFAULTS)
    return {key: value for key, value in values.items() if value is not None}


def restoring(before: t.Mapping[str, str]) -> Switches:
    """A snapshot in the order for writing it back: global switches first, because they change others."""
    return tuple(sorted(before.items(), key=lambda item: (item[0] not in GLOBAL.values(), item[0])))


def write(wanted: t.Iterable[t.Tuple[str, str]], host: Host) -> None:
    """Set what differs, one by one, because each write may change a later switch."""
    for key, value in wanted:
        live = read(host, key)
        if live is not None and live != value:
            host.write_switch(PROC + key, value)


def normal_key(text: str) -> str:
    """A sysctl file's key with slashes. Its first separator defines what the others mean (sysctl.d(5))."""
    text = text.strip().lstrip("-").strip()
    first = re.search(r"[./]", text)
    if first and first.group() == ".":
        return text.translate(str.maketrans("./", "/."))
    return text


def other_writers(switches: t.Iterable[t.Tuple[str, str]], host: Sight, own: t.Sequence[str]) -> t.Tuple[Other, ...]:
    """Lines in other files that set our switches to other values and undo ours when they are applied."""
    wanted = dict(switches)
    found = []
    for path in _sysctl_files(host):
        if path in own:
            continue
        for number, line in enumerate((host.read(path) or "").splitlines(), 1):
            key, equals, value = line.partition("=")
            if not equals or line.lstrip().startswith(("#", ";")):
                continue
            pattern = normal_key(key)
            for ours, mine in wanted.items():
                same = any(fnmatch.fnmatchcase(name, pattern) for name in (ours, ALIASES.get(ours, ours)))
                if same and value.strip() != mine:
                    found.append(Other(path, number, ours, value.strip()))
    return tuple(found)


#: An alias of the same switch.
ALIASES = {GLOBAL["ip"]: TREE["ip"] + "/all/forwarding"}


def _sysctl_files(host: Sight) -> t.List[str]:
    """The files that are applied: of several with the same name, only the one in the last folder (sysctl.d(5))."""
    by_name = {}
    for folder in FOLDERS:
        for path in host.find(folder + "/*.conf"):
            by_name[posixpath.basename(path)] = path
    return [by_name[name] for name in sorted(by_name)] + list(FILES)


def in_order(held: t.Mapping[str, str]) -> Switches:
    """Switches in the order of writing: what forwarding relies on, global forwarding, single interfaces."""

    def rank(key: str) -> int:
        if key.endswith("/accept_ra") or key.startswith(CONNTRACK):
            return 0
        return 1 if key in GLOBAL.values() else 2

    return tuple(sorted(held.items(), key=lambda item: (rank(item[0]), item[0])))


def lasting(switches: Switches, earlier: Switches, lans: t.Iterable[str], host: Sight) -> Switches:
    """What must be set again at boot.

    Not the forwarding of single interfaces, which follows the global switch after a reboot. The accept_ra of a WAN is
    kept while the WAN is absent: a link that is down is not a change. A pattern counts as long as it is a WAN's.
    """
    held = {
        key: value
        for key, value in switches
        if key in GLOBAL.values() or key.endswith("/accept_ra") or key.startswith(CONNTRACK)
    }
    away = [each for each in earlier if each[0].endswith("/accept_ra") and not host.exists(PROC + each[0])]
    inside = list(lans)
    held.update(each for each in away if "*" not in each[0] and not matches_any(inside, each[0].split("/")[-2]))
    return in_order(held)


def left_by_patterns(old: Switches, kept: t.Collection[str], host: Sight) -> Switches:
    """What links keep that matched a pattern which is no longer a WAN's. ``kept`` are keys, and patterns of them."""
    is_kept = among(kept)
    return tuple(
        (found, "1")
        for key, _value in old
        if "*" in key and key not in kept
        for found in (path[len(PROC) :] for path in host.find(PROC + key))
        if not is_kept(found) and read(host, found) == "2"
    )


def is_single(key: str) -> bool:
    """Whether a key is the forwarding of one link, which the kernel overwrites when the global switch is written."""
    return key.endswith("/forwarding") and key.split("/")[-2] not in ("all", "default")


def undone(targets: Switches, single: Switches, host: Sight) -> Switches:
    """Those of ``single`` that writing these targets changes, and that none of these sets itself."""
    written = [each.key for each in changes(targets, host) if each.key in GLOBAL.values()] if single else []
    trees = tuple(TREE[family] + "/" for family, key in GLOBAL.items() if key in written)
    known = dict(targets)
    return tuple(each for each in single if each[0].startswith(trees) and each[0] not in known)


def among(keys: t.Collection[str]) -> t.Callable[[str], bool]:
    """Whether a key is one of these, or matches one that is a pattern."""
    patterns = [key for key in keys if "*" in key]
    return lambda key: key in keys or any(fnmatch.fnmatchcase(key, each) for each in patterns)


def altered_by(keys: t.Iterable[str], before: t.Mapping[str, str]) -> t.Set[str]:
    """The switches of a snapshot that these keys have changed."""
    altered = set()
    for key in keys:
        trees = [TREE[family] + "/" for family in ("ip", "ip6") if key == GLOBAL[family]]
        altered |= {known for known in before if known == key}
        altered |= {known for known in before if trees and known.startswith(trees[0]) and "accept_ra" not in known}
    return altered
