# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A confirmation over ssh has a connection of its own, whatever ssh is told otherwise, and leaves nothing behind."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ipmasq.linux.plugins.plugin_utils import confirming

USUAL = "-C -o ControlMaster=auto -o ControlPersist=60s"
PLACE = re.compile(r"-o ControlPath=(/tmp/ipmasq-[a-z0-9_]{8}/ssh)\b ?(.*)")


class Ssh:
    transport = "ssh"

    def __init__(self, **options):
        self.options = {"ssh_args": USUAL, "ssh_common_args": "", "ssh_extra_args": None, **options}
        self.resets = []

    def get_option(self, name):
        return self.options[name]

    def set_option(self, name, value):
        self.options[name] = value

    def reset(self):
        self.resets.append(self.options["ssh_args"])


@pytest.fixture
def confirm():
    action = confirming.ConfirmingAction.__new__(confirming.ConfirmingAction)

    def using(connection):
        action._connection = connection
        return action._new_connection()

    return using


def test_its_place_comes_first_and_goes(confirm):
    ssh = Ssh()
    before = dict(ssh.options)
    with confirm(ssh):
        place, rest = PLACE.fullmatch(ssh.options["ssh_args"]).groups()
        assert rest == USUAL
        pathlib.Path(place).touch()
    assert ssh.resets == ["-o ControlPath={0} {1}".format(place, USUAL)]
    assert ssh.options == before and not pathlib.Path(place).parent.exists()


@pytest.mark.parametrize("words", ["-S /run/x -C", "-C -S/run/x", "-C"])
@pytest.mark.parametrize("name", ["ssh_args", "ssh_common_args", "ssh_extra_args"])
def test_no_other_place_is_left(confirm, name, words):
    ssh = Ssh(**{name: words})
    with confirm(ssh):
        said = ssh.options[name]
        assert PLACE.fullmatch(said).group(2) == "-C" if name == "ssh_args" else said == "-C"
    assert ssh.options[name] == words


def test_who_was_not_connected_is_not_asked_to_stop(confirm):
    ssh = Ssh(ssh_args="")
    with pytest.raises(RuntimeError), confirm(ssh):
        raise RuntimeError
    assert ssh.resets == [] and ssh.options["ssh_args"] == ""


def test_words_that_ansible_refuses_too_are_left_alone(confirm):
    ssh = Ssh(ssh_common_args="-o 'x")
    with confirm(ssh):
        assert ssh.options["ssh_common_args"] == "-o 'x"


@pytest.mark.parametrize("folder", ["/var/a b", "/var/%z", "/var/" + 80 * "x", "/nowhere"])
def test_a_folder_for_temporary_files_does_not_matter(confirm, monkeypatch, folder):
    monkeypatch.setattr(confirming.tempfile, "tempdir", folder)
    ssh = Ssh()
    with confirm(ssh):
        assert PLACE.fullmatch(ssh.options["ssh_args"])


def test_without_a_place_nothing_is_shared(confirm, monkeypatch):
    monkeypatch.setattr(confirming, "SHORT", "/nowhere/at/all")
    ssh = Ssh()
    with confirm(ssh):
        assert ssh.options["ssh_args"] == "-o ControlPath=none " + USUAL
