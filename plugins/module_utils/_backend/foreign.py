# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Chains of other programs that drop what we accept."""

from __future__ import annotations

import json
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .base import Backend

#: Families whose chains see what is routed, or is for this host.
ROUTED = ("inet", "ip", "ip6")


def chains(sight: Sight) -> t.Optional[t.List[t.Dict[str, t.Any]]]:
    """All chains of nftables, those of iptables-nft included; None if nobody can tell."""
    done = sight.ask(["nft", "-j", "list", "chains"])
    if done.rc != 0:
        return None
    return [entry["chain"] for entry in json.loads(done.out)["nftables"] if "chain" in entry]


def foreign_drops(backend: Backend, sight: Sight, hook: str = "forward") -> t.List[t.Tuple[str, str]]:
    """Other programs' chains, as (table, chain), whose policy drops what we accept at this hook.

    Only in families that routed packets pass; bridged packets pass chains of family bridge. Only chains are listed:
    listing foreign rules that a newer nft wrote can crash an older one (1.0.6).
    """
    return [
        ("{family} {table}".format(**chain), chain["name"])
        for chain in chains(sight) or ()
        if chain["family"] in ROUTED
        and chain.get("hook") == hook
        and chain.get("policy") == "drop"
        and not backend.overrules(chain["family"], chain["table"], chain["name"])
    ]
