# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The flowtable of an instance: its devices come and go with links, so they do not belong to its rows."""

from __future__ import annotations

import json
import typing as t

from ..._base.errors import GatewayError
from .expressions import first_line, table

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.host import Host, Sight
    from ..base import Backend

#: The hook priority of the flowtable's devices: the default priority of filter.
FLOWTABLE = {"name": "offloaded", "hook": "ingress", "prio": 0}


def flowtable_text(instance: str, devices: str = "") -> str:
    """For the shell and for nft; an existing flowtable gets these devices in addition."""
    return "add flowtable inet {0} {1} {{ hook {2} priority {3}; {4}}}".format(
        table(instance),
        FLOWTABLE["name"],
        FLOWTABLE["hook"],
        FLOWTABLE["prio"],
        "devices = {{ {0} }}; ".format(devices) if devices else "",
    )


def devices(backend: t.Optional[Backend], listing: t.Optional[str]) -> t.Optional[t.Set[str]]:
    """The interfaces whose connections are offloaded, in the listing of an instance; None if offload is off."""
    if not listing or not backend or "offload" not in backend.features:
        return None
    for entry in json.loads(listing)["nftables"]:
        if entry.get("flowtable", {}).get("name") == FLOWTABLE["name"]:
            found = entry["flowtable"].get("dev", [])
            return {found} if isinstance(found, str) else set(found)
    return None


def add(instance: str, names: t.Sequence[str], host: Host) -> None:
    """Offload the connections of these interfaces, too. Raises GatewayError with nft's message if one is refused."""
    script = "".join(flowtable_text(instance, '"{0}"'.format(name)) + "\n" for name in names)
    done = host.run(["nft", "-f", "-"], stdin=script)
    if done.rc != 0:
        raise GatewayError("offload: {0} refused: {1}".format(", ".join(names), first_line(done.err)))


def line(instance: str) -> str:
    """The line of shell that adds the interface ``$link``."""
    return "nft '{0}' || true".format(flowtable_text(instance, '"\'"$link"\'"'))


def check(sight: Sight) -> None:
    """Raises GatewayError if the kernel cannot offload; changes nothing."""
    probe = "add table inet ipmasq_probe\n{0}\n".format(flowtable_text("probe"))
    done = sight.ask(["nft", "-c", "-f", "-"], stdin=probe)
    if done.rc != 0:
        raise GatewayError(
            "offload: this kernel has no flowtables (module nf_flow_table_inet, Linux 5.8): {0}; set offload to "
            "none".format(first_line(done.err))
        )
