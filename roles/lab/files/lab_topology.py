# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab's topology: from the user's description to checked values, and from these to the files of each node.

Pure: no file, no process. What is wrong with a description is reported all at once.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import typing as t
from dataclasses import dataclass, field

Interface: t.TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"
Address: t.TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Prefix: t.TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

SERVICES = ("web", "stun", "echo", "dns", "iperf3", "ftp", "witness")
RELEASES = ("bullseye", "bookworm", "trixie")
MANAGERS = ("networkd", "ifupdown")
FABRIC = "fabric"
#: How Ansible reaches the containers of an engine.
CONNECTIONS = {"podman": "containers.podman.podman", "docker": "community.docker.docker"}

LINK_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}")
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
GROUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+")  # Debian policy 5.6.7

# Of a host that boots; a namespace would otherwise inherit the IPv4 ones from the machine under it.
KERNEL_DEFAULTS = {
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "1",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.default.accept_source_route": "1",
    "net.ipv4.conf.all.log_martians": "0",
    "net.ipv4.conf.default.log_martians": "0",
    "net.ipv4.conf.all.arp_ignore": "0",
    "net.ipv4.conf.all.arp_announce": "0",
    "net.ipv4.conf.all.route_localnet": "0",
    "net.ipv4.conf.all.proxy_arp": "0",
    "net.ipv4.conf.default.proxy_arp": "0",
}
PRIVATE_V4 = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE_V6 = ("fc00::/7",)


class TopologyError(Exception):
    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Cable:
    node: str
    interface: str
    network: str
    addresses: tuple[Interface, ...]

    @property
    def port(self) -> str:
        """Name of the cable's other end, at the switch."""
        return "c" + hashlib.sha256(f"{self.node}/{self.interface}".encode()).hexdigest()[:10]

    def mac(self, lab: str) -> str:
        """Locally administered, and the same after every reboot."""
        digest = hashlib.sha256(f"{lab}/{self.node}/{self.interface}".encode()).hexdigest()
        return ":".join(["02", *(digest[start : start + 2] for start in range(0, 10, 2))])


@dataclass(frozen=True)
class Node:
    name: str
    release: str
    manager: str = "networkd"
    groups: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    cables: tuple[Cable, ...] = ()
    loopback: tuple[Address, ...] = ()
    gateways: tuple[Address, ...] = ()

    @property
    def image(self) -> str:
        """What its image holds: a release, and packages beyond those of every node."""
        return ",".join([self.release, *self.packages])

    @property
    def addresses(self) -> tuple[Address, ...]:
        return (*(one.ip for cable in self.cables for one in cable.addresses), *self.loopback)


@dataclass(frozen=True)
class Lab:
    name: str
    networks: tuple[str, ...]
    nodes: tuple[Node, ...]

    @property
    def reflectors(self) -> list[str]:
        return [str(address) for node in self.nodes if node.services for address in node.loopback]


