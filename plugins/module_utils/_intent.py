# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the user wants, as frozen values made from module options and independent of the backend.

Option names follow RFC 2663. ``*_from_params`` check everything that does not depend on the host; ``_resolve`` fills in
and checks the rest.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ._conflicts import check_references
from ._errors import GatewayError, Problems
from ._rules import family_of, is_suffix, network as parsed_network
from ._values import (
    addresses_in,
    check_hosts,
    check_instance,
    check_interface,
    check_name,
    check_rate,
    is_network,
    networks_of,
    overlaps,
    read_addresses,
    read_networks,
    read_port_range,
    read_ports,
    read_suffix,
    shorten,
)
from ._words import CT_STATES, LOGGED, PROTOCOLS, WITH_PORTS

if t.TYPE_CHECKING:  # pragma: no cover
    from ._rules import Ports

#: The iptables limit (29) less the longest event name, its colon and a space.
LOG_PREFIX_LENGTH = 29 - max(len(event) for event in LOGGED) - 2
#: RFC 4787 REQ-5 requires 5 minutes, RFC 5508 REQ-2 60 seconds; the kernel's defaults are 30 and 120, and 30.
DEFAULT_TIMEOUTS = (("icmp", 60), ("icmpv6", 60), ("udp", 300), ("udp_stream", 300))


#: Optional lists of items, and how error messages name an item.
ITEM_KINDS = ("nat", "port_forwards", "outbound", "multicast", "input_allow", "helpers")
ITEM = re.compile(r"(?:{0})\[[0-9]+\]".format("|".join(ITEM_KINDS)))
#: WAN, or "" for all WANs together, to the networks in which this host's addresses do not belong to that WAN.
Elsewhere = t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]
#: Option to seconds.
Timeouts = t.Tuple[t.Tuple[str, int], ...]


@dataclass(frozen=True)
class Wan:
    interface: str
    mss: str = "pmtu"  # pmtu, keep, or a number of bytes
    addresses: t.Tuple[str, ...] = ()  # its present addresses; filled in only where a rule needs them


@dataclass(frozen=True)
class Lan:
    """``networks`` is None until the interfaces' networks are read from the host."""

    name: str
    interfaces: t.Tuple[str, ...]
    networks: t.Optional[t.Tuple[str, ...]] = None
    reaches: t.Tuple[str, ...] = ()
    spoof_check: bool = True
    follows: bool = False  # its networks come from its links and may change without a run


@dataclass(frozen=True)
class Traffic:
    """Which packets an item matches. An empty field matches everything."""

    name: str
    source: t.Tuple[str, ...] = ()  # names of LANs, or networks; empty: every LAN
    destination: t.Tuple[str, ...] = ()
    wan: str = ""  # empty: every WAN
    protocol: t.Tuple[str, ...] = ()
    port: t.Tuple[Ports, ...] = ()


@dataclass(frozen=True)
class NatItem(Traffic):
    action: str = "masquerade"
    to: t.Tuple[str, ...] = ()  # snat: addresses and ranges; static and prefix: one network
    to_port: t.Optional[Ports] = None
    random: bool = False
    persistent: bool = True
    ipsec: bool = False
    inbound: bool = False
    hairpin: bool = False  # for static; defaults to inbound
    to_address: str = ""  # empty: existing, or for 1:1 as the WAN's networks require
    timeouts: Timeouts = ()


@dataclass(frozen=True)
class PortForward(Traffic):
    """``source`` and ``destination`` are those of outside clients; empty: any client, any WAN address."""

    to: t.Tuple[str, ...] = ()
    to_port: t.Optional[int] = None
    hairpin: bool = False
    hairpin_source: str = "external"
    balance: str = "round_robin"
    timeouts: Timeouts = ()


@dataclass(frozen=True)
class PortForwardItem(PortForward):
    """A single port forward without a gateway."""

    in_interface: str = ""

    @property
    def key(self) -> str:
        return "port_forward/" + self.name


@dataclass(frozen=True)
class Outbound(Traffic):
    action: str = "accept"
    rate: str = ""


@dataclass(frozen=True)
class Multicast:
    """Multicast groups let in from a WAN, from these senders, to these LANs. An empty field means all."""

    name: str
    group: t.Tuple[str, ...]
    source: t.Tuple[str, ...] = ()
    wan: str = ""
    lan: t.Tuple[str, ...] = ()


