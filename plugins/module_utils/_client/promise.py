# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Promises of nat_probe: what was measured, against what is expected. Nothing here touches the network."""

from __future__ import annotations

import ipaddress
import typing as t

from . import nat as nat_
from .wanted import LEAST_MTU, covers

if t.TYPE_CHECKING:  # pragma: no cover
    from .nat import Verdict
    from .path import Path
    from .stun import Endpoint
    from .wanted import Expected

HOLDS, BROKEN, UNMEASURABLE = OUTCOMES = ("holds", "broken", "unmeasurable")
#: RFC 6598: what a provider gives to customers behind its own NAT.
SHARED = ipaddress.ip_network("100.64.0.0/10")
WORDS = {
    "none": "no NAT",
    "independent": "endpoint-independent",
    "address": "address-dependent",
    "address_port": "address- and port-dependent",
    "dependent": "dependent on the address at least",
    nat_.UNKNOWN: "unknown",
}


class Promise(t.NamedTuple):
    """One check. ``sent`` and ``seen`` are words, empty where nothing was; ``reason`` says why it does not hold."""

    name: str
    kind: str
    outcome: str
    sent: str = ""
    seen: str = ""
    reason: str = ""

    def as_dict(self) -> t.Dict[str, t.Any]:
        lists = {"sent": [self.sent] if self.sent else [], "seen": [self.seen] if self.seen else []}
        return dict(self._asdict(), **lists)


def counts(promises: t.Sequence[Promise]) -> t.Dict[str, int]:
    return {outcome: sum(each.outcome == outcome for each in promises) for outcome in OUTCOMES}


def over(protocol: str, version: int) -> str:
    return "{0} over IPv{1}".format(protocol, version)


def _broken_if(wrong: str) -> t.Tuple[str, str]:
    return (BROKEN, wrong) if wrong else (HOLDS, "")


# --- The address that the far side saw -------------------------------------------------------------------------------


def address(protocol: str, expected: Expected, seen: t.Mapping[Endpoint, Endpoint], version: int) -> t.List[Promise]:
    """``seen``: by server, whom it saw. None if no address of this family is expected."""
    wanted = [net for net in expected.addresses if (":" in net) == (version == 6)]
    if not wanted:
        return []
    name = "address seen with {0}".format(over(protocol, version))
    listed = ", ".join(plain(net) for net in wanted)
    if not seen:
        return [Promise(name, "address", UNMEASURABLE, reason="no server reported which address it saw")]
    words = ", ".join("{0} saw {1}".format(place, each) for place, each in seen.items())
    wrong = [each.address for each in seen.values() if not covers(wanted, each.address)]
    if not wrong:
        return [Promise(name, "address", HOLDS, "", words)]
    hidden = all(_is_hidden(net) for net in wanted) and not any(_is_hidden(each) for each in wrong)
    if hidden:
        reason = "the gateway's own address, {0}, is not public: another NAT behind it changes it to {1}"
        return [Promise(name, "address", UNMEASURABLE, "", words, reason.format(listed, wrong[0]))]
    reason = "{0} was seen, but {1} is expected".format(", ".join(dict.fromkeys(wrong)), listed)
    return [Promise(name, "address", BROKEN, "", words, reason)]


def _is_hidden(text: str) -> bool:
    """Whether it cannot be seen on the Internet. Documentation addresses count as public, as in any lab."""
    net = ipaddress.ip_network(text)
    if isinstance(net, ipaddress.IPv6Network):
        return net.subnet_of(ipaddress.IPv6Network("fc00::/7"))
    inside = [ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    return any(net.subnet_of(each) for each in (*inside, t.cast("ipaddress.IPv4Network", SHARED)))


def plain(network: str) -> str:
    """A host network without its length."""
    host, _slash, length = network.partition("/")
    return host if length in ("32", "128") else network


# --- Mapping, filtering, hairpin -------------------------------------------------------------------------------------


def behaviour(expected: Expected, found: nat_.Nat, version: int) -> t.List[Promise]:
    """Only what the user expects: no class of NAT is wrong by itself."""
    promises = []
    if expected.mapping:
        promises.append(_class_of("mapping", expected.mapping, found.mapping, version))
    if expected.filtering:
        promises.append(_class_of("filtering", expected.filtering, found.filtering, version))
    if expected.hairpin is not None:
        wanted = "yes" if expected.hairpin else "no"
        promises.append(_class_of("hairpin", wanted, found.hairpin, version))
    return promises


def _class_of(kind: str, wanted: str, found: Verdict, version: int) -> Promise:
    name = "{0} over IPv{1}".format(kind, version)
    known, wished = WORDS.get(found.value, found.value), WORDS.get(wanted, wanted)
    vague = found.value == "dependent" and wanted in ("address", "address_port")
    if found.value == nat_.UNKNOWN or vague:
        return Promise(name, kind, UNMEASURABLE, "", known, found.why)
    reason = "" if found.value == wanted else "{0} is {1}, but {2} is expected: {3}"
    outcome, why = _broken_if(reason.format(kind, known, wished, found.why))
    return Promise(name, kind, outcome, "", "{0}: {1}".format(known, found.why), why)


# --- Path MTU and idle flows -----------------------------------------------------------------------------------------


def path(way: str, expected: Expected, found: Path, version: int) -> Promise:
    """``way`` is out or in."""
    name = "path MTU {0} over IPv{1}".format(way, version)
    least = expected.mtu or LEAST_MTU
    sent = "packets of up to {0} bytes that must not be fragmented".format(found.mtu) if found.mtu else ""
    if not found.mtu:
        return Promise(name, "mtu", UNMEASURABLE, sent, "", found.why)
    wrong = found.why if found.silent else ""
    if found.mtu < least:
        wrong = "only {0} bytes get through, but {1} are expected".format(found.mtu, least)
    outcome, reason = _broken_if(wrong)
    return Promise(name, "mtu", outcome, sent, found.why, reason)


def idle(seconds: int, version: int, lives: t.Optional[bool], why: str) -> Promise:
    """``lives`` is None if it could not be measured."""
    name = "a UDP flow that is idle for {0} s over IPv{1}".format(seconds, version)
    if lives is None:
        return Promise(name, "idle", UNMEASURABLE, "", "", why)
    sent = "after {0} s without a packet, a datagram from the server to the mapped port".format(seconds)
    wrong = "" if lives else "the NAT has forgotten the flow: the datagram did not arrive"
    outcome, reason = _broken_if(wrong)
    return Promise(name, "idle", outcome, sent, "it arrived" if lives else "nothing", reason)
