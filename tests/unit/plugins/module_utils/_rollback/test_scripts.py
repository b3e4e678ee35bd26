# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines that keep a change, and those that roll it back, in their order."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.scripts import (
    Keeping,
    Prepared,
    Restoring,
    copies,
    folders,
    scripts,
)

BACK = Restoring(("nft -f ./old0.nft",), {"old0.nft": "# rules"})
KEEP = Keeping(
    "/etc/ipmasq/x.commit",
    {"/etc/ipmasq/a b.json": ("{}", 0o640)},
    ("/etc/old", "/etc/older one", "/etc/old"),
    ("before",),
    ("after",),
    "/etc/ipmasq",
)
FINISH = "[ ! -e /etc/ipmasq/x.commit ] || sh /etc/ipmasq/x.commit || sh /etc/ipmasq/x.commit"


def texts():
    return scripts("/run/ipmasq/default", "secret", "'nobody confirmed it'", Prepared(BACK, KEEP))


def test_everything_is_staged_before_the_first_file_is_replaced():
    lines = texts()["keep"].splitlines()
    made = lines.index("[ -d /etc/ipmasq ] || mkdir -p /etc/ipmasq || give_up")
    copied = lines.index("cp -Rp new/0 /etc/ipmasq/x.ipmasq-new || give_up")
    decided = lines.index("mv -f /etc/ipmasq/x.ipmasq-new/x.commit /etc/ipmasq/x.commit || give_up")
    freed = lines.index("free_ours '/etc/ipmasq/a b.json'")
    old = "free /etc/old || give_up /etc/old"
    assert lines.count(old) == 1
    staged = "'/etc/ipmasq/x.ipmasq-new/a b.json' /etc/ipmasq/x.ipmasq-new/x.commit /etc/ipmasq/x.ipmasq-new"
    synced = lines.index("sync {0} 2> /dev/null || sync".format(staged))
    assert made < copied < freed < lines.index(old) < synced < decided
    durable = lines.index("sync /etc/ipmasq 2> /dev/null || sync")
    assert decided < durable < lines.index("mv undecided decided") < lines.index(FINISH)
    assert lines.index(FINISH) < lines.index('after || echo "ipmasq warns: has failed:" after >&2')


def test_what_is_copied_has_its_mode_and_what_it_will_be():
    commit = "new/0/x.commit"
    assert {name: mode for name, (_text, mode) in copies(KEEP).items()} == {"new/0/a b.json": 0o640, commit: 0o600}
    assert folders(KEEP) == ["new/0", "new/0/old"]
    assert copies(KEEP)["new/0/a b.json"][0] == "{}"
    assert copies(KEEP)[commit][0].splitlines()[1:] == [
        "before || true",
        "set --",
        'for part in \'/etc/ipmasq/x.ipmasq-new/a b.json\'; do [ ! -e "$part" ] || set -- "$@" "$part"; done',
        '[ $# = 0 ] || mv -f "$@" /etc/ipmasq || exit 1',
        "rm -f /etc/old '/etc/older one' /etc/old || exit 1",
        "rm -rf /etc/ipmasq/x.ipmasq-new /etc/ipmasq/x.commit",
        "rmdir /etc/ipmasq 2> /dev/null || true",
    ]


def test_one_process_moves_the_files_of_our_own_folder():
    """A host pays about a millisecond for each process of a change."""
    files = {"/etc/ipmasq/x.{0}".format(each): ("", 0o600) for each in ("json", "nft", "load", "sums")}
    many = Keeping("/etc/ipmasq/x.commit", {**files, "/etc/sysctl.d/90-x.conf": ("", 0o644)})
    lines = copies(many)["new/0/x.commit"][0].splitlines()
    assert len([line for line in lines if "mv -f" in line]) == 2
    assert "[ ! -e /etc/sysctl.d/.90-x.conf.ipmasq-new ] || " in lines[4]
    keep = scripts("/run/ipmasq/default", "secret", "''", Prepared(BACK, many))["keep"].splitlines()
    assert "free_ours /etc/ipmasq/x.json /etc/ipmasq/x.nft /etc/ipmasq/x.load /etc/ipmasq/x.sums" in keep
    assert [line for line in keep if line.startswith("free ")] == [
        "free /etc/sysctl.d/90-x.conf || give_up /etc/sysctl.d/90-x.conf"
    ]


def test_two_files_of_one_name_in_two_folders_are_two():
    files = {"/etc/a.d/ours": ("1", 0o600), "/etc/b.d/ours": ("2", 0o644), "/etc/ipmasq/ours": ("3", 0o644)}
    both = Keeping("/etc/ipmasq/x.commit", files)
    found = {name: text for name, (text, _mode) in copies(both).items() if "ours" in name}
    assert found == {"new/0/.ours.ipmasq-new": "1", "new/1/.ours.ipmasq-new": "2", "new/2/ours": "3"}
    lines = scripts("/run/ipmasq/default", "secret", "''", Prepared(BACK, both))["keep"].splitlines()
    assert "cp -p new/0/.ours.ipmasq-new /etc/a.d || give_up" in lines
    assert "cp -p new/1/.ours.ipmasq-new /etc/b.d || give_up" in lines
    assert "cp -Rp new/2 /etc/ipmasq/x.ipmasq-new || give_up" in lines


def test_a_rollback_goes_on_after_a_line_that_fails():
    assert "nft -f ./old0.nft || failing 'nft -f ./old0.nft'" in texts()["restore"].splitlines()


def test_what_the_scripts_use_lies_beside_them():
    assert texts()["old0.nft"] == "# rules"
    assert "owed" not in texts()
    owing = Keeping("/etc/ipmasq/x.commit", owing="{}")
    assert scripts("/run/ipmasq/default", "secret", "''", Prepared(BACK, owing))["owed"] == "{}"


def test_the_timer_asks_for_the_token_of_its_change():
    assert "[ \"$1\" = 'secret' ] || exit 0" in texts()["timer"].splitlines()
