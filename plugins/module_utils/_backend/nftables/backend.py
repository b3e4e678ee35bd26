# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""nftables: one table of our own, read with one ``nft -j list table``, replaced with one ``nft -j -f -``."""

from __future__ import annotations

import typing as t

from ..._base.errors import GatewayError, MissingProgram
from ..base import Backend
from ..steps import Boot, files_of
from .expressions import as_text, first_line, table
from .listing import parse
from .render import rows_of
from .script import steps
from .text import shown

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.host import Sight
    from ..._rules.model import RuleSet
    from ..._rules.rows import Row, Rows
    from ..steps import Step


class Nftables(Backend):
    name = "nftables"
    features: t.ClassVar[t.Dict[str, str]] = {  # type: ignore[misc]
        "masquerade": "",
        "snat": "",
        "snat_pool": "by a hash of the client's address; up to 1,024 addresses",
        "netmap": "",
        "dnat": "",
        "dnat_shift": "",
        "balance_round_robin": "",
        "balance_source": "",
        "hairpin_external": "the address that the client connected to",
        "random_ports": "",
        "to_port": "",
        "ipsec": "",
        "rate": "",
        "guard": "after the NAT, sees every packet",
        "clamp_mss": "",
        "set_mss": "",
        "helper": "",
        "log": "",
        "timers": "",
        "offload": "if the kernel has flowtables",
    }
    programs = "nft"

    def render(self, ruleset: RuleSet) -> Rows:
        return rows_of(ruleset)

    def parse(self, listing: str, instance: str) -> Rows:
        return parse(listing)

    def steps(self, desired: Rows, live: Rows, instance: str) -> t.Tuple[Step, ...]:
        return steps(desired, live, instance)

    def boot(self, rows: Rows, stem: str, instance: str, instead_of: Rows = ()) -> Boot:
        # Without timers and offload, the gateway still works.
        late = "[ ! -e {0}.late.nft ] || nft -f {0}.late.nft || echo 'ipmasq: timers and offload were refused' >&2"
        lines = ("nft -j -f {0}.nft".format(stem), late.format(stem))
        return Boot(lines, files_of(steps(rows, (), instance)))

    def read(self, sight: Sight, instance: str) -> str:
        done = sight.ask(["nft", "-j", "list", "table", "inet", table(instance)])
        if done.rc == 0:
            return done.out
        if done.rc == 127:
            raise MissingProgram(
                "nft", "nft is not installed, and table inet {0} may exist; install nftables".format(table(instance))
            )
        if "No such file or directory" in done.err:
            return ""
        raise GatewayError("nft: cannot list table inet {0}: {1}".format(table(instance), first_line(done.err)))

    def overrules(self, family: str, table: str, chain: str) -> bool:
        return family == "inet" and (table == "ipmasq" or table.startswith("ipmasq_"))

    def show(self, row: Row) -> str:
        return shown(row)

    def drops(self, row: Row) -> bool:
        return as_text({"drop": None}) in row.text

    def is_frame(self, row: Row) -> bool:
        return row.key == "chain" or not row.chain
