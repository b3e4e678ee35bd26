# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The contract of a backend: pure text work, and two methods that touch the host."""

from __future__ import annotations

import json
import typing as t
from abc import ABC, abstractmethod

if t.TYPE_CHECKING:  # pragma: no cover
    from .._host import Host
    from .._plan import Row, Rows
    from .._rules import RuleSet


#: Families whose chains meet packets that are routed.
ROUTED = ("inet", "ip", "ip6")


class Backend(ABC):
    """One packet filter. ``render`` gives exactly the rows that ``parse`` finds after a load (the fixpoint)."""

    #: "nftables" or "iptables"
    name: str
    #: The abilities of _features.FEATURES that it has, with a remark where there is something to know. What a rule
    #: set needs beyond them is refused before anything is touched.
    features: t.Mapping[str, str]

    @property
    @abstractmethod
    def programs(self) -> str:
        """What this backend runs, for messages and for the state file: "nft", "iptables-nft", "iptables-legacy"."""

    @abstractmethod
    def render(self, ruleset: RuleSet) -> Rows:
        """Neutral rules as canonical rows."""

    @abstractmethod
    def parse(self, listing: str, instance: str) -> Rows:
        """The tool's listing as canonical rows: those of our table or chains, whoever put them there."""

    @abstractmethod
    def script(self, desired: Rows, live: Rows, instance: str) -> str:
        """The input of one load that replaces the live rows by the desired ones. No rows: take everything away."""

    @abstractmethod
    def boot_files(self, desired: Rows, instance: str, instead_of: Rows = ()) -> t.Dict[str, str]:
        """What is loaded at boot: ending of the file name to text. ``instead_of`` may be there by then."""

    @abstractmethod
    def boot_lines(self, stem: str, instance: str) -> t.List[str]:
        """Lines of shell that load the boot files with this path, less the ending, and fail if one is refused."""

    @abstractmethod
    def read(self, host: Host, instance: str) -> str:
        """The live listing, empty if nothing of ours is there. Raises GatewayError if the tool fails."""

    @abstractmethod
    def load(self, host: Host, script: str) -> None:
        """Apply a script. Raises GatewayError with the tool's words if it is refused."""

    @abstractmethod
    def drops(self, row: Row) -> bool:
        """Whether a row of ours drops packets."""

    @abstractmethod
    def is_frame(self, row: Row) -> bool:
        """Whether a row is a chain, or a jump from the kernel's chains to ours: alone they do nothing."""

    def show(self, row: Row) -> str:
        """A row for people."""
        return "{0}: {1}".format(row.chain, row.text)

    @abstractmethod
    def overrules(self, family: str, table: str) -> bool:
        """Whether what we accept is accepted in this table of nftables: it is ours, or our jump stands first in it."""

    def foreign_drops(self, host: Host) -> t.List[t.Tuple[str, str]]:
        """Chains of others, as (table, chain), whose policy drops forwarded packets that we accept.

        Of the families that routed packets meet: what only a bridge forwards goes through those of family bridge.
        Lists chains only: listing foreign rules that a newer nft wrote can crash an older one (1.0.6).
        """
        done = host.run(["nft", "-j", "list", "chains"])
        if done.rc != 0:
            return []
        chains = [entry["chain"] for entry in json.loads(done.out)["nftables"] if "chain" in entry]
        return [
            ("{family} {table}".format(**chain), chain["name"])
            for chain in chains
            if chain["family"] in ROUTED
            and chain.get("hook") == "forward"
            and chain.get("policy") == "drop"
            and not self.overrules(chain["family"], chain["table"])
        ]

    def offload_devices(self, listing: str) -> t.Optional[t.Set[str]]:
        """The interfaces whose connections are offloaded, None where nothing is."""
        return None

    def add_offload_devices(self, host: Host, instance: str, devices: t.Iterable[str]) -> None:
        """Raises GatewayError with the tool's words if one is refused."""
        return

    def offload_line(self, instance: str) -> str:
        """The line of shell that puts the interface ``$link`` into the flowtable."""
        return ""

    def check_offload(self, host: Host) -> None:
        """Raises GatewayError if the kernel cannot offload; changes nothing."""
        return

    def base_chains(self, host: Host) -> t.Tuple[str, ...]:
        """The kernel's own chains that are there, such as "ip nat POSTROUTING": a load may create others."""
        return ()

    def drop_lines(self, desired: Rows, before: t.Sequence[str], instance: str) -> t.List[str]:
        """Lines of shell that do the same with what a load of these rows has created."""
        return []

    def drop_base_chains(self, host: Host, before: t.Sequence[str]) -> None:
        """Remove chains and tables that our loads have created, where nothing is in them."""
        return
