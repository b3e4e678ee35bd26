# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that began under other rules: those that the old rules explain and the new ones do not are forgotten.

``IPMASQ_CONNECTIONS=200000`` tests with that many.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time

import pytest
from helpers import GUESTS, OFFICE, ONE_LAN, TWO_LANS, wire_gateway
from sandbox import sh
from test_undeclared import mgmt, relay
from topology import CLIENTS, GATE4, GATE6, WAN4, Servers
from unhurried import patience, slowness, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base import lock, netlink, sockets
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import removing
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import holders
from ansible_collections.ipmasq.linux.plugins.module_utils._flows import conntrack
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

pytestmark = pytest.mark.skipif(not shutil.which("conntrack"), reason="conntrack is not installed")
OFFICE4, OFFICE6 = CLIENTS["office"][1:]
SECOND, THIRD = "203.0.113.9", "203.0.113.77"
CONNECTIONS = int(os.environ.get("IPMASQ_CONNECTIONS", "30000"))
WAITS = rollback.Confirmation(3600, "token", "14:05:30")
FORWARD = {"name": "web", "port": ["443"], "to": [OFFICE4], "to_port": 8443}
ADDED = {"name": "fixed", "action": "snat", "to": [THIRD], "to_address": "add"}
MORE = {"port_forwards": [{"name": "more", "port": ["4443"], "to": [OFFICE4], "protocol": ["tcp"]}]}
IPSEC = {"nat": [{"name": "vpn", "action": "exempt", "ipsec": True}, {"name": "rest"}]}
NO_MAIL = {"outbound": [{"name": "mail", "protocol": ["tcp"], "port": ["2525"], "action": "drop"}]}


@pytest.fixture
def net(net):
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    return net


def snat(**match):
    return {"nat": [dict({"name": "fixed", "action": "snat", "to": [SECOND]}, **match), {"name": "rest"}]}


def forgotten(result):
    """How many connections a run reports as forgotten."""
    found = re.findall(r"^- (\d+) connections that began", "\n".join(result.to_dict()["differences"]), re.M)
    return int(found[0]) if found else 0


@contextlib.contextmanager
def listening(net, node, port):
    with net.socket(node, socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("0.0.0.0", port))
        server.listen(5)
        server.settimeout(patience())
        yield server