@dataclass
class Parser:
    """Collects problems instead of stopping at the first."""

    problems: list[str] = field(default_factory=list)

    def problem(self, where: str, text: str) -> None:
        self.problems.append(f"{where}: {text}")

    def unique(self, where: str, what: str, values: t.Iterable[str]) -> None:
        seen: set[str] = set()
        for value in values:
            if value in seen:
                self.problem(where, f"{what} {value!r} appears twice; give each its own")
            seen.add(value)

    def known(self, where: str, raw: t.Any, keys: tuple[str, ...]) -> dict[str, t.Any]:
        if not isinstance(raw, dict):
            self.problem(where, f"expected a mapping, found {raw!r}")
            return {}
        for key in sorted(set(raw) - set(keys)):
            self.problem(where, f"unknown option {key!r}; known are {', '.join(keys)}")
        return raw

    def matching(self, where: str, what: str, value: t.Any, pattern: re.Pattern[str], remedy: str) -> str:
        text = str(value or "")
        if not pattern.fullmatch(text):
            self.problem(where, f"{what} {text!r} is not possible; {remedy}")
        return text

    def choice(self, where: str, what: str, value: str, choices: tuple[str, ...]) -> str:
        if value not in choices:
            self.problem(where, f"{what} {value!r} is not known; choose one of {', '.join(choices)}")
        return value

    def address(self, where: str, text: t.Any) -> Address | None:
        try:
            return ipaddress.ip_address(str(text))
        except ValueError:
            self.problem(where, f"{text!r} is not an IP address")
            return None

    def prefix(self, where: str, text: t.Any) -> Prefix | None:
        try:
            return ipaddress.ip_network(str(text))
        except ValueError as error:
            self.problem(where, f"{text!r} is not a network ({error})")
            return None

    def networks(self, raw: list[t.Any]) -> dict[str, tuple[Prefix, ...]]:
        networks: dict[str, tuple[Prefix, ...]] = {}
        names = []
        for index, given in enumerate(raw):
            where = f"lab_networks[{index}]"
            entry = self.known(where, given, ("name", "prefixes"))
            name = self.matching(where, "name", entry.get("name"), LINK_NAME, "up to 15 letters, digits, '-', '_', '.'")
            names.append(name)
            prefixes = [self.prefix(f"{where} {name!r}", text) for text in entry.get("prefixes") or []]
            networks[name] = tuple(prefix for prefix in prefixes if prefix is not None)
        self.unique("lab_networks", "network name", names)
        return networks

    def cable(self, where: str, node: str, raw: t.Any, networks: dict[str, tuple[Prefix, ...]]) -> Cable:
        raw = self.known(where, raw, ("name", "network", "addresses"))
        remedy = "Linux takes up to 15 letters, digits, '-', '_', '.'"
        name = self.matching(where, "interface name", raw.get("name"), LINK_NAME, remedy)
        if name == "lo":
            self.problem(where, "'lo' exists in every node; put its addresses under `loopback`")
        network = str(raw.get("network") or "")
        if network not in networks:
            self.problem(where, f"network {network!r} is not one of lab_networks ({', '.join(networks) or 'none'})")
        where = f"{where} {name!r}"
        addresses = [
            self.cable_address(where, text, network, networks.get(network)) for text in raw.get("addresses") or []
        ]
        return Cable(node, name, network, tuple(address for address in addresses if address is not None))

    def cable_address(
        self, where: str, text: t.Any, network: str, prefixes: tuple[Prefix, ...] | None
    ) -> Interface | None:
        address = self.address(where, text)
        if address is None or prefixes is None:
            return None
        for prefix in prefixes:
            if address.version == prefix.version and address in prefix:
                reserved = prefix.version == 4 and prefix.num_addresses > 2
                if reserved and address in (prefix.network_address, prefix.broadcast_address):
                    self.problem(where, f"{address} is the network or broadcast address of {prefix}")
                return ipaddress.ip_interface(f"{address}/{prefix.prefixlen}")
        shown = ", ".join(str(prefix) for prefix in prefixes) or "without prefixes"
        self.problem(where, f"{address} is not in network {network!r} ({shown})")
        return None

    def node(self, index: int, raw: t.Any, release: str, networks: dict[str, tuple[Prefix, ...]]) -> Node:
        where = f"lab_nodes[{index}]"
        keys = ("name", "release", "manager", "groups", "services", "packages", "interfaces", "loopback", "gateway")
        raw = self.known(where, raw, keys)
        remedy = "a host name has lower-case letters, digits and '-'"
        name = self.matching(where, "name", raw.get("name"), HOST_NAME, remedy)
        where = f"{where} {name!r}"
        if name == FABRIC:
            self.problem(where, "this name belongs to the lab's own switch; choose another")
        for group in raw.get("groups") or []:
            self.matching(where, "group", group, GROUP_NAME, "inventory groups have letters, digits and '_'")
        for service in raw.get("services") or []:
            self.choice(where, "service", service, SERVICES)
        for package in raw.get("packages") or []:
            remedy = "Debian's packages have lower-case letters, digits, '.', '+', '-'"
            self.matching(where, "package", package, PACKAGE_NAME, remedy)
        before = len(self.problems)
        cables = [
            self.cable(f"{where} interfaces[{number}]", name, entry, networks)
            for number, entry in enumerate(raw.get("interfaces") or [])
        ]
        self.unique(where, "interface name", (cable.interface for cable in cables))
        loopback = [self.address(f"{where} loopback", text) for text in raw.get("loopback") or []]
        gateways = [self.address(f"{where} gateway", text) for text in raw.get("gateway") or []]
        node = Node(
            name=name,
            release=self.choice(where, "release", str(raw.get("release") or release), RELEASES),
            manager=self.choice(where, "manager", str(raw.get("manager") or "networkd"), MANAGERS),
            groups=tuple(raw.get("groups") or []),
            services=tuple(raw.get("services") or []),
            packages=tuple(sorted(set(raw.get("packages") or []))),
            cables=tuple(cables),
            loopback=tuple(address for address in loopback if address is not None),
            gateways=tuple(address for address in gateways if address is not None),
        )
        if len(self.problems) == before:
            # On a node with a wrong interface this would only say the same again.
            self.check_gateways(where, node)
        return node

    def check_gateways(self, where: str, node: Node) -> None:
        self.unique(where, "a gateway of family", (f"IPv{address.version}" for address in node.gateways))
        for gateway in node.gateways:
            if towards(node, gateway) is None:
                self.problem(where, f"gateway {gateway} is in no network that the node has an address in")

    def check_addresses(self, nodes: list[Node]) -> None:
        owners: dict[tuple[str, Address], str] = {}
        for node in nodes:
            placed = [(cable.network, one.ip) for cable in node.cables for one in cable.addresses]
            for network, address in [*placed, *(("", address) for address in node.loopback)]:
                place = f"on network {network!r}" if network else "as a loopback address"
                owner = owners.setdefault((network, address), node.name)
                if owner != node.name or placed.count((network, address)) > 1 or node.loopback.count(address) > 1:
                    problem = f"lab_nodes: {address} is used twice {place} (by {owner} and {node.name})"
                    if problem not in self.problems:
                        self.problems.append(problem)


