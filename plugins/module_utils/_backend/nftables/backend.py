# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""nftables: one table of our own, read with one ``nft -j list table``, replaced with one ``nft -j -f -``."""

from __future__ import annotations

import json
import typing as t

from ..._errors import GatewayError, MissingProgram
from ..base import Backend
from .expressions import as_text, table
from .flowtable import FLOWTABLE, flowtable_text
from .listing import parse
from .render import rows_of
from .script import MARK, transaction
from .text import shown

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._host import Host, Sight
    from ..._plan import Row, Rows
    from ..._rules import RuleSet


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

    def script(self, desired: Rows, live: Rows, instance: str) -> str:
        counted = {row: row for row in live}
        return transaction([counted.get(row, row) for row in desired], instance)

    def boot_files(self, desired: Rows, instance: str, instead_of: Rows = ()) -> t.Dict[str, str]:
        script, _mark, late = transaction(desired, instance).partition(MARK)
        files = {".nft": script}
        if late:
            files[".late.nft"] = late
        return files

    def boot_lines(self, stem: str, instance: str) -> t.List[str]:
        # Without timers and offload, the gateway still works.
        late = "[ ! -e {0}.late.nft ] || nft -f {0}.late.nft || echo 'ipmasq: timers and offload were refused' >&2"
        return ["nft -j -f {0}.nft".format(stem), late.format(stem)]

    def read(self, host: Sight, instance: str) -> str:
        done = host.ask(["nft", "-j", "list", "table", "inet", table(instance)])
        if done.rc == 0:
            return done.out
        if done.rc == 127:
            raise MissingProgram(
                "nft", "nft is not installed, and table inet {0} may exist; install nftables".format(table(instance))
            )
        if "No such file or directory" in done.err:
            return ""
        raise GatewayError("nft: cannot list table inet {0}: {1}".format(table(instance), _first_line(done.err)))

    def load(self, host: Host, script: str) -> None:
        script, _mark, late = script.partition(MARK)
        done = host.run(["nft", "-j", "-f", "-"], stdin=script)
        if done.rc == 0 and late:
            done = host.run(["nft", "-f", "-"], stdin=late)
        if done.rc != 0:
            raise GatewayError("nft: the rules were refused: {0}".format(explain(done.err)))

    def offload_devices(self, listing: str) -> t.Optional[t.Set[str]]:
        for entry in json.loads(listing)["nftables"] if listing else ():
            if entry.get("flowtable", {}).get("name") == FLOWTABLE["name"]:
                devices = entry["flowtable"].get("dev", [])
                return {devices} if isinstance(devices, str) else set(devices)
        return None

    def add_offload_devices(self, host: Host, instance: str, devices: t.Iterable[str]) -> None:
        script = "".join(flowtable_text(instance, '"{0}"'.format(device)) + "\n" for device in devices)
        done = host.run(["nft", "-f", "-"], stdin=script)
        if done.rc != 0:
            raise GatewayError("offload: {0} refused: {1}".format(", ".join(devices), _first_line(done.err)))

    def offload_line(self, instance: str) -> str:
        return "nft '{0}' || true".format(flowtable_text(instance, '"\'"$link"\'"'))

    def check_offload(self, host: Sight) -> None:
        probe = "add table inet ipmasq_probe\n{0}\n".format(flowtable_text("probe"))
        done = host.ask(["nft", "-c", "-f", "-"], stdin=probe)
        if done.rc != 0:
            raise GatewayError(
                "offload: this kernel has no flowtables (module nf_flow_table_inet, Linux 5.8): {0}; set offload to "
                "none".format(_first_line(done.err))
            )

    def overrules(self, family: str, table: str) -> bool:
        return family == "inet" and (table == "ipmasq" or table.startswith("ipmasq_"))

    def show(self, row: Row) -> str:
        return shown(row)

    def drops(self, row: Row) -> bool:
        return as_text({"drop": None}) in row.text

    def is_frame(self, row: Row) -> bool:
        return row.key == "chain" or not row.chain


def explain(err: str) -> str:
    """nft's message, with an explanation of unclear ones."""
    line = _first_line(err)
    if "Operation not supported" in err or ("No such file or directory" in err and "chain" in err):
        return line + " (this kernel lacks nftables NAT or a module of it: modprobe nft_chain_nat nft_masq nft_ct)"
    return line


def _first_line(err: str) -> str:
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return lines[0] if lines else "no message"
