# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that systemd runs for a service, as systemd.unit(5) and systemd.syntax(7) describe them."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._init import commands
from ansible_collections.ipmasq.linux.tests.unit import fakes

UNIT = "[Unit]\nExecStop=/in/Unit\n[Service]\nExecStop=/unit\n[Install]\nAlias=other.service unlinked.service\n"
ETC, RUN, LIB = "/etc/systemd/system/", "/run/systemd/system/", "/usr/lib/systemd/system/"


def stops(files, unit=UNIT, ours=()):
    host = fakes.FakeHost()
    host.files["/lib/systemd/system/a-b-c.service"] = unit
    host.files.update({path: "[Service]\n" + text for path, text in files.items()})
    found = commands.find("a-b-c", ours, host)
    return found.commands("ExecStop", "zz.conf")


def add(word):
    return "ExecStop=" + word + "\n"


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ({}, ["/unit"]),
        # By their names, whichever folder they are in.
        ({LIB + "a-b-c.service.d/2.conf": add("2"), ETC + "a-b-c.service.d/1.conf": add("1")}, ["/unit", "1", "2"]),
        ({ETC + "a-b-c.service.d/B.conf": add("B"), ETC + "a-b-c.service.d/a.conf": add("a")}, ["/unit", "B", "a"]),
        # One hides others of the same name: /etc before /run before /usr, and the service's before those of all.
        ({ETC + "a-b-c.service.d/1.conf": add("e"), RUN + "a-b-c.service.d/1.conf": add("r")}, ["/unit", "e"]),
        ({RUN + "a-b-c.service.d/1.conf": add("r"), LIB + "a-b-c.service.d/1.conf": add("l")}, ["/unit", "r"]),
        ({LIB + "a-b-c.service.d/1.conf": add("l"), ETC + "service.d/1.conf": add("s")}, ["/unit", "l"]),
        ({ETC + "service.d/1.conf": add("s")}, ["/unit", "s"]),
        # Names that begin alike, and other names that are linked.
        ({LIB + "a-.service.d/1.conf": add("a"), LIB + "a-b-.service.d/2.conf": add("b")}, ["/unit", "a", "b"]),
        ({LIB + "unlinked.service.d/1.conf": add("u")}, ["/unit"]),
        # Each is cleared by an empty one, and what follows counts.
        ({ETC + "a-b-c.service.d/1.conf": "ExecStop=\n" + add("1")}, ["1"]),
        ({ETC + "a-b-c.service.d/1.conf": add("1") + " ExecStop = \n"}, []),
        ({ETC + "a-b-c.service.d/1.conf": "# ExecStop=\n;ExecStop=\nExecStopPost=\n"}, ["/unit"]),
        # Not behind that name, and no other files.
        ({ETC + "a-b-c.service.d/zzz.conf": "ExecStop=\n", ETC + "a-b-c.service.d/1.conf~": "ExecStop=\n"}, ["/unit"]),
    ],
)  # fmt: skip
def test_the_lines_that_remain(files, lines):
    assert stops(files) == (tuple(lines), True)


def test_another_name_counts_where_it_is_linked():
    host = fakes.FakeHost()
    host.files[LIB + "a.service"] = UNIT
    host.files[ETC + "other.service"] = "../../../usr/lib/systemd/system/a.service"
    host.files[ETC + "other.service.d/1.conf"] = "[Service]\nExecStop=\n"
    assert commands.find("a", (), host).commands("ExecStop", "zz").lines == ()


def test_the_first_unit_counts():
    host = fakes.FakeHost()
    host.files.update({ETC + "a.service": "[Service]\nExecStop=/mine\n", LIB + "a.service": UNIT})
    assert commands.find("a", (), host).commands("ExecStop", "zz").lines == ("/mine",)
    assert commands.find("b", (), host) is None


@pytest.mark.parametrize(
    ("text", "lines", "sure"),
    [
        ("ExecStop=/a \\\n  b\n", 2, False),
        ("ExecStop=/a \\\n# ExecStop=\n  b\n", 2, False),
        ("ExecStop=/a \ufffd\n", 2, False),
        ("ExecStop=/a \\\\\nExecStop=/b\n", 3, True),  # a backslash itself
        ("# a \\\nExecStop=/b\n", 2, True),
        ("Environment=A=1 \\\n  ExecStop=\nExecStop=/b\n", 2, True),
        ("ExecStop=/a \\\n  b\nExecStop=\nExecStop=/b\n", 1, True),
        ("ExecStop=/a %n ${{A}} ; /b\n".replace("{{", "{").replace("}}", "}"), 2, True),
    ],
)
def test_which_lines_can_be_copied(text, lines, sure):
    found = stops({ETC + "a-b-c.service.d/1.conf": text})
    assert (len(found.lines), found.sure) == (lines, sure)


def test_what_cannot_be_read_counts_for_nothing():
    class Denied(fakes.FakeHost):
        def read(self, path):
            if path.endswith("folder.conf"):
                raise fakes.GatewayError(path + ": cannot be read: Is a directory")
            return super().read(path)

    host = Denied()
    host.files.update({LIB + "a.service": UNIT, ETC + "a.service.d/folder.conf": ""})
    assert commands.find("a", (), host).commands("ExecStop", "zz").lines == ("/unit",)
