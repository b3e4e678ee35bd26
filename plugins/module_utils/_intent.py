# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the user wants: frozen values, made from module options, free of any backend.

The options say what they mean in RFC 2663's words. ``*_from_params`` check everything that needs no look at the host;
``_resolve`` fills in and checks what does.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ._errors import Problems, printable
from ._rules import CT_STATES, family_of, patterns_overlap

#: Names become part of rule comments (nft: 128 bytes), chain names (iptables: 28) and file names.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
INSTANCE = re.compile(r"[a-z][a-z0-9_]{0,9}\Z")
#: What the kernel takes as a name, less what needs quoting in a rule; "*" at the end is ours.
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*\*?\Z")
#: IFNAMSIZ - 1, include/uapi/linux/if.h
INTERFACE_LENGTH = 15

#: IPv4-mapped and IPv4-compatible addresses (RFC 4291 section 2.5.5) are never on a wire, and each tool prints them
#: in its own way.
EMBEDDED = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("::/96"))

NAT_ACTIONS = ("masquerade", "exempt")
IPV6_MODES = ("route", "masquerade")


@dataclass(frozen=True)
class Wan:
    interface: str


@dataclass(frozen=True)
class Lan:
    """``networks`` is None until the interfaces' own networks are read from the host."""

    name: str
    interfaces: t.Tuple[str, ...]
    networks: t.Optional[t.Tuple[str, ...]] = None
    reaches: t.Tuple[str, ...] = ()


@dataclass(frozen=True)
class NatItem:
    name: str
    action: str = "masquerade"
    source: t.Tuple[str, ...] = ()  # names of LANs, or networks; empty: every LAN
    destination: t.Tuple[str, ...] = ()
    wan: str = ""  # empty: every WAN


@dataclass(frozen=True)
class Gateway:
    """A whole gateway. ``wans`` or ``lans`` of None are to be found on the host."""

    instance: str = "default"
    wans: t.Optional[t.Tuple[Wan, ...]] = None
    lans: t.Optional[t.Tuple[Lan, ...]] = None
    nat: t.Tuple[NatItem, ...] = (NatItem("default"),)
    ipv6: str = "route"
    clamp_mss: bool = True


@dataclass(frozen=True)
class Masquerade:
    """One line: ``-t nat -A POSTROUTING -s SOURCE -o OUT -j MASQUERADE``."""

    name: str
    source: t.Tuple[str, ...]
    out_interface: str
    destination: t.Tuple[str, ...] = ()

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
    """The kernel's switches; None leaves a family as it is. Without ``interfaces`` the global ones are meant."""

    ipv4: t.Optional[bool] = None
    ipv6: t.Optional[bool] = None
    interfaces: t.Optional[t.Tuple[str, ...]] = None

    @property
    def values(self) -> t.Dict[str, str]:
        """Family to value, for the families that are given."""
        given = {"ip": self.ipv4, "ip6": self.ipv6}
        return {family: "1" if wanted else "0" for family, wanted in given.items() if wanted is not None}


Item = t.Union[Masquerade, Forward]


def gateway_from_params(params: t.Mapping[str, t.Any]) -> Gateway:
    """Options of the gateway module to intent. Raises GatewayError with all problems at once."""
    problems = Problems()
    check_instance(params["instance"], problems)
    wans, lans = params.get("wans"), params.get("lans")
    gateway = Gateway(
        instance=params["instance"],
        wans=None if wans is None else tuple(_wan(index, wan, problems) for index, wan in enumerate(wans)),
        lans=None if lans is None else tuple(_lan(index, lan, problems) for index, lan in enumerate(lans)),
        nat=_nat(params.get("nat"), problems),
        ipv6=params["ipv6"],
        clamp_mss=params["clamp_mss"],
    )
    check_references(gateway, problems)
    problems.raise_if_any()
    return gateway


