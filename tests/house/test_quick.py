# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes the programs that tests use quick changes nothing of what they do."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
import zipfile

import pytest
from project import OUR_PROGRAMS, ROOT

if t.TYPE_CHECKING:
    from pathlib import Path

Payload = dict[str, bytes]
ASKED = json.dumps({"wans": ["eth0"], "lans": [{"name": "office", "interfaces": ["eth0"]}]})


class Sender:
    """Sends our module gateway to this machine, which refuses what it is asked for, and shows which files were sent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.quick = folder, folder / "tests/quick"
        self.kept = folder / ".cache/built-modules"
        shutil.copytree(ROOT / "tests/quick", self.quick)
        self.collection = folder / "collections/ansible_collections/ipmasq/linux"
        for name in ("plugins", "meta"):
            shutil.copytree(ROOT / name, self.collection / name)
        shutil.copy(ROOT / "galaxy.yml", self.collection)

    def send(self, *, quick: bool = True, **env: str) -> Payload:
        sent = self.folder / "sent"
        shutil.rmtree(sent, ignore_errors=True)
        words = ["ansible", "localhost", "-c", "local", "--check", "-m", "ipmasq.linux.gateway", "-a", ASKED]
        env = {
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_REMOTE_TMP": str(sent),
            "PATH": f"{OUR_PROGRAMS}:{os.environ['PATH']}",
            **({"PYTHONPATH": str(self.quick)} if quick else {}),
            **env,
        }
        done = subprocess.run(words, cwd=self.folder, env=env, text=True, capture_output=True, check=False)
        assert "is also WAN" in done.stdout, done.stdout + done.stderr
        (program,) = sent.glob("*/AnsiballZ_gateway.py")
        match = re.search(r"zip_data='([^']+)'", program.read_text())
        assert match
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(match[1]))) as archive:
            return {each.filename: archive.read(each) for each in archive.infolist()}


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Sender:
    return Sender(tmp_path_factory.mktemp("quick"))


def test_a_kept_module_is_what_ansible_builds(sender: Sender) -> None:
    plain = sender.send(quick=False)
    assert not sender.kept.exists()
    assert len(plain) > 150
    assert sender.send() == plain
    (kept,) = sender.kept.iterdir()
    first = kept.stat().st_ino
    assert sender.send() == plain
    assert kept.stat().st_ino == first

    # Other content of the same length, with the time that the file had before.
    path = "plugins/module_utils/_base/host.py"
    place = sender.collection / path
    times = place.stat()
    place.write_text(place.read_text().replace("Copyright (c) 2026", "Copyright (c) 2027"))
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = sender.send()
    assert [name for name in plain if changed[name] != plain[name]] == [f"ansible_collections/ipmasq/linux/{path}"]
    assert len(list(sender.kept.iterdir())) == 1 and not kept.exists()


def test_what_others_add_is_not_kept(sender: Sender, tmp_path: Path) -> None:
    """A user's folder of module_utils comes before Ansible's own."""
    shutil.rmtree(sender.kept, ignore_errors=True)
    sender.send(ANSIBLE_MODULE_UTILS=str(tmp_path))
    assert not sender.kept.exists()


def test_a_kept_compilation_is_that_of_the_same_content(sender: Sender) -> None:
    compiled = sender.folder / ".cache/compiled-archives"
    shutil.rmtree(compiled, ignore_errors=True)

    def told(name: str, answer: str) -> str:
        """What a function of an archive answers, and in which file it says to be."""
        archive = sender.folder / name
        with zipfile.ZipFile(archive, "w") as new:
            new.writestr("inside.py", f"def told():\n    return {answer!r}\n")
        program = "import sys, inside; print(inside.told(), inside.told.__code__.co_filename)"
        env = {"PYTHONPATH": f"{sender.quick}:{archive}"}
        done = subprocess.run([sys.executable, "-c", program], env=env, text=True, capture_output=True, check=True)
        assert not done.stderr
        return done.stdout.replace(str(sender.folder), "")

    assert told("one.zip", "yes") == "yes /one.zip/inside.py\n"
    (kept,) = compiled.glob("*/*")
    assert told("two.zip", "yes") == "yes /two.zip/inside.py\n"
    assert told("one.zip", "not") == "not /one.zip/inside.py\n"
    assert len(list(compiled.glob("*/*"))) == 2
    # What is kept is used, and what is damaged is not.
    other = next(place for place in compiled.glob("*/*") if place != kept)
    shutil.copy(other, kept)
    assert told("one.zip", "yes") == "not /one.zip/inside.py\n"
    kept.write_bytes(other.read_bytes()[:20])
    assert told("one.zip", "yes") == "yes /one.zip/inside.py\n"


#: Reads some.yml from standard input, as bytes and as a text; each time it changes what it got.
READER = """
import sys, yaml
def tell(stream):
    try:
        value = yaml.load(stream, Loader=getattr(yaml, sys.argv[1]))
        print(value)
        value.clear()
    except yaml.YAMLError as error:
        print(error)
tell(sys.stdin.read())
tell(open("some.yml", "rb"))
tell(open("some.yml"))
"""


def test_kept_yaml_is_what_the_text_says(sender: Sender) -> None:
    parsed = sender.folder / ".cache/parsed-yaml"
    shutil.rmtree(parsed, ignore_errors=True)

    def told(text: str, loader: str = "CSafeLoader", *, quick: bool = True) -> str:
        (sender.folder / "some.yml").write_text(text)
        env = {"PYTHONPATH": str(sender.quick)} if quick else {}
        words = [sys.executable, "-c", READER, loader]
        done = subprocess.run(words, input=text, cwd=sender.folder, env=env, text=True, capture_output=True, check=True)
        return done.stdout

    one = "".join(f"key{number}: [{number}, yes, null, text]\n" for number in range(2200))
    for text in ("short: yes\n", one, one + "when: 2026-01-01\n", one + "]"):
        for loader in ("CSafeLoader", "CBaseLoader"):
            plain = told(text, loader, quick=False)
            assert [told(text, loader), told(text, loader)] == [plain, plain]
    # No date can be kept, which is text for one loader.
    assert sorted(re.sub("Loader.*", "", place.name) for place in parsed.glob("*/*")) == ["CBase", "CBase", "CSafe"]
    # What is kept is used, and what is damaged is not.
    (kept,) = parsed.glob("*/CSafe*")
    two = one.replace("text", "word")
    plain, other = told(one).splitlines(), told(two).splitlines()
    shutil.copy(next(place for place in parsed.glob("*/CSafe*") if place != kept), kept)
    assert told(one).splitlines() == [other[0], other[1], plain[2]] != plain
    kept.write_bytes(kept.read_bytes()[:20])
    assert told(one).splitlines() == plain
