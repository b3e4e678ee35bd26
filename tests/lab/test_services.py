# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""LANs are served, and metrics written, under real inits, systemd's sandbox included: over crashes, reboots, until the
gateway is removed.
"""

from __future__ import annotations

import typing as t

import pytest
from test_inits import WIRE, Machine, image_with

CLIENT = "; ip netns add client; ip link set p1 netns client name up0; ip -n client link set up0 address "
CLIENT += "52:54:00:12:34:56 up; "
CLIENT += "ip address add fd00:1::1/64 dev lan0 nodad"
GATEWAY = {"wans": [{"interface": "wan0"}], "lans": [{"name": "office", "interfaces": ["lan0"], "dhcp": True}]}
UPSTREAM = {"dns_upstream": ["198.51.100.1"], "metrics": "textfile"}
FILE = "/var/lib/prometheus/node-exporter/ipmasq-default.prom"
METRICS = "for n in $(seq 100); do sleep 0.3; [ -s {0} ] && exec cat {0}; done; exit 1".format(FILE)
#: Empty or infinity if the timer does nothing more.
AGAIN = "systemctl show --value --property=NextElapseUSecMonotonic ipmasq-metrics@default.timer"
ASK = "ip netns exec client busybox udhcpc -i up0 -f -n -q -t 8 -T 1 -x hostname:laptop -s /told"
TOLD = "printf '#!/bin/sh\\n[ $1 = bound ] && echo $ip $router $dns\\n' > /told; chmod 755 /told"
RUNS = "for n in $(seq 100); do sleep 0.3; kill -0 $(cat /run/ipmasq-services/default.pid) && exit; done; exit 1"
#: A domain name server is asked by bash alone; the answer to a name that nobody has is NXDOMAIN.
LOOKUP = "ip -n client addr replace {0}/24 dev up0; ip netns exec client busybox nslookup {1} 192.168.1.1 2>&1 || true"


#: Host to packages, and whether systemd is its first process.
HOSTS = {
    "bookworm": ("bookworm", True),
    "trixie": ("trixie", True),
    "sysvinit": ("bookworm,sysvinit-core", False),
    "openrc": ("bookworm,sysvinit-core,openrc", False),
}


@pytest.fixture(params=HOSTS)
def machine(request: t.Any) -> t.Iterator[Machine]:
    packages, systemd = HOSTS[request.param]
    made = Machine(image_with(packages + ",dnsmasq-base,udhcpc"), "ipmasq-services-" + request.param, systemd=systemd)
    try:
        yield made
    finally:
        made.remove()


def leased(machine: Machine) -> list[str]:
    return machine.sh(TOLD + "; " + ASK).split()


def pid(machine: Machine) -> str:
    return machine.sh("cat /run/ipmasq-services/default.pid")


def differences(machine: Machine) -> list[str]:
    """Of services and metrics. Links that come back after a boot have other switches, too."""
    found = machine.apply(confirm_timeout=0, **GATEWAY, **UPSTREAM)["differences"]
    return [line for line in found if "services" in line or "metrics" in line]


def lives_since(machine: Machine) -> str:
    """What changes if what runs dnsmasq was not there in between."""
    shown = "systemctl show -p InvocationID,ActiveEnterTimestampMonotonic,NRestarts ipmasq-services@default"
    return machine.sh(shown if machine.systemd else "cat /run/ipmasq-services/default.group")


def ranges_change_by_a_reload(machine: Machine, address: str) -> str:
    """The laptop's address at the end."""
    since, server = lives_since(machine), pid(machine)
    for span, stays in (("192.168.1.90-192.168.1.250", True), ("192.168.1.60-192.168.1.69", False)):
        ranged = {"lans": [dict(GATEWAY["lans"][0], dhcp={"range": span})]}
        done = machine.apply(confirm_timeout=0, **dict(GATEWAY, **ranged), **UPSTREAM)
        assert "~ services: dnsmasq on lan0" in done["differences"], done
        assert address in machine.sh("cat /var/lib/ipmasq/default.leases")
        given = leased(machine)[0]
        assert (given == address) is stays and (stays or given.startswith("192.168.1.6"))
        assert lives_since(machine) == since and pid(machine) != server
        server = pid(machine)
    # One that dnsmasq refuses leaves the running one alone.
    reload = "systemctl reload ipmasq-services@default" if machine.systemd else "sh /etc/ipmasq/services reload default"
    machine.sh("echo bad >> /run/ipmasq-services/default.conf; ! {0} 2> /dev/null".format(reload))
    assert lives_since(machine) == since and pid(machine) == server
    machine.apply(confirm_timeout=0, **GATEWAY, **UPSTREAM)
    assert lives_since(machine) == since and pid(machine) != server
    assert differences(machine) == []
    return leased(machine)[0]


