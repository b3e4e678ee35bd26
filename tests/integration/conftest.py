# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each test in this folder runs in its own network namespace; afterwards the process returns to the first one."""

from __future__ import annotations

import os
import pathlib

import pytest
import releases
import sandbox
from helpers import BACKENDS, Gate, unpacked
from topology import Topology

HERE = pathlib.Path(__file__).parent
IMPOSSIBLE = sandbox.can_have_namespaces()
#: Files that begin first: those with the longest tests, and then those that mostly wait. At the end, there is nothing
#: else to do meanwhile; in the order of their names, the processors waited for minutes.
FIRST = (
    "any_intent", "proof_of_any", "by_hand", "hostile_text", "verify", "proof_blames", "explain_any",
    "vocabulary", "confirm", "window", "upgrade", "undeclared", "packets", "proof", "proof_of_a_change", "rfc",
)  # fmt: skip
#: Files that begin last: many short tests that compute.
LAST = ("permissions", "sets", "transactions", "complaints", "faults", "fixpoint")


def pytest_collection_modifyitems(items):
    mine = [item for item in items if HERE in item.path.parents]
    if IMPOSSIBLE:
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=IMPOSSIBLE))
    known = set(mine)
    items[:] = [item for item in items if item not in known] + sorted(mine, key=turn)


def turn(item):
    order = [*FIRST, "", *LAST]
    name = item.path.stem[len("test_") :]
    return order.index(name if name in order else "")


@pytest.fixture(scope="session", autouse=True)
def tools(tmp_path_factory):
    """This machine's programs, or with IPMASQ_TOOLS=trixie those of that release."""
    release = os.environ.get("IPMASQ_TOOLS")
    if not release:
        yield
        return
    try:
        with releases.mounted(release) as root:
            folder = tmp_path_factory.mktemp("tools")
            sandbox.STARTED.update(releases.provide(root, folder))
            sandbox.PATH = "{0}:{1}".format(folder, sandbox.PATH)
            yield
    except releases.NotHere as reason:
        pytest.skip("no tools of {0}: {1}".format(release, reason))


@pytest.fixture(scope="session")
def coturn():
    """The programs of Debian's coturn, from the lab's image."""
    try:
        with releases.mounted("bookworm") as root:
            yield lambda name: releases.command(root, root / "usr/bin" / name)
    except releases.NotHere as reason:
        pytest.skip("no coturn: {0}".format(reason))


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Debian's dnsmasq and udhcpc, unpacked: neither is started on this machine."""
    return unpacked(tmp_path_factory, "dnsmasq-base", "udhcpc").parent


@pytest.fixture
def dnsmasq(programs):
    return programs / "bin/dnsmasq"


@pytest.fixture(autouse=True)
def namespace():
    """A fresh namespace for this test alone."""
    own = sandbox.Namespace()
    with own.inside():
        sandbox.require_namespace()
        sandbox.raise_loopback()
        yield own
    own.close()


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def gate(backend, tmp_path):
    """A gateway without interfaces, for each backend."""
    return Gate(backend, tmp_path)


@pytest.fixture
def nft(tmp_path):
    """The same for nftables only, for tests in which the backend makes no difference."""
    return Gate("nft", tmp_path)


@pytest.fixture
def net(gate):
    """The surroundings of the gateway: its links, clients in LANs, a server on the WAN."""
    made = Topology()
    yield made
    made.close()
