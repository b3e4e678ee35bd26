# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a LAN gets from the gateway itself: addresses (DHCP), IPv6 routes (router advertisements), names (DNS)."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._base.net import is_address
from .._base.values import ends_of, read_addresses, shorten
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(LABEL + r"\Z", re.IGNORECASE)
DOMAIN = re.compile(r"{0}(?:\.{0})*\Z".format(LABEL), re.IGNORECASE)
#: What dnsmasq takes for a lease time, or for an order to give no address, in place of a name.
KEYWORD = re.compile(r"(?:ignore|infinite|[0-9]+[mhdw]?)\Z", re.IGNORECASE)
#: Seconds, or a number with a unit; dnsmasq raises what is shorter than two minutes.
LEASE = re.compile(r"(?:infinite|([1-9][0-9]{0,8})([mhdw]?))\Z", re.ASCII)
SECONDS = {"": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SERVER = re.compile(r"([^#]+)(?:#([0-9]{1,5}))?\Z", re.ASCII)
#: The names of DHCP options (dnsmasq --help dhcp), less those that the gateway decides.
OPTIONS = (
    "time-offset", "router", "dns-server", "log-server", "lpr-server", "boot-file-size", "domain-name", "swap-server",
    "root-path", "extension-path", "ip-forward-enable", "non-local-source-routing", "policy-filter",
    "max-datagram-reassembly", "default-ttl", "mtu", "all-subnets-local", "router-discovery", "router-solicitation",
    "static-route", "trailer-encapsulation", "arp-timeout", "ethernet-encap", "tcp-ttl", "tcp-keepalive", "nis-domain",
    "nis-server", "ntp-server", "netbios-ns", "netbios-dd", "netbios-nodetype", "netbios-scope", "x-windows-fs",
    "x-windows-dm", "nis+-domain", "nis+-server", "tftp-server", "bootfile-name", "mobile-ip-home", "smtp-server",
    "pop3-server", "nntp-server", "irc-server", "posix-timezone", "tzdb-timezone", "ipv6-only", "domain-search",
    "sip-server", "classless-static-route", "tftp-server-address",
)  # fmt: skip
DNS_SERVER = ("dns-server", "6")
#: Numbers that the network, the lease or the protocol itself decides, so that dnsmasq ignores a value, or sends a wrong
#: one: netmask, broadcast, requested address, lease time, overload, message type, server, parameters, message, size,
#: client and relay agent (RFC 2132, RFC 3046).
DECIDED = (1, 28, 50, 51, 52, 53, 54, 55, 56, 57, 61, 82)
#: Of a DHCP option, in characters, so that its line is not too long for dnsmasq; a list of 50 addresses has fewer.
LONGEST_VALUE = 800


@dataclass(frozen=True)
class Reservation:
    mac: str
    address: str
    name: str = ""


@dataclass(frozen=True)
class Dhcp:
    range: t.Tuple[str, ...] = ()  # empty: chosen from the LAN's networks
    lease: str = "12h"
    reserve: t.Tuple[Reservation, ...] = ()
    options: t.Tuple[t.Tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LanServices:
    """As declared. Once it is resolved, a service that is not there has the default."""

    dhcp: t.Optional[Dhcp] = None
    ra: str = ""  # one of words.RA_MODES; empty: slaac if there is DHCP, and IPv6
    dns: t.Optional[bool] = None  # None: if there is DHCP that names no other server

    @property
    def announced(self) -> bool:
        return self.ra in ("slaac", "managed")

    def __bool__(self) -> bool:
        return bool(self.dhcp) or self.announced or bool(self.dns)


NO_SERVICES = LanServices()


def read_services(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> LanServices:
    where = "lans[{0}] '{1}'".format(index, shorten(raw["name"]))
    dhcp = raw.get("dhcp")
    return LanServices(_dhcp(where + ": dhcp", dhcp, problems), raw.get("ra") or "", raw.get("dns"))


def _dhcp(where: str, raw: t.Any, problems: Problems) -> t.Optional[Dhcp]:
    if raw is None or isinstance(raw, bool) or str(raw).strip().lower() in YES_NO:
        return Dhcp() if raw is True or str(raw).strip().lower() in ("true", "yes", "on") else None
    if not isinstance(raw, Mapping):
        problems.add(where, "'{0}' is neither true nor a dictionary; {1}".format(shorten(str(raw)), WRITE))
        return None
    for key in raw:
        if key not in KEYS:
            problems.add(where, "has no option {0}; {1}".format(shorten(str(key)), WRITE))
    lease = str(Dhcp.lease if raw.get("lease") is None else raw["lease"])
    return Dhcp(
        _ranges(where + ": range", raw.get("range"), problems),
        _lease(where + ": lease", lease, problems),
        _reservations(where + ": reserve", raw.get("reserve"), problems),
        _options(where + ": options", raw.get("options"), problems),
    )


YES_NO = ("true", "yes", "on", "false", "no", "off")
KEYS = ("range", "lease", "reserve", "options")
WRITE = "write true, or {range: 192.168.1.100-192.168.1.199, lease: 12h, reserve: […], options: {…}}"


def _listed(raw: t.Any) -> t.List[t.Any]:
    """A list, or one value for a list of one."""
    if raw is None:
        return []
    return list(raw) if isinstance(raw, Sequence) and not isinstance(raw, str) else [raw]


def _ranges(where: str, raw: t.Any, problems: Problems) -> t.Tuple[str, ...]:
    found = []
    for each in read_addresses(where, [str(one) for one in _listed(raw)], problems):
        if ":" in each:
            problems.add(where, "{0} is not IPv4; IPv6 addresses are given out by ra".format(each))
        else:
            found.append(each)
    return tuple(found)


def _lease(where: str, raw: str, problems: Problems) -> str:
    given = LEASE.match(raw.strip())
    if given and (given.group(1) is None or int(given.group(1)) * SECONDS[given.group(2)] >= 120):
        return raw.strip()
    problems.add(
        where, "'{0}' is not a time of at least 2m; write 45m, 12h, 7d, seconds or infinite".format(shorten(raw))
    )
    return Dhcp.lease


def _reservations(where: str, raw: t.Any, problems: Problems) -> t.Tuple[Reservation, ...]:
    found = []
    for index, each in enumerate(_listed(raw)):
        place = "{0}[{1}]".format(where, index)
        if not isinstance(each, Mapping) or not {"mac", "address"} <= set(each) <= {"mac", "address", "name"}:
            problems.add(
                place, "'{0}' is not a reservation; write {{mac: …, address: …, name: …}}".format(shorten(str(each)))
            )
            continue
        mac, address, name = str(each["mac"]), str(each["address"]), str(each.get("name") or "")
        plain = mac.strip().lower().replace("-", ":")
        sound = len(problems.found)
        if not MAC.match(plain):
            told = "mac '{0}' is not a hardware address; write it in quotes: '52:54:00:12:34:56'"
            problems.add(place, told.format(shorten(mac)))
        if not is_address(address, 4):
            problems.add(place, "address '{0}' is not an IPv4 address; write 192.168.1.20".format(shorten(address)))
        if name and not HOST.match(name):
            problems.add(place, "name '{0}' is not a host name; use letters, digits and '-'".format(shorten(name)))
        elif KEYWORD.match(name):
            problems.add(place, "name '{0}' has another meaning for dnsmasq; choose another name".format(name))
        if len(problems.found) == sound:
            found.append(Reservation(plain, address, name))
    for what in ("mac", "address", "name"):
        values = [getattr(each, what) for each in found if getattr(each, what)]
        for value in dict.fromkeys(value for value in values if values.count(value) > 1):
            problems.add(where, "{0} {1} is reserved twice; remove one of the two".format(what, value))
    return tuple(found)


def _options(where: str, raw: t.Any, problems: Problems) -> t.Tuple[t.Tuple[str, str], ...]:
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        problems.add(where, "'{0}' is not a dictionary; write {{ntp-server: 192.168.1.1}}".format(shorten(str(raw))))
        return ()
    found = []
    for key, given in ((key, given) for key, given in raw.items() if given is not None):
        name, value = str(key), ",".join(str(each) for each in _listed(given))
        if name not in OPTIONS and not (name.isascii() and name.isdigit() and 1 <= int(name) <= 254):
            told = "{0} is not a DHCP option; write a name such as ntp-server, or a number from 1 to 254"
            problems.add(where, told.format(shorten(name)))
        elif name.isdigit() and int(name) in DECIDED:
            told = "{0}: the gateway decides this option by the LAN's network, range and lease; leave it out"
            problems.add(where, told.format(name))
        elif not value.isprintable() or not value.isascii() or '"' in value:
            problems.add(where, "{0}: '{1}' must be printable ASCII without quotes".format(name, shorten(value)))
        elif " #" in value:
            told = "{0}: what follows ' #' in '{1}' would be a comment for dnsmasq; leave out the blank"
            problems.add(where, told.format(name, shorten(value)))
        elif len(value) > LONGEST_VALUE:
            told = "{0}: {1} characters are too many; write at most {2}"
            problems.add(where, told.format(name, len(value), LONGEST_VALUE))
        else:
            # For dnsmasq, 06 is 6.
            found.append((str(int(name)) if name.isdigit() else name, value))
    return tuple(found)


def read_upstream(raw: t.Optional[t.Sequence[str]], problems: Problems) -> t.Tuple[str, ...]:
    """Addresses of DNS servers, each with a port if it is not 53: 9.9.9.9, 127.0.0.1#5335."""
    found = []
    for each in raw or ():
        given = SERVER.match(each.strip())
        if "%" in each:
            # ipaddress accepts any text as a zone since Python 3.9, and dnsmasq does not start without that link.
            problems.add(
                "dns_upstream",
                "{0} has a zone; name a server by a global or unique local address".format(shorten(each)),
            )
            continue
        try:
            address = ipaddress.ip_address(given.group(1) if given else "")
            if not 1 <= int((given and given.group(2)) or 53) <= 65535 or address.is_multicast or not int(address):
                raise ValueError
        except ValueError:
            problems.add(
                "dns_upstream", "'{0}' is not a server; write 9.9.9.9, or 127.0.0.1#5335".format(shorten(each))
            )
        else:
            port = given.group(2) if given else None
            found.append("{0}#{1}".format(address, int(port)) if port else str(address))
    return tuple(dict.fromkeys(found))


def read_domain(raw: t.Optional[str], problems: Problems) -> str:
    if not raw:
        return ""
    text = raw.strip().rstrip(".")
    if DOMAIN.match(text) and len(text) <= 253:
        return text.lower()
    problems.add("dns_domain", "'{0}' is not a domain; write office.example.com".format(shorten(raw)))
    return ""


@dataclass(frozen=True)
class Dns:
    """What the DNS of all LANs has in common."""

    upstream: t.Tuple[str, ...] = ()  # empty: what the host uses
    domain: str = ""


NO_DNS = Dns()


#: RFC 8375: for networks without a domain of their own.
HOME = "home.arpa"


def describe_services(services: LanServices) -> str:
    found = []
    dhcp = services.dhcp
    if dhcp:
        found.append("DHCP {0} for {1}".format(listed(dhcp.range, "from its networks"), dhcp.lease))
        named = [(each, " " + each.name if each.name else "") for each in dhcp.reserve]
        found += ["{0} is {1}{2}".format(each.mac, each.address, name) for each, name in named]
        found += ["DHCP option {0} {1}".format(*pair) for pair in dhcp.options]
    if services.announced:
        found.append("router advertisements ({0})".format(services.ra))
    if services.dns:
        found.append("DNS")
    return "".join(", " + each for each in found)


def describe_dns(dns: Dns) -> t.List[str]:
    found = ["dns_upstream: {0}".format(listed(dns.upstream))] if dns.upstream else []
    return found + (["dns_domain: {0}".format(dns.domain)] if dns.domain else [])


def spans(ranges: t.Iterable[str]) -> t.List[t.Tuple[int, int]]:
    """Ranges as numbers."""
    ends = (ends_of(each) for each in ranges)
    return [(int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last))) for first, last in ends]
