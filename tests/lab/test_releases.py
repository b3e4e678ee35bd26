# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The golden cases with the tools of each release: loaded, listed, and read back unchanged.

Each tool runs from the image that the lab uses, in a network namespace of its own; nothing of this machine is touched.
"""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from releases import RELEASES, NotHere, mounted

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.listing import MARK
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.names import FAMILIES
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.expressions import table
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.steps import files_of
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit import test_golden
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

BACKENDS = {"nft": Nftables(), "iptables-nft": Iptables("nft"), "iptables-legacy": Iptables("legacy")}

#: Loads standard input and lists the result.
NFT = "nft -j -f - && nft -f /run/late && nft -j list table inet {0}"
IPTABLES = "{0}-restore --noflush --counters && {0}-save -c"

PROBE = "add table inet probe\nadd flowtable inet probe offloaded { hook ingress priority 0; }\n"
FLOWTABLES = pytest.mark.skipif(
    subprocess.run(["nft", "-c", "-f", "-"], input=PROBE, text=True, capture_output=True, check=False).returncode != 0,
    reason="this kernel has no flowtables",
)


@pytest.fixture(scope="module", params=RELEASES)
def root(request: t.Any) -> t.Iterator[str]:
    """The files of a release."""
    try:
        with mounted(request.param) as files:
            yield str(files)
    except NotHere as reason:
        pytest.skip(str(reason))


def cases() -> t.Iterator[t.Any]:
    for case in test_golden.CASES:
        gateway = test_golden.load(case).get("gateway", {})
        if gateway.get("wans") and gateway.get("lans"):
            refused = (test_golden.GOLDEN / case / "iptables.refused").exists()
            for programs in [name for name in BACKENDS if name == "nft" or not refused]:
                marks = [FLOWTABLES] if gateway.get("offload") else []
                yield pytest.param(programs, case, id=f"{case}-{programs}", marks=marks)


def listed(root: str, command: str, stdin: str, late: str = "") -> str:
    """What a command prints in a fresh namespace with these files. The image itself is mounted read-only."""
    setup = 'mount -t tmpfs t "$0/run" && printf %s "$2" > "$0/run/late" && mount -t proc p "$0/proc" && '
    setup += 'exec chroot "$0" sh -c "$1"'
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", setup, root, command, late],
        input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("programs", "case"), list(cases()))
def test_read_back_as_it_was_meant(root: str, programs: str, case: str) -> None:
    known = test_golden.load(case)
    gateway = gateway_from_params(gateway_params(**known["gateway"]))
    facts, neighbours = test_golden.facts(known), test_golden.neighbours(known)
    ruleset = compile_gateway(resolve(gateway, facts, neighbours=neighbours).gateway)
    backend = BACKENDS[programs]
    rows = backend.render(ruleset)
    texts = files_of(backend.steps(rows, (), gateway.instance))
    if programs == "nft":
        listing = listed(root, NFT.format(table(gateway.instance)), texts[".nft"], texts.get(".late.nft", ""))
    else:
        listing = ""
        for family, name in FAMILIES.items():
            tool = IPTABLES.format(backend.program(family, "x")[:-2])
            listing += MARK + family + "\n" + listed(root, tool, texts["." + name])
    plan = Plan(backend.parse(listing, gateway.instance), rows)
    assert not plan.changed, plan.differences(backend.show)[:5]
