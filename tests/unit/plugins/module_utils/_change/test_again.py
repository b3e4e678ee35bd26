# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that a run leaves behind, run by a real shell and a real Python on a host of files only."""

from __future__ import annotations

import ast
import json
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import host as _host
from ansible_collections.ipmasq.linux.plugins.module_utils._base.local import LocalHost
from ansible_collections.ipmasq.linux.plugins.module_utils._base.pack import packed
from ansible_collections.ipmasq.linux.plugins.module_utils._change import again, asked, repeat

PARAMS = {"instance": "default", "many": list(range(200))}


@pytest.fixture
def left(tmp_path, monkeypatch):
    """A folder in place of /run/ipmasq, a file that the result depends on, and a function that runs the script."""
    real = packed
    monkeypatch.setattr(_host, "RUN_FOLDER", str(tmp_path))
    monkeypatch.setattr(asked, "RUN_FOLDER", str(tmp_path))
    elsewhere = "from ipmasq._change import asked; asked.RUN_FOLDER = sys.argv[1].rpartition(chr(47))[0]; from"
    monkeypatch.setattr(repeat, "packed", lambda text, names: real(text.replace("from", elsewhere, 1), names))
    host, file = LocalHost(), tmp_path / "file"
    host.task = "key"
    file.write_text("as it was", encoding="utf-8")

    def step(sight):
        found = sight.read(str(file)) + sight.ask(["iptables", "--version"]).out + sight.which("sh")
        assert found
        return {"changed": False, "notes": ["a"], "remarks": ["b \u2028 ü"], "instance": "default"}

    repeat.repeated(PARAMS, host, step)

    def run(task="key", mode="run", shell="sh"):
        argv = [shell, str(tmp_path / "default.again"), task, mode]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    run.folder, run.file = tmp_path, file
    return run


def answer(done):
    assert (done.returncode, done.stderr) == (0, "")
    key, _space, text = done.stdout.partition(" ")
    assert key == "key" and text.isascii() and text.count("\n") == 1
    return json.loads(text)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_it_tells_the_result_if_nothing_has_changed(left, shell):
    before = sorted(left.folder.iterdir())
    found = answer(left(mode="check", shell=shell))
    assert found == {
        "changed": False, "instance": "default", "notes": ["a"], "warnings": ["b \u2028 ü"],
        "invocation": {"module_args": {"instance": "default", "many": "200 items"}},
    }  # fmt: skip
    assert sorted(left.folder.iterdir()) == before
    assert answer(left())["warnings"] == ["b \u2028 ü"]
    told = answer(left())
    assert told["notes"] == ["a", "b \u2028 ü"] and "warnings" not in told


def changed(name):
    def change(left):
        path = left.folder / name
        path.write_bytes(path.read_bytes().replace(b"was", b"is").replace(b'"here": [', b'"here": [1, '))

    return change


def without(name):
    return lambda left: (left.folder / name).unlink()


@pytest.mark.parametrize(
    "difference",
    [changed("file"), without("file"), changed("default.seen"), without("default.seen")],
    ids=["answer", "error", "Python", "record"],
)
def test_a_difference_is_for_the_module(left, difference):
    difference(left)
    done = left()
    assert (done.returncode, done.stdout, done.stderr) == (again.DIFFERENT, "", "")


def test_another_task_does_not_even_start_python(left):
    script = left.folder / "default.again"
    script.write_bytes(script.read_bytes().replace(sys.executable.encode(), b"/nowhere"))
    assert left(task="other").returncode == again.DIFFERENT
    assert left().returncode not in (0, again.DIFFERENT)


@pytest.mark.parametrize("damage", [b"", b"\0", b"#!/bin/sh\n", None])
def test_a_damaged_script_tells_nothing(left, damage):
    script = left.folder / "default.again"
    script.write_bytes(script.read_bytes()[:-2000] if damage is None else damage)
    assert not left().stdout


def test_another_record_is_not_this_one(left):
    """The run of another task records other options; this task's script stays until it is written again."""
    path = left.folder / "default.seen"
    path.write_text(json.dumps(dict(json.loads(path.read_text(encoding="utf-8")), options="0")), encoding="utf-8")
    assert left().returncode == again.DIFFERENT


def test_it_has_every_file_that_it_imports():
    """And no other: each costs time in every run."""
    utils = pathlib.Path(again.__file__).resolve().parents[1]
    needed, left = set(), ["_change/again"]
    while left:
        name = left.pop()
        needed.add(name)
        for node in ast.walk(ast.parse((utils / (name + ".py")).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = name.split("/")[0] + "/" if node.level == 1 else ""
                left += {folder + str(node.module).replace(".", "/")} - needed - {"_base/sockets"}
    folders = {name.split("/")[0] + "/__init__" for name in needed}
    assert sorted(again.PACKED) == sorted(needed | folders)
    assert len(needed) <= 6
