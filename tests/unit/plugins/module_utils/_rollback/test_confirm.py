# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gateway_confirm returns, and when it fails."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import confirm
from ansible_collections.ipmasq.linux.tests.unit import fakes

LAST = "/run/ipmasq/default.last"


@pytest.fixture
def host():
    return fakes.FakeHost(fakes.NFT)


@pytest.mark.parametrize(
    ("last", "keep", "sentence"),
    [
        ("secret reverted 14:05:31\n", True, "too late, the change to 'default' was rolled back at 14:05:31; make it"),
        (
            "secret confirmed 14:05:31\n",
            False,
            "too late, the change to 'default' was confirmed at 14:05:31; to undo it, apply",
        ),
        ("secret failed 14:05:31\n", True, "could not be rolled back completely at 14:05:31"),
        ("secret unfinished 14:05:31\n", True, "not all of it is on disk; run the gateway again"),
        ("other confirmed 14:05:31\n", True, "that change to 'default' is unknown; it was not made on this host"),
    ],
)
def test_what_is_not_as_asked_for_is_an_error(host, last, keep, sentence):
    host.files[LAST] = last
    host.files["/proc/sys/kernel/hostname"] = "gw1\n"
    with pytest.raises(confirm.ChangeLost) as caught:
        confirm.end_change("default", "secret", keep, host)
    assert sentence in str(caught.value)
    # The one that asked with a token reads these.
    known = "" if last.startswith("other") else last.split()[1]
    assert (caught.value.values["was"], caught.value.values["host"]) == (known, "gw1")


def test_nothing_waits(host):
    with pytest.raises(confirm.ChangeLost, match=r"^instance: no change to 'default' awaits confirmation; "):
        confirm.end_change("default", "", True, host)
    assert confirm.end_change("default", "", False, host)["was"] == ""