def masquerade_from_params(params: t.Mapping[str, t.Any]) -> Masquerade:
    problems = Problems()
    item = Masquerade(
        name=params["name"],
        source=_networks("source", params["source"], problems),
        destination=_networks("destination", params["destination"], problems),
        out_interface=params["out_interface"] or "",
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
        source=_networks("source", params["source"], problems),
        destination=_networks("destination", params["destination"], problems),
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


def forwarding_from_params(params: t.Mapping[str, t.Any]) -> Forwarding:
    problems = Problems()
    check_instance(params["instance"], problems)
    names = params["interfaces"]
    for index, name in enumerate(names or ()):
        where = "interfaces[{0}]".format(index)
        check_interface(where, name, problems)
        if name.endswith("*"):
            problems.add(where, "'{0}' is a pattern; the kernel has a switch for each name only".format(name))
    if names is not None and not names:
        problems.add("interfaces", "is empty; leave it out to set the global switch")
    problems.raise_if_any()
    return Forwarding(params["ipv4"], params["ipv6"], None if names is None else tuple(names))


def _check_item(item: Item, instance: str, problems: Problems) -> None:
    check_instance(instance, problems)
    check_name("name", item.name, problems)
    if item.out_interface:
        check_interface("out_interface", item.out_interface, problems)
    families = [{family_of(net) for net in nets} for nets in (item.source, item.destination) if nets]
    if len(families) == 2 and not families[0] & families[1]:
        problems.add("source and destination", "have no address family in common; give both in IPv4 or both in IPv6")


def _wan(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Wan:
    check_interface("wans[{0}]".format(index), raw["interface"], problems)
    return Wan(raw["interface"])


def _lan(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Lan:
    where = "lans[{0}] '{1}'".format(index, shorten(raw["name"]))
    check_name(where, raw["name"], problems)
    if is_network(raw["name"]):
        problems.add(where, "name '{0}' looks like an address; give the LAN another one".format(raw["name"]))
    if not raw["interfaces"]:
        problems.add(where, "interfaces is empty; name at least one LAN interface")
    for name in raw["interfaces"]:
        check_interface(where, name, problems)
    networks = raw.get("networks")
    if networks is not None and not networks:
        problems.add(where, "networks is empty; list networks, or leave it out to use the interfaces' own")
    return Lan(
        name=raw["name"],
        interfaces=tuple(raw["interfaces"]),
        networks=None if networks is None else _networks(where + ": networks", networks, problems),
        reaches=tuple(raw.get("reaches") or ()),
    )


def _nat(raw: t.Optional[t.Sequence[t.Mapping[str, t.Any]]], problems: Problems) -> t.Tuple[NatItem, ...]:
    if raw is None:
        return Gateway.nat
    return tuple(_nat_item(index, item, problems) for index, item in enumerate(raw))


def _nat_item(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> NatItem:
    where = "nat[{0}] '{1}'".format(index, shorten(raw["name"]))
    check_name(where, raw["name"], problems)
    if raw.get("wan"):
        check_interface(where, raw["wan"], problems)
    named = [entry for entry in raw.get("source") or () if not is_network(entry)]
    for entry in named:
        check_name(where + ": source", entry, problems)
    networks = [entry for entry in raw.get("source") or () if is_network(entry)]
    source = tuple(named) + _networks(where + ": source", networks, problems)
    return NatItem(
        name=raw["name"],
        action=raw["action"],
        source=source,
        destination=_networks(where + ": destination", raw.get("destination") or (), problems),
        wan=raw.get("wan") or "",
    )


def is_network(entry: str) -> bool:
    """Whether a NAT source is meant as a network, and not as the name of a LAN."""
    return ":" in entry or "/" in entry or re.match(r"[0-9]+(\.[0-9]+){3}\Z", entry) is not None


def check_references(gateway: Gateway, problems: Problems) -> None:
    lans = gateway.lans or ()
    for kind, names in (
        ("lans", [lan.name for lan in lans]),
        ("nat", [item.name for item in gateway.nat]),
        ("wans", [wan.interface for wan in gateway.wans or ()]),
    ):
        for name in sorted({name for name in names if names.count(name) > 1}):
            problems.add(kind, "'{0}' is there twice; give each its own name".format(shorten(name)))
    if gateway.wans is not None and not gateway.wans:
        problems.add("wans", "is empty; name the WAN interface, or leave it out to use the default route's")
    if gateway.lans is not None and not gateway.lans:
        problems.add("lans", "is empty; name a LAN, or leave it out to use every private network found")
    if not gateway.nat:
        problems.add("nat", "is empty; leave it out to masquerade every LAN, or name what to exempt")
    if gateway.lans is not None:
        _check_lan_references(gateway, lans, problems)
    if gateway.wans is not None:
        _check_wan_references(gateway, lans, problems)


def _check_lan_references(gateway: Gateway, lans: t.Sequence[Lan], problems: Problems) -> None:
    known = [lan.name for lan in lans]
    for index, lan in enumerate(lans):
        for other in lan.reaches:
            if other not in known or other == lan.name:
                problems.add(
                    "lans[{0}] '{1}'".format(index, shorten(lan.name)),
                    "reaches '{0}', which is {1}; known are {2}".format(
                        other, "the LAN itself" if other == lan.name else "no LAN", ", ".join(known)
                    ),
                )
        for later, other_lan in enumerate(lans[index + 1 :], index + 1):
            _check_lan_pair(index, lan, later, other_lan, problems)
    for index, item in enumerate(gateway.nat):
        for entry in item.source:
            if not is_network(entry) and entry not in known:
                problems.add(
                    "nat[{0}] '{1}'".format(index, shorten(item.name)),
                    "source '{0}' is neither a LAN nor a network; known LANs are {1}".format(entry, ", ".join(known)),
                )


def _check_lan_pair(index: int, lan: Lan, later: int, other: Lan, problems: Problems) -> None:
    where = "lans[{0}] '{1}' and lans[{2}] '{3}'".format(index, lan.name, later, other.name)
    for name in lan.interfaces:
        for second in other.interfaces:
            if patterns_overlap(name, second):
                problems.add(where, "both have interface {0}; an interface belongs to one LAN".format(second))
    for one, two in overlaps(lan.networks or (), other.networks or ()):
        problems.add(where, "networks {0} and {1} overlap; each address belongs to one LAN".format(one, two))


def _check_wan_references(gateway: Gateway, lans: t.Sequence[Lan], problems: Problems) -> None:
    names = [wan.interface for wan in gateway.wans or ()]
    for index, lan in enumerate(lans):
        for name in lan.interfaces:
            for wan in names:
                if patterns_overlap(name, wan):
                    problems.add(
                        "lans[{0}] '{1}'".format(index, shorten(lan.name)),
                        "interface {0} is also WAN {1}; an interface is one or the other".format(name, wan),
                    )
    for index, item in enumerate(gateway.nat):
        if item.wan and item.wan not in names:
            problems.add(
                "nat[{0}] '{1}'".format(index, shorten(item.name)),
                "wan {0} is none of wans ({1})".format(item.wan, ", ".join(names)),
            )


def overlaps(ours: t.Iterable[str], theirs: t.Iterable[str]) -> t.List[t.Tuple[str, str]]:
    """Pairs of networks that share addresses, found in one pass over the sorted list (10,000 networks: no pairs)."""
    tagged = []
    for side, nets in ((0, ours), (1, theirs)):
        for net in nets:
            parsed = ipaddress.ip_network(net)
            tagged.append((parsed.version, int(parsed.network_address), -parsed.prefixlen, side, net, parsed))
    tagged.sort(key=lambda entry: entry[:4])
    found: t.List[t.Tuple[str, str]] = []
    open_nets: t.List[t.Any] = []
    for entry in tagged:
        first = entry[1]
        open_nets = [seen for seen in open_nets if seen[0] == entry[0] and int(seen[5].broadcast_address) >= first]
        for seen in open_nets:
            if seen[3] != entry[3]:
                pair = (seen, entry) if seen[3] == 0 else (entry, seen)
                found.append((pair[0][4], pair[1][4]))
        open_nets.append(entry)
    return found


def check_instance(instance: str, problems: Problems) -> None:
    if not INSTANCE.match(instance):
        problems.add(
            "instance", "'{0}' has to be 1 to 10 of a-z, 0-9 and _, beginning with a letter".format(shorten(instance))
        )


def check_name(where: str, name: str, problems: Problems) -> None:
    if not NAME.match(name):
        problems.add(
            where,
            "name '{0}' has to be 1 to 63 letters, digits, '_', '.' or '-', beginning with a letter or digit".format(
                shorten(name)
            ),
        )


def check_interface(where: str, name: str, problems: Problems) -> None:
    """What can be said without the host. A name over 15 characters may still be an alternative name there."""
    if name in ("all", "default"):
        problems.add(
            where, "interface '{0}' is the kernel's word for a group, no interface has it as name".format(name)
        )
    elif "/" in name:
        problems.add(where, "interface '{0}' has a slash, which no interface name can have".format(shorten(name)))
    elif not INTERFACE.match(name):
        problems.add(
            where,
            "interface '{0}' is not a name that an interface can have; '*' may only stand at its end".format(
                shorten(name)
            ),
        )


def _networks(where: str, raw: t.Optional[t.Sequence[str]], problems: Problems) -> t.Tuple[str, ...]:
    checked = (_network(where, entry, problems) for entry in raw or ())
    return tuple(network for network in checked if network)


def _network(where: str, raw: str, problems: Problems) -> str:
    """A network in its canonical text form, empty after a problem."""
    text = raw.strip()
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        pass
    else:
        if isinstance(network, ipaddress.IPv6Network) and any(network.subnet_of(net) for net in EMBEDDED):
            problems.add(where, "{0} is IPv4 in IPv6 notation; write it as an IPv4 network".format(shorten(text)))
            return ""
        return str(network)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        problems.add(
            where,
            "'{0}' is neither an IPv4 nor an IPv6 network; write it as 192.168.1.0/24 or fd00:1::/64".format(
                shorten(text)
            ),
        )
    else:
        problems.add(where, "{0} has host bits set; did you mean {1}?".format(shorten(text), network))
    return ""


def shorten(text: str, limit: int = 60) -> str:
    """A value for an error message: printable, on one line, not endless."""
    shown = printable(text)
    return shown if len(shown) <= limit else shown[:limit] + "…"
