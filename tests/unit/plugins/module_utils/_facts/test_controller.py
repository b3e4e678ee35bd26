# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ports by which a host is administered: where SSH servers listen, for any user, and the port of this run."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.controller import (
    Reach,
    kept_open,
    reach,
    refusal,
)
from ansible_collections.ipmasq.linux.tests.unit import fakes

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {0}:{1:04X} {2}:0000 {3} 00000000:00000000 00:00000000 00000000 {5:5}        0 {4} 1 0 100\n"
#: As a little-endian machine prints them (Linux 6.18).
ANY4, LOOP4, ANY6, LOOP6 = "00000000", "0100007F", "0" * 32, "0" * 24 + "01000000"
ADDRESS4 = "0101A8C0"  # 192.168.1.1
#: Real, effective, saved and of files, as in /proc/PID/status.
ROOT, NOBODY, SETUID = "Uid:\t0\t0\t0\t0\n", "Uid:\t65534\t65534\t65534\t65534\n", "Uid:\t1000\t0\t0\t0\n"
#: What OpenSSH 9.2 calls its server.
LISTENER = "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"


def host_with(port=0, **processes):
    """A host in which process "self" has parents: pid to (parent, environment); inetd listens at a port."""
    host = fakes.FakeHost(fakes.NFT)
    if port:
        host.files["/proc/net/tcp"] = HEAD + LINE.format(ANY4, port, ANY4, "0A", 999, 0)
    for pid, (parent, environ) in processes.items():
        pid = pid.lstrip("p")
        host.files["/proc/{0}/status".format(pid)] = "Name:\tx\nPPid:\t{0}\n{1}".format(parent, ROOT)
        host.files["/proc/{0}/environ".format(pid)] = "\0".join(environ) + "\0"
    return host


class Processes:
    """Processes and their sockets, as in /proc."""

    def __init__(self):
        self.host = host_with(self=(1, ["A=1"]), p1=(0, []))
        self.rows = {"tcp": "", "tcp6": ""}
        self.inode = 1000
        self.add(1, 0, "init")

    def add(self, pid, parent, comm, title="", uid=ROOT, **sockets):
        """``sockets``: port (with a letter in front) to the address that is listened on."""
        place = "/proc/{0}/".format(pid)
        texts = {"comm": comm + "\n", "status": "PPid:\t{0}\n".format(parent) + uid, "cmdline": title or comm}
        self.host.files.update({place + name: text for name, text in texts.items()})
        self.host.files.setdefault(place + "environ", "")
        self.host.files[place + "fd/0"] = "/dev/null"
        self.host.files[place.rstrip("/")] = ""
        for number, (port, address) in enumerate(sockets.items(), 3):
            self.inode += 1
            self.host.files["{0}fd/{1}".format(place, number)] = "socket:[{0}]".format(self.inode)
            self.row(address, int(port[1:]), self.inode)
        return self

    def row(self, address, port, inode, state="0A", uid=0):
        table = "tcp" if len(address) == 8 else "tcp6"
        self.rows[table] += LINE.format(address, port, "0" * len(address), state, inode, uid)
        self.host.files["/proc/net/" + table] = HEAD + self.rows[table]

    @property
    def servers(self):
        return reach(self.host).servers


@pytest.fixture(autouse=True)
def little_endian(monkeypatch):
    monkeypatch.setattr("sys.byteorder", "little")


# --- this run ----------------------------------------------------------------------------------------------------


def test_the_port_of_the_ssh_server():
    host = host_with(2222, self=(7, ["A=1", "SSH_CONNECTION=192.0.2.1 50022 192.0.2.2 2222"]))
    assert reach(host) == Reach(2222, (), ("192.0.2.1", "192.0.2.2"))


def test_sudo_hides_it_but_its_parent_knows():
    connection = "SSH_CONNECTION=2001:db8::1 50022 2001:db8::2 22022"
    host = host_with(22022, self=(7, ["HOME=/root"]), p7=(5, ["SUDO_UID=1000"]), p5=(4, [connection]))
    assert reach(host).run == 22022