@dataclass(frozen=True)
class HelperItem:
    """A conntrack helper for connections from LANs. Without ``port`` it is on the service's default ports."""

    name: str
    port: t.Tuple[int, ...] = ()


@dataclass(frozen=True)
class Neighbour:
    """Another instance on this host: its LANs with their interfaces, and its WANs."""

    instance: str = ""
    lans: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()
    wans: t.Tuple[str, ...] = ()

    @property
    def links(self) -> t.Tuple[str, ...]:
        return tuple(name for _lan, names in self.lans for name in names) + self.wans


@dataclass(frozen=True)
class Around:
    """What the rules need to know about the rest of the host; filled in by _around.py."""

    managed: t.Tuple[str, ...] = ()  # links of container, VM and VPN managers: patterns, and names found in this run
    apart: t.Tuple[str, ...] = ()  # links with such names that are not theirs, or that have a default route
    ways_out: t.Tuple[str, ...] = ()  # undeclared links with a default route
    neighbours: t.Tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Gateway:
    """A whole gateway. If ``wans`` or ``lans`` is None, they are chosen on the host."""

    instance: str = "default"
    choice: str = "keep"  # for omitted wans and lans: keep what an earlier run chose, or renew
    wans: t.Optional[t.Tuple[Wan, ...]] = None
    lans: t.Optional[t.Tuple[Lan, ...]] = None
    nat: t.Tuple[NatItem, ...] = (NatItem("default"),)
    port_forwards: t.Tuple[PortForward, ...] = ()
    outbound: t.Tuple[Outbound, ...] = ()
    multicast: t.Tuple[Multicast, ...] = ()
    profile: str = "peer_to_peer"
    ipv6: str = "route"
    mss: str = "pmtu"
    undeclared: str = "drop"
    drop_bogons: bool = False
    input: str = "open"
    input_allow: t.Tuple[Traffic, ...] = ()
    input_controller_ports: t.Optional[t.Tuple[int, ...]] = None  # None: every port of an SSH server
    controller_ports: t.Tuple[int, ...] = (22,)  # the ports that stay open
    own_servers: t.Tuple[str, ...] = ()  # port forward servers that are addresses of this host
    helpers: t.Tuple[HelperItem, ...] = ()
    conntrack_max: str = "keep"  # keep, auto, or a number of connections
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    offload: str = "none"
    log: t.Tuple[str, ...] = ()
    log_prefix: str = "ipmasq "
    log_rate: str = "10/minute"
    elsewhere: Elsewhere = ()  # filled in only where a rule needs it
    around: Around = Around()
    unsound: t.FrozenSet[str] = frozenset()  # invalid items, such as "nat[2]"

    def sound(self, kind: str) -> t.List[t.Tuple[int, t.Any]]:
        """The valid items of a list with their indexes."""
        items = enumerate(getattr(self, kind))
        return [(index, item) for index, item in items if "{0}[{1}]".format(kind, index) not in self.unsound]

    def only_sound(self) -> Gateway:
        parts = {kind: tuple(item for _index, item in self.sound(kind)) for kind in ITEM_KINDS}
        return replace(self, unsound=frozenset(), **t.cast("t.Any", parts))


@dataclass(frozen=True)
class Masquerade:
    """The line ``-t nat -A POSTROUTING -s SOURCE -o OUT -j MASQUERADE``."""

    name: str
    source: t.Tuple[str, ...]
    out_interface: str
    destination: t.Tuple[str, ...] = ()
    closed: bool = False

    @property
    def key(self) -> str:
        return "masquerade/" + self.name


@dataclass(frozen=True)
class Forward:
    """One line of the FORWARD chain."""

    name: str
    action: str = "accept"
    source: t.Tuple[str, ...] = ()
    destination: t.Tuple[str, ...] = ()
    in_interface: str = ""
    out_interface: str = ""
    ct_state: t.Tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return "forward/" + self.name


@dataclass(frozen=True)
class Forwarding:
    """The forwarding switches; None leaves a family unchanged. Without ``interfaces``, the global switches."""

    ipv4: t.Optional[bool] = None
    ipv6: t.Optional[bool] = None
    interfaces: t.Optional[t.Tuple[str, ...]] = None

    @property
    def values(self) -> t.Dict[str, str]:
        """Address family to value, for the families that are set."""
        given = {"ip": self.ipv4, "ip6": self.ipv6}
        return {family: "1" if wanted else "0" for family, wanted in given.items() if wanted is not None}


