# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Read the options of gateway_explain: one packet that somebody asks about."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from .._base.values import shorten

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems

MOST_PORTS = 65535
ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]+)\Z")


@dataclass(frozen=True)
class Question:
    source: str
    target: str
    protocol: str
    port: int = 0
    notes: t.Tuple[str, ...] = ()

    @property
    def family(self) -> str:
        return "ip6" if ":" in self.source else "ip"

    def __str__(self) -> str:
        end = "[{0}]" if self.port and self.family == "ip6" else "{0}"
        port = ":{0}".format(self.port) if self.port else ""
        return "{0} {1} > {2}{3}".format(self.protocol, self.source, end.format(self.target), port)


def read(params: t.Mapping[str, t.Any], problems: Problems) -> Question:
    """Everything that does not depend on the host."""
    asked, port = _split(str(params.get("to") or "").strip())
    source, target = _address("from", params.get("from"), problems), _address("to", asked, problems)
    if source and target and (":" in source) != (":" in target):
        words = "{0} is {1}, and from is {2}; no packet has both, so give two addresses of the same family"
        problems.add("to", words.format(target, *(_version(each) for each in (target, source))))
    if source and source == target:
        problems.add("to", "{0} is the same address as from; give another one".format(target))
    if port and params.get("port") and str(params["port"]).strip() != port:
        problems.add("port", "{0} is not the port in to ({1}); give one of them".format(shorten(params["port"]), port))
    number = _port(params.get("port") or port, problems)
    protocol, notes = _protocol(params.get("protocol") or "", number, problems)
    return Question(source, target, protocol, number, notes)


def _split(text: str) -> t.Tuple[str, str]:
    """203.0.113.7:443 or [2001:db8::7]:443 as address and port."""
    found = ENDPOINT.match(text)
    return (found.group(1) or found.group(2), found.group(3)) if found else (text, "")


def _version(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _address(option: str, raw: t.Any, problems: Problems) -> str:
    text = str(raw or "").strip()
    if not text:
        problems.add(option, "is missing; give an IP address, such as {0}=192.168.1.5".format(option))
        return ""
    try:
        address = ipaddress.ip_address("" if "%" in text else text.strip("[]"))  # Python 3.9 takes fe80::1%lan0
    except ValueError:
        problems.add(option, _no_address(text))
        return ""
    unfit = _unfit(address)
    if unfit:
        problems.add(option, "{0} is {1}; give the address of a single host".format(address, unfit))
        return ""
    return str(address)


def _no_address(text: str) -> str:
    told = shorten(text)
    if "/" in text:
        return "'{0}' is a network, or an address with its length; give a single address".format(told)
    if text.count(":") == 1 and text.rpartition(":")[2].isdigit():
        return "'{0}' is not an IP address; leave the port out".format(told)
    if "%" in text:
        return "'{0}' is a link-local address, which no gateway forwards; give another one".format(told)
    if any(letter.isalpha() for letter in text) and ":" not in text:
        words = "'{0}' is not an IP address; if it is a host's name, look it up first (getent ahosts {0})"
        return words.format(told)
    return "'{0}' is not an IP address; write it as 192.168.1.5 or 2001:db8::5".format(told)


def _unfit(address: t.Any) -> str:
    """Why no host has such an address, or no gateway forwards it."""
    words = {
        "is_multicast": "a multicast address",
        "is_loopback": "a loopback address, which never leaves a host",
        "is_unspecified": "not a host's address",
        "is_link_local": "a link-local address, which no gateway forwards",
    }
    if str(address) == "255.255.255.255":
        return "the broadcast address"
    return next((told for name, told in words.items() if getattr(address, name)), "")


def _port(raw: t.Any, problems: Problems) -> int:
    text = str(raw if raw is not None else "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MOST_PORTS:
        problems.add("port", "'{0}' is not a single port; give a number from 1 to 65535".format(shorten(text)))
        return 0
    return int(text)


def _protocol(protocol: str, port: int, problems: Problems) -> t.Tuple[str, t.Tuple[str, ...]]:
    if protocol == "icmp" and port:
        words = "{0} does not go with protocol icmp, which has no ports; leave it out, or give protocol tcp or udp"
        problems.add("port", words.format(port))
    if protocol and protocol != "icmp" and not port and "port" not in problems.places:
        problems.add("port", "is missing; {0} needs one, such as port=443".format(protocol))
    if protocol:
        return protocol, ()
    if port:
        return "tcp", ("no protocol was given, so this is about tcp; for udp, give protocol=udp",)
    return "icmp", ("no port was given, so this is about a ping (icmp); for tcp, give port=443",)
