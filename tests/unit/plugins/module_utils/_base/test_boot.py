# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our code in memory, run by Pythons of their own: from sources, and from the file that it leaves."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import zlib

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import boot
from ansible_collections.ipmasq.linux.plugins.module_utils._change import direct as _direct

UTILS = pathlib.Path(boot.__file__).resolve().parents[1]
BOOT = (UTILS / "_base/boot.py").read_text(encoding="utf-8")
DIRECT = """
import json, os, sys
from .._base import name
from . import other

def main(asked, archive):
    kept = "" if archive.new is False else archive.to_keep()
    if asked.get("leave"):
        with open(asked["leave"], "wb") as file:
            file.write(asked["head"].encode() + kept)
    if asked.get("remove"):
        os.unlink(asked["remove"])
    from . import late
    return json.dumps([name.NAME, other.__name__, late.__loader__.digest, archive.new])
"""
SOURCES = {
    "__init__": "", "_base/__init__": "", "_base/boot": BOOT, "_base/name": "NAME = 'ü'\n", "_change/__init__": "",
    "_change/direct": DIRECT, "_change/other": "", "_change/late": "",
}  # fmt: skip


def sent(asked, sources=None):
    files = zlib.compress(json.dumps({"digest": "1f", "sources": sources or SOURCES}).encode("ascii"))
    start = (
        "import sys; names = dict(__name__='ipmasq._base.boot'); "
        "exec(sys.stdin.buffer.read({0}), names); names['sent']({1})"
    ).format(len(BOOT.encode("utf-8")), len(files))
    argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", start]
    given = BOOT.encode("utf-8") + files + json.dumps(asked).encode("ascii")
    return subprocess.run(argv, input=given, capture_output=True, check=False)


def kept(path, asked):
    argv = ["sh", str(path)]
    return subprocess.run(argv, input=json.dumps(asked).encode("ascii"), capture_output=True, check=False)


def answer(done):
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return json.loads(done.stdout.decode())


@pytest.fixture
def left(tmp_path):
    head = _direct.SCRIPT.format(python=_direct.shlex.quote(sys.executable), start=_direct.shlex.quote(boot.START))
    assert answer(sent({"leave": str(tmp_path / "code"), "head": head})) == ["ü", "ipmasq._change.other", "1f", True]
    return tmp_path / "code"


def test_from_what_an_earlier_run_has_compiled(left):
    assert answer(kept(left, {})) == ["ü", "ipmasq._change.other", "1f", False]


def test_a_newer_run_may_take_the_file_away_meanwhile(left):
    assert answer(kept(left, {"remove": str(left)}))[0] == "ü"
    assert not left.exists()


@pytest.mark.parametrize("place", [-1, -1000, 70])
def test_nothing_of_a_damaged_file_is_read(left, place):
    data = bytearray(left.read_bytes())
    where = place if place < 0 else data.index(boot.END) + len(boot.END) + place
    data[where] ^= 1
    left.write_bytes(bytes(data))
    done = kept(left, {})
    assert (done.returncode, done.stdout, done.stderr) == (boot.CANNOT, b"", b"")
    left.write_bytes(bytes(data[:-2000]))
    assert kept(left, {}).returncode == boot.CANNOT


def test_another_python_does_not_read_it(left, monkeypatch):
    monkeypatch.setattr(boot.sys, "version", "3.99")
    archive = boot.Archive("1f", {}, SOURCES)
    head, _end, _data = left.read_bytes().partition(boot.END)
    left.write_bytes(head + archive.to_keep())
    done = kept(left, {})
    assert (done.returncode, done.stdout, done.stderr) == (boot.CANNOT, b"", b"")


def test_what_is_not_ours_comes_from_python():
    archive = boot.Archive("1f", {}, SOURCES)
    assert archive.find_spec("json") is None and archive.find_spec("ipmasq._base.nothing") is None
    assert archive.find_spec("ipmasq").submodule_search_locations == []
    assert archive.find_spec("ipmasq._base.name").submodule_search_locations is None
    assert archive.find_spec("ipmasq_other") is None


def test_a_fault_says_where_it_is():
    done = sent({}, dict(SOURCES, **{"_change/other": "\nraise ValueError(1)"}))
    assert done.returncode == 1 and 'File "ipmasq/_change/other.py", line 2' in done.stderr.decode()
