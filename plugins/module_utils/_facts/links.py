# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Read the host's interfaces, addresses and default routes, with three processes on an ordinary host."""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass, replace

from .._base.errors import GatewayError, MissingProgram
from .._base.net import family_of, matches_any, matches_name, network
from .advertised import PLACE, of_the_kernel

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

#: Names that container and VM managers give to their links, with the manager for messages.
MANAGED = (
    ("docker", "Docker"),
    ("br-", "Docker"),
    ("podman", "Podman"),
    ("cni", "a container network"),
    ("flannel", "Kubernetes"),
    ("cali", "Kubernetes"),
    ("cilium", "Kubernetes"),
    # Cilium's links to pods have names such as lxc1f2e3d4c5b6a; the bridge of LXC is lxcbr0.
    ("lxc", "LXC, or Cilium"),
    ("kube", "Kubernetes"),
    ("tunl0", "Kubernetes"),
    ("vxlan.calico", "Kubernetes"),
    ("nodelocaldns", "Kubernetes"),
    ("weave", "a container network"),
    ("cbr0", "Kubernetes"),
    ("nerdctl", "nerdctl"),
    ("lxdbr", "LXD"),
    ("incusbr", "Incus"),
    ("virbr", "libvirt"),
    ("vnet", "libvirt"),
    ("vmnet", "VMware"),
    ("vboxnet", "VirtualBox"),
    ("mpqemubr", "Multipass"),
    ("ve-", "systemd-nspawn"),
    ("vz-", "systemd-nspawn"),
)
#: Docker names its bridges br- and the first twelve hex digits of the network's ID; other br- names are the user's own.
DOCKER_BRIDGE = re.compile(r"br-[0-9a-f]{12}\Z")
#: Names that container managers give to the ports of their bridges: Docker (seven hex digits), CNI and LXD (eight),
#: Podman (a number). Proxmox (veth100i0) and LXC (vethZDKOG1) give others, and their bridges are the operator's own.
CONTAINER_PORT = re.compile(r"veth([0-9a-f]{7,8}|[0-9]{1,4})\Z")
#: Link kinds of tunnels: a private address on a VPN does not make its far end a LAN.
TUNNELS = (
    "tun", "tap", "wireguard", "ppp", "l2tpeth", "ipip", "sit", "gre", "gretap", "ip6gre", "ip6gretap", "ip6tnl",
    "erspan", "vti", "vti6", "xfrm", "vxlan", "geneve", "ovpn", "ovpn-dco", "ovpn-dco-v2", "amneziawg",
)  # fmt: skip
#: Those of them whose far end has to prove who it is; the others accept packets from anyone. TUN devices belong to VPN
#: daemons, and so do TAP devices with the name of a tunnel; others belong to virtual machines.
VPNS = ("tun", "wireguard", "vti", "vti6", "xfrm", "ovpn", "ovpn-dco", "ovpn-dco-v2", "amneziawg")
#: Name patterns of tunnels. PPP is not listed, because it is a WAN as often as not.
TUNNEL_LINKS = ("ipsec*", "tailscale*", "tap*", "tun*", "vti*", "wg*", "xfrm*", "zt*")

#: Names of devices that exist only while the gateway is proven; not of the host itself.
PROBES = "ipmasq-probe"

#: How MAC addresses of virtual routers begin, for IPv4 and IPv6 (RFC 5798 section 7.3).
SHARED_BY_ROUTERS = ("00:00:5e:00:01:", "00:00:5e:00:02:")

#: Routing tables that are consulted on every host.
ALWAYS = ("main", "default", "local")
#: Routes that cover these destinations count as default routes: the default route, or the more specific ones that VPN
#: clients add: 0.0.0.0/1 with 128.0.0.0/1 (wg-quick, OpenVPN's def1), ::/1 with 8000::/1, 2000::/3 or 2000::/4 with
#: 3000::/4. The kernel walks 950,000 routes for this in 0.4 s (iproute2 6.1, Linux 6.18).
HALF = {"ip": ("-4", "0.0.0.0/1"), "ip6": ("-6", "2000::/4")}
#: Flags of addresses that the kernel uses only if there is no other (RFC 6724, rule 3), or never. A tentative address
#: becomes usable within a second or two.
NO_SOURCE = ("deprecated", "dadfailed")
#: Destinations that are not networks behind a link: link-local (a cloud's metadata) and multicast.
NO_NETWORK = tuple(ipaddress.ip_network(net) for net in ("169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8"))