def towards(node: Node, address: Address) -> Cable | None:
    """The cable behind which a node finds this neighbour."""
    for cable in node.cables:
        if any(address.version == one.version and address in one.network for one in cable.addresses):
            return cable
    return None


def parse(raw: dict[str, t.Any]) -> Lab:
    """Check a description; raises TopologyError with every problem it has."""
    parser = Parser()
    name = parser.matching("lab_name", "name", raw.get("name"), HOST_NAME, "lower-case letters, digits and '-'")
    networks = parser.networks(raw.get("networks") or [])
    release = parser.choice("lab_release", "release", str(raw.get("release") or "bookworm"), RELEASES)
    nodes = [parser.node(index, entry, release, networks) for index, entry in enumerate(raw.get("nodes") or [])]
    if not nodes:
        parser.problem("lab_nodes", "a lab needs at least one node")
    parser.unique("lab_nodes", "node name", (node.name for node in nodes))
    parser.check_addresses(nodes)
    if parser.problems:
        raise TopologyError(parser.problems)
    return Lab(name, tuple(networks), tuple(nodes))


def networkd_files(node: Node) -> dict[str, str]:
    files = {}
    for cable in node.cables:
        # Duplicate address detection would cost a second at each boot; the check above has done its work.
        network = ["LinkLocalAddressing=ipv6", "IPv6AcceptRA=no", "IPv6DuplicateAddressDetection=0"]
        network += [f"Address={address}" for address in cable.addresses]
        network += [f"Gateway={gateway}" for gateway in node.gateways if towards(node, gateway) is cable]
        lines = ["[Match]", f"Name={cable.interface}", "", "[Network]", *network]
        files[f"etc/systemd/network/10-{cable.interface}.network"] = "\n".join(lines) + "\n"
    if node.loopback:
        lines = ["[Match]", "Name=lo", "", "[Network]"]
        lines += [f"Address={address}/{address.max_prefixlen}" for address in node.loopback]
        files["etc/systemd/network/10-lo.network"] = "\n".join(lines) + "\n"
    return files


def ifupdown_files(node: Node) -> dict[str, str]:
    lines = ["auto lo", "iface lo inet loopback"]
    lines += [f"    up ip address add {address}/{address.max_prefixlen} dev lo" for address in node.loopback]
    for cable in node.cables:
        lines += ["", f"auto {cable.interface}"]
        lines += [] if cable.addresses else [f"iface {cable.interface} inet manual"]
        for address in cable.addresses:
            family = "inet" if address.version == 4 else "inet6"
            lines += [f"iface {cable.interface} {family} static", f"    address {address}"]
            lines += ["    dad-attempts 0"] if address.version == 6 else []
            here = [gw for gw in node.gateways if gw.version == address.version and gw in address.network]
            lines += [f"    gateway {gateway}" for gateway in here]
    return {"etc/network/interfaces": "\n".join(lines) + "\n"}


