# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab's topology: from the user's description to checked values, and from these to the files of each node.

Pure: no file, no process. What is wrong with a description is reported all at once.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import re
import typing as t
from dataclasses import dataclass, field, replace

Interface: t.TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"
Address: t.TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Prefix: t.TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

STATES = ("present", "absent")
SOURCES = ("auto", "registry", "bootstrap")
SERVICES = ("web", "stun", "echo", "dns", "iperf3", "ftp", "witness")
RELEASES = ("bullseye", "bookworm", "trixie")
MANAGERS = ("networkd", "ifupdown", "networkmanager", "netplan", "dhcpcd")
#: What a manager needs beyond the packages of every node.
MANAGER_PACKAGES = {"networkmanager": ("network-manager",), "netplan": ("netplan.io",), "dhcpcd": ("dhcpcd",)}
FABRIC = "fabric"
#: How Ansible reaches the containers of an engine.
CONNECTIONS = {"podman": "containers.podman.podman", "docker": "community.docker.docker"}

LINK_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}")
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
GROUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INVENTORY_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
#: Only these belong to a node; the rest of /proc/sys is the machine's.
SYSCTL_KEY = re.compile(r"net(\.[A-Za-z0-9_:/@-]+)+")
FILE_MODE = re.compile(r"0?[0-7]{3}")
#: Where a boot puts an empty folder over whatever was there.
NOT_KEPT = ("dev", "proc", "run", "sys", "tmp")
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


NODE_OPTIONS = (
    *("name", "host", "release", "manager", "groups", "services", "packages", "interfaces", "loopback", "gateway"),
    *("routes", "sysctl", "files"),
)
NETWORK_OPTIONS = ("name", "prefixes", "mtu", "p2p")
INTERFACE_OPTIONS = ("name", "network", "addresses", "mtu", "bridge", "vlan", "parent")
#: The difflib similarity from which a word counts as a mistyped option, as in the other roles of the collection.
ALIKE = 0.6


class TopologyError(Exception):
    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Network:
    name: str
    prefixes: tuple[Prefix, ...] = ()
    mtu: int = 0  # 0: the kernel's own
    p2p: bool = False


@dataclass(frozen=True)
class Cable:
    """An interface: with a cable to a network, or made by the node itself as a bridge or a VLAN."""

    node: str
    interface: str
    network: str
    addresses: tuple[Interface, ...]
    mtu: int = 0
    peers: tuple[Address, ...] = ()  # of a point-to-point link: the addresses at its other end
    bridge: tuple[str, ...] = ()  # its ports
    vlan: int = 0
    parent: str = ""  # of a VLAN

    @property
    def plugged(self) -> bool:
        return not self.bridge and not self.vlan

    def holds(self, address: Address) -> bool:
        """Whether this address is a neighbour here."""
        here = any(one.version == address.version and address in one.network for one in self.addresses)
        return here or address in self.peers

    @property
    def port(self) -> str:
        """Name of the cable's other end, at the switch."""
        return "c" + hashlib.sha256(f"{self.node}/{self.interface}".encode()).hexdigest()[:10]

    def mac(self, lab: str) -> str:
        """Locally administered, and the same after every reboot."""
        digest = hashlib.sha256(f"{lab}/{self.node}/{self.interface}".encode()).hexdigest()
        return ":".join(["02", *(digest[start : start + 2] for start in range(0, 10, 2))])


Networks = dict[str, Network]


