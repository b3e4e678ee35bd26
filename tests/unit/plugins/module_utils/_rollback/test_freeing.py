# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cannot be replaced or removed is found beforehand; tests/integration/test_disk.py has a real file system."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import freeing


def removable(top, *paths, rmdir=""):
    """What the function of that name does with files of this folder."""
    text = freeing.FREE_TEXT.format(begun="begun", old=freeing.OLD, put_back=":", second="second")
    programs = top / "bin"
    programs.mkdir()
    if rmdir:
        (programs / "rmdir").write_text("#!/bin/sh\n" + rmdir)
        (programs / "rmdir").chmod(0o755)
    command = "PATH={0}:$PATH\n{1}removable {2}\n".format(programs, text, freeing.quoted(paths))
    return subprocess.run(["sh", "-c", command], cwd=top, capture_output=True, text=True, check=False)


@pytest.fixture
def top(tmp_path):
    for name in ("x y", "c"):
        (tmp_path / name).write_text("")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


def test_what_can_go_stays_as_it_is(top):
    done = removable(top, "x y", "c", "begun", "dangling", "gone")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in top.iterdir()) == ["begun", "bin", "c", "dangling", "x y"]
    assert (top / "begun/file").exists()


@pytest.mark.parametrize("why", ["Operation not permitted", "Permission denied", "Read-only file system"])
def test_what_cannot_go_is_named(top, why):
    rmdir = 'for each; do case $each in "x y") echo "rmdir: $each: {0}" >&2 ;; esac; done; exit 1\n'.format(why)
    done = removable(top, "c", "x y", rmdir=rmdir)
    assert (done.returncode, done.stderr) == (1, "x y cannot be replaced\n")
    assert not (top / "begun").exists(), "nothing of a change that is not kept stays"


def test_nothing_to_remove_asks_nobody(top):
    assert removable(top, "gone", rmdir=": > asked\n").returncode == 0 and not (top / "asked").exists()


def test_files_that_were_being_tried_are_put_back():
    assert freeing.put_back([], ()) == []
    (line,) = freeing.put_back(["/etc/x y"], ["/etc/c"])
    assert line.startswith("for old in '/etc/x y.ipmasq-old' /etc/c.ipmasq-old; do ")
