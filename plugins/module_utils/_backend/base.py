# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The contract of a backend: a packet filter that holds our rules.

========== ============================================ ==================================================
method     in                                           out
========== ============================================ ==================================================
programs                                                its name in messages and in the state file
render     neutral rules                                the rows that ``parse`` finds once they are loaded
read       the host                                     the tool's listing
parse      a listing                                    the rows in it, foreign ones included
steps      rows wanted, rows there                      the processes that replace one with the other
boot       rows wanted, rows that may be there by then  shell lines that load them, and their files
show       a row                                        the row as text for people
drops      a row                                        whether it drops packets
is_frame   a row                                        whether it has no effect alone
overrules  a chain of nftables                          whether our accept is final there
========== ============================================ ==================================================

Only ``read`` looks at the host. Nothing here changes it: ``steps.load`` takes the steps, and the shell the lines.
"""

from __future__ import annotations

import typing as t
from abc import ABC, abstractmethod

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._rules.model import RuleSet
    from .._rules.rows import Row, Rows
    from .steps import Boot, Step


class Backend(ABC):
    """``render`` returns exactly the rows that ``parse`` finds after a load (the fixpoint)."""

    #: "nftables" or "iptables"
    name: str
    #: Its abilities from features.FEATURES, with a remark where needed. A rule set that needs others is refused before
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
    def read(self, sight: Sight, instance: str) -> str:
        """The live listing; empty if nothing of ours is there. Raises GatewayError if the tool fails."""

    @abstractmethod
    def parse(self, listing: str, instance: str) -> Rows:
        """The tool's listing to canonical rows: all rows in our table or chains, foreign ones included."""

    @abstractmethod
    def steps(self, desired: Rows, live: Rows, instance: str) -> t.Tuple[Step, ...]:
        """What replaces the live rows with the desired ones; without desired rows, it removes all."""

    @abstractmethod
    def boot(self, rows: Rows, stem: str, instance: str, instead_of: Rows = ()) -> Boot:
        """Shell lines that load these rows, and fail if one is refused, and the files that they use.

        ``stem`` is the path of the files without the end of their names, by which the files are given. The rows of
        ``instead_of`` may already be loaded then. The rollback loads the rows of before in the same way.
        """

    @abstractmethod
    def show(self, row: Row) -> str:
        """A row as text for people."""

    @abstractmethod
    def drops(self, row: Row) -> bool:
        """Whether one of our rows drops packets."""

    @abstractmethod
    def is_frame(self, row: Row) -> bool:
        """Whether a row is a chain, or a jump to it from the kernel's chains; these have no effect alone."""

    @abstractmethod
    def overrules(self, family: str, table: str, chain: str) -> bool:
        """Whether our accept is final in this chain of nftables: it is ours, or our jump comes first in it."""