@dataclass(frozen=True)
class Interface:
    name: str
    altnames: t.Tuple[str, ...] = ()
    kind: str = ""
    networks: t.Tuple[str, ...] = ()  # of its global-scope addresses
    addresses: t.Tuple[str, ...] = ()
    dynamic: t.Tuple[str, ...] = ()  # addresses with a lifetime, from DHCP or router advertisements
    sources: t.Tuple[str, ...] = ()  # addresses that the kernel chooses as the source of packets
    routed: t.Tuple[str, ...] = ()  # networks routed to a manager's link, or to one that has only /32 addresses
    master: str = ""  # the bridge, bond or VRF whose port it is
    port_of: str = ""  # the kind of that master: bridge, bond, vrf, team
    parent: str = ""  # the lower link of a VLAN or another stacked link
    peers: t.Tuple[str, ...] = ()  # the other ends of its addresses, as of PPP
    far: bool = False  # a veth link whose other end is in another network namespace
    shared: bool = False  # its MAC address is that of several routers together (VRRP)
    said: bool = False  # a manager's, as the user says

    @property
    def behind(self) -> t.Tuple[str, ...]:
        """The networks behind this link."""
        return self.networks or self.routed


@dataclass(frozen=True)
class Route:
    """A default route, or one that covers half of the Internet, with one object per next hop."""

    interface: str
    family: str = "ip"
    protocol: str = ""  # who set it: ra, dhcp, static, boot …
    table: str = "main"
    metric: int = 0
    via: str = ""  # the router, if the route has one of the same family
    source: str = ""  # the network for whose addresses alone it is; IPv6 has such routes
    by_kernel: bool = False  # of an advertisement, and the kernel removes it once the host forwards


@dataclass(frozen=True)
class Facts:
    interfaces: t.Tuple[Interface, ...]
    routes: t.Tuple[Route, ...] = ()  # all default routes that policy routing rules refer to, the best first
    carriers: t.Tuple[str, ...] = ()  # links that carry kernel PPPoE sessions
    resolvers: t.Tuple[str, ...] = ()  # the host's DNS servers; read only for a gateway that has DNS
    forwarding: t.Tuple[str, ...] = ()  # families that the host forwards, of those in which no LAN lists a network

    @property
    def default_routes(self) -> t.Tuple[str, ...]:
        """The interfaces of all default routes."""
        return tuple(dict.fromkeys(route.interface for route in self.routes))

    def named(self, name: str) -> t.Optional[Interface]:
        """The interface with that name or alternative name."""
        for interface in self.interfaces:
            if name == interface.name or name in interface.altnames:
                return interface
        return None

    def wire_of(self, interface: Interface, networks: t.Iterable[str] = ()) -> str:
        """The link on whose wire this one has a MAC address of its own, as for VRRP; empty if it is another network.

        It has single addresses, or a network of that link's: its own ones, or these.
        """
        parent = self.named(interface.parent)
        same = {*networks, *(parent.networks if parent else ())}
        is_same = not interface.networks or not same.isdisjoint(interface.networks)
        return interface.parent if interface.kind == "macvlan" and is_same else ""

    def why_of_containers(self, bridge: Interface) -> str:
        """Why a bridge with a name of its own may belong to a container manager; empty if nothing suggests that."""
        if bridge.kind != "bridge":
            return ""
        ports = [each for each in self.interfaces if each.master == bridge.name]
        if not ports:
            return "it has no port, and Docker is here" if self.named("docker0") else ""
        return "its ports lead to containers" if all(map(_leads_to_container, ports)) else ""

    def with_managed(self, patterns: t.Sequence[str]) -> Facts:
        """The same with the links that belong to a manager, as the user says."""
        if not patterns:
            return self
        return replace(self, interfaces=tuple(_marked(each, patterns) for each in self.interfaces))

    def meant_by(self, pattern: str) -> t.List[Interface]:
        return [interface for interface in self.interfaces if matches_name(pattern, interface.name)]


def manager_of(interface: Interface) -> str:
    """The owner of an interface that must not become a LAN; empty if there is none."""
    if interface.name == "lo":
        return "the host itself"
    if interface.kind in TUNNELS:
        return "a tunnel ({0})".format(interface.kind)
    return _by_name(interface)


def is_left_alone(interface: Interface) -> bool:
    """Whether an undeclared link is left to its manager."""
    return is_vpn(interface) or bool(_by_name(interface))


def _marked(interface: Interface, patterns: t.Sequence[str]) -> Interface:
    return replace(interface, said=True) if matches_any(patterns, interface.name) else interface


def _leads_to_container(port: Interface) -> bool:
    return port.far and bool(CONTAINER_PORT.match(port.name))


def is_vpn(interface: Interface) -> bool:
    return interface.kind in VPNS or (interface.kind == "tap" and matches_any(TUNNEL_LINKS, interface.name))