Line = t.Union[Masquerade, Forward]
Item = t.Union[Line, PortForwardItem]


def gateway_from_params(params: t.Mapping[str, t.Any]) -> Gateway:
    """Convert the options of the gateway module. Raises GatewayError with all problems."""
    gateway, found = read_gateway(params)
    if found:
        raise GatewayError(*found)
    return gateway


def read_gateway(params: t.Mapping[str, t.Any]) -> t.Tuple[Gateway, t.Tuple[str, ...]]:
    """The gateway and every problem. Invalid items are marked as unsound, so that the rest can be checked against the
    host and all problems reported together.

    Raises GatewayError at once if WANs or LANs are invalid, because everything else depends on them.
    """
    problems = Problems()
    check_instance(params["instance"], problems)
    wans, lans = params.get("wans"), params.get("lans")
    profile = params["profile"]
    mss = _mss("mss", params["mss"], problems)
    gateway = Gateway(
        instance=params["instance"],
        choice=params["choice"],
        wans=None if wans is None else tuple(_wan(index, wan, mss, problems) for index, wan in enumerate(wans)),
        lans=None if lans is None else tuple(_lan(index, lan, problems) for index, lan in enumerate(lans)),
        nat=_nat(params.get("nat"), profile, problems),
        port_forwards=tuple(
            _port_forward(index, raw, problems) for index, raw in enumerate(params.get("port_forwards") or ())
        ),
        outbound=tuple(_outbound(index, raw, problems) for index, raw in enumerate(params.get("outbound") or ())),
        multicast=tuple(_multicast(index, raw, problems) for index, raw in enumerate(params.get("multicast") or ())),
        profile=profile,
        ipv6=params["ipv6"],
        mss=mss,
        undeclared=params["undeclared"],
        drop_bogons=params["drop_bogons"],
        input=params["input"],
        input_allow=tuple(_allow(index, raw, problems) for index, raw in enumerate(params.get("input_allow") or ())),
        input_controller_ports=_controller_ports(params.get("input_controller_ports"), problems),
        helpers=tuple(_helper(index, raw, problems) for index, raw in enumerate(params.get("helpers") or ())),
        conntrack_max=_conntrack_max(params["conntrack_max"], problems),
        timeouts=_timeouts("timeouts", DEFAULT_TIMEOUTS, params.get("timeouts"), problems),
        offload=params["offload"],
        log=tuple(event for event in LOGGED if event in (params.get("log") or ())),
        log_prefix=_log_prefix(params["log_prefix"], problems),
        log_rate=check_rate("log_rate", params["log_rate"], problems) or Gateway.log_rate,
    )
    if gateway.input_allow and gateway.input == "open":
        problems.add("input_allow", "has no effect while input is open; set input to protect")
    if gateway.input_controller_ports is not None and gateway.input == "open":
        problems.add("input_controller_ports", "has no effect while input is open; set input to protect")
    check_references(gateway, problems)
    if any(where.startswith(("instance", "lans", "wans")) for where in problems.places):
        problems.raise_if_any()
    unsound = frozenset(found for where in problems.places for found in ITEM.findall(where))
    return replace(gateway, unsound=unsound), tuple(problems.found)


def masquerade_from_params(params: t.Mapping[str, t.Any]) -> Masquerade:
    problems = Problems()
    item = Masquerade(
        name=params["name"],
        source=read_networks("source", params["source"], problems),
        destination=read_networks("destination", params["destination"], problems),
        out_interface=params["out_interface"] or "",
        closed=params["closed"],
    )
    _check_item(item, params["instance"], problems)
    if params["state"] == "present" and not params["source"]:
        problems.add("source", "is empty; name the LAN networks to masquerade, such as 192.168.1.0/24")
    if params["state"] == "present" and not item.out_interface:
        problems.add("out_interface", "is missing; name the WAN interface, such as ppp0")
    problems.raise_if_any()
    return item


