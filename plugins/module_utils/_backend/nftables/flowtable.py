# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The flowtable of an instance: its devices come and go with links, so they do not belong to its rows."""

from __future__ import annotations

from .expressions import table

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
