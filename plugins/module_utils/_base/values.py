# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Check single option values: interfaces, networks, ports and names. Shorten them for error messages."""

from __future__ import annotations

import functools
import ipaddress
import re
import typing as t

from .errors import printable
from .net import is_suffix, network as parsed_network

if t.TYPE_CHECKING:  # pragma: no cover
    from .errors import Problems
    from .net import Ports

#: Names become part of rule comments (nft: 128 bytes), chain names (iptables: 28) and file names.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
INSTANCE = re.compile(r"[a-z][a-z0-9_]{0,9}\Z")
#: Under this name, the module lan_client changes its host.
LAN_CLIENT = "lan_client"
#: The names that the kernel accepts, except those that need quoting in a rule. "*" at the end is our own syntax.
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*\*?\Z")
PORTS = re.compile(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?\Z", re.ASCII)
#: IFNAMSIZ - 1, include/uapi/linux/if.h
INTERFACE_LENGTH = 15

PRIVATE = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
#: RFC 6598, for a provider's translation; Tailscale uses it, too.
SHARED = ipaddress.ip_network("100.64.0.0/10")
#: IPv4-mapped and IPv4-compatible addresses (RFC 4291 section 2.5.5) never appear on the wire, and every tool prints
#: them differently.
EMBEDDED = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("::/96"))


def is_instance(name: str) -> bool:
    return bool(INSTANCE.match(name)) and name != LAN_CLIENT


def check_instance(instance: str, problems: Problems) -> None:
    if instance == LAN_CLIENT:
        problems.add("instance", "'{0}' is taken by the module of this name; choose another one".format(instance))
    if not INSTANCE.match(instance):
        problems.add(
            "instance",
            "'{0}' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter".format(shorten(instance)),
        )


def check_name(where: str, name: str, problems: Problems) -> None:
    if not NAME.match(name):
        problems.add(
            where,
            "name '{0}' must be 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or digit".format(
                shorten(name)
            ),
        )


def check_interface(where: str, name: str, problems: Problems) -> None:
    """Check what does not depend on the host. A name over 15 characters may still be an alternative name there."""
    if name in ("all", "default"):
        problems.add(where, "interface '{0}' is the kernel's name for a group; name one interface".format(name))
    elif "/" in name:
        problems.add(where, "interface '{0}' contains a slash, which interface names cannot".format(shorten(name)))
    elif name == "*":
        problems.add(where, "'*' would match every interface, loopback included; put a prefix before it, as in ppp*")
    elif name.endswith("+") and INTERFACE.match(name[:-1]):
        problems.add(where, "interface '{0}' is an iptables pattern; write {1}*".format(name, name[:-1]))
    elif not INTERFACE.match(name):
        problems.add(
            where,
            "interface '{0}' is not a valid interface name; '*' is allowed only at the end".format(shorten(name)),
        )


def is_plain_link(name: str) -> bool:
    """Whether a link's name is safe in rules and scripts; the kernel accepts nearly any character."""
    return INTERFACE.match(name) is not None and not name.endswith("*")


def read_networks(where: str, raw: t.Optional[t.Sequence[str]], problems: Problems) -> t.Tuple[str, ...]:
    checked = (read_network(where, entry, problems) for entry in raw or ())
    return tuple(network for network in checked if network)


def read_network(where: str, raw: str, problems: Problems) -> str:
    """The network in canonical form; empty after a problem."""
    text = raw.strip()
    if "%" in text:
        # ipaddress accepts a zone since Python 3.9; no packet filter does.
        problems.add(where, "{0} has a zone; remove the '%' and what follows it".format(shorten(text)))
        return ""
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
    """A value for an error message: printable, on one line, of limited length."""
    shown = printable(text)
    return shown if len(shown) <= limit else shown[:limit] + "…"


def read_ports(where: str, raw: t.Optional[t.Sequence[str]], problems: Problems) -> t.Tuple[Ports, ...]:
    """Ports and port ranges, sorted, with adjacent ones merged."""
    listed = [ports for ports in (read_port_range(where, entry, problems) for entry in raw or ()) if ports]
    merged: t.List[Ports] = []
    for first, last in sorted(listed):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def read_port_range(where: str, raw: t.Optional[str], problems: Problems) -> t.Optional[Ports]:
    """First and last port of "443" or "8000-8010"; None for no value or after a problem."""
    if raw is None:
        return None
    text = raw.strip()
    given = PORTS.match(text)
    if not given:
        problems.add(where, "'{0}' is not a port; write it as 443 or 8000-8010".format(shorten(text)))
        return None
    first = int(given.group(1))
    last = int(given.group(2)) if given.group(2) else first
    if last < first:
        problems.add(where, "{0} is reversed; did you mean {2}-{1}?".format(shorten(text), first, last))
    elif not 1 <= first <= last <= 65535:
        problems.add(where, "{0} is not in the port range 1-65535".format(shorten(text)))
    else:
        return first, last
    return None