def service_files(node: Node) -> dict[str, str]:
    if not node.services:
        return {}
    reflectors = [str(address) for address in node.loopback] or [str(address) for address in node.addresses]
    environment = {
        "ADDRESSES": " ".join(str(address) for address in node.addresses),
        "LISTEN": " ".join(f"-L {address}" for address in reflectors),
    }
    return {
        "etc/ipmasq-lab/environment": "".join(f'{key}="{value}"\n' for key, value in environment.items()),
        "etc/ipmasq-lab/hosts": "".join(f"{address} {node.name}.example\n" for address in reflectors),
        "etc/ipmasq-lab/witness.nft": witness([cable.interface for cable in node.cables]),
        # Servers may start before their addresses are there.
        "etc/sysctl.d/lab.conf": "net.ipv4.ip_nonlocal_bind = 1\nnet.ipv6.ip_nonlocal_bind = 1\n",
    }


def witness(interfaces: list[str]) -> str:
    """Count, before anything else can drop it, what must never arrive here: a packet that no gateway translated."""
    names = ", ".join(f'"{name}"' for name in interfaces)
    return f"""table inet witness {{
    counter private_v4 {{ }}
    counter private_v6 {{ }}
    chain prerouting {{
        type filter hook prerouting priority -310; policy accept;
        iifname {{ {names} }} ip saddr {{ {", ".join(PRIVATE_V4)} }} counter name "private_v4"
        iifname {{ {names} }} ip6 saddr {{ {", ".join(PRIVATE_V6)} }} counter name "private_v6"
    }}
}}
"""


def node_files(lab: Lab, node: Node) -> dict[str, str]:
    """Path (relative to the node's root) → content, for a node that has not booted yet."""
    manager = networkd_files if node.manager == "networkd" else ifupdown_files
    identity = hashlib.sha256(f"{lab.name}/{node.name}".encode()).hexdigest()[:32]
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {node.name}\n::1 localhost ip6-localhost ip6-loopback\n"
    return {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": hosts,
        "etc/machine-id": f"{identity}\n",
        **manager(node),
        **service_files(node),
    }


def node_links(node: Node) -> dict[str, str]:
    """Symbolic link → target: the units that a node starts at boot beyond those of the image."""
    wants = "etc/systemd/system/multi-user.target.wants"
    links = {
        f"{wants}/lab-{service}.service": f"/etc/systemd/system/lab-{service}.service" for service in node.services
    }
    if node.manager == "ifupdown":
        # One manager per host: links to nowhere turn networkd off, as `systemctl mask` does.
        links[f"{wants}/networking.service"] = "/lib/systemd/system/networking.service"
        links["etc/systemd/system/systemd-networkd.service"] = "/dev/null"
        links["etc/systemd/system/systemd-networkd-wait-online.service"] = "/dev/null"
        links["etc/systemd/system/systemd-networkd.socket"] = "/dev/null"
    return links


def inventory(lab: Lab, engine: str, directory: str) -> dict[str, t.Any]:
    """An Ansible inventory of the nodes, as data."""
    hosts = {}
    groups: dict[str, t.Any] = {}
    for node in lab.nodes:
        hosts[node.name] = {
            "ansible_host": f"{lab.name}-{node.name}",
            "lab_interfaces": {cable.interface: [str(one) for one in cable.addresses] for cable in node.cables},
            "lab_addresses": [str(address) for address in node.addresses],
            "lab_release": node.release,
        }
        for group in node.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][node.name] = None
    shared = {
        "ansible_connection": CONNECTIONS[engine],
        "ansible_python_interpreter": "/usr/bin/python3",
        "lab_name": lab.name,
        "lab_engine": engine,
        "lab_directory": directory,
        "lab_reflectors": lab.reflectors,
    }
    return {"all": {"vars": shared, "hosts": hosts, "children": groups}}
