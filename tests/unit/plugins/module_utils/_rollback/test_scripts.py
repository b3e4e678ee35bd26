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
    copied = lines.index("cp -p 'new/0/a b.json.ipmasq-new' new/0/x.commit.ipmasq-new /etc/ipmasq || give_up")
    decided = lines.index("mv -f /etc/ipmasq/x.commit.ipmasq-new /etc/ipmasq/x.commit || give_up")
    free = lines.index("free '/etc/ipmasq/a b.json' || give_up '/etc/ipmasq/a b.json'")
    freed = lines.index("[ $named = no ] || rm -f '/etc/ipmasq/a b.json.ipmasq-old'")
    old = "named=no; free /etc/old || give_up /etc/old; [ $named = no ] || rm -f /etc/old.ipmasq-old"
    assert lines.count(old) == 1
    synced = lines.index("sync '/etc/ipmasq/a b.json.ipmasq-new' /etc/ipmasq/x.commit.ipmasq-new 2> /dev/null || sync")
    assert made < copied < free < freed < lines.index(old) < synced < decided
    durable = lines.index("sync /etc/ipmasq 2> /dev/null || sync")
    assert decided < durable < lines.index("mv undecided decided") < lines.index(FINISH)
    assert lines.index(FINISH) < lines.index('after || echo "ipmasq warns: has failed:" after >&2')


def test_what_is_copied_has_its_mode_and_what_it_will_be():
    commit = "new/0/x.commit.ipmasq-new"
    assert {name: mode for name, (_text, mode) in copies(KEEP).items()} == {
        "new/0/a b.json.ipmasq-new": 0o640,
        commit: 0o600,
    }
    assert copies(KEEP)["new/0/a b.json.ipmasq-new"][0] == "{}"
    assert copies(KEEP)[commit][0].splitlines()[1:] == [
        "before || true",
        "[ ! -e '/etc/ipmasq/a b.json.ipmasq-new' ] || "
        "mv -f '/etc/ipmasq/a b.json.ipmasq-new' '/etc/ipmasq/a b.json' || exit 1",
        "rm -f /etc/old '/etc/older one' /etc/old || exit 1",
        "rm -f /etc/ipmasq/x.commit",
        "rmdir /etc/ipmasq 2> /dev/null || true",
    ]


def test_two_files_of_one_name_in_two_folders_are_two():
    files = {"/etc/a.d/ours": ("1", 0o600), "/etc/b.d/ours": ("2", 0o644)}
    both = Keeping("/etc/ipmasq/x.commit", files)
    found = {name: text for name, (text, _mode) in copies(both).items() if "ours" in name}
    assert found == {"new/0/ours.ipmasq-new": "1", "new/1/ours.ipmasq-new": "2"}
    lines = scripts("/run/ipmasq/default", "secret", "''", Prepared(BACK, both))["keep"].splitlines()
    assert "cp -p new/0/ours.ipmasq-new /etc/a.d || give_up" in lines
    assert "cp -p new/1/ours.ipmasq-new /etc/b.d || give_up" in lines


def test_a_rollback_goes_on_after_a_line_that_fails():
    assert "nft -f ./old0.nft || failing 'nft -f ./old0.nft'" in texts()["restore"].splitlines()


def test_what_the_scripts_use_lies_beside_them():
    assert texts()["old0.nft"] == "# rules"
    assert "owed" not in texts()
    owing = Keeping("/etc/ipmasq/x.commit", owing="{}")
    assert scripts("/run/ipmasq/default", "secret", "''", Prepared(BACK, owing))["owed"] == "{}"


def test_the_timer_asks_for_the_token_of_its_change():
    assert "[ \"$1\" = 'secret' ] || exit 0" in texts()["timer"].splitlines()
