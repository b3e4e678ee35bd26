# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that helpers need: loaded before the rules, now and at boot."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.helper import HelperItem
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.modules import MODULES, Modules
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan, Row
from ansible_collections.ipmasq.linux.tests.unit import fakes

FTP, NETBIOS = (Gateway(helpers=(HelperItem(name),)) for name in ("ftp", "netbios-ns"))
LOADS = Scene("default", plan=Plan((), (Row("f", "a"),)))


def test_a_kernel_is_asked_for_helpers_only_if_rules_are_to_be_loaded():
    host = fakes.FakeHost(fakes.NFT)
    host.unknown_helpers = ("netbios-ns",)
    assert MODULES.want(FTP, Modules(), LOADS, host) == (Modules(("nf_nat_ftp",)), ())
    assert MODULES.want(NETBIOS, Modules(), Scene("default"), host) == (Modules(), ())
    with pytest.raises(GatewayError, match="'netbios-ns' is unknown to this kernel"):
        MODULES.want(NETBIOS, Modules(), LOADS, host)


@pytest.mark.parametrize("there", [True, False])
def test_modules_are_loaded_where_there_is_a_way(there):
    host = fakes.FakeHost(fakes.NFT)
    if there:
        host.programs.add("modprobe")
        host.answers["modprobe"] = fakes.Done(1, "", "")
    want = Modules(("nf_nat_ftp",))
    delta = MODULES.plan(Modules(), want, LOADS, host)
    assert (delta.do, delta.lines) == (None, ())
    assert MODULES.apply(delta, want, LOADS, host) == ()
    assert host.calls == ([["modprobe", "-q", "nf_nat_ftp"]] if there else [])
    assert MODULES.boot_lines(want, LOADS) == ("modprobe -q nf_nat_ftp || true",)