def check_rate(where: str, raw: str, problems: Problems) -> str:
    """A rate such as 10/second, in the form that nft and iptables share."""
    given = re.match(r"([0-9]{1,5})\s*/\s*(second|minute|hour|day)\Z", raw.strip(), re.ASCII)
    if given and 1 <= int(given.group(1)) <= 10000:
        return "{0}/{1}".format(int(given.group(1)), given.group(2))
    problems.add(
        where,
        "'{0}' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000".format(shorten(raw)),
    )
    return ""


def read_addresses(where: str, raw: t.Optional[t.Sequence[str]], problems: Problems) -> t.Tuple[str, ...]:
    """Addresses and address ranges such as 203.0.113.9-203.0.113.12, in canonical form."""
    read = (_address_range(where, entry, problems) for entry in raw or ())
    return tuple(entry for entry in read if entry)


def _address_range(where: str, raw: str, problems: Problems) -> str:
    text = raw.strip()
    ends = [_plain_address(end) for end in text.split("-", 1)]
    if None in ends:
        problems.add(
            where, "'{0}' is not an address; write 203.0.113.9, or 203.0.113.9-203.0.113.12".format(shorten(text))
        )
        return ""
    first, last = t.cast("t.Any", (ends[0], ends[-1]))
    if first.version != last.version:
        problems.add(where, "{0} starts in one address family and ends in the other".format(shorten(text)))
    elif last < first:
        problems.add(where, "{0} is reversed; did you mean {2}-{1}?".format(shorten(text), first, last))
    else:
        return str(first) if first == last else "{0}-{1}".format(first, last)
    return ""


@functools.lru_cache(maxsize=1 << 16)
def _plain_address(text: str) -> t.Any:
    try:
        # Accept a host network, too: people copy 203.0.113.9/32 from "ip addr".
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        return None
    if (
        "%" in text
        or network.num_addresses != 1
        or any(network.version == 6 and network.subnet_of(net) for net in EMBEDDED)
    ):
        return None
    return network.network_address


#: Addresses that no Internet host can have: RFC 1122 section 3.2.1.3, RFC 4291 sections 2.5 and 2.7.
NO_HOST = tuple(
    ipaddress.ip_network(net)
    for net in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/127", "fe80::/10", "ff00::/8")
)


def check_hosts(where: str, networks: t.Iterable[str], problems: Problems) -> None:
    """Report networks with addresses that no host can have."""
    for ours, theirs in overlaps(networks, [str(net) for net in NO_HOST]):
        problems.add(where, "{0} is in {1}, which no host can use as its address".format(plain(ours), theirs))


def plain(network: str) -> str:
    """The address without its prefix length, if the network is a single address."""
    address, _slash, length = network.partition("/")
    return address if length == ("128" if ":" in address else "32") else network


def read_suffix(where: str, raw: str, problems: Problems) -> str:
    """The suffix as the tools print it; empty after a problem."""
    try:
        suffix, mask = (int(ipaddress.IPv6Address(part.strip())) for part in raw.split("/"))
    except ValueError:
        problems.add(where, "'{0}' is not a suffix; write it as ::11/::ffff:ffff:ffff:ffff".format(shorten(raw)))
        return ""
    if not 0 < mask < 1 << 127 or mask & (mask + 1):
        problems.add(where, "{0} has no mask of the lowest bits, such as ::ffff:ffff:ffff:ffff".format(shorten(raw)))
    elif suffix & ~mask or not suffix:
        problems.add(
            where,
            "{0} sets {1}; write the bits that the mask covers, such as ::11".format(
                shorten(raw), "no bits" if not suffix else "bits outside its mask"
            ),
        )
    else:
        return "{0}/{1}".format(_as_printed(suffix), _as_printed(mask))
    return ""


