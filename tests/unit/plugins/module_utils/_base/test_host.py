# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a real folder: whole or not at all, with the mode asked for, and errors that name them."""

from __future__ import annotations

import os

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done, Host, Onlooker, Sight, reads
from ansible_collections.ipmasq.linux.plugins.module_utils._change.asked import is_steady
from ansible_collections.ipmasq.linux.tests.unit import fakes


class LocalHost(Host):
    def run(self, argv, stdin=None):
        return Done(127, "", "")

    def which(self, program):
        return ""


HOST = LocalHost()


def test_write_is_whole_and_has_its_mode(tmp_path):
    path = str(tmp_path / "a" / "b" / "file")
    HOST.write(path, "one\n", 0o600)
    HOST.write(path, "zwei ü\n", 0o640)
    assert (HOST.read(path), HOST.mode(path)) == ("zwei ü\n", 0o640)
    assert os.listdir(os.path.dirname(path)) == ["file"], "no part is left beside it"


def test_write_that_fails_leaves_the_old_text(tmp_path, monkeypatch):
    path = str(tmp_path / "file")
    HOST.write(path, "old\n", 0o600)

    def full(*_names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GatewayError) as caught:
        HOST.write(path, "new\n", 0o600)
    assert caught.value.problems == (path + ": cannot be written: No space left on device",)
    assert HOST.read(path) == "old\n"
    assert os.listdir(str(tmp_path)) == ["file"]


def test_read(tmp_path):
    assert HOST.read(str(tmp_path / "absent")) is None
    assert HOST.read(str(tmp_path / "absent" / "below")) is None
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    assert HOST.read(str(tmp_path / "latin")) == "caf\ufffd\n"
    with pytest.raises(GatewayError) as caught:
        HOST.read(str(tmp_path))
    assert caught.value.problems == ("{0}: cannot be read: Is a directory".format(tmp_path),)


def test_write_switch(tmp_path):
    path = tmp_path / "switch"
    path.write_text("0\n")
    HOST.write_switch(str(path), "1")
    assert path.read_text() == "1\n"
    with pytest.raises(GatewayError) as caught:
        HOST.write_switch(str(tmp_path), "1")
    assert caught.value.problems == ("{0}: cannot be set to 1: Is a directory".format(tmp_path),)


def test_remove(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    HOST.remove(str(path))
    HOST.remove(str(path))
    assert not path.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    HOST.remove_folder(str(tmp_path / "full"))
    assert (tmp_path / "full").exists()
    HOST.remove(str(tmp_path / "full" / "x"))
    HOST.remove_folder(str(tmp_path / "full"))
    HOST.remove_folder(str(tmp_path / "full"))
    assert not (tmp_path / "full").exists()


def test_exists_sees_broken_links(tmp_path):
    """systemctl enable creates one if the unit does not exist yet."""
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    assert HOST.exists(str(tmp_path / "link"))
    assert not HOST.exists(str(tmp_path / "absent"))


def test_find_is_sorted(tmp_path):
    for name in ("b.conf", "a.conf", "c.txt"):
        (tmp_path / name).write_text("")
    assert HOST.find(str(tmp_path / "*.conf")) == [str(tmp_path / "a.conf"), str(tmp_path / "b.conf")]


@pytest.fixture(params=[0o000, 0o002, 0o027, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    HOST.write(str(tmp_path / "a" / "b" / "secret"), "x", 0o600)
    HOST.write(str(tmp_path / "a" / "b" / "public"), "x", 0o644)
    assert (HOST.mode(str(tmp_path / "a/b/secret")), HOST.mode(str(tmp_path / "a/b/public"))) == (0o600, 0o644)
    for folder in ("a", "a/b"):
        assert HOST.mode(str(tmp_path / folder)) == 0o755, "dnsmasq gives up root before it reads what is inside"
    assert HOST.make_folder(str(tmp_path / "c" / "d" / "e")) and not HOST.make_folder(str(tmp_path / "c" / "d" / "e"))
    assert {HOST.mode(str(tmp_path / folder)) for folder in ("c", "c/d", "c/d/e")} == {0o700}


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("somebody else's")
    (tmp_path / "state.json").symlink_to(other)
    HOST.write(str(tmp_path / "state.json"), "ours", 0o600)
    assert not (tmp_path / "state.json").is_symlink() and HOST.read(str(tmp_path / "state.json")) == "ours"
    assert other.read_text() == "somebody else's"
    (tmp_path / "pending").symlink_to(tmp_path / "folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "theirs").write_text("")
    assert not HOST.make_folder(str(tmp_path / "pending")), "it is there, so nothing is written through it"
    HOST.remove_tree(str(tmp_path / "pending"))
    HOST.remove(str(tmp_path / "pending"))
    assert (tmp_path / "folder" / "theirs").exists()


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(tmp_path):
    HOST.write(str(tmp_path / "file"), "wan\udcff", 0o600)
    assert (tmp_path / "file").read_bytes() == b"wan\xff"


# --- What only looks


ACTS = {
    "run",
    "log",
    "write",
    "write_switch",
    "remove",
    "make_folder",
    "rename",
    "remove_tree",
    "remove_folder",
    "frames",
    "is_free",
    "task",
}


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_check_mode_gets_a_host_that_has_no_way_to_write():
    assert public(Host) - public(Sight) == ACTS, "a new act belongs to Host, and here"
    assert public(Onlooker) == public(Sight)
    host = fakes.FakeHost()
    host.frozen = True
    assert Onlooker(host).acting() is None and host.acting() is host
    assert Onlooker(host).ask(["ip", "-j", "-d", "addr", "show"]).rc == 0


WRITING = [
    ["nft", "-j", "-f", "-"],
    ["nft", "-f", "-"],
    ["nft", "delete", "table", "inet", "ipmasq"],
    ["sh", "/etc/ipmasq/default.commit"],
    ["modprobe", "-q", "nf_conntrack"],
    ["ip", "address", "replace", "203.0.113.9/32", "dev", "ppp0"],
    ["ip", "-4", "rule", "add", "pref", "6", "blackhole"],
    ["iptables-nft-restore", "--noflush"],
    ["ipset", "-exist", "restore"],
    ["ipset", "destroy", "a"],
    ["conntrack", "--load-file", "-"],
    ["conntrack", "-D"],
    ["firewall-cmd", "--reload"],
    ["systemctl", "restart", "ipmasq-fence.service"],
]


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_a_question_cannot_write(words):
    assert not reads(words) and not is_steady(words)
    for host in (HOST, Onlooker(HOST)):
        with pytest.raises(ValueError, match="does not only read"):
            host.ask(words)


def test_a_batch_may_only_ask_for_routes():
    words = ["ip", "-j", "-force", "-batch", "-"]
    assert reads(words, "route get 192.0.2.1\nroute get 192.0.2.2\n")
    assert not reads(words, "route get 192.0.2.1\nroute del default\n")
    assert not is_steady(words)
