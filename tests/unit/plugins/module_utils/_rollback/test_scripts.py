# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines that keep a change, and those that roll it back, in their order."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.scripts import (
    Keeping,
    Prepared,
    Restoring,
    scripts,
)

BACK = Restoring(("nft -f ./old0.nft",), {"old0.nft": "# rules"})
KEEP = Keeping(
    "/etc/ipmasq/x.commit",
    {"/etc/ipmasq/a b.json": ("{}", 0o600)},
    ("/etc/old",),
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
    staged = lines.index("cp new.0 '/etc/ipmasq/a b.json.ipmasq-new' || give_up")
    decided = lines.index("mv -f /etc/ipmasq/x.commit.ipmasq-new /etc/ipmasq/x.commit || give_up")
    free = lines.index("free '/etc/ipmasq/a b.json' || give_up '/etc/ipmasq/a b.json'")
    assert made < staged < free < lines.index("free /etc/old || give_up /etc/old") < decided
    assert decided < lines.index(FINISH) < lines.index('after || echo "ipmasq warns: has failed:" after >&2')
    assert texts()["commit"].splitlines()[1:] == [
        "before || true",
        "[ ! -e '/etc/ipmasq/a b.json.ipmasq-new' ] || "
        "mv -f '/etc/ipmasq/a b.json.ipmasq-new' '/etc/ipmasq/a b.json' || exit 1",
        "rm -f /etc/old || exit 1",
        "rm -f /etc/ipmasq/x.commit",
        "rmdir /etc/ipmasq 2> /dev/null || true",
    ]


def test_a_rollback_goes_on_after_a_line_that_fails():
    assert "nft -f ./old0.nft || failing 'nft -f ./old0.nft'" in texts()["restore"].splitlines()


def test_what_the_scripts_use_lies_beside_them():
    assert texts()["old0.nft"] == "# rules" and texts()["new.0"] == "{}"
    assert "owed" not in texts()
    owing = Keeping("/etc/ipmasq/x.commit", owing="{}")
    assert scripts("/run/ipmasq/default", "secret", "''", Prepared(BACK, owing))["owed"] == "{}"


def test_the_timer_asks_for_the_token_of_its_change():
    assert "[ \"$1\" = 'secret' ] || exit 0" in texts()["timer"].splitlines()