@dataclass(frozen=True)
class File:
    path: str  # relative to the node's root
    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class Node:
    name: str
    release: str
    manager: str = "networkd"
    groups: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    interfaces: tuple[Cable, ...] = ()
    loopback: tuple[Address, ...] = ()
    gateways: tuple[Address, ...] = ()
    routes: tuple[tuple[Prefix, Address], ...] = ()  # destination, next hop
    sysctl: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    host: str = ""

    @property
    def inventory_name(self) -> str:
        return self.host or self.name

    @property
    def cables(self) -> tuple[Cable, ...]:
        return tuple(each for each in self.interfaces if each.plugged)

    @property
    def image(self) -> str:
        """What its image holds: a release, and packages beyond those of every node."""
        return ",".join([self.release, *sorted({*self.packages, *MANAGER_PACKAGES.get(self.manager, ())})])

    @property
    def addresses(self) -> tuple[Address, ...]:
        return (*(one.ip for each in self.interfaces for one in each.addresses), *self.loopback)


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
    broken: set[str] = field(default_factory=set)  # nodes with problems of their own
    misshapen: bool = False  # whether an item was left out, so that what refers to it cannot be judged

    def problem(self, where: str, text: str) -> None:
        self.problems.append(f"{where}: {text}")

    def unique(self, where: str, what: str, values: t.Iterable[str]) -> None:
        seen: set[str] = set()
        for value in values:
            if value in seen:
                self.problem(where, f"{what} {value!r} appears twice; give each its own")
            seen.add(value)

    def items(self, where: str, raw: t.Any, keys: tuple[str, ...]) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
        """Each item with its place. What is not an item is a problem, and left out."""
        remedy = f"write an item as {{{keys[0]}: …, …}}"
        if isinstance(raw, dict):
            self.misshapen = True
            self.problem(where, "is a single item, but must be a list; put '- ' in front of it")
        elif isinstance(raw, list):
            for index, entry in enumerate(raw):
                place = f"{where}[{index}]"
                if isinstance(entry, dict):
                    yield place, self.known(place, entry, keys)
                else:
                    self.misshapen = True
                    self.problem(place, f"{shown(entry)} is not an item; {remedy}")
        elif raw:
            self.misshapen = True
            self.problem(where, f"{shown(raw)} is not a list; {remedy}")

    def known(self, place: str, entry: dict[str, t.Any], keys: tuple[str, ...]) -> dict[str, t.Any]:
        """The entry, with what was probably meant in place of an unknown option: one mistake has one message."""
        where = f"{place} {shown(str(entry['name']))}" if entry.get("name") else place
        found = {key: value for key, value in entry.items() if key in keys}
        for key in sorted(set(entry) - set(keys)):
            meant = nearest(key, keys)
            remedy = f"did you mean {meant}?" if meant else f"the options are {', '.join(keys)}"
            self.problem(where, f"has no option {key}; {remedy}")
            if meant:
                found.setdefault(meant, entry[key])
        return found

    def words(self, where: str, raw: t.Any) -> list[str]:
        """A list of words, a single one, or several with commas in between."""
        if isinstance(raw, (dict, bool)):
            self.problem(where, f"{shown(raw)} is not a list")
            return []
        if isinstance(raw, list):
            return [str(word) for word in raw]
        return [word.strip() for word in str(raw or "").split(",") if word.strip()]

    def matching(self, where: str, what: str, value: t.Any, pattern: re.Pattern[str], remedy: str) -> str:
        text = str(value or "")
        if not pattern.fullmatch(text):
            self.problem(where, f"{what} {text!r} is not possible; {remedy}")
        return text

    def choice(self, where: str, what: str, value: str, choices: tuple[str, ...]) -> str:
        """One of the choices, whatever was given: a wrong default of all nodes is not a mistake in each of them."""
        if value not in choices:
            self.problem(where, f"{what} {value!r} is not known; choose one of {', '.join(choices)}")
            return choices[0]
        return value

    def flag(self, where: str, name: str, value: t.Any) -> bool:
        if value not in (None, True, False):
            self.problem(where, f"{name} {value!r} is neither true nor false")
        return value is True

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

    def mtu(self, where: str, raw: t.Any) -> int:
        text = str(raw or 0)
        if not text.isdigit() or int(text) not in (0, *range(68, 65536)):
            self.problem(where, f"mtu {text!r} is not possible; Linux takes 68 to 65535")
            return 0
        return int(text)

    def networks(self, raw: t.Any) -> Networks:
        networks: Networks = {}
        names = []
        for place, entry in self.items("lab_networks", raw, NETWORK_OPTIONS):
            name = self.matching(place, "name", entry.get("name"), LINK_NAME, "up to 15 letters, digits, '-', '_', '.'")
            names.append(name)
            where = f"{place} {name!r}"
            prefixes = [self.prefix(where, text) for text in self.words(f"{where} prefixes", entry.get("prefixes"))]
            networks[name] = Network(
                name,
                tuple(prefix for prefix in prefixes if prefix is not None),
                self.mtu(where, entry.get("mtu")),
                self.flag(where, "p2p", entry.get("p2p")),
            )
        self.unique("lab_networks", "network name", names)
        return networks

    def cable(
        self, where: str, node: str, raw: dict[str, t.Any], networks: Networks, first: t.Mapping[str, str]
    ) -> Cable:
        """``first``: the networks of the node's other interfaces, for a bridge that names none of its own."""
        remedy = "Linux takes up to 15 letters, digits, '-', '_', '.'"
        name = self.matching(where, "interface name", raw.get("name"), LINK_NAME, remedy)
        if name == "lo":
            self.problem(where, "'lo' exists in every node; put its addresses under `loopback`")
        ports = tuple(self.words(f"{where} bridge", raw.get("bridge")))
        network = str(raw.get("network") or next((first[port] for port in ports if first.get(port)), ""))
        if network not in networks:
            self.problem(where, f"network {network!r} is not one of lab_networks ({', '.join(networks) or 'none'})")
        where = f"{where} {name!r}"
        known = networks.get(network)
        given = self.words(f"{where} addresses", raw.get("addresses"))
        addresses = [self.cable_address(where, text, known) for text in given]
        cable = Cable(
            node,
            name,
            network,
            tuple(address for address in addresses if address is not None),
            mtu=self.mtu(where, raw.get("mtu")) or (known.mtu if known else 0),
            bridge=ports,
            vlan=self.vlan(where, raw),
            parent=str(raw.get("parent") or ""),
        )
        if any(one.version == 6 for one in cable.addresses) and 0 < cable.mtu < 1280:
            self.problem(where, f"mtu {cable.mtu} is too small for IPv6, which needs 1280")
        return cable

    def vlan(self, where: str, raw: dict[str, t.Any]) -> int:
        number, parent = raw.get("vlan"), raw.get("parent")
        if number is None and not parent:
            return 0
        if number is None or not parent:
            self.problem(where, "a VLAN needs both: its number as vlan, and the interface that carries it as parent")
            return 0
        if not str(number).isdigit() or not 1 <= int(number) <= 4094:
            self.problem(where, f"vlan {number!r} is not possible; there are 1 to 4094")
            return 0
        if raw.get("bridge"):
            self.problem(where, "is either a VLAN or a bridge; make the VLAN a port of the bridge")
        return int(number)

    def cable_address(self, where: str, text: t.Any, known: Network | None) -> Interface | None:
        address = self.address(where, text)
        if address is None or known is None:
            return None
        if known.p2p and not known.prefixes:
            return ipaddress.ip_interface(str(address))
        network, prefixes = known.name, known.prefixes
        for prefix in prefixes:
            if known.p2p and address.version == prefix.version and address in prefix:
                return ipaddress.ip_interface(str(address))
            if address.version == prefix.version and address in prefix:
                reserved = prefix.version == 4 and prefix.num_addresses > 2
                if reserved and address in (prefix.network_address, prefix.broadcast_address):
                    self.problem(where, f"{address} is the network or broadcast address of {prefix}")
                return ipaddress.ip_interface(f"{address}/{prefix.prefixlen}")
        shown = ", ".join(str(prefix) for prefix in prefixes) or "without prefixes"
        self.problem(where, f"{address} is not in network {network!r} ({shown})")
        return None

    def node(self, place: str, raw: dict[str, t.Any], release: str, networks: Networks) -> Node:
        remedy = "a host name has lower-case letters, digits and '-'"
        name = self.matching(place, "name", raw.get("name"), HOST_NAME, remedy)
        where = f"{place} {name!r}"
        if name == FABRIC:
            self.problem(where, "this name belongs to the lab's own switch; choose another")
        lists = {key: self.words(f"{where} {key}", raw.get(key)) for key in ("groups", "services", "packages")}
        for group in lists["groups"]:
            self.matching(where, "group", group, GROUP_NAME, "inventory groups have letters, digits and '_'")
        for service in lists["services"]:
            self.choice(where, "service", service, SERVICES)
        for package in lists["packages"]:
            remedy = "Debian's packages have lower-case letters, digits, '.', '+', '-'"
            self.matching(where, "package", package, PACKAGE_NAME, remedy)
        before = len(self.problems)
        entries = list(self.items(f"{where} interfaces", raw.get("interfaces"), INTERFACE_OPTIONS))
        first = {str(each.get("name")): str(each.get("network") or "") for _place, each in entries}
        cables = [self.cable(at, name, entry, networks, first) for at, entry in entries]
        self.unique(where, "interface name", (cable.interface for cable in cables))
        self.check_made(where, cables)
        loopback, gateways = (
            [self.address(f"{where} {key}", text) for text in self.words(f"{where} {key}", raw.get(key))]
            for key in ("loopback", "gateway")
        )
        host = str(raw.get("host") or "")
        if host:
            self.matching(where, "host", host, INVENTORY_NAME, "an inventory name has letters, digits, '.', '-', '_'")
        if len(self.problems) > before:
            self.broken.add(name)
        return Node(
            name=name,
            host=host,
            release=self.choice(where, "release", str(raw.get("release") or release), RELEASES),
            manager=self.choice(where, "manager", str(raw.get("manager") or "networkd"), MANAGERS),
            groups=tuple(lists["groups"]),
            services=tuple(lists["services"]),
            packages=tuple(sorted(set(lists["packages"]))),
            interfaces=tuple(cables),
            loopback=tuple(address for address in loopback if address is not None),
            gateways=tuple(address for address in gateways if address is not None),
            routes=tuple(self.routes(where, raw.get("routes"))),
            sysctl=tuple(self.sysctl(where, raw.get("sysctl") or {})),
            files=tuple(self.files(where, raw.get("files"))),
        )

    def check_plain(self, where: str, node: Node) -> None:
        """Some managers configure only what their clients are tested with."""
        if node.manager in MANAGER_PACKAGES:
            made = any(each.vlan or each.bridge or each.peers for each in node.interfaces)
            if made or node.loopback or node.routes:
                self.problem(
                    where,
                    f"manager {node.manager} configures addresses and default routes of plain interfaces here; "
                    "choose networkd or ifupdown for bridges, VLANs, peers, loopback addresses and other routes",
                )

    def check_made(self, where: str, interfaces: list[Cable]) -> None:
        """Bridges and VLANs, which are made of other interfaces of the node."""
        known = {each.interface: each for each in interfaces}
        names = ", ".join(known)
        ports: list[str] = []
        for each in interfaces:
            for part in (*each.bridge, *([each.parent] if each.vlan else [])):
                if part not in known or part == each.interface:
                    self.problem(where, f"{each.interface!r} is made of {part!r}, which is not an interface ({names})")
            for port in each.bridge:
                if port in known and (known[port].addresses or known[port].bridge):
                    self.problem(where, f"{port!r} is a port of {each.interface!r}; give its addresses to the bridge")
            ports += each.bridge
        self.unique(where, "port of a bridge", ports)

    def routes(self, where: str, raw: t.Any) -> t.Iterator[tuple[Prefix, Address]]:
        for place, entry in self.items(f"{where} routes", raw, ("to", "via")):
            to, via = self.prefix(place, entry.get("to")), self.address(place, entry.get("via"))
            if to is None or via is None:
                continue
            if to.version != via.version:
                self.problem(place, f"{to} and {via} are of different families")
            elif not to.prefixlen:
                self.problem(place, f"{to} is the default route; write it as `gateway: [{via}]`")
            else:
                yield to, via

    def sysctl(self, where: str, raw: t.Any) -> t.Iterator[tuple[str, str]]:
        if not isinstance(raw, dict):
            self.problem(where, f"sysctl {raw!r} is not a mapping; write `sysctl: {{net.ipv4.ip_forward: 1}}`")
            return
        for key, value in raw.items():
            text = str(int(value)) if isinstance(value, bool) else str(value)
            if not SYSCTL_KEY.fullmatch(str(key)):
                self.problem(where, f"sysctl {key!r} is not possible; only those that begin with net. belong to a node")
            elif not text or not text.isprintable():
                self.problem(where, f"sysctl {key}: the value {text!r} is not possible; it is one line of text")
            else:
                yield str(key), text

    def files(self, where: str, raw: t.Any) -> t.Iterator[File]:
        for place, entry in self.items(f"{where} files", raw, ("path", "content", "mode")):
            path, content, mode = str(entry.get("path") or ""), entry.get("content", ""), entry.get("mode", "0644")
            parts = path.split("/")[1:]
            if not path.startswith("/") or {"", ".", ".."} & set(parts):
                self.problem(place, f"path {path!r} is not possible; it begins with / and names a file")
            elif parts[0] in NOT_KEPT:
                self.problem(place, f"{path} would be gone when the node boots; choose another place, such as /etc")
            elif not isinstance(content, str):
                self.problem(place, f"the content of {path} is not text; write it as a block with `content: |`")
            elif not isinstance(mode, str) or not FILE_MODE.fullmatch(mode):
                self.problem(place, f"mode {mode!r} is not possible; write it in quotes, such as '0644'")
            else:
                yield File("/".join(parts), content, int(mode, 8))

    def check_gateways(self, where: str, node: Node) -> None:
        self.unique(where, "a gateway of family", (f"IPv{address.version}" for address in node.gateways))
        hops = [("gateway", gateway) for gateway in node.gateways]
        for what, hop in [*hops, *((f"route to {to} via", via) for to, via in node.routes)]:
            if towards(node, hop) is None:
                self.problem(where, f"{what} {hop} is in no network that the node has an address in")

    def check_networks(self, networks: Networks, nodes: list[Node]) -> None:
        """What two nodes have to agree about."""
        carriers = {(each.node, each.interface): each.network for node in nodes for each in node.interfaces}
        for network in networks.values():
            here = [each for node in nodes for each in node.interfaces if each.network == network.name]
            ends = [each for each in here if not each.bridge]
            names = ", ".join(f"{each.node} {each.interface}" for each in ends)
            where = f"lab_networks {network.name!r}"
            if network.p2p and len(ends) > 2:
                self.problem(where, f"a point-to-point link has two ends, and this one {len(ends)}: {names}")
            # The lab's switches neither add nor remove tags.
            if len({(each.vlan, carriers.get((each.node, each.parent), "")) for each in ends}) > 1:
                self.problem(where, f"its ends ({names}) do not reach each other; give all the same vlan, or none")

    def check_addresses(self, nodes: list[Node]) -> None:
        owners: dict[tuple[str, Address], str] = {}
        for node in nodes:
            placed = [(cable.network, one.ip) for cable in node.interfaces for one in cable.addresses]
            for network, address in [*placed, *(("", address) for address in node.loopback)]:
                place = f"on network {network!r}" if network else "as a loopback address"
                owner = owners.setdefault((network, address), node.name)
                if owner != node.name or placed.count((network, address)) > 1 or node.loopback.count(address) > 1:
                    problem = f"lab_nodes: {address} is used twice {place} (by {owner} and {node.name})"
                    if problem not in self.problems:
                        self.problems.append(problem)


