# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The interface of a backend: pure text conversion, and a few methods that touch the host."""

from __future__ import annotations

import json
import typing as t
from abc import ABC, abstractmethod

if t.TYPE_CHECKING:  # pragma: no cover
    from .._host import Host, Sight
    from .._plan import Row, Rows
    from .._rules import RuleSet

#: Families whose chains see routed packets.
ROUTED = ("inet", "ip", "ip6")


class Backend(ABC):
    """A packet filter. ``render`` returns exactly the rows that ``parse`` finds after a load (the fixpoint)."""

    #: "nftables" or "iptables"
    name: str
    #: Its abilities from _features.FEATURES, with a remark where needed. A rule set that needs others is refused before
    #: anything is touched.
    features: t.Mapping[str, str]

    @property
    @abstractmethod
    def programs(self) -> str:
        """The variant for messages and the state file: "nft", "iptables-nft", "iptables-legacy"."""

    @abstractmethod
    def render(self, ruleset: RuleSet) -> Rows:
        """Neutral rules to canonical rows."""

    @abstractmethod
    def parse(self, listing: str, instance: str) -> Rows:
        """The tool's listing to canonical rows: all rows in our table or chains, foreign ones included."""

    @abstractmethod
    def script(self, desired: Rows, live: Rows, instance: str) -> str:
        """The input of one load that replaces the live rows with the desired ones; without desired rows, it removes
        all.
        """

    @abstractmethod
    def boot_files(self, desired: Rows, instance: str, instead_of: Rows = ()) -> t.Dict[str, str]:
        """The files loaded at boot: file suffix to text. ``instead_of`` may already be loaded then."""

    @abstractmethod
    def boot_lines(self, stem: str, instance: str) -> t.List[str]:
        """Shell lines that load the boot files with this path (without suffix), and fail if one is refused."""

    @abstractmethod
    def read(self, host: Sight, instance: str) -> str:
        """The live listing; empty if nothing of ours is there. Raises GatewayError if the tool fails."""

    @abstractmethod
    def load(self, host: Host, script: str) -> None:
        """Apply a script. Raises GatewayError with the tool's message if it is refused."""

    @abstractmethod
    def drops(self, row: Row) -> bool:
        """Whether one of our rows drops packets."""

    @abstractmethod
    def is_frame(self, row: Row) -> bool:
        """Whether a row is a chain, or a jump to it from the kernel's chains; these have no effect alone."""

    def show(self, row: Row) -> str:
        """A row as text for people."""
        return "{0}: {1}".format(row.chain, row.text)

    @abstractmethod
    def overrules(self, family: str, table: str) -> bool:
        """Whether our accept is final in this nftables table: it is ours, or our jump comes first in it."""

    def foreign_drops(self, host: Sight) -> t.List[t.Tuple[str, str]]:
        """Other programs' chains, as (table, chain), whose policy drops forwarded packets that we accept.

        Only in families that routed packets pass; bridged packets pass chains of family bridge. Only chains are listed:
        listing foreign rules that a newer nft wrote can crash an older one (1.0.6).
        """
        done = host.ask(["nft", "-j", "list", "chains"])
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
        """The interfaces whose connections are offloaded; None if offload is off."""
        return None

    def add_offload_devices(self, host: Host, instance: str, devices: t.Iterable[str]) -> None:
        """Raises GatewayError with the tool's message if a device is refused."""
        return

    def offload_line(self, instance: str) -> str:
        """The shell line that adds the interface ``$link`` to the flowtable."""
        return ""

    def check_offload(self, host: Sight) -> None:
        """Raises GatewayError if the kernel cannot offload; changes nothing."""
        return

    def base_chains(self, host: Sight) -> t.Tuple[str, ...]:
        """The kernel's existing base chains, such as "ip nat POSTROUTING"; a load may create others."""
        return ()

    def drop_lines(self, desired: Rows, before: t.Sequence[str], instance: str) -> t.List[str]:
        """Shell lines that remove what a load of these rows created."""
        return []

    def drop_base_chains(self, host: Host, before: t.Sequence[str]) -> None:
        """Remove the chains and tables that our loads created, if they are empty."""
        return
