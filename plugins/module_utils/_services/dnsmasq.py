# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""dnsmasq's configuration: the addresses of the LANs that have services, and nothing else of this host.

https://thekelleys.org.uk/dnsmasq/docs/dnsmasq-man.html
"""

from __future__ import annotations

import typing as t

from .._base.errors import GatewayError
from .._base.values import shorten
from .._intent.services import HOME

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedLan

#: Of a running dnsmasq; a reboot clears it.
RUN = "/run/ipmasq-services"
#: Of its leases, which survive everything but the removal of the gateway.
LEASES = "/var/lib/ipmasq"
#: The lifetime of an advertised prefix, in seconds. RFC 9096 section 3.3: preferred for at most 2700, so that a prefix
#: that was lost in a reboot is forgotten soon. One that vanishes while dnsmasq runs is announced as deprecated.
PREFIX = 2700

#: dnsmasq reads reservations and their names anew while it runs, but only from files of their own. These lines,
#: which are comments for dnsmasq, are the content of these files; whatever starts it writes them (_init/serving.py).
HOST, NAME = "#host ", "#name "

COMMON = """\
# Written by the Ansible collection ipmasq.linux for instance {instance}. Changes are overwritten.
user={user}
pid-file={run}/{instance}.pid
dhcp-leasefile={leases}/{instance}.leases
bind-dynamic
except-interface=lo
no-hosts
domain={domain}
"""
NAMES = """\
local=/{domain}/
addn-hosts={run}/{instance}.names
expand-hosts
domain-needed
bogus-priv
stop-dns-rebind
dns-loop-detect
cache-size=1000
dns-forward-max=1000
"""
#: Browsers of the LAN would take their proxy settings from any host that calls itself wpad (VU#598349), and Windows its
#: way to IPv6 from isatap; localhost is this host for everybody (RFC 6761, section 6.3).
DHCP = """\
dhcp-authoritative
dhcp-hostsfile={run}/{instance}.hosts
dhcp-option=option:domain-search,{domain}
dhcp-name-match=set:ipmasq-nobodys,wpad
dhcp-name-match=set:ipmasq-nobodys,wpad.*
dhcp-name-match=set:ipmasq-nobodys,localhost
dhcp-name-match=set:ipmasq-nobodys,localhost.*
dhcp-name-match=set:ipmasq-nobodys,isatap
dhcp-name-match=set:ipmasq-nobodys,isatap.*
dhcp-ignore-names=tag:ipmasq-nobodys
"""
#: The ranges limit how many leases there are. dnsmasq compares this number with those of all LANs, of both families and
#: of earlier ranges: if there are more, it does not start, or one LAN gets no leases because of another.
LEASE_MAX = 1000000
#: dnsmasq takes what follows the 1,024th character of a line for another line (2.90; MAXDNAME in src/config.h).
LONGEST_LINE = 1000
#: A reservation holds its name for IPv4 only: by DHCPv6, any host could get an IPv6 address under it.
BY_DHCP4 = "dhcp-ignore-names=tag:dhcpv6\n"
ANNOUNCED = """\
enable-ra
quiet-ra
{named}dhcp-option=option6:domain-search,{domain}
"""


def config(gateway: Resolved, user: str) -> str:
    """The whole file; empty if no LAN has services."""
    served = [lan for lan in gateway.lans if lan.services]
    if not served:
        return ""
    words = {
        "instance": gateway.instance,
        "user": user,
        "run": RUN,
        "leases": LEASES,
        "domain": gateway.dns.domain or HOME,
    }
    found = COMMON.format(**words)
    if any(lan.services.dns for lan in served):
        found += NAMES.format(**words) + "".join(_upstream(gateway.dns.upstream))
    else:
        found += "port=0\n"
    ranges = [lan.services.dhcp for lan in served if lan.services.dhcp]
    if ranges or any(lan.services.ra == "managed" for lan in served):
        found += "dhcp-lease-max={0}\n".format(LEASE_MAX)
    if ranges:
        found += DHCP.format(**words)
    if any(lan.services.announced for lan in served):
        managed = any(lan.services.ra == "managed" for lan in served)
        found += ANNOUNCED.format(named=BY_DHCP4 if managed else "", **words)
    found += "".join(line + "\n" for lan in served for line in _lan(lan, gateway.dns.domain or HOME))
    for line in found.splitlines():
        if len(line) > LONGEST_LINE:
            raise GatewayError("lans: a line for dnsmasq is too long: " + shorten(line))
    return found


def reread(text: str) -> t.List[str]:
    """The lines that dnsmasq takes by a reload."""
    return [line for line in text.splitlines() if line.startswith((HOST, NAME))]


def beside(text: str) -> t.Dict[str, str]:
    """What whatever starts or reloads dnsmasq makes of it, by the endings of its files."""
    lines = reread(text)
    found = {
        ending: "".join(line[len(mark) :] + "\n" for line in lines if line.startswith(mark))
        for ending, mark in ((".hosts", HOST), (".names", NAME))
    }
    found[".started"] = "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))
    return found


def started_with(text: str) -> t.List[str]:
    """The lines that take another process."""
    return [line for line in text.splitlines() if not line.startswith((HOST, NAME))]


def as_options(text: str) -> str:
    """The same as one file, in which dnsmasq can check everything."""
    return text.replace("\n" + HOST, "\ndhcp-host=")


def _upstream(servers: t.Sequence[str]) -> t.List[str]:
    """Without servers, dnsmasq reads /etc/resolv.conf and follows it. It leaves out its own addresses."""
    return ["no-resolv\n"] * bool(servers) + ["server={0}\n".format(each) for each in servers]


def _lan(lan: ResolvedLan, domain: str) -> t.List[str]:
    tag, services = "lan-" + lan.name, lan.services
    lines = ["", "# LAN " + lan.name] + ["interface={0}".format(name) for name in lan.interfaces]
    dhcp = services.dhcp
    if dhcp:
        lines += [
            "dhcp-range={0}set:{1},{2},{3}".format(link, tag, each.replace("-", ","), dhcp.lease)
            for each in dhcp.range
            for link in _arrivals(lan)
        ]
        lines += [HOST + ",".join(filter(None, (each.mac, each.address, each.name))) for each in dhcp.reserve]
        if services.dns:
            # Otherwise a name would be known only while it has a lease.
            named = [each for each in dhcp.reserve if each.name]
            lines += [NAME + "{2} {0}.{1} {0}".format(each.name, domain, each.address) for each in named]
        else:
            # Otherwise dnsmasq names itself where another LAN has DNS. What the options say comes after it and wins.
            lines.append("dhcp-option=tag:{0},option:dns-server".format(tag))
        # Without a value, dnsmasq leaves the option out. It takes a comma for the beginning of one.
        for name, value in dhcp.options:
            lines.append(",".join(["dhcp-option=tag:" + tag, _option(name), *([value] if value else [])]))
    if services.announced:
        span = "::" if services.ra == "slaac" else "::1000,::1fff"
        mode = "ra-stateless,64,{0}".format(PREFIX) if services.ra == "slaac" else "64,{0}".format(PREFIX)
        for name in lan.interfaces:
            lines.append("dhcp-range={0}set:{1},{2},constructor:{3},{4}".format(_arrival(name), tag, span, name, mode))
        if not services.dns:
            lines.append("dhcp-option=tag:{0},option6:dns-server".format(tag))
    return lines


def _arrivals(lan: ResolvedLan) -> t.List[str]:
    return list(dict.fromkeys(_arrival(name) for name in lan.interfaces))


def _arrival(name: str) -> str:
    """Only requests that arrive on this link get these addresses, whatever LAN a relay's address in them names.

    dnsmasq sets the link's name as a tag. It cannot compare a pattern with it.
    """
    return "" if "*" in name else "tag:{0},".format(name)


def _option(name: str) -> str:
    return name if name.isdigit() else "option:" + name