def _as_printed(number: int) -> str:
    """An IPv6 address as inet_ntop(3) prints it: the last 32 bits in dotted form if all bits before them are 0."""
    if number >> 16 and not number >> 32:
        return "::{0}".format(ipaddress.IPv4Address(number))
    if number >> 32 == 0xFFFF:
        return "::ffff:{0}".format(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(number))


def may_have(network: str, entry: str) -> bool:
    """Whether any address of the network ends in this suffix."""
    parsed = parsed_network(network)
    suffix, mask = (int(ipaddress.IPv6Address(part)) for part in entry.split("/"))
    if parsed.version == 4:
        return False
    common = mask & int(parsed.netmask)
    return int(parsed.network_address) & common == suffix & common


def hosts_with(entry: str, networks: t.Iterable[str]) -> t.Tuple[str, ...]:
    """The host address with this suffix in each network."""
    suffix = int(ipaddress.IPv6Address(entry.split("/", maxsplit=1)[0]))
    numbers = [int(parsed_network(net).network_address) | suffix for net in networks if may_have(net, entry)]
    return tuple(str(ipaddress.IPv6Address(number)) + "/128" for number in numbers)


def ends_of(entry: str) -> t.Tuple[str, str]:
    """First and last address of a range; for one address, that address twice."""
    first, _dash, last = entry.partition("-")
    return first, last or first


@functools.lru_cache(maxsize=1 << 16)
def networks_of(entry: str) -> t.Tuple[str, ...]:
    """An address or a range as networks; a suffix is returned unchanged."""
    if is_suffix(entry):
        return (entry,)
    first, last = (t.cast("t.Any", ipaddress.ip_address(end)) for end in ends_of(entry))
    return tuple(str(net) for net in ipaddress.summarize_address_range(first, last))


def addresses_in(entry: str, most: int) -> t.Optional[t.List[str]]:
    """Every address of a range; None if there are more than ``most``."""
    first, last = (ipaddress.ip_address(end) for end in ends_of(entry))
    count = int(last) - int(first) + 1
    return [str(first + step) for step in range(count)] if count <= most else None


def is_network(entry: str) -> bool:
    """Whether a source entry is a network and not the name of a LAN."""
    return ":" in entry or "/" in entry or re.match(r"[0-9]+(\.[0-9]+){3}\Z", entry) is not None


def overlaps(ours: t.Iterable[str], theirs: t.Iterable[str]) -> t.List[t.Tuple[str, str]]:
    """Pairs of networks that share addresses, found in one pass over the sorted list, as there may be 10,000."""
    tagged = []
    for side, nets in ((0, ours), (1, theirs)):
        for net in nets:
            if is_suffix(net):
                continue
            parsed = parsed_network(net)
            first = int(parsed.network_address)
            last = first + (1 << (parsed.max_prefixlen - parsed.prefixlen)) - 1
            tagged.append((parsed.version, first, -parsed.prefixlen, side, net, last))
    tagged.sort(key=lambda entry: entry[:4])
    found: t.List[t.Tuple[str, str]] = []
    open_nets: t.List[t.Tuple[int, int, int, int, str, int]] = []
    for entry in tagged:
        first = entry[1]
        open_nets = [seen for seen in open_nets if seen[0] == entry[0] and seen[5] >= first]
        for seen in open_nets:
            if seen[3] != entry[3]:
                pair = (seen, entry) if seen[3] == 0 else (entry, seen)
                found.append((pair[0][4], pair[1][4]))
        open_nets.append(entry)
    return found


def less(networks: t.Iterable[str], holes: t.Iterable[str]) -> t.List[str]:
    """The networks without the addresses in ``holes``."""
    left = [parsed_network(net) for net in networks]
    for hole in (parsed_network(net) for net in holes):
        pieces = []
        for net in left:
            if net.version != hole.version or not net.overlaps(hole):
                pieces.append(net)
            elif net.prefixlen < hole.prefixlen:
                pieces += list(net.address_exclude(hole))
        left = pieces
    return [str(net) for net in left]


def is_private(network: str) -> bool:
    """RFC 1918 or unique local (RFC 4193)."""
    parsed = parsed_network(network)
    if isinstance(parsed, ipaddress.IPv6Network):
        return parsed.subnet_of(t.cast("ipaddress.IPv6Network", UNIQUE_LOCAL))
    return any(parsed.subnet_of(t.cast("ipaddress.IPv4Network", private)) for private in PRIVATE)