def nearest(word: str, known: t.Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word.lower(), sorted(known), 1, ALIKE)), "")


def shown(value: t.Any) -> str:
    """A value in a message, in one line that can be read."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def towards(node: Node, address: Address) -> Cable | None:
    """The cable behind which a node finds this neighbour."""
    return next((each for each in node.interfaces if each.holds(address)), None)


def joined(nodes: list[Node], networks: Networks) -> list[Node]:
    """With the addresses at the other ends of point-to-point links."""

    def ends(cable: Cable) -> Cable:
        if cable.network not in networks or not networks[cable.network].p2p:
            return cable
        others = [each for node in nodes for each in node.interfaces if each.network == cable.network and each != cable]
        return replace(cable, peers=tuple(one.ip for other in others for one in other.addresses))

    return [replace(node, interfaces=tuple(ends(cable) for cable in node.interfaces)) for node in nodes]


def parse(raw: dict[str, t.Any]) -> Lab:
    """Check a description; raises TopologyError with every problem it has."""
    parser = Parser()
    name = parser.matching("lab_name", "name", raw.get("name"), HOST_NAME, "lower-case letters, digits and '-'")
    # State and image source are given by the role only, so that their mistakes come with all others.
    parser.choice("lab_state", "state", str(raw.get("state") or "present"), STATES)
    parser.choice("lab_engine", "engine", str(raw.get("engine") or "podman"), tuple(CONNECTIONS))
    parser.choice("lab_image_source", "image source", str(raw.get("image_source") or "auto"), SOURCES)
    release = parser.choice("lab_release", "release", str(raw.get("release") or "bookworm"), RELEASES)
    networks = parser.networks(raw.get("networks"))
    if parser.misshapen:
        raise TopologyError(parser.problems)
    entries = list(parser.items("lab_nodes", raw.get("nodes"), NODE_OPTIONS))
    nodes = joined([parser.node(place, entry, release, networks) for place, entry in entries], networks)
    if not raw.get("nodes"):
        parser.problem("lab_nodes", "a lab needs at least one node")
    parser.unique("lab_nodes", "node name", (node.name for node in nodes))
    names = {node.name: node.inventory_name for node in nodes}  # a name that appears twice was named above
    parser.unique("lab_nodes", "inventory name", names.values())
    for (place, _entry), node in zip(entries, nodes, strict=True):
        if node.name not in parser.broken:
            # On a node with a wrong interface this would only say the same again.
            parser.check_gateways(f"{place} {node.name!r}", node)
            parser.check_plain(f"{place} {node.name!r}", node)
    parser.check_addresses(nodes)
    parser.check_networks(networks, nodes)
    if parser.problems:
        raise TopologyError(parser.problems)
    return Lab(name, tuple(networks), tuple(nodes))


def networkd_files(node: Node) -> dict[str, str]:
    files = {}
    for each in node.interfaces:
        # Duplicate address detection would cost a second at each boot; the check above has done its work.
        network = ["LinkLocalAddressing=ipv6", "IPv6AcceptRA=no", "IPv6DuplicateAddressDetection=0"]
        network += [f"Address={address}" for address in each.addresses if not peer_of(each, address)]
        network += [f"Gateway={via}" for to, via in hops(node, each) if to is None and via not in each.peers]
        network += [f"VLAN={other.interface}" for other in node.interfaces if other.parent == each.interface]
        network += [f"Bridge={other.interface}" for other in node.interfaces if each.interface in other.bridge]
        lines = ["[Match]", f"Name={each.interface}", "", "[Network]", *network]
        for address in each.addresses:
            peer = peer_of(each, address)
            lines += ["", "[Address]", f"Address={address}", f"Peer={peer}/{peer.max_prefixlen}"] if peer else []
        for to, via in hops(node, each):
            if to or via in each.peers:
                lines += ["", "[Route]", f"Gateway={via}", *([f"Destination={to}"] if to else [])]
                lines += ["GatewayOnLink=yes"] if via in each.peers else []
        files[f"etc/systemd/network/10-{each.interface}.network"] = "\n".join(lines) + "\n"
        if not each.plugged:
            kind = ["Kind=vlan", "", "[VLAN]", f"Id={each.vlan}"] if each.vlan else ["Kind=bridge"]
            size = [f"MTUBytes={each.mtu}"] if each.mtu else []
            lines = ["[NetDev]", f"Name={each.interface}", *size, *kind]
            files[f"etc/systemd/network/10-{each.interface}.netdev"] = "\n".join(lines) + "\n"
    if node.loopback:
        lines = ["[Match]", "Name=lo", "", "[Network]"]
        lines += [f"Address={address}/{address.max_prefixlen}" for address in node.loopback]
        files["etc/systemd/network/10-lo.network"] = "\n".join(lines) + "\n"
    return files


def peer_of(interface: Cable, address: Interface) -> Address | None:
    return next((peer for peer in interface.peers if peer.version == address.version), None)


def hops(node: Node, interface: Cable) -> list[tuple[Prefix | None, Address]]:
    """Routes over an interface: destination (None: the default route) and next hop."""
    routes: list[tuple[Prefix | None, Address]] = [(None, gateway) for gateway in node.gateways]
    return [(to, via) for to, via in [*routes, *node.routes] if towards(node, via) is interface]


def ifupdown_files(node: Node) -> dict[str, str]:
    lines = ["auto lo", "iface lo inet loopback"]
    lines += [f"    up ip address add {address}/{address.max_prefixlen} dev lo" for address in node.loopback]
    # A VLAN needs its parent, and a bridge its ports.
    for each in sorted(node.interfaces, key=lambda each: (bool(each.bridge), bool(each.vlan))):
        name = each.interface
        lines += ["", f"auto {name}"]
        plain = [address for address in each.addresses if not peer_of(each, address)]
        made = made_by_ifupdown(each)
        if made or not plain or len(plain) < len(each.addresses):
            lines += [f"iface {name} inet manual", *made, f"    up ip link set dev {name} up"]
            lines += [
                f"    up ip address add {address} peer {peer_of(each, address)} dev {name}"
                + (" nodad" if address.version == 6 else "")
                for address in each.addresses
                if address not in plain
            ]
        for address in plain:
            family = "inet" if address.version == 4 else "inet6"
            lines += [f"iface {name} {family} static", f"    address {address}"]
            lines += ["    dad-attempts 0"] if address.version == 6 else []
            lines += [
                f"    gateway {via}"
                for to, via in hops(node, each)
                if to is None and via.version == address.version and via in address.network
            ]
        # A stanza of its own for each family: their next hops have to be there.
        others = [(to, via) for to, via in hops(node, each) if to is not None or via in each.peers]
        lines += [f"    up ip route add {to or 'default'} via {via} dev {name}" for to, via in others]
    return {"etc/network/interfaces": "\n".join(lines) + "\n"}


def made_by_ifupdown(interface: Cable) -> list[str]:
    name, size = interface.interface, f" mtu {interface.mtu}" if interface.mtu else ""
    if interface.vlan:
        return [f"    pre-up ip link add link {interface.parent} name {name}{size} type vlan id {interface.vlan}"]
    if interface.bridge:
        ports = [f"    pre-up ip link set dev {port} master {name} up" for port in interface.bridge]
        return [f"    pre-up ip link add name {name}{size} type bridge forward_delay 0", *ports]
    return []


def networkmanager_files(node: Node) -> dict[str, str]:
    files = {}
    for each in node.interfaces:
        lines = ["[connection]", f"id={each.interface}", "type=ethernet", f"interface-name={each.interface}"]
        for version in (4, 6):
            addresses = [address for address in each.addresses if address.version == version]
            lines += ["", f"[ipv{version}]", f"method={'manual' if addresses else 'disabled'}"]
            lines += [f"address{number}={address}" for number, address in enumerate(addresses, 1)]
            lines += [f"gateway={via}" for _to, via in hops(node, each) if via.version == version]
        files[f"etc/NetworkManager/system-connections/{each.interface}.nmconnection"] = "\n".join(lines) + "\n"
    return files


def netplan_files(node: Node) -> dict[str, str]:
    lines = ["network:", "  version: 2", "  ethernets:"]
    for each in node.interfaces:
        lines += [f"    {each.interface}:", "      accept-ra: false"]
        lines += ["      addresses:"] * bool(each.addresses) + [f'        - "{address}"' for address in each.addresses]
        routes = hops(node, each)
        lines += ["      routes:"] * bool(routes)
        for _to, via in routes:
            lines += [f'        - to: "{"::/0" if via.version == 6 else "0.0.0.0/0"}"', f'          via: "{via}"']
    return {"etc/netplan/10-lab.yaml": "\n".join(lines) + "\n"}


def dhcpcd_files(node: Node) -> dict[str, str]:
    # There is no udev in a container, and nobody has the same addresses.
    lines = ["nodev", "noarp", "allowinterfaces " + " ".join(each.interface for each in node.interfaces)]
    for each in node.interfaces:
        lines += ["", f"interface {each.interface}", "noipv6rs", "noipv4ll"]
        for address in each.addresses:
            lines.append(f"static {'ip6' if address.version == 6 else 'ip'}_address={address}")
        lines += [f"static routers={via}" for _to, via in hops(node, each) if via.version == 4]
    return {"etc/dhcpcd.conf": "\n".join(lines) + "\n"}


MANAGER_FILES = {
    "networkd": networkd_files,
    "ifupdown": ifupdown_files,
    "networkmanager": networkmanager_files,
    "netplan": netplan_files,
    "dhcpcd": dhcpcd_files,
}


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
    manager = MANAGER_FILES[node.manager]
    identity = hashlib.sha256(f"{lab.name}/{node.name}".encode()).hexdigest()[:32]
    names = node.name if node.inventory_name == node.name else f"{node.host} {node.name}"
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n"
    return {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": hosts,
        "etc/machine-id": f"{identity}\n",
        **manager(node),
        **service_files(node),
        **sysctl_files(node),
        **{file.path: file.content for file in node.files},
    }


def node_modes(node: Node) -> dict[str, int]:
    """Path → mode, of those that are not as usual."""
    secret = ("etc/NetworkManager/", "etc/netplan/")  # their programs refuse or complain otherwise
    modes = {path: 0o600 for path in MANAGER_FILES[node.manager](node) if path.startswith(secret)}
    return {**modes, **{file.path: file.mode for file in node.files}}


def sysctl_files(node: Node) -> dict[str, str]:
    lines = [f"{key} = {value}\n" for key, value in node.sysctl]
    return {"etc/sysctl.d/node.conf": "".join(lines)} if lines else {}


def node_links(node: Node) -> dict[str, str]:
    """Symbolic link → target: the units that a node starts at boot beyond those of the image."""
    wants = "etc/systemd/system/multi-user.target.wants"
    links = {
        f"{wants}/lab-{service}.service": f"/etc/systemd/system/lab-{service}.service" for service in node.services
    }
    units = {"ifupdown": "networking", "networkmanager": "NetworkManager", "dhcpcd": "dhcpcd"}
    if node.manager == "networkmanager":
        dispatcher = "etc/systemd/system/dbus-org.freedesktop.nm-dispatcher.service"
        links[dispatcher] = "/lib/systemd/system/NetworkManager-dispatcher.service"
    if node.manager in units:
        # One manager per host: links to nowhere turn networkd off, as `systemctl mask` does.
        unit = units[node.manager] + ".service"
        links[f"{wants}/{unit}"] = f"/lib/systemd/system/{unit}"
        links["etc/systemd/system/systemd-networkd.service"] = "/dev/null"
        links["etc/systemd/system/systemd-networkd-wait-online.service"] = "/dev/null"
        links["etc/systemd/system/systemd-networkd.socket"] = "/dev/null"
    return links


def inventory(lab: Lab, engine: str, directory: str) -> dict[str, t.Any]:
    """An Ansible inventory of the nodes, as data."""
    hosts = {}
    groups: dict[str, t.Any] = {}
    for node in lab.nodes:
        hosts[node.inventory_name] = {
            "lab_node": node.name,
            "ansible_host": f"{lab.name}-{node.name}",
            "lab_interfaces": {cable.interface: [str(one) for one in cable.addresses] for cable in node.interfaces},
            "lab_addresses": [str(address) for address in node.addresses],
            "lab_release": node.release,
        }
        for group in node.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][node.inventory_name] = None
    shared = {
        "ansible_connection": CONNECTIONS[engine],
        "ansible_python_interpreter": "/usr/bin/python3",
        "lab_name": lab.name,
        "lab_engine": engine,
        "lab_directory": directory,
        "lab_reflectors": lab.reflectors,
    }
    return {"all": {"vars": shared, "hosts": hosts, "children": groups}}
