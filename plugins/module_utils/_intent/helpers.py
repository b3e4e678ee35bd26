# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Conntrack helpers, for services whose packets carry addresses or ports and which therefore fail behind NAT.

Names and default ports are the kernel's, as registered in net/netfilter/nf_conntrack_*.c. The kernel no longer assigns
helpers by itself (nf_conntrack_helper was removed in Linux 6.0). Each helper parses data from untrusted hosts.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight


@dataclass(frozen=True)
class Helper:
    name: str  # the kernel's
    protocol: str
    port: int
    families: t.Tuple[str, ...] = ("ip", "ip6")
    module: str = ""  # its NAT module, loaded before the rules; the rule itself loads the tracking module


IPV4 = ("ip",)
#: Common name to the kernel's helpers. Not h323: one packet of a client opens a port of any host to a stranger. Not
#: irc: a client takes connections of strangers to any port of the gateway (docs/decisions.md).
HELPERS: t.Dict[str, t.Tuple[Helper, ...]] = {
    "amanda": (Helper("amanda", "udp", 10080, module="nf_nat_amanda"),),
    "ftp": (Helper("ftp", "tcp", 21, module="nf_nat_ftp"),),
    "netbios-ns": (Helper("netbios-ns", "udp", 137, IPV4),),
    "pptp": (Helper("pptp", "tcp", 1723, IPV4, module="nf_nat_pptp"),),
    "sip": (
        Helper("sip", "udp", 5060, module="nf_nat_sip"),
        Helper("sip", "tcp", 5060, module="nf_nat_sip"),
    ),
    "snmp": (Helper("snmp", "udp", 161, IPV4, module="nf_nat_snmp_basic"),),
    "tftp": (Helper("tftp", "udp", 69, module="nf_nat_tftp"),),
}


def modules_for(names: t.Iterable[str]) -> t.List[str]:
    """The NAT modules of these helpers, without duplicates."""
    listed = (helper.module for name in names for helper in HELPERS[name] if helper.module)
    return list(dict.fromkeys(listed))


def check_known(names: t.Sequence[str], host: Sight) -> None:
    """Raises GatewayError for every helper that this kernel lacks. Without nft, only loading the rules can tell."""
    if not names or not host.which("nft") or _accepted(names, host):
        return
    unknown = [name for name in names if not _accepted([name], host)]
    if unknown:
        raise GatewayError(
            *(
                "helpers: '{0}' is unknown to this kernel; load nf_conntrack_{1}, or leave it out".format(
                    name, name.replace("-", "_")
                )
                for name in unknown
            )
        )


def _accepted(names: t.Iterable[str], host: Sight) -> bool:
    """Whether nft would accept these helpers. It asks the kernel and changes nothing."""
    place = {"family": "inet", "table": "ipmasq_probe"}
    commands: t.List[t.Any] = [{"add": {"table": {"family": "inet", "name": "ipmasq_probe"}}}]
    for number, helper in enumerate(helper for name in names for helper in HELPERS[name]):
        body = {"name": "h{0}".format(number), "type": helper.name, "protocol": helper.protocol, "l3proto": "ip"}
        commands.append({"add": {"ct helper": dict(body, **place)}})
    done = host.ask(["nft", "-c", "-j", "-f", "-"], stdin=json.dumps({"nftables": commands}))
    return done.rc == 0