@contextlib.contextmanager
def joined(net, source, server, address, port, own=""):
    """A TCP connection that stays open: both of its ends. ``own`` is one of the addresses of its source."""
    with net.socket(source, socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(patience())
        client.bind((own, 0))
        client.connect((address, port))
        accepted, _peer = server.accept()
        with accepted:
            accepted.settimeout(patience())
            yield client, accepted


@contextlib.contextmanager
def connected(net, source, target, address, port, at=None):
    with listening(net, target, at or port) as server, joined(net, source, server, address, port) as ends:
        yield ends


def speaks(ends, first=0):
    """Whether a byte passes in each direction; the client's (0) or the server's (1) is the first."""
    one, other = ends[first], ends[1 - first]
    try:
        one.sendall(b"x")
        if not other.recv(1):
            return False
        other.sendall(b"y")
        return bool(one.recv(1))
    except OSError:
        return False


# --- What a change makes wrong, and nothing else ----------------------------------------------------------------------


def test_a_connection_that_the_change_makes_wrong_begins_anew(gate, net):
    gate.apply(**ONE_LAN)
    with Servers(net, "udp", ("wan", 5353)) as servers, servers.client("office", WAN4) as client:
        assert servers.ask(client, WAN4, 5353).peer == GATE4
        assert forgotten(gate.apply(check=True, **snat(), **ONE_LAN)) == 1
        assert servers.ask(client, WAN4, 5353).peer == GATE4
        assert forgotten(gate.apply(**snat(), **ONE_LAN)) == 1
        assert servers.ask(client, WAN4, 5353).peer == SECOND
        assert not gate.apply(**snat(), **ONE_LAN).changed


def test_exactly_the_connections_that_a_change_names_are_cut(gate, net):
    gate.apply(port_forwards=[FORWARD], **TWO_LANS)
    with (
        connected(net, "office", "wan", WAN4, 8080) as stays,
        connected(net, "office", "wan", WAN4, 2525) as mail,
        connected(net, "wan", "office", GATE4, 443, at=8443) as forwarded,
    ):
        assert speaks(stays) and speaks(mail) and speaks(forwarded)
        gate.apply(port_forwards=[FORWARD], **NO_MAIL, **TWO_LANS)
        assert speaks(stays) and speaks(forwarded)
        assert not speaks(mail)
        gate.apply(**NO_MAIL, **TWO_LANS)
        assert speaks(stays)
        assert not speaks(forwarded)


@pytest.mark.parametrize("place", ["behind an inner router", "since the run"])
def test_connections_of_networks_that_a_lan_has_by_its_routes_follow_a_change(gate, net, place):
    """The rules know their sources by a mark, not by an address."""
    inner = "10.66.0.5"
    lans = [{"name": "office", "interfaces": ["lan0"]}, GUESTS]
    wans = ONE_LAN["wans"]
    net.nodes["office"].sh("ip addr add {0}/24 dev up0".format(inner))
    if place == "behind an inner router":
        sh("ip route add 10.66.0.0/24 via " + OFFICE4)
    for change in (NO_MAIL, {"lans": [GUESTS]}, None):
        if place == "since the run":
            sh("ip addr del 10.66.0.1/24 dev lan0 2> /dev/null || true")
        gate.apply(wans=wans, lans=lans)
        if place == "since the run":
            sh("ip addr add 10.66.0.1/24 dev lan0")
        sh("conntrack -F 2> /dev/null")
        with (
            listening(net, "wan", 2525) as mail,
            listening(net, "wan", 8080) as web,
            joined(net, "office", mail, WAN4, 2525, own=inner) as ends,
            joined(net, "office", web, WAN4, 8080, own=inner) as stays,
        ):
            assert speaks(ends) and speaks(stays)
            done = gate.apply(**{"wans": wans, "lans": lans, **change}) if change else gate.absent()
            assert forgotten(done) == (1 if change is NO_MAIL else 2)
            for each in ends:
                each.settimeout(0.5)
            assert not speaks(ends)
            assert change is not NO_MAIL or speaks(stays)


@pytest.mark.parametrize("beside", ["", "ip addr add 10.77.0.2/24 dev wan0", "ip route add blackhole 10.66.9.0/24"])
def test_a_summary_route_is_that_of_a_lan_but_for_what_leads_elsewhere(gate, net, beside):
    """10.0.0.0/8 is behind an inner router of the office; a modem, for one, has an address in it."""
    net.nodes["office"].sh("ip addr add 10.66.0.5/24 dev up0")
    sh("ip route add 10.0.0.0/8 via {0}; {1}".format(OFFICE4, beside))
    lans = [{"name": "office", "interfaces": ["lan0"]}]
    gate.apply(wans=ONE_LAN["wans"], lans=lans)
    with listening(net, "wan", 2525) as mail, joined(net, "office", mail, WAN4, 2525, own="10.66.0.5") as ends:
        assert speaks(ends)
        assert forgotten(gate.apply(wans=ONE_LAN["wans"], lans=lans, **NO_MAIL)) == 1
        for each in ends:
            each.settimeout(0.5)
        assert not speaks(ends)


def test_a_declared_network_within_a_summary_route_is_that_of_its_lan(gate, net):
    """10.0.0.0/8 is behind an inner router of the office, which has the networks of its routes; the guests do not."""
    sh("ip addr add 10.2.1.1/24 dev guest0; ip route add 10.0.0.0/8 via " + OFFICE4)
    net.nodes["guest"].sh("ip addr add 10.2.1.10/24 dev up0")
    guests = dict(GUESTS, networks=["10.2.0.0/16", "192.168.2.0/24"])
    lans = [{"name": "office", "interfaces": ["lan0"]}, guests]
    gate.apply(wans=ONE_LAN["wans"], lans=[OFFICE, guests])
    with listening(net, "wan", 2525) as mail, joined(net, "guest", mail, WAN4, 2525, own="10.2.1.10") as ends:
        assert speaks(ends)
        assert forgotten(gate.apply(wans=ONE_LAN["wans"], lans=lans)) == 0
        assert speaks(ends, first=1)
        assert forgotten(gate.apply(wans=ONE_LAN["wans"], lans=lans, **NO_MAIL)) == 1
        for each in ends:
            each.settimeout(0.5)
        assert not speaks(ends)


@pytest.mark.usefixtures("vpn")
def test_a_site_of_a_vpn_within_a_summary_route_is_none_of_a_lan(gate, net):
    """The VPN's own server translates what its sites send out."""
    sh("ip route add 10.0.0.0/8 via " + OFFICE4)
    sh(
        "nft add table ip theirs; nft 'add chain ip theirs post {type nat hook postrouting priority 90;}'; "
        "nft add rule ip theirs post ip saddr 10.99.0.0/16 oifname wan0 masquerade"
    )
    lans = [{"name": "office", "interfaces": ["lan0"]}, GUESTS]
    gate.apply(wans=ONE_LAN["wans"], lans=lans)
    with (
        listening(net, "wan", 8080) as at_wan,
        joined(net, "far", at_wan, WAN4, 8080, own="10.99.0.10") as by_vpn,
        connected(net, "office", "wan", WAN4, 8081) as ours,
    ):
        assert speaks(by_vpn) and speaks(ours)
        assert forgotten(gate.apply(wans=ONE_LAN["wans"], lans=lans, **snat())) == 1
        assert speaks(by_vpn, first=1)


def test_connections_to_the_gateway_end_where_it_is_protected_now(gate, net):
    """Those of WANs and undeclared links; those of LANs, and what SSH needs, stay."""
    mgmt(net)
    allow = {"input_allow": [{"name": "web", "port": ["8083"], "protocol": ["tcp"]}]}
    shut = dict(TWO_LANS, input="protect", input_controller_ports=[8082])
    gate.apply(**TWO_LANS)
    with (
        connected(net, "wan", "gate", GATE4, 8081) as opened,
        connected(net, "mgmt", "gate", "10.9.9.1", 8085) as from_mgmt,
        connected(net, "wan", "gate", GATE4, 8082) as controller,
        connected(net, "wan", "gate", GATE4, 8083) as web,
        connected(net, "office", "gate", "192.168.1.1", 8086) as inside,
        connected(net, "gate", "wan", WAN4, 8084) as own,
    ):
        assert forgotten(gate.apply(**allow, **shut)) == 2
        # A server that sends first would begin the connection anew, from here.
        assert not speaks(opened, first=1)
        assert not speaks(from_mgmt)
        assert speaks(controller) and speaks(web, first=1) and speaks(inside) and speaks(own)
        assert forgotten(gate.apply(**shut)) == 1
        assert not speaks(web, first=1)
        assert speaks(controller) and speaks(inside) and speaks(own)


#: What another program does, so that SSH is reached at a second port.
REDIRECTED = (
    "nft add table ip mine; nft 'add chain ip mine pre { type nat hook prerouting priority -110; }'; "
    "nft add rule ip mine pre tcp dport 2222 redirect to :8082"
)


def test_connections_to_the_gateway_that_began_under_a_change_end_with_it(gate, net):
    mgmt(net)
    sh(REDIRECTED)
    shut = dict(TWO_LANS, input="protect", input_controller_ports=[8082])
    gate.apply(**shut)
    with listening(net, "gate", 8081) as closed, listening(net, "gate", 8082) as ssh, contextlib.ExitStack() as held:

        def joins(source, server, address, port):
            return held.enter_context(joined(net, source, server, address, port))

        stay = [
            joins("wan", ssh, GATE4, 8082),
            joins("wan", ssh, GATE4, 2222),
            joins("office", closed, "192.168.1.1", 8081),
        ]
        gate.apply(confirmation=WAITS, **TWO_LANS)
        stay.append(held.enter_context(connected(net, "office", "wan", WAN4, 8084)))
        go = [joins("wan", closed, GATE4, 8081), joins("mgmt", closed, "10.9.9.1", 8081)]
        # The same address and port, from a LAN: what conntrack forgets of it starts again.
        stay.append(joins("office", closed, GATE4, 8081))
        assert all(map(speaks, stay + go))
        assert rollback.finish("default", "token", False, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert not speaks(go[0], first=1) and not speaks(go[1])
        assert all(map(speaks, stay))


def test_many_sockets_end_with_a_change(gate, net):
    """A hundred, more than one call of ss takes."""
    gate.apply(input="protect", input_controller_ports=[8082], **TWO_LANS)
    with listening(net, "gate", 8081) as server, contextlib.ExitStack() as held:
        server.listen(200)
        gate.apply(confirmation=WAITS, **TWO_LANS)
        ends = [held.enter_context(joined(net, "wan", server, GATE4, 8081)) for _number in range(101)]
        assert speaks(ends[0]) and speaks(ends[100])
        assert rollback.finish("default", "token", False, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert not any(speaks(each, first=1) for each in ends)


NAMED = {"name": "web", "port": ["8081"], "protocol": ["tcp"], "source": [WAN4 + "/32"]}


@pytest.mark.parametrize("before", [[], [NAMED]], ids=["opened to one", "opened to all"])
def test_what_one_source_may_ends_with_it_and_not_before(gate, net, before):
    """A change opens a port to one client, or to everybody where that client had it before."""
    shut = dict(TWO_LANS, input="protect", input_controller_ports=[8082])
    after = [{key: value for key, value in NAMED.items() if not before or key != "source"}]
    gate.apply(input_allow=before, **shut)
    with listening(net, "gate", 8081) as server, contextlib.ExitStack() as held:
        ends = held.enter_context(joined(net, "wan", server, GATE4, 8081)) if before else None
        gate.apply(confirmation=WAITS, input_allow=after, **shut)
        ends = ends or held.enter_context(joined(net, "wan", server, GATE4, 8081))
        assert speaks(ends, first=1)
        assert rollback.finish("default", "token", False, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert speaks(ends, first=1) is bool(before)


def test_a_rollback_of_a_wider_network_leaves_alone_what_was_there(gate, net):
    gate.apply(**TWO_LANS)
    sh("ip route add 192.168.0.0/24 dev lan0")
    net.nodes["office"].sh("ip addr add 192.168.0.10/32 dev up0")
    wider = dict(OFFICE, networks=["192.168.0.0/23", "fd00:1::/64"])
    with listening(net, "wan", 8084) as server, joined(net, "office", server, WAN4, 8084) as before:
        gate.apply(confirmation=WAITS, **dict(TWO_LANS, lans=[wider, GUESTS]))
        with joined(net, "office", server, WAN4, 8084, own="192.168.0.10") as by_it:
            assert speaks(by_it)
            assert rollback.finish("default", "token", False, gate.host).changed
            wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
            assert not speaks(by_it)
        # The server speaks first: what the client says would begin the flow anew.
        before[1].sendall(b"y")
        assert before[0].recv(1) == b"y"


def test_a_connection_to_an_address_of_the_gateway_that_is_routed_goes_with_the_forward_that_opened_it(gate, net):
    own, inside = "2001:db8:b::1", "2001:db8:b::/64"
    sh("ip addr add {0}/64 dev lan0 nodad".format(own))
    net.nodes["wan"].sh("ip -6 route add {0} via {1}".format(inside, GATE6))
    lan = dict(OFFICE, networks=["192.168.1.0/24", inside])
    shut = {
        "wans": ONE_LAN["wans"],
        "lans": [lan],
        "ipv6": "route",
        "input": "protect",
        "input_controller_ports": [8082],
    }
    gate.apply(**shut)
    pinhole = {"name": "own", "port": ["8443"], "to": [own], "protocol": ["tcp"]}
    gate.apply(confirmation=WAITS, port_forwards=[pinhole], **shut)
    with (
        net.socket("gate", socket.AF_INET6, socket.SOCK_STREAM) as server,
        net.socket("wan", socket.AF_INET6, socket.SOCK_STREAM) as client,
    ):
        server.bind((own, 8443))
        server.listen(1)
        client.settimeout(patience())
        client.connect((own, 8443))
        with server.accept()[0] as accepted:
            accepted.settimeout(patience())
            assert speaks((client, accepted))
            assert rollback.finish("default", "token", False, gate.host).changed
            wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
            for each in (client, accepted):
                each.settimeout(0.5)
            assert not speaks((client, accepted))


def test_a_connection_by_a_forward_to_the_gateway_goes_with_the_forward(gate, net):
    here = {"name": "own", "port": ["2443"], "to": ["192.168.1.1"], "to_port": 8443, "protocol": ["tcp"]}
    for door in ("open", "protect"):
        gate.apply(input=door, **TWO_LANS)
        gate.apply(confirmation=WAITS, input=door, port_forwards=[here], **TWO_LANS)
        with connected(net, "wan", "gate", GATE4, 2443, at=8443) as forwarded:
            assert speaks(forwarded)
            assert rollback.finish("default", "token", False, gate.host).changed
            wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
            assert not speaks(forwarded)


def test_connections_of_undeclared_links_end_where_these_are_closed_now(gate, net):
    there4, _there6 = mgmt(net)
    # A network behind a router of that link.
    net.nodes["mgmt"].sh("ip addr add 10.50.0.5/32 dev lo")
    sh("ip route add 10.50.0.0/24 via {0}".format(there4))
    gate.apply(undeclared="leave", **TWO_LANS)
    with (
        connected(net, "office", "mgmt", "10.50.0.5", 8085) as behind,
        connected(net, "mgmt", "office", OFFICE4, 8081) as inwards,
        connected(net, "office", "mgmt", there4, 8082) as outwards,
        connected(net, "wan", "mgmt", there4, 8083) as from_outside,
        connected(net, "office", "wan", WAN4, 8084) as through,
    ):
        assert forgotten(gate.apply(**TWO_LANS)) == 4
        assert not speaks(behind)
        assert not speaks(inwards)
        assert not speaks(outwards)
        assert not speaks(from_outside)
        assert speaks(through)


def test_connections_of_undeclared_links_that_began_under_a_change_end_with_it(gate, net):
    """Those of LANs. What another program has translated stays, as a container's connection to a server there."""
    there4, _there6 = mgmt(net)
    wire_container(net)
    gate.apply(**TWO_LANS)
    with connected(net, "container", "mgmt", there4, 5432) as by_docker:
        gate.apply(confirmation=WAITS, undeclared="leave", **TWO_LANS)
        with (
            connected(net, "mgmt", "office", OFFICE4, 8081) as inwards,
            connected(net, "office", "mgmt", there4, 8082) as outwards,
            connected(net, "office", "wan", WAN4, 8084) as through,
        ):
            assert speaks(inwards) and speaks(outwards)
            assert rollback.finish("default", "token", False, gate.host).changed
            wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
            assert not speaks(inwards)
            assert not speaks(outwards)
            assert speaks(through) and speaks(by_docker)


def wire_container(net):
    """What docker does for ``docker run -p 8080:80``, and a container."""
    net._node("container")
    net._link("docker0", "container", "172.17.0.1/16", "fd17::1/64", "172.17.0.2/16", "fd17::2/64")
    net.nodes["container"].sh("ip route add default via 172.17.0.1")
    net._awake("container", "172.17.0.1")
    sh("""
        iptables-nft -t nat -A PREROUTING -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to 172.17.0.2:80
        iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    """)


@pytest.fixture
def vpn(net):
    """A network behind a tunnel: its far end is not a neighbour, only the routes lead there."""
    net._node("far")
    ended = relay(net, "vpn0", "far", "vpn0")
    tunnel = "ip addr add 10.9.0.{0}/24 dev vpn0; ip link set vpn0 up; ip route add {2} via 10.9.0.{1}"
    sh(tunnel.format(1, 2, "10.99.0.0/16"))
    net.nodes["far"].sh("ip addr add 10.99.0.10/32 dev lo; " + tunnel.format(2, 1, "default"))
    net._awake("far", "10.9.0.1")
    yield
    ended.set()


@pytest.mark.usefixtures("vpn")
def test_what_others_have_translated_or_carry_stays(gate, net):
    """One more port forward used to reset a LAN client's connection to a container."""
    wire_container(net)
    gate.apply(**TWO_LANS)
    with (
        connected(net, "office", "container", "192.168.1.1", 8080, at=80) as published,
        connected(net, "office", "far", "10.99.0.10", 8080) as by_vpn,
        connected(net, "office", "wan", WAN4, 8080) as ours,
    ):
        assert forgotten(gate.apply(**MORE, **TWO_LANS)) == 0
        assert speaks(published) and speaks(by_vpn) and speaks(ours)
        # Neither removed nor added rules affect these.
        assert forgotten(gate.apply(**dict(snat(), **TWO_LANS))) == 1
        assert speaks(published) and speaks(by_vpn)


@pytest.mark.usefixtures("vpn")
def test_a_host_that_routed_before_forgets_what_began_untranslated(gate, net):
    """There are no old rules, so a plain router is assumed; the routes show where a connection went."""
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; iptables-nft -A FORWARD -m conntrack --ctstate NEW -j ACCEPT")
    sh("conntrack -F 2>/dev/null")
    with (
        connected(net, "office", "wan", WAN4, 8080) as leaks,
        connected(net, "wan", "office", OFFICE4, 8081) as intrudes,
        connected(net, "office", "far", "10.99.0.10", 8080) as by_vpn,
    ):
        assert speaks(leaks) and speaks(intrudes) and speaks(by_vpn)
        assert forgotten(gate.apply(**TWO_LANS)) == 2
        assert not speaks(leaks)
        assert not speaks(intrudes)
        assert speaks(by_vpn)


def test_what_ipsec_may_carry_stays(gate):
    """No entry says that a policy has encrypted it, so it is never a reason to delete. What is translated is judged."""
    wire_gateway()
    gate.apply(**IPSEC, **ONE_LAN)
    for kind in ("tcp", "udp", "icmp", "gre"):
        insert(KINDS[kind], server="10.20.0.5", seen=OFFICE4)
    before = known()
    assert len(before) == 4
    for options in (MORE, NO_MAIL, {}):
        assert forgotten(gate.apply(**IPSEC, **options, **ONE_LAN)) == 0
        assert known() == before
    # Nor does it end with its item, as nobody knows what carried it.
    assert forgotten(gate.apply(**ONE_LAN)) == 0
    assert known() == before


def test_what_a_helper_has_announced_goes_with_its_master_only(gate, net):
    """The data connection of active FTP, like the voice of a call, survives the addition of a port forward."""
    known = dict(TWO_LANS, helpers=[{"name": "ftp"}])
    gate.apply(**known)
    with (
        connected(net, "office", "wan", WAN4, 21) as (client, server),
        net.socket("office", socket.AF_INET, socket.SOCK_STREAM) as data,
        net.socket("wan", socket.AF_INET, socket.SOCK_STREAM) as back,
    ):
        data.bind((OFFICE4, 10000))
        data.listen(1)
        for asked, answer in ((b"USER x\r\n", b"331 go on\r\n"), (b"PORT 192,168,1,10,39,16\r\n", b"")):
            client.sendall(asked)
            read = server.recv(100)
            if answer:
                server.sendall(answer)
                client.recv(100)
        *address, high, low = [int(number) for number in re.findall(rb"\d+", read)]
        back.settimeout(patience())
        data.settimeout(patience())
        back.connect((".".join(map(str, address)), high * 256 + low))
        accepted, _peer = data.accept()
        with accepted:
            accepted.settimeout(patience())
            assert speaks((back, accepted))
            assert forgotten(gate.apply(**MORE, **known)) == 0
            assert speaks((back, accepted)) and speaks((client, server))
            # And together with it: both now have another address.
            assert forgotten(gate.apply(**dict(known, **snat()))) == 2
            assert not speaks((back, accepted))


# --- What goes with the rules that are removed ------------------------------------------------------------------------


def test_a_removed_gateway_takes_its_connections_with_it(gate, net):
    """Those that it translated or let in from outside; those of others, and those that a plain router passes, stay."""
    wire_container(net)
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward")  # as docker does; it stays so
    gate.apply(port_forwards=[FORWARD], **TWO_LANS)
    with (
        connected(net, "office", "wan", WAN4, 8080) as masked,
        connected(net, "wan", "office", GATE4, 443, at=8443) as forwarded,
        connected(net, "office", "container", "192.168.1.1", 8080, at=80) as published,
    ):
        assert forgotten(gate.absent(check=True)) == 2
        assert speaks(masked) and speaks(forwarded) and speaks(published)
        done = gate.absent()
        assert (forgotten(done), done.changed) == (2, True)
        assert not speaks(masked)
        assert not speaks(forwarded)
        assert speaks(published)
    assert not gate.absent().changed


LINE = {"kind": "masquerade", "name": "line", "source": ["192.168.1.0/24"], "out_interface": "wan0"}
GUEST_LINE = dict(LINE, name="guests", source=["192.168.2.0/24"])
SINGLE = dict(FORWARD, kind="port_forward", name="single", in_interface="wan0")
CLOSE = {"kind": "forward", "name": "close", "in_interface": "guest0", "destination": ["192.168.1.0/24"]}


def test_a_removed_item_takes_its_connections_with_it_and_no_other(gate, net):
    gate.forwarding(ipv4=True)
    for item in (LINE, GUEST_LINE, SINGLE):
        gate.item(**item)
    with (
        connected(net, "office", "wan", WAN4, 8080) as office,
        connected(net, "guest", "wan", WAN4, 8081) as guest,
        connected(net, "wan", "office", GATE4, 443, at=8443) as forwarded,
        connected(net, "guest", "office", OFFICE4, 8082) as inside,
    ):
        assert forgotten(gate.item(**LINE)) == 0
        assert forgotten(gate.item(check=True, state="absent", **SINGLE)) == 1
        assert forgotten(gate.item(state="absent", **SINGLE)) == 1
        assert not speaks(forwarded)
        assert speaks(office) and speaks(guest) and speaks(inside)
        assert forgotten(gate.item(state="absent", **LINE)) == 1
        assert not speaks(office)
        assert speaks(guest) and speaks(inside)
        # A new item ends connections that it would not let begin.
        assert forgotten(gate.item(action="drop", **CLOSE)) == 1
        assert speaks(guest) and not speaks(inside)
        assert forgotten(gate.item(state="absent", **GUEST_LINE)) == 1
        assert not speaks(guest)


def test_what_began_by_an_item_goes_with_its_rollback(gate, net):
    gate.forwarding(ipv4=True)
    gate.item(**LINE)
    gate.item(confirmation=WAITS, **SINGLE)
    with (
        connected(net, "office", "wan", WAN4, 8080) as stays,
        connected(net, "wan", "office", GATE4, 443, at=8443) as intrudes,
    ):
        assert rollback.finish("default", "token", False, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert not speaks(intrudes)
        assert speaks(stays)


def test_a_line_makes_what_began_untranslated_begin_anew(nft):
    wire_gateway()
    nft.forwarding(ipv4=True)
    insert(KINDS["tcp"], seen=OFFICE4)
    insert(KINDS["tcp"], source="192.168.77.10", seen="192.168.77.10")
    assert forgotten(nft.item(**LINE)) == 1
    assert len(known()) == 1


def test_a_removal_that_waits_forgets_once_it_is_confirmed(nft):
    wire_gateway()
    nft.apply(**ONE_LAN)
    insert(KINDS["tcp"])
    for kept in (False, True):
        assert forgotten(removing.remove_instance("default", nft.host, WAITS)) == 1
        assert rollback.finish("default", "token", kept, nft.host).changed
        wait_until(lambda: not nft.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert len(known()) == (not kept)


def test_what_a_removal_that_died_has_not_forgotten_the_next_one_does(nft, monkeypatch):
    wire_gateway()
    nft.apply(**ONE_LAN)
    insert(KINDS["tcp"])
    with monkeypatch.context() as patched:
        patched.setattr(conntrack, "forget", dies)
        with pytest.raises(KeyboardInterrupt):
            nft.absent()
    assert len(known()) == 1
    assert forgotten(nft.absent()) == 1
    assert known() == set()
    assert not nft.absent().changed


# --- Every kind of connection, and the right one ----------------------------------------------------------------------

#: As arguments of conntrack(8). GRE has keys, ICMP an id, ESP nothing, the others have ports.
KINDS = {
    "tcp": "-p tcp --state ESTABLISHED --sport 4000 --dport 443",
    "udp": "-p udp --sport 4000 --dport 443",
    "sctp": "-p sctp --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 --sport 4000 --dport 443",
    "dccp": "-p dccp --state OPEN --role client --sport 4000 --dport 443",
    "udplite": "-p udplite --sport 4000 --dport 443",
    "icmp": "-p icmp --icmp-type 8 --icmp-code 0 --icmp-id 77",
    "gre": "-p gre --srckey 5 --dstkey 6",
    "esp": "-p esp",
}
KINDS6 = {
    "udp": "-p udp --sport 4000 --dport 443",
    "icmpv6": "-p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 9",
}


def insert(words, source=OFFICE4, server=WAN4, seen=GATE4):
    sh("conntrack -I -s {0} -d {1} --src-nat {2} -t 300 {3} >/dev/null 2>&1".format(source, server, seen, words))


def known():
    """Every connection, as conntrack(8) prints it, without its timer."""
    lines = sh("conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null").splitlines()
    return {re.sub(r"(?<=\d )\d+ (?=src|[A-Z])", "", line) for line in lines}


def test_of_each_protocol_the_right_one_goes(nft):
    """And of two with the same tuple, never the one of another zone, which is not ours."""
    wire_gateway()
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    nft.apply(**ONE_LAN)
    for number, words in enumerate(KINDS.values()):
        insert(words)
        insert(words, source="192.168.77.10", seen=THIRD)
        # Already right: it has the address of the new rules.
        insert(words, source="192.168.1.{0}".format(20 + number), seen=SECOND)
    insert("-w 7 " + KINDS["udp"])
    for words in KINDS6.values():
        insert(words, source="fd00:1::10", server="2001:db8:ff::1", seen="2001:db8:ff::2")
        insert(words, source="fd00:1::11", server="2001:db8:ff::1", seen="2001:db8:ff::9")
    before = known()
    assert len(before) == 3 * len(KINDS) + 1 + 2 * len(KINDS6)
    to = {"nat": [{"name": "x", "action": "snat", "to": [SECOND, "2001:db8:ff::9"], "to_address": "add"}]}
    assert forgotten(nft.apply(**to, **ONE_LAN)) == len(KINDS) + len(KINDS6)
    gone = before - known()
    assert len(gone) == len(KINDS) + len(KINDS6)
    assert all("src=192.168.1.10 " in line or "src=fd00:1::10 " in line for line in gone)
    assert not any("zone=" in line for line in gone)


def test_where_netlink_is_refused_the_program_is_asked(nft):
    wire_gateway()
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    nft.apply(**ONE_LAN)
    kinds = {kind: words for kind, words in KINDS.items() if kind not in ("dccp", "gre", "esp")}
    for words in kinds.values():
        insert(words)
    insert("-w 7 " + KINDS["udp"])
    nft.host.kernel = refused
    before = known()
    assert forgotten(nft.apply(check=True, **snat(), **ONE_LAN)) == len(kinds)
    assert known() == before
    nft.apply(**snat(), **ONE_LAN)
    assert [line for line in known() if "zone=7" not in line] == []
    assert len(known()) == 1
    nft.host.without = ("conntrack",)
    told = nft.apply(**ONE_LAN)
    assert [line for line in told.warnings if line.startswith("connections cannot be listed on this host")]
    assert nft.apply(**ONE_LAN).warnings == ()


def refused(_protocol):
    raise OSError(1, "Operation not permitted")


# --- Who forgets, and when --------------------------------------------------------------------------------------------


def test_a_change_that_waits_forgets_once_it_is_confirmed(gate, net):
    gate.apply(**ONE_LAN)
    with Servers(net, "udp", ("wan", 5353)) as servers, servers.client("office", WAN4) as client:
        assert servers.ask(client, WAN4, 5353).peer == GATE4
        assert forgotten(gate.apply(confirmation=WAITS, **snat(), **ONE_LAN)) == 1
        assert servers.ask(client, WAN4, 5353).peer == GATE4
        assert rollback.finish("default", "token", True, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert servers.ask(client, WAN4, 5353).peer == SECOND


def test_nobody_waits_while_connections_are_forgotten(nft, monkeypatch):
    """By then the change is kept: scripts get the lock, and another instance can be changed."""
    wire_gateway()
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    nft.apply(**ONE_LAN)
    insert(KINDS["tcp"])
    plain, seen = conntrack.forget, []

    def forget(found, host):
        monkeypatch.setattr(conntrack, "forget", plain)
        assert nft.host.is_free(lock.FILE) and not nft.host.exists(lock.LINK)
        rollback.check_free("default", nft.host)
        seen.append(nft.apply(instance="two", wans=[{"interface": "wan0"}], lans=[GUESTS]).changed)
        return plain(found, host)

    monkeypatch.setattr(conntrack, "forget", forget)
    assert forgotten(nft.apply(**snat(), **ONE_LAN)) == 1
    assert seen == [True] and known() == set()
    assert nft.info()["as_applied"] and nft.info("two")["as_applied"]


def test_nor_while_a_shell_forgets_them(nft):
    wire_gateway()
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    nft.apply(**ONE_LAN)
    insert(KINDS["tcp"])
    nft.apply(confirmation=WAITS, **snat(), **ONE_LAN)
    # It takes its time.
    script = nft.host.place("/run/ipmasq/default/forget")
    with open(script, encoding="utf-8") as old:
        text = old.read()
    with open(script, "w", encoding="utf-8") as new:
        new.write("sleep 3\n" + text)
    assert rollback.finish("default", "token", True, nft.host).changed
    assert nft.host.exists("/run/ipmasq/default.forget") and len(known()) == 1
    assert nft.host.is_free(lock.FILE) and not nft.host.exists(lock.LINK)
    assert nft.apply(instance="two", wans=[{"interface": "wan0"}], lans=[GUESTS]).changed
    wait_until(lambda: not nft.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
    assert known() == set()


def test_what_a_run_that_died_has_not_forgotten_the_next_one_does(gate, net, monkeypatch):
    gate.apply(**ONE_LAN)
    with Servers(net, "udp", ("wan", 5353)) as servers, servers.client("office", WAN4) as client:
        assert servers.ask(client, WAN4, 5353).peer == GATE4
        with monkeypatch.context() as patched:
            patched.setattr(conntrack, "forget", dies)
            with pytest.raises(KeyboardInterrupt):
                gate.apply(**snat(), **ONE_LAN)
        assert servers.ask(client, WAN4, 5353).peer == GATE4
        assert forgotten(gate.apply(check=True, **snat(), **ONE_LAN)) == 1
        done = gate.apply(**snat(), **ONE_LAN)
        assert (forgotten(done), done.changed) == (1, True)
        assert servers.ask(client, WAN4, 5353).peer == SECOND
        assert not gate.apply(**snat(), **ONE_LAN).changed


def test_what_began_under_a_change_goes_with_it(gate, net):
    """A rollback used to leave the intruder connected, and the phone dead. Unchanged connections stay."""
    gate.apply(**TWO_LANS)
    change = {
        "port_forwards": [FORWARD],
        "nat": [dict(ADDED, source=["office"]), {"name": "rest"}],
        "lans": [dict(OFFICE, reaches=["guests"]), GUESTS],
    }  # fmt: skip
    with (
        Servers(net, "udp", ("wan", 5060)) as registrar,
        registrar.client("office", WAN4, ("", 5060)) as phone,
        connected(net, "guest", "wan", WAN4, 8081) as stays,
    ):
        gate.apply(confirmation=WAITS, **dict(TWO_LANS, **change))
        assert registrar.ask(phone, WAN4, 5060).peer == THIRD
        with (
            connected(net, "wan", "office", GATE4, 443, at=8443) as intrudes,
            connected(net, "office", "guest", CLIENTS["guest"][1], 8080) as crosses,
        ):
            assert speaks(intrudes) and speaks(crosses) and speaks(stays)
            assert rollback.finish("default", "token", False, gate.host).changed
            wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
            assert not speaks(intrudes)
            assert not speaks(crosses)
            assert speaks(stays)
        assert registrar.ask(phone, WAN4, 5060).peer in (GATE4, SECOND)


@pytest.mark.parametrize("how", ["rolled back", "failed"])
def test_what_began_under_a_change_goes_with_it_in_ipv6(gate, net, monkeypatch, how):
    hole = {"name": "hole", "port": ["5353"], "protocol": ["udp"], "to": [OFFICE6]}
    gate.apply(**TWO_LANS)
    with (
        Servers(net, "udp", ("office", 5353), ("wan", 5060)) as servers,
        servers.client("wan", GATE6) as intruder,
        servers.client("guest", "2001:db8:ff::1") as stays,
    ):
        assert servers.ask(stays, "2001:db8:ff::1", 5060).peer == GATE6

        def comes_in(*_args):
            assert servers.ask(intruder, GATE6, 5353).node == "office"
            if how == "failed":
                raise GatewayError("made to fail by the test")

        if how == "rolled back":
            gate.apply(confirmation=WAITS, port_forwards=[hole], **TWO_LANS)
            comes_in()
            assert rollback.finish("default", "token", False, gate.host).changed
            wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        else:
            with monkeypatch.context() as patched:
                patched.setattr(rollback, "keep", comes_in)
                with pytest.raises(GatewayError, match="made to fail by the test"):
                    gate.apply(port_forwards=[hole], **TWO_LANS)
        # The gateway itself answers now, with an error, or nobody does.
        assert isinstance(servers.ask(intruder, GATE6, 5353, timeout=0.4), str)
        assert servers.ask(stays, "2001:db8:ff::1", 5060).peer == GATE6


def test_a_run_that_fails_takes_back_what_began(gate, net, monkeypatch):
    """As a rollback does, but at once, because the module that made the change can judge."""
    gate.apply(**ONE_LAN)
    with Servers(net, "udp", ("wan", 5060)) as registrar, registrar.client("office", WAN4) as phone:

        def fails(*_args):
            assert registrar.ask(phone, WAN4, 5060).peer == THIRD
            raise GatewayError("it fails")

        with monkeypatch.context() as patched:
            patched.setattr(rollback, "keep", fails)
            with pytest.raises(GatewayError, match="the host is as it was before"):
                gate.apply(nat=[ADDED], **ONE_LAN)
        assert registrar.ask(phone, WAN4, 5060).peer in (GATE4, SECOND)


def test_a_rollback_that_cannot_forget_says_so_beforehand(nft):
    wire_gateway()
    nft.apply(**ONE_LAN)
    nft.host.without = ("conntrack",)
    told = nft.apply(check=True, confirmation=WAITS, port_forwards=[FORWARD], **ONE_LAN).warnings
    assert [line for line in told if line.startswith("conntrack is not installed: if this change is rolled back")]
    assert nft.apply(check=True, confirmation=WAITS, timeouts={"udp": 99}, **ONE_LAN).warnings == ()


def dies(*_args):
    raise KeyboardInterrupt


# --- In proportion ----------------------------------------------------------------------------------------------------


def crowd(count, source, net=8):
    """So many connections at once, as the kernel's own messages: clients of the LAN, seen as the gateway."""
    nat = netlink.attribute(0x8006, b"".join(netlink.attribute(kind, inet(GATE4)) for kind in (1, 2)))
    fixed = netlink.attribute(7, (600).to_bytes(4, "big")) + netlink.attribute(3, (8).to_bytes(4, "big")) + nat
    create = netlink.REQUEST | 0x600
    with sockets.Netlink(sockets.NETFILTER) as kernel:
        for first in range(0, count, 200):
            packet = b""
            for number in range(first, min(first + 200, count)):
                server, port = inet("{0}.{1}.0.1".format(net, number // 40000)), 1024 + number % 40000
                body = tuple_of(1, inet(source), server, port, 443) + tuple_of(2, server, inet(source), 443, port)
                packet += netlink.message(netlink.NEW, create, socket.AF_INET, body + fixed)
            kernel.send(packet)


def inet(address):
    return socket.inet_aton(address)


def tuple_of(kind, source, destination, source_port, port):
    ends = netlink.attribute(0x8001, netlink.attribute(1, source) + netlink.attribute(2, destination))
    ports = [netlink.attribute(2 + number, each.to_bytes(2, "big")) for number, each in enumerate((source_port, port))]
    protocol = netlink.attribute(1, b"\x11") + b"".join(ports)
    return netlink.attribute(0x8000 | kind, ends + netlink.attribute(0x8002, protocol))


def counted():
    return int(sh("cat /proc/sys/net/netfilter/nf_conntrack_count"))


def test_ten_thousands_are_forgotten_at_once(nft):
    """3,000 connections used to take a minute, and held the lock all the time."""
    wire_gateway()
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    nft.apply(**TWO_LANS)
    crowd(CONNECTIONS - CONNECTIONS // 10, "192.168.1.10")
    crowd(CONNECTIONS // 10, "192.168.2.10", 9)
    assert counted() == CONNECTIONS
    began = time.monotonic()
    done = nft.apply(**snat(source=["guests"]), **TWO_LANS)
    assert (forgotten(done), counted()) == (CONNECTIONS // 10, CONNECTIONS - CONNECTIONS // 10)
    # The limit for 200,000 is 5 s; everything else that a run does here takes less than one.
    assert time.monotonic() - began < (1 + CONNECTIONS / 40000) * slowness()


def test_what_the_time_does_not_suffice_for_is_told(nft, monkeypatch):
    wire_gateway()
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    nft.apply(**ONE_LAN)
    crowd(3000, "192.168.1.10")
    monkeypatch.setattr(conntrack, "LONGEST", -1)
    (told,) = nft.apply(check=True, **snat(), **ONE_LAN).warnings
    assert told.startswith("there was not enough time to check every connection")


def test_the_kernel_lists_the_servers_of_its_files(nft, monkeypatch):
    """Those of TCP, without a walk through all connections."""
    wire_gateway()
    with contextlib.ExitStack() as stack:
        for number, address in enumerate(["", "::", "127.0.0.1", "::1", "192.168.1.1", "fd00:1::1"], 8081):
            server = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
            server.bind((address, number))
            server.listen(4)
        there = [(each.protocol, each.address, each.port, each.inode) for each in holders._waiting(nft.host)]
        assert sorted(holders._told(nft.host)) == sorted(there) and len(there) == 6
        told = sorted(holders.listening(nft.host))
        monkeypatch.setattr(nft.host, "kernel", lambda _protocol: socket.socket(family=-1))
        assert sorted(holders.listening(nft.host)) == told == [("tcp", port) for port in (8081, 8082, 8085, 8086)]