@pytest.mark.parametrize(
    "host",
    [
        host_with(self=(1, ["A=1"]), p1=(0, ["container=podman"])),
        host_with(self=(99, [])),  # a parent that is gone
        host_with(self=(0, ["X=SSH_CONNECTION=1 2 3 4", "OLD_SSH_CONNECTION=192.0.2.1 1 192.0.2.2 2222"])),
    ],
)
def test_no_ssh(host):
    assert reach(host) == Reach(None, ())


def test_a_parent_that_may_not_be_read():
    class Hidden(fakes.FakeHost):
        def read(self, path):
            if path == "/proc/1/environ":
                raise GatewayError("/proc/1/environ: cannot be read: Permission denied")
            return super().read(path)

    host = Hidden(fakes.NFT)
    host.files.update({"/proc/self/status": "PPid:\t1\n", "/proc/1/status": "PPid:\t0\n"})
    assert reach(host).run is None


# --- servers -----------------------------------------------------------------------------------------------------


def test_where_servers_listen():
    found = Processes().add(10, 1, "sshd", LISTENER, t22=ANY4, u22=ANY6)
    found.add(11, 1, "sshd", "/usr/sbin/sshd -f /etc/ssh/second", t2222=ADDRESS4)
    found.add(12, 1, "dropbear", t2022=ANY6).add(13, 1, "nginx", t443=ANY4)
    assert found.servers == (22, 2022, 2222)


def test_what_only_this_host_reaches_needs_no_port():
    found = Processes().add(10, 1, "sshd", t22=LOOP4, u23=LOOP6, v24=ANY4)
    assert found.servers == (24,)


def test_loopback_on_a_machine_of_the_other_byte_order(monkeypatch):
    monkeypatch.setattr("sys.byteorder", "big")
    found = Processes().add(10, 1, "sshd", t22="7F000001", u23="0" * 31 + "1", v24="C0A80101")
    assert found.servers == (24,)


def test_what_users_forward_is_no_ssh():
    """ssh -R and X11: the process of a session listens, in addition to the server that started it."""
    found = Processes().add(10, 1, "sshd", LISTENER, t22=ANY4)
    found.add(11, 10, "sshd", "sshd: joe [priv]").add(12, 11, "sshd", "sshd: joe@pts/0", t8080=ANY4)
    found.add(13, 1, "sshd", "sshd: root@pts/1", t8081=ANY4)  # started by a systemd socket
    found.add(20, 1, "dropbear", t2222=ANY4).add(21, 20, "dropbear", t8082=ANY4)
    assert found.servers == (22, 2222)


def test_a_connection_is_no_listener():
    found = Processes().add(10, 1, "sshd", t22=ANY4)
    found.host.files["/proc/10/fd/9"] = "socket:[77]"
    found.row(ADDRESS4, 2222, 77, state="01")
    assert found.servers == (22,)


def test_a_server_of_a_container_listens_elsewhere():
    """Its process is seen, and its socket is none of this namespace."""
    found = Processes().add(10, 1, "sshd", t22=ANY4)
    found.host.files.update(
        {"/proc/30": "", "/proc/30/comm": "sshd\n", "/proc/30/status": "PPid:\t29\n", "/proc/30/fd/3": "socket:[9]"}
    )
    assert found.servers == (22,)


UNITS = """\
/run/dbus/system_bus_socket  dbus.socket              dbus.service
0.0.0.0:22                   ssh.socket               ssh.service
[::]:2222                    dropbear.socket          dropbear@1.service
[::]:9090                    cockpit.socket           cockpit.service
0.0.0.0:2022                 sshd-off.socket          sshd@0.service
"""


def test_a_socket_that_systemd_holds():
    """A socket without a listener belongs to a unit that is not started."""
    found = Processes()
    found.add(1, 0, "systemd", t22=ANY4, u2222=ANY6, v9090=ANY6)
    found.host.answers["systemctl list-sockets"] = Done(0, UNITS, "")
    assert found.servers == (22, 2222)