def forward_from_params(params: t.Mapping[str, t.Any]) -> Forward:
    problems = Problems()
    item = Forward(
        name=params["name"],
        action=params["action"],
        source=read_networks("source", params["source"], problems),
        destination=read_networks("destination", params["destination"], problems),
        in_interface=params["in_interface"] or "",
        out_interface=params["out_interface"] or "",
        ct_state=tuple(state for state in CT_STATES if state in (params["ct_state"] or ())),
    )
    _check_item(item, params["instance"], problems)
    if item.in_interface:
        check_interface("in_interface", item.in_interface, problems)
    named = any(params[option] for option in ("source", "destination", "in_interface", "out_interface"))
    if params["state"] == "present" and not named:
        problems.add(
            "forward '{0}'".format(shorten(item.name)),
            "matches everything; give at least one of source, destination, in_interface, out_interface",
        )
    problems.raise_if_any()
    return item


def port_forward_from_params(params: t.Mapping[str, t.Any]) -> PortForwardItem:
    problems = Problems()
    check_instance(params["instance"], problems)
    where = "port_forward '{0}'".format(shorten(params["name"]))
    if params["state"] == "absent":
        check_name("name", params["name"], problems)
        problems.raise_if_any()
        return PortForwardItem(params["name"])
    given = dict(params, port=params["port"] or (), to=params["to"] or ())
    for entry in given["source"] or ():
        if not is_network(entry):
            problems.add(where, "source '{0}' is not a network; write it as 198.51.100.0/24".format(shorten(entry)))
    item = PortForwardItem(
        **_traffic(where, dict(given, wan=None), problems),
        to=read_addresses(where + ": to", given["to"], problems),
        to_port=given["to_port"],
        balance=given["balance"],
        in_interface=given["in_interface"] or "",
    )
    if not item.in_interface:
        problems.add("in_interface", "is missing; name the WAN interface, such as ppp0")
    else:
        check_interface("in_interface", item.in_interface, problems)
    _check_forward(where, given, item, problems)
    problems.raise_if_any()
    return item


def forwarding_from_params(params: t.Mapping[str, t.Any]) -> Forwarding:
    problems = Problems()
    check_instance(params["instance"], problems)
    names = params["interfaces"]
    for index, name in enumerate(names or ()):
        where = "interfaces[{0}]".format(index)
        check_interface(where, name, problems)
        if name.endswith("*"):
            problems.add(where, "'{0}' is a pattern; name single interfaces".format(name))
    if names is not None and not names:
        problems.add("interfaces", "is empty; leave it out to set the global switch")
    problems.raise_if_any()
    return Forwarding(params["ipv4"], params["ipv6"], None if names is None else tuple(names))


def _check_item(item: Line, instance: str, problems: Problems) -> None:
    check_instance(instance, problems)
    check_name("name", item.name, problems)
    if item.out_interface:
        check_interface("out_interface", item.out_interface, problems)
    families = [{family_of(net) for net in nets} for nets in (item.source, item.destination) if nets]
    if len(families) == 2 and not families[0] & families[1]:
        problems.add("source and destination", "have no address family in common; give both in IPv4 or both in IPv6")


def _wan(index: int, raw: t.Mapping[str, t.Any], mss: str, problems: Problems) -> Wan:
    where = "wans[{0}]".format(index)
    check_interface(where, raw["interface"], problems)
    given = raw.get("mss")
    return Wan(raw["interface"], mss if given is None else _mss(where + ": mss", given, problems))


def _mss(where: str, raw: str, problems: Problems) -> str:
    """pmtu, keep, or bytes. RFC 9293 section 3.7.1 assumes 536 by default; no kernel sends less than 88."""
    if raw in ("pmtu", "keep"):
        return raw
    if raw.isascii() and raw.isdigit() and len(raw) <= 5 and 88 <= int(raw) <= 65495:
        return str(int(raw))
    problems.add(where, "'{0}' is not pmtu, keep or a number of bytes from 88 to 65495".format(shorten(raw)))
    return "pmtu"


#: The largest private block is fc00::/7.
SHORTEST_LAN = 7


