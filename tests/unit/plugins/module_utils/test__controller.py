# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The port by which Ansible came in: through sudo, through no SSH at all, and where processes end meanwhile."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._controller import controller_ports
from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.tests.unit import fakes


def host_with(**processes):
    """A host in which process "self" has parents: pid to (parent, environment)."""
    host = fakes.FakeHost(fakes.NFT)
    for pid, (parent, environ) in processes.items():
        pid = pid.lstrip("p")
        host.files["/proc/{0}/status".format(pid)] = "Name:\tx\nPPid:\t{0}\nUid:\t0\n".format(parent)
        host.files["/proc/{0}/environ".format(pid)] = "\0".join(environ) + "\0"
    return host


def test_the_port_of_the_ssh_server():
    host = host_with(self=(7, ["A=1", "SSH_CONNECTION=192.0.2.1 50022 192.0.2.2 2222"]))
    assert controller_ports(host) == (2222,)


def test_sudo_hides_it_but_its_parent_knows():
    connection = "SSH_CONNECTION=2001:db8::1 50022 2001:db8::2 22022"
    host = host_with(self=(7, ["HOME=/root"]), p7=(5, ["SUDO_UID=1000"]), p5=(4, [connection]))
    assert controller_ports(host) == (22022,)


def test_without_ssh_it_is_the_usual_port():
    assert controller_ports(host_with(self=(1, ["A=1"]), p1=(0, ["container=podman"]))) == (22,)


def test_a_parent_that_is_gone():
    assert controller_ports(host_with(self=(99, []))) == (22,)


def test_a_parent_that_may_not_be_read():
    class Hidden(fakes.FakeHost):
        def read(self, path):
            if path == "/proc/1/environ":
                raise GatewayError("/proc/1/environ: cannot be read: Permission denied")
            return super().read(path)

    host = Hidden(fakes.NFT)
    host.files.update({"/proc/self/status": "PPid:\t1\n", "/proc/1/status": "PPid:\t0\n"})
    assert controller_ports(host) == (22,)


def test_a_variable_that_only_looks_like_it():
    host = host_with(self=(0, ["X=SSH_CONNECTION=1 2 3 4", "OLD_SSH_CONNECTION=192.0.2.1 1 192.0.2.2 2222"]))
    assert controller_ports(host) == (22,)
