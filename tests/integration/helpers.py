# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway under test, and how to wire it."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
import sandbox
from sandbox import SandboxHost, ip_batch, sh

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.select import by_programs
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, items, persist, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import forwarding_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
    port_forward_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import read_gateway
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import (
    forward_params,
    gateway_params,
    masquerade_params,
    port_forward_params,
)

if t.TYPE_CHECKING:
    from ansible_collections.ipmasq.linux.plugins.module_utils._change.telling import Result

UNPACK = pathlib.Path(__file__).resolve().parents[2] / "tools/unpack"
#: As named in state files, with what each needs.
BACKENDS = ("nft", "iptables-nft", "iptables-legacy")
NEEDS = {
    "nft": ("nft", "ip"),
    "iptables-nft": ("iptables-nft-restore", "ip6tables-nft-restore", "nft", "ip"),
    "iptables-legacy": ("iptables-legacy-restore", "ip6tables-legacy-restore", "nft", "ip"),
}
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24", "fd00:2::/64"]}
ONE_LAN = {"wans": [{"interface": "wan0"}], "lans": [OFFICE]}
TWO_LANS = {"wans": [{"interface": "wan0"}], "lans": [OFFICE, GUESTS]}


class ServiceHost(SandboxHost):
    """A host with programs of its own in place of systemd's; ROOT in them is its folder."""

    def __init__(self, root, programs, **options) -> None:
        super().__init__(root, **options)
        self.put("/run/systemd/system/x", "")
        for name, text in {"systemd-run": "#!/bin/sh\nexit 1\n", **programs}.items():
            self.put("/bin/" + name, text.replace("ROOT", str(root)))
        for path in (root / "bin").iterdir():
            path.chmod(0o755)

    def write(self, path, text, mode):
        if sandbox.SCRIPT.fullmatch(path):
            text = text.replace("\nPATH=", "\nPATH={0}/bin:".format(self.root))
        super().write(path, text, mode)


class Gate:
    """The gateway under test: the engine, with one backend, on a SandboxHost."""

    def __init__(self, programs: str, root: pathlib.Path, kind: type = SandboxHost, **host_options) -> None:
        missing = [program for program in NEEDS[programs] if not shutil.which(program, path=sandbox.PATH)]
        if missing:
            pytest.skip("{0} is not installed".format(", ".join(missing)))
        self.programs = programs
        self.option = "nftables" if programs == "nft" else "iptables"
        self.host = kind(root, variant=programs.partition("-")[2], **host_options)

    def apply(self, check: bool = False, confirmation: t.Any = None, proof: str = "off", **params) -> Result:
        requested, foreign = params.pop("backend", self.option), params.pop("foreign", "refuse")
        gateway, problems = read_gateway(gateway_params(**params))
        host = fakes.seen(self.host, check)
        return engine.apply_gateway(
            gateway, requested, host, problems, confirmation=confirmation, foreign=foreign, proof=proof
        )

    def absent(self, instance: str = "default", check: bool = False) -> Result:
        return removing.remove_instance(instance, fakes.seen(self.host, check))

    def item(
        self, kind: str, check: bool = False, state: str = "present", confirmation: t.Any = None, **params
    ) -> Result:
        make, fill = {
            "masquerade": (masquerade_from_params, masquerade_params),
            "forward": (forward_from_params, forward_params),
            "port_forward": (port_forward_from_params, port_forward_params),
        }[kind]
        known = fill(state=state, **params)
        item = make(known)
        present = state == "present"
        return items.apply_item(
            known["instance"], item, present, self.option, fakes.seen(self.host, check), confirmation=confirmation
        )

    def forwarding(self, check: bool = False, state: str = "present", instance: str = "default", **params):
        known = {"instance": instance, "ipv4": None, "ipv6": None, "interfaces": None}
        known.update(params)
        wanted = forwarding_from_params(known) if state == "present" else None
        return items.apply_switches(instance, wanted, fakes.seen(self.host, check))

    def info(self, instance: str = "default") -> dict:
        return gateway_info(instance, self.host)

    def state(self, instance: str = "default"):
        return persist.read_state(self.host, instance)

    def live(self, instance: str = "default"):
        backend = by_programs(self.host, self.programs)
        return backend.parse(backend.read(self.host, instance), instance)

    def rules(self) -> str:
        """What the tools of this backend list, for assertions on text."""
        if self.programs == "nft":
            return sh("nft list ruleset")
        variant = self.programs.partition("-")[2]
        return sh("iptables-{0}-save; ip6tables-{0}-save".format(variant))

    def tool(self, family: str = "ip") -> str:
        """iptables of this variant, as a shell command."""
        name = {"ip": "iptables", "ip6": "ip6tables"}[family]
        lock = "XTABLES_LOCKFILE={0}/xtables.lock ".format(self.host.root)
        return "{0}{1}-{2}".format(lock, name, self.programs.partition("-")[2])


def unpacked(factory: pytest.TempPathFactory, *packages: str) -> pathlib.Path:
    """The folder with the programs of Debian packages, which are not installed on this machine. All workers that run
    tests at the same time share them."""
    top = factory.getbasetemp()
    place = (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / ("unpacked-" + packages[0])
    with open(str(place) + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            done = subprocess.run([str(UNPACK), str(place), *packages], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            place.chmod(0o755)
            (place / "complete").touch()
    return place / "bin"


def wire(**links: str) -> None:
    """Interfaces with addresses, each with a peer that is up: wire(lan0="192.168.1.1/24 fd00:1::1/64")."""
    commands = []
    for name, addresses in links.items():
        peer = "p" + name[:14]
        commands.append("link add {0} type veth peer name {1}".format(name, peer))
        for each in addresses.split():
            commands.append("addr add {0} dev {1}{2}".format(each, name, " nodad" if ":" in each else ""))
        commands += ["link set {0} up".format(name), "link set {0} up".format(peer)]
    ip_batch(*commands)


def wire_gateway() -> None:
    wire(
        wan0="203.0.113.2/24 2001:db8:ff::2/64",
        lan0="192.168.1.1/24 fd00:1::1/64",
        guest0="192.168.2.1/24 fd00:2::1/64",
    )
    ip_batch("route add 0.0.0.0/0 via 203.0.113.1", "route add ::/0 via 2001:db8:ff::1")
