# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Read the options of the module gateway."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from .._base.errors import GatewayError, Problems
from .._base.net import matches_name
from .._base.values import check_instance, check_interface, check_rate, shorten
from .._base.words import LOGGED
from .conflicts import check_references
from .forward import read_port_forward
from .gateway import ITEM_KINDS, Gateway
from .helper import read_helper
from .input import read_allow, read_controller_ports
from .metrics import read_metrics
from .multicast import read_multicast
from .nat import read_nat
from .outbound import read_outbound
from .services import Dns, read_domain, read_services, read_upstream
from .sides import read_lan, read_mss, read_wan
from .timers import DEFAULT_TIMEOUTS, read_timeouts

#: The iptables limit (29) less the longest event name, its colon and a space.
LOG_PREFIX_LENGTH = 29 - max(len(event) for event in LOGGED) - 2
ITEM = re.compile(r"(?:{0})\[[0-9]+\]".format("|".join(ITEM_KINDS)))


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
    served = Problems()
    profile = params["profile"]
    mss = read_mss("mss", params["mss"], problems)
    gateway = Gateway(
        instance=params["instance"],
        choice=params["choice"],
        wans=None if wans is None else tuple(read_wan(index, wan, mss, problems) for index, wan in enumerate(wans)),
        lans=None
        if lans is None
        else tuple(
            replace(read_lan(index, lan, problems), services=read_services(index, lan, served))
            for index, lan in enumerate(lans)
        ),
        nat=read_nat(params.get("nat"), profile, problems),
        port_forwards=tuple(
            read_port_forward(index, raw, problems) for index, raw in enumerate(params.get("port_forwards") or ())
        ),
        outbound=tuple(read_outbound(index, raw, problems) for index, raw in enumerate(params.get("outbound") or ())),
        multicast=tuple(
            read_multicast(index, raw, problems) for index, raw in enumerate(params.get("multicast") or ())
        ),
        profile=profile,
        ipv6=params["ipv6"],
        mss=mss,
        undeclared=params["undeclared"],
        managed_links=_managed_links(params.get("managed_links") or (), problems),
        drop_bogons=params["drop_bogons"],
        input=params["input"],
        input_allow=tuple(
            read_allow(index, raw, problems) for index, raw in enumerate(params.get("input_allow") or ())
        ),
        input_controller_ports=read_controller_ports(params.get("input_controller_ports"), problems),
        dns=Dns(read_upstream(params.get("dns_upstream"), served), read_domain(params.get("dns_domain"), served)),
        helpers=tuple(read_helper(index, raw, problems) for index, raw in enumerate(params.get("helpers") or ())),
        conntrack_max=_conntrack_max(params["conntrack_max"], problems),
        timeouts=read_timeouts("timeouts", DEFAULT_TIMEOUTS, params.get("timeouts"), problems),
        offload=params["offload"],
        log=tuple(event for event in LOGGED if event in (params.get("log") or ())),
        log_prefix=_log_prefix(params["log_prefix"], problems),
        log_rate=check_rate("log_rate", params["log_rate"], problems) or Gateway.log_rate,
        metrics=read_metrics(params["metrics"], params.get("metrics_folder"), problems),
    )
    if gateway.input_allow and gateway.input == "open":
        problems.add("input_allow", "has no effect while input is open; set input to protect")
    if gateway.input_controller_ports is not None and gateway.input == "open":
        problems.add("input_controller_ports", "has no effect while input is open; set input to protect")
    check_references(gateway, problems)
    if any(where.startswith(("instance", "lans", "wans")) for where in problems.places):
        raise GatewayError(*problems.found, *served.found)
    unsound = frozenset(found for where in problems.places for found in ITEM.findall(where))
    # A service that is invalid by itself is left out, and the rest is checked against the host.
    return replace(gateway, unsound=unsound), tuple(problems.found + served.found)


def _managed_links(raw: t.Sequence[str], problems: Problems) -> t.Tuple[str, ...]:
    found = []
    for name in dict.fromkeys(raw):
        wrong = Problems()
        check_interface("managed_links", name, wrong)
        if not wrong.found and matches_name(name, "lo"):
            wrong.add(
                "managed_links", "'{0}' matches lo, which is this host itself; name links of a manager".format(name)
            )
        problems.found += wrong.found
        problems.places += wrong.places
        found += [] if wrong.found else [name]
    return tuple(found)


def _conntrack_max(raw: str, problems: Problems) -> str:
    if raw in ("keep", "auto"):
        return raw
    if raw.isascii() and raw.isdigit() and len(raw) <= 9 and int(raw) >= 1024:
        return str(int(raw))
    problems.add(
        "conntrack_max", "'{0}' is not keep, auto or a number of connections of at least 1024".format(shorten(raw))
    )
    return "keep"


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
