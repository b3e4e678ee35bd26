# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of networks as text; what the kernel makes of them is shown by tests/integration/test_sets.py."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables import ipset
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Row

FOUR = ("10.0.0.0/8", "192.168.1.1/32")
SIX = ("fd00::/64", "fd00:1::1/128")
#: As ipset 7.17 prints it.
LISTED = """\
create {0} hash:net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x3d65bb02
add {0} 192.168.1.1
add {0} 10.0.0.0/8
create blocked hash:ip family inet hashsize 1024 maxelem 65536
add blocked 192.0.2.9
"""


class Refusing:
    """A host whose ipset refuses everything."""

    def __init__(self, err):
        self.err = err

    def ask(self, argv, stdin=None):
        return self.run(argv, stdin)

    def run(self, argv, stdin=None):
        return Done(1, "", self.err)


def test_the_name_says_what_is_in_it():
    names = {
        ipset.row_of(instance, "ip", networks).chain
        for instance in ("default", "other")
        for networks in (FOUR, FOUR[:1], tuple(reversed(FOUR)))
    }
    assert len(names) == 4
    assert all(len(name.split()[2]) < 31 for name in names)


def test_what_the_kernel_lists_is_what_was_wanted():
    row = ipset.row_of("default", "ip", FOUR)
    assert ipset.parse(LISTED.format(row.chain.split()[2]), "default") == [row]
    assert ipset.parse(LISTED.format(row.chain.split()[2]), "other") == []


def test_each_set_is_filled_beside_its_place():
    row = ipset.row_of("default", "ip6", SIX)
    name = row.chain.split()[2]
    assert ipset.script((row,)).splitlines() == [
        "create {0} hash:net family inet6 maxelem 65536".format(name),
        "create {0}+ hash:net family inet6 maxelem 65536".format(name),
        "flush {0}+".format(name),
        "add {0}+ fd00:1::1".format(name),
        "add {0}+ fd00::/64".format(name),
        "swap {0} {0}+".format(name),
        "destroy {0}+".format(name),
    ]
    assert len(name + "+") <= 31


def test_more_members_than_the_kernel_takes_by_itself_have_room():
    row = ipset.row_of(
        "default", "ip", ["10.{0}.{1}.{2}/32".format(*divmod(i, 256), 1) for i in range(65536)] + ["::/8"]
    )
    assert " maxelem 65537\n" in ipset.script((row,))


@pytest.mark.parametrize("altered", ["add {0} 10.9.0.0/16 nomatch", "create {0} hash:ip family inet hashsize 64"])
def test_what_somebody_has_altered_is_another_row(altered):
    row = ipset.row_of("default", "ip", FOUR)
    name = row.chain.split()[2]
    listing = LISTED.format(name) + altered.format(name) + "\n"
    assert ipset.parse(listing, "default") != [row]


def test_a_person_is_told_how_many_and_not_which():
    shown = ipset.shown(ipset.row_of("default", "ip", ["10.0.{0}.0/24".format(i) for i in range(0, 200, 2)]))
    assert shown.endswith(": 100 networks")


def test_what_ipset_says_reaches_the_user_with_what_helps():
    host = Refusing("ipset v7.17: Kernel error received: Operation not permitted\n")
    with pytest.raises(GatewayError, match=r"Operation not permitted \(this kernel needs the modules ip_set_hash_net"):
        ipset.read(host, ["ours-1"])


def swept(tmp_path, kept, refusing=()):
    """What the shell asks of ipset; it refuses to destroy these."""
    ours = ipset.prefix("default")
    asked, tool = tmp_path / "asked", tmp_path / "ipset"
    tool.write_text(
        "#!/bin/sh\n[ $1 != list ] || {{ printf '%s\\n' {0}new {0}old other; exit; }}\n"
        'echo "$@" >> {1}; case " {2} " in *" $2 "*) exit 1 ;; esac\n'.format(ours, asked, " ".join(refusing))
    )
    tool.chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    argv = ipset.sweeping("default", tuple(Row("ip set " + ours + name, "", ipset.KEY) for name in kept))
    subprocess.run(argv, check=True, env={"PATH": "{0}:{1}".format(tmp_path, os.environ["PATH"])})
    return [line.replace(ours, "") for line in asked.read_text().splitlines()] if asked.exists() else []


def test_what_nothing_uses_any_more_is_destroyed(tmp_path):
    assert swept(tmp_path, ["new"]) == ["destroy old"]


def test_nothing_to_destroy(tmp_path):
    assert swept(tmp_path, ["new", "old"]) == []


def test_a_set_that_others_use_stays(tmp_path):
    assert swept(tmp_path, ["new"], [ipset.prefix("default") + "old"]) == ["destroy old"] * ipset.TRIES


def test_a_rollback_sweeps_only_what_the_change_has_made():
    row = ipset.row_of("default", "ip", FOUR)
    assert ipset.leaving_lines("default", (), (row,)) == []
    (line,) = ipset.leaving_lines("default", (row,), ())
    assert ipset.prefix("default") in line
