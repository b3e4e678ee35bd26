# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of others that clear our bits of the mark."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.marks import clearing
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import FOLLOWED, REACH


@pytest.mark.parametrize(
    ("rule", "bits"),
    [
        ("-A FORWARD -o wan0 -j MARK --set-xmark 0xa/0xffffffff", FOLLOWED | REACH),
        ("-A QUEUES -o wan0 -j MARK --set-xmark 0xa/0xffffffff", FOLLOWED | REACH),
        ("-A POSTROUTING -o wan0 -j MARK --set-xmark 0xa/0xffffffff", FOLLOWED),
        ("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", FOLLOWED),
        ("-A FORWARD -j MARK --set-xmark 0x0/0xefffffff", FOLLOWED),  # --and-mark
        ("-A FORWARD -o wan0 -j MARK --set-xmark 0xa/0xff", 0),
        ("-A FORWARD -o wan0 -j MARK --set-xmark 0x1800000a/0x1800000a", 0),  # --or-mark
        ("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff", 0),
        ("-A PREROUTING -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff", 0),
        ("-A OUTPUT -j MARK --set-xmark 0xa/0xffffffff", 0),
        ('-A FORWARD -m comment --comment "ipmasq:two/reach" -j MARK --set-xmark 0x0/0x18000000', 0),
        ('-A FORWARD -m comment --comment "a MARK" -j ACCEPT', 0),
        ("-A FORWARD -j MARK --set-xmark odd/odd", 0),
    ],
)
def test_bits_that_are_cleared(rule, bits):
    for prefix in ("", "[3:180] "):
        listing = "# family ip\n*mangle\n{0}{1}\nCOMMIT\n*filter\n{1}\nCOMMIT\n".format(prefix, rule)
        for bit in (FOLLOWED, REACH):
            assert clearing(listing, bit) == ([rule] if bits & bit else [])
    assert clearing("*filter\n" + rule, FOLLOWED | REACH) == []