def test_a_lan_is_served_until_the_gateway_goes(machine: Machine) -> None:
    machine.sh(WIRE + CLIENT)
    before = machine.sh("find /etc /var/lib -type f -o -type l | sort")
    done = machine.apply(confirm_timeout=0, **GATEWAY, **UPSTREAM)
    assert "+ services: dnsmasq on lan0" in done["differences"], done
    address, router, dns = leased(machine)
    assert router == dns == "192.168.1.1"
    assert address in machine.sh(LOOKUP.format(address, "laptop.home.arpa"))
    user = machine.sh("ps -o user= -p $(cat /run/ipmasq-services/default.pid)").strip()
    assert user == "dnsmasq", "it has dropped its privileges"
    assert machine.sh("stat -c '%U %a' /var/lib/ipmasq/default.leases").split()[0] in ("root", "dnsmasq")
    # Its text is in the state, which only root may read. systemd's own umask gives its group the right.
    assert machine.sh("stat -c '%U:%G %a' /run/ipmasq-services/default.started").strip() in (
        "root:root 600",
        "root:root 640",
    )

    # By then dnsmasq is another user, so telling it to read a reservation takes a privilege.
    server, reserve = pid(machine), [{"mac": "52:54:00:00:00:09", "address": "192.168.1.20", "name": "nas"}]
    nas = {"lans": [dict(GATEWAY["lans"][0], dhcp={"reserve": reserve})]}
    machine.apply(confirm_timeout=0, **dict(GATEWAY, **nas), **UPSTREAM)
    lookup = LOOKUP.format(address, "nas.home.arpa")
    machine.sh("for n in $(seq 50); do ({0}) | grep -q 192.168.1.20 && exit; sleep 0.2; done; exit 1".format(lookup))
    assert pid(machine) == server
    machine.apply(confirm_timeout=0, **GATEWAY, **UPSTREAM)
    assert pid(machine) == server

    address = ranges_change_by_a_reload(machine, address)

    if machine.systemd:
        # The rollback is part of a start, for which nothing that it starts may wait.
        lease = {"lans": [dict(GATEWAY["lans"][0], dhcp={"lease": "1h"})]}
        machine.apply(confirm_by="person", confirm_timeout=300, **dict(GATEWAY, **lease), **UPSTREAM)
        machine.sh("timeout 60 systemctl restart ipmasq.service")
        machine.sh(RUNS)
        assert differences(machine) == []

    machine.sh("kill -9 $(cat /run/ipmasq-services/default.pid)")
    machine.sh(RUNS)
    assert differences(machine) == []

    machine.sh("({0}); rm {1}".format(METRICS, FILE))
    assert not machine.systemd or machine.sh(AGAIN).strip() not in ("", "infinity")
    machine.boot()
    machine.sh(WIRE + CLIENT)
    machine.sh(RUNS)
    assert leased(machine)[0] == address, "leases survive a reboot"
    told = machine.sh(METRICS)
    assert 'ipmasq_as_applied{gateway="default",what="rules"} 1' in told
    assert 'ipmasq_dhcp_leases{gateway="default",lan="office",range="192.168.1.100-192.168.1.250"} 1' in told
    assert differences(machine) == []

    machine.apply(state="absent", confirm_timeout=0)
    assert machine.sh("pgrep -x dnsmasq || true") == "" and machine.sh("ls -d /run/ipmasq-services || true") == ""
    assert (
        machine.sh("pgrep -f 'metrics [w]rite' || true") == "" and machine.sh("ls -d /var/lib/prometheus || true") == ""
    )
    assert machine.sh("find /etc /var/lib -type f -o -type l | sort") == before
