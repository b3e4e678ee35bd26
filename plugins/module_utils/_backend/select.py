# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Choose the backend, and say why: the one in use, so that a host's rules are in one place."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError, MissingProgram
from .iptables.backend import Iptables
from .iptables.native import unread
from .nftables.backend import Nftables

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .base import Backend


@dataclass(frozen=True)
class Choice:
    backend: Backend
    why: str


def select(host: Sight, requested: str, remembered: str) -> Choice:
    """``requested`` is the option (auto, nftables, iptables), ``remembered`` the instance's backend in its state file.

    Raises GatewayError if nothing is suitable, or if both variants of iptables hold rules: then the kernel consults
    both filters, and no tool shows everything.
    """
    if remembered and requested in ("auto", _family_of(remembered)):
        backend = by_programs(host, remembered)
        if _installed(host, backend):
            return Choice(backend, "{0}: in use by this instance since it was first applied".format(remembered))
    if requested == "nftables":
        return _nftables(host, "nft: requested by option backend")
    if requested == "iptables":
        return _iptables(host, "requested by option backend")
    return _auto(host)


def by_programs(host: Sight, programs: str) -> Backend:
    """The backend with this name in a state file."""
    if programs == "nft":
        return Nftables()
    return _made(host, programs.partition("-")[2])


def families(host: Sight) -> t.Tuple[str, ...]:
    return ("ip", "ip6") if host.exists("/proc/sys/net/ipv6") else ("ip",)


def in_use(listing: str) -> t.List[str]:
    """Other programs' rules and policies in an iptables listing."""
    return [
        line
        for line in listing.splitlines()
        if (line.startswith("-A ") and "IPMASQ-" not in line)
        or (line.startswith(":") and line.split()[1] in ("DROP", "REJECT"))
    ]


def _family_of(programs: str) -> str:
    return "nftables" if programs == "nft" else "iptables"


def _installed(host: Sight, backend: Backend) -> bool:
    if isinstance(backend, Iptables):
        return all(host.which(backend.program(family, "restore")) for family in backend.families)
    return bool(host.which("nft"))


def _nftables(host: Sight, why: str) -> Choice:
    if not host.which("nft"):
        raise MissingProgram(
            "nft", "backend: nft is not installed; install the package nftables, or set backend=iptables"
        )
    return Choice(Nftables(), why)


def _iptables(host: Sight, why: str) -> Choice:
    used = _used_variants(host)
    if len(used) > 1:
        raise GatewayError(
            "backend: both variants of iptables hold rules (nft: {0!r}, legacy: {1!r}), so the kernel filters twice; "
            "remove one set, for example with iptables-legacy -F and -X in each table".format(
                used["nft"][0], used["legacy"][0]
            )
        )
    variant = next(iter(used), "") or _default_variant(host)
    if not variant:
        raise MissingProgram(
            "iptables", "backend: iptables is not installed; install the package iptables, or set backend=nftables"
        )
    backend = _made(host, variant)
    if not _installed(host, backend):
        raise MissingProgram("ip6tables", "backend: ip6tables is not installed, and this kernel has IPv6; install it")
    reason = "its tables are in use" if used else "the variant that the command iptables runs"
    return Choice(backend, "{0}: {1}, {2}".format(backend.programs, why, reason))


def _auto(host: Sight) -> Choice:
    used = _used_variants(host)
    if used:
        rule = next(iter(used.values()))[0]
        return _iptables(
            host, "iptables already holds {0!r}, which a table of nftables could not overrule".format(rule)
        )
    if host.which("nft"):
        return Choice(Nftables(), "nft: installed, and no iptables rules are in use")
    if _default_variant(host):
        return _iptables(host, "nft is not installed")
    raise MissingProgram("nft", "backend: neither nft nor iptables is installed; install the package nftables")


def all_backends(host: Sight) -> t.List[Backend]:
    """Every backend that could hold our rules on this host."""
    return [backend for backend in (Nftables(), *_variants(host)) if _installed(host, backend)]


def _used_variants(host: Sight) -> t.Dict[str, t.List[str]]:
    """Other programs' rules in each variant's tables, for the installed families.

    A variant that cannot list its tables to the end could not read our rules back either, so what it lists before does
    not count.
    """
    used = {}
    for backend in _variants(host):
        saves = [backend.program(family, "save") for family in backend.families]
        listings = [host.ask([save]) for save in saves if host.which(save)]
        rules = [rule for done in listings for rule in in_use(done.out)]
        if rules and all(done.rc == 0 for done in listings):
            used[backend.variant] = rules
    return used


def dropping(host: Sight) -> t.FrozenSet[t.Tuple[str, str]]:
    """Chains that drop by their policy and are iptables-nft's own, as (table, chain): its accept comes before that.

    It knows them itself. By its name alone, a chain may be one that nft wrote at another place. If our rules could not
    be read back from all tables, there are none.
    """
    backend = _made(host, "nft")
    saves = {family: backend.program(family, "save") for family in backend.families}
    listings = {family: host.ask([save]) for family, save in saves.items() if host.which(save)}
    if any(done.rc != 0 or unread(done.out) - {"raw"} for done in listings.values()):
        return frozenset()
    return frozenset(
        ("{0} filter".format(family), line[1:].split()[0])
        for family, done in listings.items()
        for line in done.out.partition("*filter\n")[2].partition("\nCOMMIT")[0].splitlines()
        if line.startswith(":") and line.split()[1] == "DROP"
    )


def _variants(host: Sight) -> t.List[Iptables]:
    """Listing legacy tables must not load modules, so legacy is asked only if its tables are loaded."""
    found = [_made(host, "nft")]
    if any(host.read("/proc/net/{0}_tables_names".format(family)) for family in ("ip", "ip6")):
        found.append(_made(host, "legacy"))
    return found


def _made(host: Sight, variant: str) -> Iptables:
    return Iptables(variant, families(host), bool(host.which("ipset")))


def _default_variant(host: Sight) -> str:
    done = host.ask(["iptables", "--version"])
    if done.rc != 0:
        return ""
    return "nft" if "nf_tables" in done.out else "legacy"