def _lan(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Lan:
    where = "lans[{0}] '{1}'".format(index, shorten(raw["name"]))
    check_name(where, raw["name"], problems)
    if is_network(raw["name"]):
        problems.add(where, "name '{0}' looks like an address; give the LAN another name".format(shorten(raw["name"])))
    if not raw["interfaces"]:
        problems.add(where, "interfaces is empty; name at least one LAN interface")
    for name in raw["interfaces"]:
        check_interface(where, name, problems)
    networks = raw.get("networks")
    if networks is not None and not networks:
        problems.add(where, "networks is empty; list networks, or leave it out to use the interfaces' own")
    read = None if networks is None else read_networks(where + ": networks", networks, problems)
    for net in read or ():
        if int(net.split("/")[1]) < SHORTEST_LAN:
            problems.add(
                where + ": networks",
                "{0} covers most of the Internet; name the networks behind the LAN".format(net),
            )
    return Lan(
        name=raw["name"],
        interfaces=tuple(raw["interfaces"]),
        networks=read,
        reaches=tuple(raw.get("reaches") or ()),
        spoof_check=raw["spoof_check"],
    )


def _nat(raw: t.Optional[t.Sequence[t.Mapping[str, t.Any]]], profile: str, problems: Problems) -> t.Tuple[NatItem, ...]:
    if raw is None:
        raw = [{"name": "default", "action": "masquerade"}]
    return tuple(_nat_item(index, item, profile, problems) for index, item in enumerate(raw))


#: Options that are valid only with some actions; with others they are an error, not ignored.
NAT_OPTIONS = {
    "to": ("snat", "static", "prefix"),
    "to_port": ("masquerade", "snat"),
    "random": ("masquerade", "snat"),
    "persistent": ("snat",),
    "ipsec": ("exempt",),
    "inbound": ("static", "prefix"),
    "hairpin": ("static",),
    "to_address": ("snat", "static"),
    "protocol": ("masquerade", "snat", "exempt"),
    "port": ("masquerade", "snat", "exempt"),
}


def _nat_item(index: int, raw: t.Mapping[str, t.Any], profile: str, problems: Problems) -> NatItem:
    where = "nat[{0}] '{1}'".format(index, shorten(raw["name"]))
    action = raw["action"]
    for option, actions in NAT_OPTIONS.items():
        if raw.get(option) is not None and raw[option] is not False and action not in actions:
            problems.add(
                where, "{0} is not valid with action {1}, only with {2}".format(option, action, " or ".join(actions))
            )
    traffic = _traffic(where, raw, problems)
    if action in ("static", "prefix"):
        to = read_networks(where + ": to", raw.get("to"), problems)
    else:
        to = read_addresses(where + ": to", raw.get("to"), problems)
    if action in ("snat", "static", "prefix") and not raw.get("to"):
        problems.add(
            where,
            "option to is missing; name the {0} to translate to".format("addresses" if action == "snat" else "network"),
        )
    check_hosts(
        where + ": to", [net for entry in to for net in ([entry] if "/" in entry else networks_of(entry))], problems
    )
    random = raw.get("random")
    if random is None:
        random = profile == "server_egress" and action in ("masquerade", "snat")
    to_port = read_port_range(where + ": to_port", raw.get("to_port"), problems)
    if to_port is None and profile == "server_egress" and action in ("masquerade", "snat"):
        # Otherwise ports below 1024 are translated to ports below 1024 (measured), of which only a few hundred exist.
        to_port = (1024, 65535)
    _check_pool(where, to if action == "snat" else (), problems)
    inbound = action == "static" if raw.get("inbound") is None else raw["inbound"]
    hairpin = raw.get("hairpin")
    if hairpin is None:
        # Clients inside may reach what clients outside may reach.
        hairpin = action == "static" and inbound and not traffic["destination"]
    elif hairpin and traffic["destination"]:
        problems.add(
            where,
            "hairpin excludes destination, which limits the item to some peers outside; leave one of them out",
        )
    item = NatItem(
        **traffic,
        action=action,
        to=to,
        to_port=to_port,
        random=random,
        persistent=raw.get("persistent") is not False,
        ipsec=bool(raw.get("ipsec")),
        inbound=inbound,
        hairpin=hairpin,
        to_address=raw.get("to_address") or "",
        timeouts=_item_timeouts(where, raw.get("timeouts"), traffic["protocol"], problems),
    )
    _check_one_to_one(where, item, problems)
    return item


#: CLUSTER_NODES_MAX, include/uapi/linux/netfilter/xt_cluster.h
MOST_SHARES = 32
#: In a pool of several ranges, each address becomes a map element.
MOST_IN_POOL = 1024


def _check_pool(where: str, to: t.Sequence[str], problems: Problems) -> None:
    for family in ("ip", "ip6"):
        ranges = [entry for entry in to if family_of(entry) == family]
        if len(ranges) > MOST_SHARES:
            problems.add(where, "to lists {0} ranges; the limit is {1}".format(len(ranges), MOST_SHARES))
        elif len(ranges) > 1 and None in (addresses_in(entry, MOST_IN_POOL // len(ranges)) for entry in ranges):
            problems.add(
                where,
                "to lists {0} ranges, so each may have up to {1} addresses; a single range has no limit".format(
                    len(ranges), MOST_IN_POOL // len(ranges)
                ),
            )


def _check_one_to_one(where: str, item: NatItem, problems: Problems) -> None:
    """static and prefix map one network to another of the same size."""
    if item.action not in ("static", "prefix") or not item.to:
        return
    networks = [entry for entry in item.source if is_network(entry)]
    if len(item.to) > 1:
        problems.add(where, "to lists {0} networks; action {1} maps to exactly one".format(len(item.to), item.action))
    if len(item.source) != 1:
        problems.add(where, "source must be exactly one network or LAN, the one that to represents outside")
    for inside in networks:
        for outside in item.to[:1]:
            check_same_size(where, item.action, inside, outside, problems)


def check_same_size(where: str, action: str, inside: str, outside: str, problems: Problems) -> None:
    if family_of(inside) != family_of(outside):
        problems.add(where, "source {0} and to {1} have different address families".format(inside, outside))
    elif inside.split("/")[1] != outside.split("/")[1]:
        problems.add(
            where,
            "source {0} and to {1} have different lengths; action {2} maps one address to one".format(
                inside, outside, action
            ),
        )
    elif action == "prefix" and family_of(inside) == "ip":
        problems.add(where, "action prefix is for IPv6 (RFC 6296); use action static for IPv4")
    elif action == "prefix" and int(inside.split("/")[1]) > 64:
        problems.add(where, "{0} is longer than /64, the longest that RFC 6296 translates".format(inside))


def _traffic(where: str, raw: t.Mapping[str, t.Any], problems: Problems) -> t.Dict[str, t.Any]:
    """The options that all kinds of items share."""
    check_name(where, raw["name"], problems)
    if raw.get("wan"):
        check_interface(where, raw["wan"], problems)
    named = [entry for entry in raw.get("source") or () if not is_network(entry)]
    for entry in named:
        check_name(where + ": source", entry, problems)
    networks = [entry for entry in raw.get("source") or () if is_network(entry)]
    protocol = _protocols(raw.get("protocol"))
    port = read_ports(where + ": port", raw.get("port"), problems)
    if port and (not protocol or set(protocol) - set(WITH_PORTS)):
        problems.add(where, "port requires protocol tcp, udp, sctp or both")
    given = [net for option in ("source", "destination") for net in raw.get(option) or () if is_network(net)]
    if protocol == ("igmp",) and given and all(":" in net for net in given):
        problems.add(where, "protocol igmp is IPv4 only; IPv6 uses MLD, which is part of icmp")
    return {
        "name": raw["name"],
        "source": tuple(named) + read_networks(where + ": source", networks, problems),
        "destination": read_networks(where + ": destination", raw.get("destination"), problems),
        "wan": raw.get("wan") or "",
        "protocol": protocol,
        "port": port,
    }


def _protocols(raw: t.Optional[t.Sequence[str]]) -> t.Tuple[str, ...]:
    """The protocols without duplicates, in the order of PROTOCOLS."""
    named = {one for entry in raw or () for one in (("tcp", "udp") if entry == "both" else (entry,))}
    return tuple(entry for entry in PROTOCOLS if entry in named)


def _port_forward(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> PortForward:
    where = "port_forwards[{0}] '{1}'".format(index, shorten(raw["name"]))
    traffic = _traffic(where, raw, problems)
    for entry in raw.get("source") or ():
        if not is_network(entry):
            problems.add(where, "source '{0}' is not a network; LAN names do not apply outside".format(shorten(entry)))
    forward = PortForward(
        **traffic,
        to=_servers(where + ": to", raw["to"], problems),
        to_port=raw.get("to_port"),
        hairpin=raw["hairpin"],
        hairpin_source=raw["hairpin_source"],
        balance=raw["balance"],
        timeouts=_item_timeouts(where, raw.get("timeouts"), traffic["protocol"], problems),
    )
    _check_forward(where, raw, forward, problems)
    return forward


def _check_forward(where: str, raw: t.Mapping[str, t.Any], forward: PortForward, problems: Problems) -> None:
    if not raw["port"]:
        problems.add(where, "port is empty; name the ports to forward, such as 443")
    if not raw["protocol"]:
        problems.add(where, "protocol is empty; name tcp, udp, sctp or both")
    if not raw["to"]:
        problems.add(where, "to is empty; name the server to forward to")
    _check_servers(where, forward, problems)
    if forward.to_port is not None:
        width = forward.port[0][1] - forward.port[0][0] if forward.port else 0
        if len(forward.port) > 1:
            problems.add(where, "to_port allows one port range only; write one forward for each range")
        elif not 1 <= forward.to_port <= 65535 - width:
            problems.add(where, "to_port {0} leaves the port range 1-65535".format(forward.to_port))
    for nets in (forward.source, forward.destination):
        if forward.to and nets and family_of(forward.to[0]) not in {family_of(net) for net in nets}:
            problems.add(
                where, "to {0} has no address family in common with {1}".format(forward.to[0], shorten(nets[0]))
            )


def _servers(where: str, raw: t.Sequence[str], problems: Problems) -> t.Tuple[str, ...]:
    """Addresses, or address suffixes for prefixes that change."""
    suffixes = [entry for entry in raw if is_suffix(entry)]
    if suffixes and len(suffixes) < len(raw):
        problems.add(where, "mixes addresses and suffixes; write two forwards")
    read = tuple(read_suffix(where, entry, problems) for entry in suffixes)
    return tuple(filter(None, read)) or read_addresses(where, [each for each in raw if each not in suffixes], problems)


def _check_servers(where: str, forward: PortForward, problems: Problems) -> None:
    for entry in forward.to:
        if "-" in entry:
            problems.add(where, "to {0} is a range; list the servers".format(entry))
    if len(forward.to) > MOST_SHARES:
        problems.add(where, "to lists {0} servers; the limit is {1}".format(len(forward.to), MOST_SHARES))
    if len({family_of(entry) for entry in forward.to}) > 1:
        problems.add(where, "to mixes IPv4 and IPv6 servers; write two forwards")


def _outbound(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Outbound:
    where = "outbound[{0}] '{1}'".format(index, shorten(raw["name"]))
    rate = raw.get("rate") or ""
    if rate and raw["action"] != "accept":
        problems.add(
            where,
            "rate is valid only with action accept, not {0}; what exceeds it is rejected".format(raw["action"]),
        )
    return Outbound(
        **_traffic(where, raw, problems),
        action=raw["action"],
        rate=check_rate(where + ": rate", rate, problems) if rate else "",
    )


#: What routers never forward: RFC 5771 section 4, and the scopes of RFC 4291 section 2.7 that end at the link.
STAYS_ON_LINK = ("224.0.0.0/24", *("ff{0:x}{1}::/16".format(flags, scope) for flags in range(16) for scope in "012"))
MULTICAST = ("224.0.0.0/4", "ff00::/8")


def _multicast(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Multicast:
    where = "multicast[{0}] '{1}'".format(index, shorten(raw["name"]))
    if not raw["group"]:
        problems.add(where, "group is empty; name the groups to let in, such as 239.0.0.0/8")
    groups = read_networks(where + ": group", raw["group"], problems)
    for net in groups:
        if not any(parsed_network(net).subnet_of(parsed_network(each)) for each in MULTICAST if _alike(net, each)):
            problems.add(
                where, "group {0} is not a multicast network; groups are in {1}".format(net, " and ".join(MULTICAST))
            )
    for ours, theirs in overlaps(groups, STAYS_ON_LINK):
        if parsed_network(ours).subnet_of(parsed_network(theirs)):
            problems.add(where, "group {0} is in {1}, which routers do not forward".format(ours, theirs))
    for entry in raw.get("source") or ():
        if not is_network(entry):
            problems.add(where, "source '{0}' is not a network; LAN names do not apply outside".format(shorten(entry)))
    known = _traffic(where, dict(raw, destination=None, protocol=None, port=None), problems)
    senders = {family_of(net) for net in known["source"] if is_network(net)}
    if senders and groups and not senders & {family_of(net) for net in groups}:
        problems.add(where, "source and group have no address family in common; give both in IPv4 or both in IPv6")
    return Multicast(raw["name"], groups, known["source"], known["wan"], tuple(raw.get("lan") or ()))


def _alike(one: str, other: str) -> bool:
    return family_of(one) == family_of(other)


def _allow(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Traffic:
    where = "input_allow[{0}] '{1}'".format(index, shorten(raw["name"]))
    for entry in raw.get("source") or ():
        if not is_network(entry):
            problems.add(
                where, "source '{0}' is not a network; LANs may reach the gateway anyway".format(shorten(entry))
            )
    item = Traffic(**_traffic(where, raw, problems))
    families = [{family_of(net) for net in nets if is_network(net)} for nets in (item.source, item.destination) if nets]
    if len(families) == 2 and not families[0] & families[1]:
        problems.add(
            where, "source and destination have no address family in common; give both in IPv4 or both in IPv6"
        )
    return item


def _controller_ports(raw: t.Optional[t.Sequence[int]], problems: Problems) -> t.Optional[t.Tuple[int, ...]]:
    for port in raw or ():
        if not 1 <= port <= 65535:
            problems.add("input_controller_ports", "{0} is not in the port range 1-65535".format(port))
    return None if raw is None else tuple(sorted(set(raw)))


def _helper(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> HelperItem:
    where = "helpers[{0}] '{1}'".format(index, raw["name"])
    for port in raw.get("port") or ():
        if not 1 <= port <= 65535:
            problems.add(where, "port {0} is not in the port range 1-65535".format(port))
    if raw.get("port") and raw["name"] == "h323":
        problems.add(where, "port is not valid for h323, whose two services have ports of their own")
    return HelperItem(raw["name"], tuple(sorted(set(raw.get("port") or ()))))


def _conntrack_max(raw: str, problems: Problems) -> str:
    if raw in ("keep", "auto"):
        return raw
    if raw.isascii() and raw.isdigit() and len(raw) <= 9 and int(raw) >= 1024:
        return str(int(raw))
    problems.add(
        "conntrack_max", "'{0}' is not keep, auto or a number of connections of at least 1024".format(shorten(raw))
    )
    return "keep"


def _timeouts(
    where: str, known: Timeouts, raw: t.Optional[t.Mapping[str, t.Optional[int]]], problems: Problems
) -> Timeouts:
    wanted: t.Dict[str, t.Optional[int]] = dict(known)
    wanted.update({name: seconds for name, seconds in (raw or {}).items() if seconds is not None})
    for name, seconds in wanted.items():
        if seconds is not None and not 0 <= seconds <= 31536000:
            problems.add(
                "{0}.{1}".format(where, name), "{0} is not a number of seconds from 1 to 31536000".format(seconds)
            )
    # 0 leaves the kernel's value.
    return tuple((name, seconds) for name, seconds in sorted(wanted.items()) if seconds)


def _item_timeouts(
    where: str,
    raw: t.Optional[t.Mapping[str, t.Optional[int]]],
    protocols: t.Tuple[str, ...],
    problems: Problems,
) -> Timeouts:
    """Connection timers of one item; the gateway's timers apply to the rest."""
    timeouts = _timeouts(where + ": timeouts", (), raw, problems)
    for name, _seconds in timeouts:
        if protocols and name.split("_", maxsplit=1)[0] not in protocols:
            problems.add(where, "timeouts.{0} does not apply to protocol {1}".format(name, " and ".join(protocols)))
    return timeouts


def _log_prefix(raw: str, problems: Problems) -> str:
    if len(raw) <= LOG_PREFIX_LENGTH and raw.isascii() and raw.isprintable() and '"' not in raw and "\\" not in raw:
        return raw
    problems.add(
        "log_prefix",
        "'{0}' must be at most {1} printable ASCII characters without quotes and backslashes".format(
            shorten(raw), LOG_PREFIX_LENGTH
        ),
    )
    return Gateway.log_prefix
