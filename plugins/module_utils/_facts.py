# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the host is: its interfaces, addresses and default routes. Read once, by one process and two files."""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass

from ._errors import GatewayError, MissingProgram
from ._rules import matches_name

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host

#: Names that container and VM managers give to what they own, with the manager for the message.
MANAGED = (
    ("docker", "Docker"),
    ("br-", "Docker"),
    ("podman", "Podman"),
    ("cni", "a container network"),
    ("flannel", "Kubernetes"),
    ("cali", "Kubernetes"),
    ("cilium", "Kubernetes"),
    ("kube", "Kubernetes"),
    ("nodelocaldns", "Kubernetes"),
    ("weave", "a container network"),
    ("lxcbr", "LXC"),
    ("lxdbr", "LXD"),
    ("incusbr", "Incus"),
    ("virbr", "libvirt"),
    ("vnet", "libvirt"),
    ("vmnet", "VMware"),
    ("vboxnet", "VirtualBox"),
)
#: Docker names its bridges br- and the first twelve hex digits of the network's id; other br- names are people's own.
DOCKER_BRIDGE = re.compile(r"br-[0-9a-f]{12}\Z")
#: Link kinds of tunnels: a private address on a VPN does not make its far end a LAN.
TUNNELS = ("tun", "wireguard", "ppp", "ipip", "sit", "gre", "gretap", "ip6tnl", "vti", "xfrm", "vxlan", "geneve")


@dataclass(frozen=True)
class Interface:
    name: str
    altnames: t.Tuple[str, ...] = ()
    kind: str = ""
    networks: t.Tuple[str, ...] = ()  # of its global-scope addresses
    addresses: t.Tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    interfaces: t.Tuple[Interface, ...]
    default_routes: t.Tuple[str, ...]  # interface names: the best IPv4 route's, then the best IPv6 route's if another

    def named(self, name: str) -> t.Optional[Interface]:
        """The interface of that name or alternative name."""
        for interface in self.interfaces:
            if name == interface.name or name in interface.altnames:
                return interface
        return None

    def meant_by(self, pattern: str) -> t.List[Interface]:
        return [interface for interface in self.interfaces if matches_name(pattern, interface.name)]


def manager_of(interface: Interface) -> str:
    """Who owns an interface that must not be taken for a LAN; empty if nobody does."""
    if interface.name == "lo":
        return "the host itself"
    if interface.kind in TUNNELS:
        return "a tunnel ({0})".format(interface.kind)
    for prefix, manager in MANAGED:
        if interface.name.startswith(prefix) and (prefix != "br-" or DOCKER_BRIDGE.match(interface.name)):
            return manager
    return ""


def read_facts(host: Host) -> Facts:
    """One ``ip`` process, two files of /proc."""
    if not host.which("ip"):
        raise MissingProgram("ip", "ip is not installed; install the package iproute2")
    done = host.run(["ip", "-j", "-d", "addr", "show"])
    if done.rc != 0:
        raise GatewayError(
            "ip: cannot list interfaces: {0}".format(done.err.strip() or "exit code {0}".format(done.rc))
        )
    try:
        # The kernel takes an escape sign in the name of a link, and ip prints it as it is.
        links = json.loads(done.out or "[]", strict=False)
    except ValueError:
        # Alpine's own ip is busybox's, which knows no JSON.
        raise MissingProgram("ip", "ip: 'ip -j addr' printed no JSON; install the package iproute2") from None
    routes = [best_route4(host.read("/proc/net/route") or ""), best_route6(host.read("/proc/net/ipv6_route") or "")]
    return Facts(
        interfaces=tuple(_interface(link) for link in links if link.get("ifname")),
        default_routes=tuple(sorted({route for route in routes if route}, key=routes.index)),
    )


def _interface(link: t.Mapping[str, t.Any]) -> Interface:
    addresses = [info for info in link.get("addr_info") or () if info.get("scope") == "global" and info.get("local")]
    # A /32 or /128 is the host alone; a peer address ("address" beside "local") is the other end of a link.
    networks = [
        ipaddress.ip_interface("{0}/{1}".format(info["local"], info["prefixlen"])).network
        for info in addresses
        if "address" not in info
    ]
    return Interface(
        name=link["ifname"],
        altnames=tuple(link.get("altnames") or ()),
        kind=(link.get("linkinfo") or {}).get("info_kind", "") or ("ppp" if link.get("link_type") == "ppp" else ""),
        networks=tuple(dict.fromkeys(str(net) for net in networks if net.prefixlen < net.max_prefixlen)),
        addresses=tuple(info["local"] for info in addresses),
    )


def best_route4(text: str) -> str:
    """The interface of the default route with the lowest metric, from /proc/net/route."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        # Iface Destination Gateway Flags RefCnt Use Metric Mask ...; flag 1 is RTF_UP, 0x200 RTF_REJECT
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000" and int(fields[3], 16) & 0x201 == 1:
            found.append((int(fields[6]), fields[0]))
    return min(found)[1] if found else ""


def best_route6(text: str) -> str:
    """The same for IPv6, from /proc/net/ipv6_route, where the unreachable default stands on ``lo``."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        default = len(fields) >= 10 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo"
        if default and int(fields[8], 16) & 0x201 == 1:
            found.append((int(fields[5], 16), fields[9]))
    return min(found)[1] if found else ""
