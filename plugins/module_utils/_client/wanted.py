# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Options of nat_probe as values: whom to ask, and what to expect."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .._base.errors import Problems
from .._base.values import networks_of, read_addresses, read_network, shorten

STUN_PORT = 3478
#: More would be asked at the same time from one client.
MOST = 32
NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z")
#: Every IPv6 link has it (RFC 8200), and no gateway should do with less for IPv4.
LEAST_MTU = 1280


class Target(t.NamedTuple):
    """A host and a port, and how the user wrote them."""

    host: str
    port: int
    text: str


class Expected(t.NamedTuple):
    """What the user expects; empty, None or 0 where nothing is."""

    addresses: t.Tuple[str, ...] = ()
    mapping: str = ""
    filtering: str = ""
    hairpin: t.Optional[bool] = None
    mtu: int = 0


class Wanted(t.NamedTuple):
    """Everything that one run is to find out."""

    servers: t.Tuple[Target, ...] = ()
    tcp: t.Tuple[Target, ...] = ()
    ping: t.Tuple[Target, ...] = ()
    dns_server: str = ""
    dns_name: str = ""
    expect: Expected = Expected()
    idle: int = 0


def read_wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """Raises GatewayError with every problem."""
    problems = Problems()
    _check_number("timeout", params["timeout"], 1, 30, problems)
    _check_number("idle", params["idle"], 0, 3600, problems)
    wanted = Wanted(
        _targets("servers", params["servers"], STUN_PORT, problems),
        _targets("tcp", params["tcp"], 0, problems),
        _targets("ping", params["ping"], 1, problems),
        _dns_server(params, problems),
        _dns_name(params, problems),
        _expected(params["expect"] or {}, problems),
        params["idle"],
    )
    problems.raise_if_any()
    return wanted


def _check_number(where: str, value: int, least: int, most: int, problems: Problems) -> None:
    if not least <= value <= most:
        problems.add(where, "{0} is not a number of seconds from {1} to {2}".format(value, least, most))


def _targets(where: str, raw: t.Optional[t.Sequence[str]], port: int, problems: Problems) -> t.Tuple[Target, ...]:
    """``port`` is the default; 0: there is none. 1: no port may be given."""
    raw = [text for text in raw or () if text.strip()]
    if len(raw) > MOST:
        problems.add(where, "{0} entries are too many; name at most {1}".format(len(raw), MOST))
        return ()
    found = [_target("{0}[{1}]".format(where, index), text.strip(), port, problems) for index, text in enumerate(raw)]
    return tuple(dict.fromkeys(each for each in found if each))


def _target(where: str, text: str, port: int, problems: Problems) -> t.Optional[Target]:
    """``stun:`` is how browsers write such servers."""
    plain = text[5:] if text.lower().startswith("stun:") else text
    host, given = _split(plain)
    if not is_address(host) and not _is_name(host):
        example = "192.0.2.1" if port == 1 else "example.net:443" if not port else "stun.example.net:3478"
        remedy = "is neither an address nor a host name; write it like {0}".format(example)
        problems.add(where, "'{0}' {1}".format(shorten(text), remedy))
        return None
    if port == 1 and given:
        problems.add(where, "'{0}' has a port, but a ping has none; write {1}".format(shorten(text), host))
        return None
    if not given and not port:
        shown = "[{0}]".format(host) if ":" in host else shorten(host)
        problems.add(where, "'{0}' has no port; write {1}:443".format(shorten(text), shown))
        return None
    return _with_port(where, Target(host, port, text), given, problems)


def _with_port(where: str, target: Target, given: str, problems: Problems) -> t.Optional[Target]:
    if not given:
        return target
    if not re.match(r"[0-9]{1,5}\Z", given, re.ASCII) or not 0 < int(given) < 65536:
        problems.add(where, "'{0}': port {1} is not between 1 and 65535".format(shorten(target.text), shorten(given)))
        return None
    return target._replace(port=int(given))


def _split(text: str) -> t.Tuple[str, str]:
    """Host and port; the port is empty if there is none."""
    if text.startswith("["):
        host, _bracket, rest = text[1:].partition("]")
        return (host, rest[1:] or rest) if not rest or rest.startswith(":") else (text, "")
    if text.count(":") == 1 and "/" not in text:
        host, _colon, port = text.partition(":")
        return host, port or ":"
    return text, ""


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text.isprintable()  # as a zone, ipaddress accepts any text since Python 3.9


def _is_name(text: str) -> bool:
    """Digits and dots alone are a mistyped address, not a name."""
    return bool(NAME.match(text)) and not re.match(r"[0-9.]+\Z", text) and len(text) < 254


def _dns_server(params: t.Mapping[str, t.Any], problems: Problems) -> str:
    server = (params["dns_server"] or "").strip()
    if server and not is_address(server):
        problems.add("dns_server", "'{0}' is not an address, such as 192.168.1.1".format(shorten(server)))
    if server and not params["dns_name"]:
        problems.add("dns_name", "is empty; name what to ask {0} for, such as example.net".format(shorten(server)))
    return server


def _dns_name(params: t.Mapping[str, t.Any], problems: Problems) -> str:
    name = (params["dns_name"] or "").strip()
    if name and not _is_name(name):
        problems.add("dns_name", "'{0}' is not a host name, such as example.net".format(shorten(name)))
    return name


def _expected(raw: t.Mapping[str, t.Any], problems: Problems) -> Expected:
    listed = [text.strip() for text in raw.get("addresses") or () if text.strip()]
    networks = [net for index, text in enumerate(listed) for net in _networks(index, text, problems)]
    mtu = raw.get("mtu") or 0
    if mtu and not 576 <= mtu <= 65535:
        problems.add("expect: mtu", "{0} is not between 576 and 65535".format(mtu))
    return Expected(tuple(networks), raw.get("mapping") or "", raw.get("filtering") or "", raw.get("hairpin"), mtu)


def _networks(index: int, text: str, problems: Problems) -> t.Tuple[str, ...]:
    """An address, a range or a network as networks."""
    where = "expect: addresses[{0}]".format(index)
    if "/" in text:
        return tuple(net for net in [read_network(where, text, problems)] if net)
    return tuple(net for entry in read_addresses(where, [text], problems) for net in networks_of(entry))


def covers(networks: t.Iterable[str], address: str) -> bool:
    known = ipaddress.ip_address(address)
    parsed = [ipaddress.ip_network(net) for net in networks]
    return any(known in each for each in parsed if each.version == known.version)
