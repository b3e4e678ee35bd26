# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan what the role lan_client has to do on one host. Pure: text of the host and variables in, plan out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lan_client_plan
short_description: What a LAN client needs to send its traffic through a gateway
version_added: 1.0.0
author:
  - ipmasq.linux contributors (@ipmasq)
description:
  - Determines for the role P(ipmasq.linux.lan_client#role) which gateway address is in a network of the host, which
    network manager is in charge, and which files and commands set up the default route and DNS.
  - Needs C(netaddr) on the controller.
positional: _input
options:
  _input:
    description:
      - The output of the role's C(look.sh) on the host.
      - For an empty text, nothing is planned; only the controller's requirements are checked.
    type: str
    required: true
  state:
    description: V(absent) reverts what earlier runs did.
    type: str
    choices: [present, absent]
    default: present
  gateway:
    description: The gateway's IPv4 address, V(none), or empty to find it.
    type: str
    default: ''
  gateway6:
    description: The gateway's IPv6 address, V(none), or empty to find it.
    type: str
    default: ''
  interface:
    description: The interface towards the gateway, or empty to find it.
    type: str
    default: ''
  dns:
    description: Addresses of DNS servers.
    type: list
    elements: str
    default: []
  replace_default:
    description: Whether the new default route may take precedence over one that goes elsewhere.
    type: bool
    default: false
  group:
    description: The group of gateways, for messages.
    type: str
    default: gateways
  hosts:
    description: Names of the gateways. A name may be an address.
    type: list
    elements: str
    default: []
  declared:
    description: For each of O(hosts), the addresses that the inventory declares. They take precedence over all others.
    type: list
    elements: list
    default: []
  known:
    description: Lists as long as O(hosts), each with one list of addresses per gateway.
    type: list
    elements: list
    default: []
  lans:
    description: For each of O(hosts), the RV(ipmasq.linux.gateway#module:lans) that its own run returned.
    type: list
    elements: list
    default: []
  hints:
    description: One string per gateway that may be an address.
    type: list
    elements: str
    default: []
  asked:
    description: The output (C(stdout)) of C(ip -j address show) on each gateway that was asked (C(item)).
    type: list
    elements: dict
    default: []
  asker:
    description: The output of C(look.sh) on the host that asked them; empty for this host.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Show what would be done
  ansible.builtin.debug:
    msg: "{{ seen.stdout | ipmasq.linux.lan_client_plan(gateway='192.168.1.1') }}"
"""

RETURN = r"""
_value:
  description:
    - The keys C(ask) (the gateways to ask), C(problems), C(notes) and C(changes) (sentences),
      C(folders), C(write) and C(remove) (files), C(run) (shell commands), and C(manager), C(interface), C(gateway) and
      C(gateway6).
  type: dict
"""

import base64
import json
import re
import shlex
import typing as t
from dataclasses import dataclass, field

from ansible.errors import AnsibleFilterError

try:
    import netaddr
except ImportError:  # reported where it is used
    netaddr = None  # type: ignore[assignment]

NETWORKD = "systemd-networkd"
IFUPDOWN = "ifupdown"

DROPIN = re.compile(r"/etc/systemd/network/[^/]+\.network\.d/ipmasq-lan-client\.conf")
RESOLVED = "/etc/systemd/resolved.conf.d/ipmasq-lan-client.conf"
IF_UP = "/etc/network/if-up.d/ipmasq-lan-client"
RESOLV = "/etc/resolv.conf"
RESOLV_BEFORE = "/etc/resolv.conf.before-ipmasq"

HEAD = '# Written by the role ipmasq.linux.lan_client; "lan_client_state: absent" removes it.'

# Lines of a foreign resolv.conf that are not about servers and remain valid behind another gateway.
RESOLV_KEPT = re.compile(r"(search|domain|options|sortlist)\s")

# What to do by hand where this role cannot do it yet.
BY_HAND = {
    "NetworkManager": (
        "with `nmcli connection modify CONNECTION {ipv}.gateway {gateway}` and `nmcli device reapply {interface}`"
    ),
    "netplan": "with `routes: [{{to: {to}, via: {gateway}}}]` for {interface} in /etc/netplan and `netplan apply`",
    "dhcpcd": "with `static routers={gateway}` for {interface} in /etc/dhcpcd.conf",
    "connman": "with `connmanctl config SERVICE --{ipv} manual ADDRESS NETMASK {gateway}`",
    "wicked": "with the line `default {gateway} - {interface}` in /etc/sysconfig/network/ifroute-{interface}",
}

OPTION = {4: "lan_client_gateway", 6: "lan_client_gateway6"}

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Route:
    """A default route in the syntax of ``ip route``."""

    gateway: str
    dev: str
    metric: int = 0
    protocol: str = "static"
    onlink: bool = False
    prefsrc: str = ""

    @property
    def version(self) -> int:
        return 6 if ":" in self.gateway else 4

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.gateway, self.dev, self.metric)

    def __str__(self) -> str:
        words = ["default"]
        words += ["via", self.gateway] if self.gateway else []
        words += ["dev", self.dev] if self.dev else []
        words += ["proto", self.protocol] if self.protocol else []
        words += ["src", self.prefsrc] if self.prefsrc else []
        words += ["metric", str(self.metric)] if self.metric else []
        return " ".join(words + (["onlink"] if self.onlink else []))

    @property
    def quoted(self) -> str:
        """The same quoted for a shell, because the kernel accepts nearly any character in a link's name."""
        return " ".join(shlex.quote(word) for word in str(self).split())

    @classmethod
    def parse(cls, text: str) -> Route:
        words = text.split()
        pairs = dict(zip(words[1::2], words[2::2], strict=False))
        return cls(
            gateway=pairs.get("via", ""),
            dev=pairs.get("dev", ""),
            metric=int(pairs.get("metric", 0)),
            protocol=pairs.get("proto", ""),
            onlink=words[-1] == "onlink",
            prefsrc=pairs.get("src", ""),
        )

    @classmethod
    def of_kernel(cls, raw: Json) -> Route:
        return cls(
            gateway=raw.get("gateway") or raw.get("via", {}).get("host", ""),
            dev=raw.get("dev", ""),
            metric=int(raw.get("metric", 0)),
            protocol=raw.get("protocol", ""),
            onlink="onlink" in raw.get("flags", []),
            prefsrc=raw.get("prefsrc", ""),
        )


@dataclass(frozen=True)
class File:
    path: str
    content: str
    mode: str = "0644"
    owner: str = "0"
    group: str = "0"

    def said(self, word: str) -> list[str]:
        """The values in our own comments ``# Word: value``."""
        return re.findall(rf"^# {word}: (.+)$", self.content, re.MULTILINE)

    @property
    def ours(self) -> bool:
        return HEAD in self.content


@dataclass(frozen=True)
class Address:
    interface: str
    version: int
    local: str
    length: int
    dynamic: bool

    def holds(self, address: str) -> bool:
        if "/" in address or (":" in address) != (self.version == 6):
            return False
        return netaddr.IPAddress(address) in netaddr.IPNetwork(f"{self.local}/{self.length}")

    def __str__(self) -> str:
        return f"{self.interface} {self.local}/{self.length}"


@dataclass(frozen=True)
class Link:
    network_file: str
    state: str


@dataclass
class Seen:
    """The parsed output of look.sh."""

    addresses: list[Address]
    interfaces: list[str]
    routes: dict[int, list[Route]]
    links: dict[str, Link]
    ifstate: set[str]
    managers: list[tuple[str, str]]
    resolved: bool
    resolv_target: str
    files: dict[str, File]

    @classmethod
    def parse(cls, text: str) -> Seen:
        parts = re.split(r"^=== (\w+)\n", text, flags=re.MULTILINE)
        part = dict(zip(parts[1::2], parts[2::2], strict=True))
        try:
            links = json.loads(part["addresses"])
            routes = {
                v: [Route.of_kernel(raw) for raw in json.loads(part[f"routes{v}"].strip() or "[]")] for v in (4, 6)
            }
        except (KeyError, ValueError) as error:
            raise AnsibleFilterError(
                "`ip -j address show` on this host printed no JSON: iproute2 is missing there, or older than 4.14"
            ) from error
        resolver = part.get("resolver", "").split()
        return cls(
            addresses=addresses_of(links),
            interfaces=[link["ifname"] for link in links if link.get("ifname", "lo") != "lo"],
            routes=routes,
            links=links_of(part.get("networkd", "")),
            ifstate={line.partition("=")[2].strip() for line in part.get("ifupdown", "").splitlines()},
            managers=[
                (name, where)
                for name, _blank, where in (x.partition(" ") for x in part.get("managers", "").splitlines())
                if name
            ],
            resolved="active" in resolver,
            resolv_target=next((word for word in resolver if word.startswith("/")), ""),
            files={file.path: file for file in files_of(part.get("files", ""))},
        )

    def manager(self, interface: str) -> str:
        """The manager of the interface's addresses. NetworkManager comes first, because it keeps others off its
        interfaces.
        """
        if ("NetworkManager", interface) in self.managers:
            return "NetworkManager"
        link = self.links.get(interface)
        if link and link.network_file and link.state != "unmanaged":
            generated = link.network_file.startswith("/run/systemd/network/") and "netplan" in link.network_file
            return "netplan" if generated else NETWORKD
        if interface in self.ifstate:
            return IFUPDOWN
        return next((name for name, where in self.managers if where == "-"), "")


@dataclass
class Plan:
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    write: list[File] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    run: list[str] = field(default_factory=list)
    ask: list[str] = field(default_factory=list)
    manager: str = ""
    interface: str = ""
    gateways: dict[int, str] = field(default_factory=dict)

    def result(self) -> Json:
        stop = bool(self.problems)
        folders = {
            file.path.rpartition("/")[0] for file in self.write if file.path.endswith(".conf") and ".d/" in file.path
        }
        return {
            "ask": self.ask,
            "problems": self.problems,
            "notes": [] if stop else self.notes,
            "changes": [] if stop else self.changes,
            "folders": [] if stop else sorted(folders),
            "write": [] if stop else [vars(file) for file in self.write],
            "remove": [] if stop else self.remove,
            "run": "" if stop or not self.run else "\n".join(["set -eu", *self.run]),
            "manager": self.manager,
            "interface": self.interface,
            "gateway": self.gateways.get(4, ""),
            "gateway6": self.gateways.get(6, ""),
        }


def addresses_of(links: list[Json]) -> list[Address]:
    return [
        Address(
            interface=link["ifname"],
            version=6 if info["family"] == "inet6" else 4,
            local=info["local"],
            length=int(info["prefixlen"]),
            dynamic=bool(info.get("dynamic")),
        )
        for link in links
        if link.get("ifname", "lo") != "lo"
        for info in link.get("addr_info", [])
        if info.get("scope") == "global" and info.get("family") in ("inet", "inet6") and "local" in info
    ]


def links_of(status: str) -> dict[str, Link]:
    """The blocks of ``networkctl status -a``. Its JSON output is newer than the systemd of Debian 11."""
    links = {}
    for block in re.split(r"^\S+ +(?=\d+: )", status, flags=re.MULTILINE)[1:]:
        name = block.splitlines()[0].partition(": ")[2].strip()
        values = dict(re.findall(r"^ *(Network File|State): (.*?) *$", block, re.MULTILINE))
        state = re.search(r"\((.*)\)", values.get("State", ""))
        file = values.get("Network File", "")
        links[name] = Link(network_file=file if file.startswith("/") else "", state=state.group(1) if state else "")
    return links


def files_of(text: str) -> t.Iterator[File]:
    for line in text.splitlines():
        meta, _slash, rest = line.partition(" /")
        if not rest:
            continue
        mode, owner, group = meta.split()
        path, _blank, content = rest.partition(" ")
        yield File(
            "/" + path, base64.b64decode(content).decode("utf-8", "surrogateescape"), mode.zfill(4), owner, group
        )


def answered(result: Json) -> list[Address]:
    """A gateway's answer; empty if it was not reached or has no ``ip``."""
    try:
        return addresses_of(json.loads(result.get("stdout") or "[]"))
    except ValueError:
        return []


def is_address(text: str, version: int = 0) -> bool:
    try:
        return netaddr.IPAddress(text).version == version or not version
    except (netaddr.AddrFormatError, ValueError, TypeError):
        return False


class Planner:
    def __init__(self, seen: Seen, options: Json) -> None:
        self.seen = seen
        self.plan = Plan()
        self.dns: list[str] = options["dns"]
        self.wanted: dict[int, str] = {4: options["gateway"].strip(), 6: options["gateway6"].strip()}
        self.interface: str = options["interface"].strip()
        self.replace: bool = options["replace_default"]
        self.options = options
        self.own = {address.local for address in seen.addresses}
        # Gateways for which another host has answered.
        self.mirrored: list[str] = []
        self.preferred: set[str] = set()
        self.conf = [file for path, file in seen.files.items() if DROPIN.fullmatch(path)]
        self.if_up = seen.files.get(IF_UP)
        # Routes of earlier runs, which count as ours even if a variable has changed since.
        self.earlier = [Route.parse(x) for file in [*self.conf, self.if_up] if file for x in file.said("Route")]

    # ---- which gateway -------------------------------------------------------------------------------------------

    def candidates(self) -> dict[str, str]:
        """Addresses of the gateways with their hosts, without addresses of this host itself, such as those of bridges
        that container managers create on every machine.
        """
        found: dict[str, str] = {}
        for host, addresses in self.sources():
            for address in addresses:
                if address not in self.own:
                    found.setdefault(address, host)
        return found

    def sources(self) -> t.Iterator[tuple[str, list[str]]]:
        """Hosts with addresses, the most reliable source first."""
        hosts: list[str] = self.options["hosts"]
        for host, addresses in zip(hosts, self.options["declared"], strict=False):
            declared = self.declared(host, addresses)
            self.preferred.update(declared)
            yield host, declared
        for per_host in self.options["known"]:
            for host, addresses in zip(hosts, per_host, strict=True):
                yield host, self.declared(host, addresses)
        for host, lans in zip(hosts, self.options["lans"], strict=False):
            yield host, [address for lan in lans for address in lan.get("addresses", [])]
        for host, hint in [*zip(hosts, hosts, strict=True), *zip(hosts, self.options["hints"], strict=False)]:
            yield host, [str(netaddr.IPAddress(hint))] if is_address(hint) else []
        yield from self.answers().items()

    def answers(self) -> dict[str, list[str]]:
        """The gateways' answers, without those of gateways asked under a wrong name: there, the asking client answered
        itself, and its address must not become other clients' gateway.
        """
        said: dict[str, list[str]] = {}
        asker = Seen.parse(self.options["asker"]).addresses if self.options["asker"] else []
        clients = [self.own, {address.local for address in asker}]
        for result in self.options["asked"]:
            host, addresses = str(result.get("item", "")), [one.local for one in answered(result)]
            if addresses and any(own.issuperset(addresses) for own in clients):
                self.mirrored.append(host)
                addresses = []
            said[host] = said.get(host, []) + addresses
        return said

    def declared(self, host: str, addresses: t.Any) -> list[str]:
        plain = [str(one).split("/", 1)[0] for one in ([addresses] if isinstance(addresses, str) else addresses or [])]
        for one in plain:
            if not is_address(one):
                self.problem(f"gateway_addresses of {host}: {one!r} is not an IP address")
        return [str(netaddr.IPAddress(one)) for one in plain if is_address(one)]

    def problem(self, sentence: str) -> None:
        if sentence not in self.plan.problems:
            self.plan.problems.append(sentence)

    def places(self, address: str) -> list[Address]:
        """The host's own addresses whose networks contain this address."""
        return [
            own
            for own in self.seen.addresses
            if (not self.interface or own.interface == self.interface) and own.holds(address) and own.local != address
        ]

    def choose(self) -> None:
        if self.interface and self.interface not in self.seen.interfaces:
            known = ", ".join(self.seen.interfaces) or "none but lo"
            self.problem(
                f"lan_client_interface: there is no interface {self.interface!r} on this host (it has {known})"
            )
            return
        found = self.candidates()
        for version in (4, 6):
            self.choose_family(version, found)
        chosen = self.plan.gateways
        if not chosen and not self.plan.problems:
            if self.wanted[4] == self.wanted[6] == "none":
                self.problem(
                    "lan_client_gateway and lan_client_gateway6 are both none: "
                    "use lan_client_state: absent to remove everything"
                )
            else:
                asked = {str(result.get("item", "")) for result in self.options["asked"]}
                self.plan.ask = [host for host in self.options["hosts"] if host not in asked]
                if not self.plan.ask:
                    self.none_found(found)

    def choose_family(self, version: int, found: dict[str, str]) -> None:
        """Add the gateway of this family and the interface towards it, unless there is none or a problem."""
        wanted = self.wanted[version]
        if wanted == "none":
            return
        gateway = self.named(version, wanted) if wanted else self.found(version, found)
        interface = self.way(version, gateway) if gateway else ""
        if not interface:
            return
        if version == 6 and not wanted and self.advertised(interface):
            self.plan.notes.append(
                f"IPv6 is left alone: {interface} learns its default route from router advertisements"
            )
            return
        self.plan.interface = interface
        self.plan.gateways[version] = gateway

    def named(self, version: int, wanted: str) -> str:
        """The gateway that the user named, if it is valid."""
        name = OPTION[version]
        if not is_address(wanted, version):
            self.problem(f"{name}: {wanted!r} is not an IPv{version} address")
            return ""
        address = str(netaddr.IPAddress(wanted))
        if address in self.own:
            self.problem(f"{name}: {address} is an address of this host itself")
            return ""
        if not self.places(address):
            own = ", ".join(str(own) for own in self.seen.addresses if own.version == version)
            own = own or f"it has no IPv{version} address"
            self.problem(f"{name}: {address} is in none of this host's networks ({own})")
            return ""
        return address

    def found(self, version: int, found: dict[str, str]) -> str:
        """The one gateway address that this host can reach."""
        reached = {address: self.places(address) for address in found if is_address(address, version)}
        if self.plan.interface:
            here = self.plan.interface
            reached = {x: [own for own in places if own.interface == here] for x, places in reached.items()}
        matches = [address for address, places in reached.items() if places]
        # A declared address, such as one of VRRP, takes precedence over the router's own address beside it.
        matches = [address for address in matches if address in self.preferred] or matches
        if len(matches) > 1:
            several = ", ".join(f"{address} of {found[address]}" for address in matches)
            self.problem(
                f"several addresses of gateways are in networks of this host ({several}): "
                f"set {OPTION[version]} to one of them"
            )
        return matches[0] if len(matches) == 1 else ""

    def way(self, version: int, gateway: str) -> str:
        """The interface towards the gateway: the same for both families, because one file configures one interface."""
        interfaces = sorted({own.interface for own in self.places(gateway)})
        other = self.plan.interface
        if other in interfaces:
            return other
        if other:
            self.problem(
                f"{OPTION[version]}: {gateway} is reached by {interfaces[0]}, but the IPv4 gateway by {other}: "
                f"this role sets up one interface"
            )
            return ""
        if len(interfaces) > 1:
            names = " and ".join(interfaces)
            self.problem(f"{gateway} is in the networks of {names}: set lan_client_interface to one of them")
            return ""
        return interfaces[0]

    def advertised(self, interface: str) -> bool:
        return any(route.dev == interface and route.protocol == "ra" for route in self.seen.routes[6])

    def none_found(self, found: dict[str, str]) -> None:
        group = self.options["group"]
        if not self.options["hosts"]:
            self.problem(
                f"the inventory has no (other) host in group {group!r}: "
                f"set lan_client_gateway, or lan_client_gateways to the right group"
            )
            return
        if self.mirrored:
            self.problem(
                f"asked {' and '.join(dict.fromkeys(self.mirrored))}, was answered by the client that asked: "
                "a variable of their connection is a template of inventory_hostname; write it for each host, or set "
                "gateway_addresses for them"
            )
            return
        own = ", ".join(str(one) for one in self.seen.addresses) or "none"
        theirs = ", ".join(f"{address} of {host}" for address, host in found.items()) or "none of them answered"
        self.problem(
            f"no gateway of group {group!r} has an address in a network of this host: "
            f"set lan_client_gateway (own addresses: {own}; gateways: {theirs})"
        )

    # ---- routes --------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """The wanted routes, after a check of the routes that conflict with them."""
        routes = []
        for version, gateway in self.plan.gateways.items():
            here = self.plan.interface
            mine = {(gateway, here), *((route.gateway, route.dev) for route in self.earlier)}
            others = [route for route in self.seen.routes[version] if (route.gateway, route.dev) not in mine]
            metric = 0 if version == 4 else 1024
            if others and not self.replace:
                listed = " and ".join(f"`{route}`" for route in others)
                self.problem(
                    f"this host already has the IPv{version} default route {listed}, "
                    f"by which the controller may reach it: set lan_client_replace_default to true "
                    f"to let {gateway} on {here} win"
                )
                continue
            lowest = min((route.metric for route in others), default=metric + 1)
            if version == 6 and lowest <= metric:
                metric = lowest - 1
            # There is no metric below 0 (in IPv6: 1).
            in_place = [route for route in others if (route.metric == 0 if version == 4 else metric < 1)]
            # ifupdown replaces what the interface's own stanza added. Nothing else can be replaced reliably: its owner
            # would add it again, or fail to do so.
            if in_place and not (
                self.plan.manager == IFUPDOWN and version == 4 and all(r.dev == here for r in in_place)
            ):
                listed = " and ".join(f"`{route}`" for route in in_place)
                self.problem(
                    f"the IPv{version} default route {listed} has the highest priority there is: "
                    f"remove it where it is configured, or give it a metric of 100 there, and run this again"
                )
                continue
            places = self.places(gateway)
            onlink = all(own.dynamic for own in places)
            routes.append(Route(gateway, here, metric, onlink=onlink))
            if others:
                self.plan.notes.append(
                    f"IPv{version} goes through {gateway} on {here} instead of " + " and ".join(str(r) for r in others)
                )
        return routes

    def lives(self, route: Route) -> bool:
        return any(live.key == route.key for live in self.seen.routes[route.version])

    # ---- what to do ----------------------------------------------------------------------------------------------

    def present(self) -> None:
        for server in self.dns:
            if not is_address(server):
                self.problem(f"lan_client_dns: {server!r} is not an IP address")
        self.choose()
        plan = self.plan
        if plan.ask or not plan.gateways:
            return
        plan.manager = self.seen.manager(plan.interface)
        if plan.manager not in (NETWORKD, IFUPDOWN):
            self.other_manager()
            return
        routes = self.routes()
        resolver = self.resolver()
        if plan.problems:
            return
        files: list[File] = []
        if plan.manager == NETWORKD:
            files += self.networkd(routes, self.dns if resolver == "resolved" else [])
        else:
            files.append(self.ifupdown(routes))
            if resolver == "resolved":
                files.append(File(RESOLVED, f"{HEAD}\n[Resolve]\nDNS={' '.join(self.dns)}\n"))
        if not plan.problems:
            self.carry_out(files, routes, self.dns if resolver == "file" else [])

    def other_manager(self) -> None:
        plan = self.plan
        done = [
            gw for gw in plan.gateways.values() if any(r.gateway == gw for r in self.seen.routes[6 if ":" in gw else 4])
        ]
        asked_for = [
            gw for version, gw in plan.gateways.items() if version == 4 or self.wanted[6] or 4 not in plan.gateways
        ]
        who = plan.manager or "nothing that this role knows"
        if all(gw in done for gw in asked_for) and not self.dns:
            plan.notes.append(
                f"{plan.interface} is managed by {who} and already goes through {' and '.join(done)}: left as it is"
            )
            return
        gateway = asked_for[0]
        values = {"gateway": gateway, "interface": plan.interface}
        values |= {"ipv": "ipv6", "to": '"::/0"'} if ":" in gateway else {"ipv": "ipv4", "to": "0.0.0.0/0"}
        how = BY_HAND[plan.manager].format(**values) if plan.manager in BY_HAND else "where its address is configured"
        self.problem(
            f"{plan.interface} is managed by {who}, and lan_client can configure only "
            f"{NETWORKD} and {IFUPDOWN} so far: give it the default route via {gateway} {how}"
            + (", set DNS there too and leave lan_client_dns empty" if self.dns else "")
            + ", or take this host out of the group"
        )

    def networkd(self, routes: list[Route], dns: list[str]) -> list[File]:
        here = self.plan.interface
        network_file = self.seen.links[here].network_file
        sharing = sorted(name for name, link in self.seen.links.items() if link.network_file == network_file)
        if len(sharing) > 1:
            self.problem(
                f"{network_file} configures {', '.join(sharing)} alike, so that a gateway in it would hold for "
                f"all of them: give {here} a .network file of its own that sorts before it"
            )
            return []
        lines = [HEAD, f"# Interface: {here}", *(f"# Route: {route}" for route in routes)]
        for route in routes:
            lines += ["", "[Route]", f"Gateway={route.gateway}"]
            # Only if it matters: 0 and 1024 are networkd's defaults.
            lines += [f"Metric={route.metric}"] if route.version == 6 and route.metric != 1024 else []
            # With DHCP, the address comes after the route, which could not reach its gateway until then.
            lines += ["GatewayOnLink=yes"] if route.onlink else []
        lines += ["", "[Network]", *(f"DNS={server}" for server in dns)] if dns else []
        name = network_file.rpartition("/")[2]
        return [File(f"/etc/systemd/network/{name}.d/ipmasq-lan-client.conf", "\n".join(lines) + "\n")]

    def ifupdown(self, routes: list[Route]) -> File:
        here = self.plan.interface
        lines = ["#!/bin/sh", HEAD, f"# Interface: {here}", *(f"# Route: {route}" for route in routes)]
        lines += [f"# Before: {route}" for route in self.before(routes)]
        lines += [
            f'[ "${{IFACE:-}}" = {shlex.quote(here)} ] || exit 0',
            "status=0",
            "# ifupdown comes here once per family, when the other family's address may not be there yet.",
            'ours() { [ "${ADDRFAM:-$1}" = "$1" ]; }',
        ]
        for route in routes:
            family = "inet6" if route.version == 6 else "inet"
            lines.append(f"if ours {family}; then ip -{route.version} route replace {route.quoted} || status=1; fi")
        return File(IF_UP, "\n".join([*lines, "exit $status"]) + "\n", "0755")

    def before(self, routes: list[Route]) -> list[Route]:
        """What the script will replace, from the time before the script existed."""
        if self.if_up and self.if_up.ours and self.plan.interface in self.if_up.said("Interface"):
            return self.before_the_script()
        here = {(route.version, route.metric) for route in routes}
        return [
            live
            for version in (4, 6)
            for live in self.seen.routes[version]
            if (version, live.metric) in here and live.dev == self.plan.interface and live.gateway
        ]

    def before_the_script(self) -> list[Route]:
        return [Route.parse(text) for text in self.if_up.said("Before")] if self.if_up else []

    def carry_out(self, files: list[File], routes: list[Route], dns: list[str]) -> None:
        """Turn files and routes that differ into steps. Without wanted files and routes, remove everything."""
        plan, seen = self.plan, self.seen
        paths = {file.path for file in files}
        stale = [file.path for file in self.conf if file.path not in paths]
        stale += [path for path in (IF_UP, RESOLVED) if path in seen.files and path not in paths]
        plan.write += [file for file in files if seen.files.get(file.path) != file]
        plan.remove += stale
        touched = {file.path for file in plan.write} | set(stale)
        missing = [route for route in routes if not self.lives(route)]

        self.take_back(routes, restore=IF_UP in stale)
        if plan.manager == IFUPDOWN and (IF_UP in touched or missing):
            plan.run.append(f"IFACE={shlex.quote(plan.interface)} {IF_UP}")
        self.tell_networkd(touched, routes if plan.manager == NETWORKD else [], missing)
        for route in missing:
            plan.changes.append(f"add the route {route}")
        for folder in sorted({path.rpartition("/")[0] for path in stale if path != IF_UP}):
            plan.run.append(f"rmdir {shlex.quote(folder)} 2>/dev/null || true")
        if RESOLVED in touched:
            plan.run.append("systemctl restart systemd-resolved")
        self.resolv_conf(dns)
        if plan.run and not plan.changes:
            plan.changes.append("let the network manager read its files again")

    def take_back(self, routes: list[Route], restore: bool) -> None:
        """Remove routes of earlier runs that are no longer wanted; ``restore`` what an if-up script replaced."""
        plan = self.plan
        kept = {route.key for route in routes}
        for route in self.earlier:
            if route.key not in kept and self.lives(route):
                plan.changes.append(f"remove the route {route}")
                plan.run.append(f"ip -{route.version} route del {route.quoted} 2>/dev/null || true")
        for route in self.before_the_script() if restore else []:
            plan.changes.append(f"restore the route {route}")
            plan.run.append(f"ip -{route.version} route replace {route.quoted}")

    def tell_networkd(self, touched: set[str], routes: list[Route], missing: list[Route]) -> None:
        """Let networkd read its files again, or restore a route that was removed at run time."""
        told = {name for file in self.conf if file.path in touched for name in file.said("Interface")}
        if routes and any(DROPIN.fullmatch(path) for path in touched):
            told.add(self.plan.interface)
        # An absent interface, or a stopped networkd, would never answer.
        told &= set(self.seen.links)
        if told:
            # Reconfigures only the interfaces whose files have changed.
            self.plan.run.append("networkctl reload")
        elif routes and missing:
            told = {self.plan.interface}
            self.plan.run.append(f"networkctl reconfigure {shlex.quote(self.plan.interface)}")
        if told:
            self.wait(sorted(told), routes)

    def wait(self, interfaces: list[str], routes: list[Route]) -> None:
        """networkd answers before it is done, so wait until the host is as declared."""
        tests = [
            f"networkctl --no-pager -n 0 status {shlex.quote(one)} 2>/dev/null | grep -q '(configured)'"
            for one in interfaces
        ]
        tests += [
            f"ip -{r.version} route show default via {shlex.quote(r.gateway)} dev {shlex.quote(r.dev)}"
            + (f" metric {r.metric}" if r.metric else "")
            + " | grep -q ."
            for r in routes
        ]
        self.plan.run += [
            f"here() {{ {' && '.join(tests) or ':'}; }}",
            "tries=0",
            "until here; do",
            '    tries=$((tries + 1)); [ "$tries" -lt 100 ] || {',
            "        echo 'systemd-networkd did not bring the default route: see journalctl -u systemd-networkd' >&2",
            "        exit 1",
            "    }",
            "    sleep 0.1",
            "done",
        ]

    # ---- DNS -----------------------------------------------------------------------------------------------------

    def resolver(self) -> str:
        """Where DNS servers are written: nowhere, to systemd-resolved or to the file."""
        if not self.dns:
            return ""
        target = self.seen.resolv_target
        file = self.seen.files.get(RESOLV)
        if target.startswith("/run/systemd/resolve/") or (file and self.seen.resolved and "127.0.0.53" in file.content):
            if self.seen.resolved:
                return "resolved"
            self.problem(
                f"{RESOLV} is a link to {target}, but systemd-resolved does not run: "
                f"start it, or leave lan_client_dns empty"
            )
            return ""
        if target:
            self.problem(
                f"{RESOLV} is a link to {target}, and this role does not know who writes that: "
                f"set the DNS servers where it comes from and leave lan_client_dns empty"
            )
            return ""
        return "file"

    def resolv_conf(self, dns: list[str]) -> None:
        plan = self.plan
        file, before = self.seen.files.get(RESOLV), self.seen.files.get(RESOLV_BEFORE)
        ours = bool(file and file.ours)
        if dns:
            original = before if ours else file
            kept = [line for line in (original.content.splitlines() if original else []) if RESOLV_KEPT.match(line)]
            content = "\n".join([HEAD, *kept, *(f"nameserver {server}" for server in dns)]) + "\n"
            if file and not ours:
                saved = File(RESOLV_BEFORE, file.content, file.mode, file.owner, file.group)
                plan.write += [saved] if saved != before else []
            new = File(RESOLV, content, file.mode, file.owner, file.group) if file else File(RESOLV, content)
            plan.write += [new] if new != file else []
            return
        if ours and before:
            plan.write.append(File(RESOLV, before.content, before.mode, before.owner, before.group))
        elif ours:
            plan.remove.append(RESOLV)
        # If another program has written the file since, its contents count.
        plan.remove += [RESOLV_BEFORE] if before else []


def lan_client_plan(
    seen: str,
    state: str = "present",
    gateway: str = "",
    gateway6: str = "",
    interface: str = "",
    dns: list[str] | None = None,
    replace_default: bool = False,
    group: str = "gateways",
    hosts: list[str] | None = None,
    declared: list[t.Any] | None = None,
    known: list[list[t.Any]] | None = None,
    lans: list[list[Json]] | None = None,
    hints: list[str] | None = None,
    asked: list[Json] | None = None,
    asker: str = "",
) -> Json:
    if netaddr is None:
        raise AnsibleFilterError(
            "the filter ipmasq.linux.lan_client_plan needs netaddr on the controller: pip install netaddr"
        )
    if not seen:
        return Plan().result()
    options: Json = {
        "gateway": gateway or "",
        "gateway6": gateway6 or "",
        "interface": interface or "",
        "dns": [str(server) for server in dns or []],
        "replace_default": bool(replace_default),
        "group": group,
        "hosts": list(hosts or []),
        "declared": list(declared or []),
        "known": list(known or []),
        "lans": list(lans or []),
        "hints": [str(hint or "") for hint in hints or []],
        "asked": list(asked or []),
        "asker": asker or "",
    }
    planner = Planner(Seen.parse(seen), options)
    if state == "present":
        planner.present()
    else:
        planner.carry_out([], [], [])
    return planner.plan.result()


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"lan_client_plan": lan_client_plan}
