# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is declared, and whichever packet is asked about: on a sound gateway it does what the explanation says.

``IPMASQ_EXAMPLES=100 pytest tests/integration/test_explain_any.py`` asks about packets of 100 gateways on each backend.
"""

from __future__ import annotations

import contextlib
import ipaddress

import sandbox
from hypothesis import Phase, given, reject, settings, strategies as st
from test_proof_of_any import wire
from unhurried import patience

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change.explaining import gateway_explain
from ansible_collections.ipmasq.linux.plugins.module_utils._explain import trial
from ansible_collections.ipmasq.linux.tests.unit import strategies

OUTSIDE = ("9.9.9.9", "198.51.100.1", "2620:fe::9")


def hosts(networks):
    """One host of each network that has room for one beside the gateway's own address."""
    parsed = [ipaddress.ip_network(net) for net in networks]
    return [str(net[0] if net.num_addresses < 8 else net[5]) for net in parsed]


def firsts(listed):
    return [
        str(ipaddress.ip_network(each.partition("-")[0], strict=False)[0]) for each in listed if "/" not in each[:1]
    ]


@st.composite
def questions(draw, params):
    lans = [host for lan in params["lans"] for host in hosts(lan["networks"])]
    links = range(len(params["wans"]))
    wans = ["203.0.{0}.2".format(120 + index) for index in links]
    wans += ["2001:db8:ff{0:02x}::2".format(index) for index in links]
    items = [*(params["nat"] or ()), *(params["port_forwards"] or ()), *(params["outbound"] or ())]
    named = firsts([net for item in items for net in item.get("destination") or ()])
    mapped = firsts(
        [net for item in params["nat"] or () if item.get("action") in ("static", "prefix") for net in item["to"]]
    )
    source = draw(st.sampled_from(lans + list(OUTSIDE)))
    family = [each for each in (*lans, *wans, *named, *mapped, *OUTSIDE) if (":" in each) == (":" in source)]
    target = draw(st.sampled_from(family))
    ports = [port.partition("-")[0] for item in items for port in item.get("port") or ()] + ["80", "53"]
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp"]))
    port = None if protocol == "icmp" else draw(st.sampled_from(ports))
    return {"from": source, "to": target, "port": port, "protocol": protocol}


def test_a_sound_gateway_does_what_is_explained(gate, monkeypatch):
    told = []
    monkeypatch.setattr(trial, "PATIENCE", patience())

    @settings(parent=strategies.drawn(6), phases=[Phase.generate])
    @given(params=strategies.gateways(), data=st.data())
    def agrees(params, data):
        own = sandbox.Namespace()
        with own.inside(), contextlib.closing(own):
            wire(params)
            try:
                gate.apply(**{key: value for key, value in params.items() if key not in ("backend", "state")})
            except GatewayError:
                reject()
            for _turn in range(3):
                asked = data.draw(questions(params))
                try:
                    values = gateway_explain(dict(asked, instance=params["instance"]), gate.host)
                except GatewayError as error:
                    told.append(str(error))
                    continue
                assert values["as_declared"], "\n".join([*values["lines"], values["sent"], *values["seen"]])
                told.append(values["by"] + str(values["passes"]))
            gate.absent(params["instance"])

    agrees()
    assert {"packetTrue", "packetFalse"} <= set(told)
