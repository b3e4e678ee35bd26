# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forwarding comes after docker at boot, and it comes, whatever happens to docker. A stand-in is docker here: the unit
has the dependencies of docker's, and when it starts is what counts."""

from __future__ import annotations

import pytest
from test_inits import GATEWAY, WIRE, Machine, image_with

UNITS = """
cat > /etc/systemd/system/docker.socket << 'END'
[Socket]
ListenStream=/run/docker.sock
[Install]
WantedBy=sockets.target
END
cat > /etc/systemd/system/docker.service << 'END'
[Unit]
After=network-online.target docker.socket
Requires=docker.socket
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /proc/sys/net/ipv4/ip_forward > /root/found'
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now --quiet docker.service docker.socket
"""
DROP = "cd /etc/systemd/system; mkdir -p docker.service.d; printf '[{0}]\\n{1}\\n' > docker.service.d/own.conf"
#: What its administrator, or an accident, did to docker; and what docker finds at boot.
ACCIDENTS = {
    "it starts": ("true", "0"),
    "its socket has no group": ("sed -i 's/^Listen/SocketGroup=none-such\\n&/' /etc/systemd/system/docker.socket", "-"),
    "its disk is missing": (DROP.format("Unit", "ConditionPathIsMountPoint=/srv/docker"), "-"),
    "it fails": (DROP.format("Service", "ExecStart=/bin/false"), "0"),
}


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_forwarding_is_on_after_docker_had_its_turn(accident: str) -> None:
    break_it, found = ACCIDENTS[accident]
    machine = Machine(image_with("bookworm"), "ipmasq-late-docker", systemd=True)
    try:
        machine.sh("systemctl mask --quiet systemd-networkd-wait-online;" + WIRE + UNITS)
        assert machine.apply(**GATEWAY)["changed"]
        machine.sh("rm /root/found; " + break_it)
        machine.boot()
        assert machine.sh("cat /root/found 2> /dev/null || echo -").strip() == found
        machine.sh("for n in $(seq 50); do grep -q 1 /proc/sys/net/ipv4/ip_forward && exit; sleep 0.2; done; exit 1")
        assert machine.sh("systemctl is-active ipmasq").strip() == "active"
        if found == "-":
            # Whatever happened to it once, a restart of the loader starts it again.
            machine.sh(
                "systemd-run --quiet --unit=ipmasq-late /bin/false; sleep 1; echo 0 > /proc/sys/net/ipv4/ip_forward"
            )
            assert "systemd-run has failed" not in machine.sh("systemctl restart ipmasq; sh /etc/ipmasq/boot 2>&1")
            machine.sh(
                "for n in $(seq 50); do grep -q 1 /proc/sys/net/ipv4/ip_forward && exit; sleep 0.2; done; exit 1"
            )
    finally:
        machine.remove()