def _by_name(interface: Interface) -> str:
    if interface.said:
        return "a manager, as managed_links says"
    for prefix, manager in MANAGED:
        if interface.name.startswith(prefix) and (prefix != "br-" or DOCKER_BRIDGE.match(interface.name)):
            return manager
    return ""


def managed_links() -> t.Tuple[str, ...]:
    """The names of managers' links as rule patterns, which support neither lengths nor character sets.

    Bridges named br-lan or br-guest do not match Docker's patterns, which continue with a hexadecimal digit.
    """
    own = [prefix + "*" for prefix, _manager in MANAGED if prefix != "br-"]
    return (*own, *("br-{0}*".format(digit) for digit in "0123456789abcdef"))


def read_facts(host: Sight, managed: t.Sequence[str] = ()) -> Facts:
    """``managed``: links that belong to a manager, as the user says."""
    if not host.which("ip"):
        raise MissingProgram("ip", "ip is not installed; install the package iproute2")
    links = _asked(host, "interfaces", "-d", "addr", "show")
    routes = _ways_out(host)
    out = {route.interface for route in routes}
    named = [link for link in links if link.get("ifname") and not link["ifname"].startswith(PROBES)]
    interfaces = [_marked(_interface(link), managed) for link in named]
    return Facts(
        tuple(each if each.name in out else _with_routed(each, host) for each in interfaces),
        tuple(routes),
        _carriers(host) if any(each.kind == "ppp" for each in interfaces) else (),
    )


def advertised_routes(host: Sight) -> t.List[t.Tuple[t.List[str], int, t.List[str]]]:
    """IPv6 default routes from router advertisements, as ``ip route`` takes them: where, the metric, and how long."""
    found = []
    for route in _asked(host, "routes", "-6", "route", "show", "default", "proto", "ra"):
        for hop in route.get("nexthops") or [route]:
            if "gateway" in hop and "dev" in hop:
                lasting = ["expires", str(route["expires"])] if "expires" in route else []
                found.append((["via", hop["gateway"], "dev", hop["dev"]], int(route.get("metric", 1024)), lasting))
    return found


#: One object as ip prints it.
Raw = t.Mapping[str, t.Any]


def _asked(host: Sight, what: str, *words: str) -> t.List[t.Dict[str, t.Any]]:
    done = host.ask(["ip", "-j", *words])
    if done.rc != 0:
        raise GatewayError("ip: cannot list {0}: {1}".format(what, done.err.strip() or "exit code {0}".format(done.rc)))
    try:
        # The kernel allows escape characters in link names, and ip prints them unchanged.
        return list(json.loads(done.out or "[]", strict=False))
    except ValueError:
        # Alpine's default ip is busybox's, which has no JSON output.
        raise MissingProgram(
            "ip", "ip: 'ip -j {0}' printed no JSON; install the package iproute2".format(words[1])
        ) from None


def _interface(link: t.Mapping[str, t.Any]) -> Interface:
    # Addresses that we added have scope host.
    scopes = ("global",) if link["ifname"] == "lo" else ("global", "host")
    addresses = [info for info in link.get("addr_info") or () if info.get("scope") in scopes and info.get("local")]
    # A /32 or /128 is a single host; a peer address ("address" beside "local") is the other end of a link.
    networks = [
        ipaddress.ip_interface("{0}/{1}".format(info["local"], info["prefixlen"])).network
        for info in addresses
        if "address" not in info
    ]
    details = link.get("linkinfo") or {}
    kind = details.get("info_kind", "") or ("ppp" if link.get("link_type") == "ppp" else "")
    if kind == "tun":
        kind = (details.get("info_data") or {}).get("type") or kind  # "tun" or "tap"
    return Interface(
        name=link["ifname"],
        altnames=tuple(link.get("altnames") or ()),
        kind=kind,
        networks=tuple(dict.fromkeys(str(net) for net in networks if net.prefixlen < net.max_prefixlen)),
        addresses=tuple(info["local"] for info in addresses),
        dynamic=tuple(info["local"] for info in addresses if info.get("dynamic")),
        sources=tuple(
            info["local"]
            for info in addresses
            if info["scope"] == "global" and not any(info.get(flag) for flag in NO_SOURCE)
        ),
        master=link.get("master") or "",
        port_of=details.get("info_slave_kind", "") if link.get("master") else "",
        parent=link.get("link") or "",
        peers=tuple(info["address"] for info in addresses if "address" in info),
        far=kind == "veth" and "link_netnsid" in link,
        shared=link.get("address", "").startswith(SHARED_BY_ROUTERS),
    )