def test_systemd_is_asked_only_if_it_listens():
    found = Processes().add(1, 0, "systemd").add(10, 1, "sshd", t22=ANY4)
    assert found.servers == (22,)
    assert not [call for call in found.host.calls if call[0] == "systemctl"]


# --- what users say -----------------------------------------------------------------------------------------------


def test_a_process_of_a_user_is_no_server():
    """Everybody can call a process sshd, and let it listen."""
    found = Processes().add(10, 1, "sshd", t22=ANY4).add(11, 1, "sshd", uid=NOBODY)
    found.row(ANY4, 31337, 77, uid=65534)
    found.host.files["/proc/11/fd/3"] = "socket:[77]"
    assert found.servers == (22,)


@pytest.mark.parametrize("uid", [NOBODY, SETUID, "", "Uid:\t0\t1000\t0\t0\n"])
def test_a_process_of_a_user_with_a_socket_of_root_is_no_server(uid):
    """Such as a web server, which got its socket from root."""
    assert Processes().add(10, 1, "sshd", uid=uid, t443=ANY4).servers == ()


def test_a_socket_of_a_user_in_a_process_of_root_is_none_of_a_server():
    """Links and open files reach programs with the setuid bit: "ln -s /usr/bin/sudo sshd; ./sshd"."""
    found = Processes().add(10, 1, "sshd", t22=ANY4)
    found.row(ANY6, 31337, 77, uid=1000)
    found.host.files["/proc/10/fd/9"] = "socket:[77]"
    assert found.servers == (22,)


@pytest.mark.parametrize("uid", [None, 1000])
def test_the_port_that_an_environment_tells_counts_if_root_listens_there(uid):
    """The parents of sudo belong to the user."""
    found = Processes().add(10, 1, "sshd", t22=ANY4)
    found.host.files["/proc/self/environ"] = "SSH_CONNECTION=192.0.2.1 50022 192.0.2.2 31337\0"
    if uid:
        found.row(ANY4, 31337, 77, uid=uid)
    assert reach(found.host) == Reach(None, (22,))
    found.row(ANY4, 31337, 78)
    assert reach(found.host) == Reach(31337, (22,), ("192.0.2.1", "192.0.2.2"))


# --- what stays open ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "earlier", "found", "ports", "known", "noted"),
    [
        (None, (), Reach(None, ()), (22,), (), "port 22 stays open; to open another one, list it in input"),
        (None, (), Reach(2222, ()), (2222,), (2222,), ""),
        (None, (), Reach(None, (2222,)), (2222,), (2222,), ""),
        (None, (), Reach(2222, (22, 2222)), (22, 2222), (22, 2222), ""),
        (None, (22,), Reach(22, (22,)), (22,), (22,), ""),
        (None, (22, 23), Reach(2222, (2222,)), (22, 23, 2222), (22, 23, 2222), "port 22, 23 stays open for SSH as"),
        ((22,), (2222,), Reach(22, (22, 2222)), (22,), (22,), ""),
        ((), (22,), Reach(None, (22,)), (), (), ""),
    ],
)  # fmt: skip
def test_what_stays_open(wanted, earlier, found, ports, known, noted):
    kept = kept_open(wanted, earlier, found)
    assert (kept.ports, kept.known) == (ports, known)
    assert [noted in note for note in kept.notes] == ([True] if noted else [])


@pytest.mark.parametrize("wanted", [(), (22, 23)])
def test_a_run_does_not_cut_itself_off(wanted):
    (told,) = refusal(wanted, Reach(2222, (22, 2222)))
    assert told.startswith("input_controller_ports: this run uses SSH on port 2222")
    assert not refusal(wanted, Reach(None, (2222,)))
    assert not refusal((2222,), Reach(2222, ())) and not refusal(None, Reach(2222, ()))