def _carriers(host: Sight) -> t.Tuple[str, ...]:
    """The column Device of the kernel's PPPoE sessions: Id Address Device."""
    lines = (host.read("/proc/net/pppoe") or "").splitlines()[1:]
    return tuple(dict.fromkeys(line.split()[2] for line in lines if len(line.split()) == 3))


def _ways_out(host: Sight) -> t.List[Route]:
    """The best first: main table before others, IPv4 before IPv6, then by metric."""
    found: t.List[Route] = []
    for family, (option, half) in HALF.items():
        if family == "ip6" and not host.exists("/proc/sys/net/ipv6"):
            continue
        listed = _asked(host, "routes", option, "route", "show", "table", "all", "match", half)
        routes = [route for each in _with_nexthops(listed, host) for route in _hops(each, family)]
        if any(route.table not in ALWAYS for route in routes):
            reached = _reached(_asked(host, "rules", option, "rule", "show"))
            routes = [route for route in routes if reached is None or route.table in reached]
        found += routes
    if any(route.protocol == "ra" for route in found):
        own = of_the_kernel(host.read(PLACE) or "")
        found = [replace(each, by_kernel=each.protocol == "ra" and _way(each) in own) for each in found]
    return sorted(found, key=lambda route: (route.table != "main", route.family, route.metric))


def _way(route: Route) -> t.Tuple[str, str, int]:
    return route.interface, route.via, route.metric


def _with_nexthops(listed: t.Iterable[Raw], host: Sight) -> t.Iterable[Raw]:
    """With net.ipv4.nexthop_compat_mode 0, a route names only the number of its next hop, or of a group."""
    routes = list(listed)
    if not any(_is_bare(route) for route in routes):
        return routes
    known = {each["id"]: each for each in _asked(host, "nexthops", "nexthop", "show")}
    return [dict(route, nexthops=_nexthops(known, route["nhid"])) if _is_bare(route) else route for route in routes]


def _is_bare(route: Raw) -> bool:
    return "nhid" in route and "dev" not in route and "nexthops" not in route


def _nexthops(known: t.Mapping[int, Raw], number: int) -> t.List[Raw]:
    found = known.get(number, {})
    return [known.get(each["id"], {}) for each in found["group"]] if "group" in found else [found]


def _hops(route: t.Mapping[str, t.Any], family: str) -> t.List[Route]:
    """The usable next hops; unreachable and local routes (of a transparent proxy) have none."""
    if route.get("type", "unicast") != "unicast":
        return []
    hops = route.get("nexthops") or [route]
    protocol, table = str(route.get("protocol", "")), str(route.get("table", "main"))
    source = str(route.get("from", ""))
    return [
        Route(hop["dev"], family, protocol, table, int(route.get("metric", 0)), hop.get("gateway", ""), source)
        for hop in hops
        if hop.get("dev", "lo") != "lo"
    ]


def _reached(rules: t.Iterable[t.Mapping[str, t.Any]]) -> t.Optional[t.Set[str]]:
    """The tables that rules refer to; None for any table, because VRF tables need no rule of their own."""
    listed = list(rules)
    if any("l3mdev" in rule for rule in listed):
        return None
    return {str(rule["table"]) for rule in listed if "table" in rule}


def _with_routed(interface: Interface, host: Sight) -> Interface:
    """The routes show the networks behind a manager's link, or a link with only /32 addresses (as in many clouds)."""
    managed, vpn = bool(manager_of(interface)), is_vpn(interface)
    if interface.name == "lo" or not (interface.addresses or vpn) or (interface.networks and not managed):
        return interface
    # VPNs have routes in tables of their own (Tailscale: 52), and to networks of both families without any address.
    families = HALF if vpn else sorted({family_of(address) for address in interface.addresses})
    return replace(interface, routed=routed_to(interface.name, families, "all" if managed else "main", host))


def routed_to(link: str, families: t.Iterable[str], table: str, host: Sight) -> t.Tuple[str, ...]:
    """The networks to which routes lead through a link."""
    found = []
    for family in families:
        if family == "ip6" and not host.exists("/proc/sys/net/ipv6"):
            continue
        option, _half = HALF[family]
        listed = _asked(host, "routes", option, "route", "show", "table", table, "dev", link)
        found += [
            network(each["dst"]) for each in listed if each.get("type", "unicast") == "unicast" and _somewhere(each)
        ]
    return tuple(dict.fromkeys(str(net) for net in found))


def _somewhere(route: t.Mapping[str, t.Any]) -> bool:
    """Whether a route leads to a specific network."""
    if route["dst"] == "default":
        return False
    to = network(route["dst"])
    return not any(to.version == no.version and to.subnet_of(no) for no in NO_NETWORK)
