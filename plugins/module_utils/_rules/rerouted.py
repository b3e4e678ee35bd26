# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Flows whose route has changed since they began: nothing translates them where they leave now."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .chains import FORWARD, KNOWN, LET_THROUGH, RETURN, UNDECLARED, UNKNOWN, kept_inside
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved

AGAIN = Chain("undeclared-again")
MOVED = Chain("undeclared-moved")


def private_of_known(wans: t.Tuple[str, ...]) -> t.List[Rule]:
    """The route of an open flow may have changed to a WAN, where nothing translates it.

    Packets that another instance exempts are marked, so they do not arrive here.
    """
    here, known = UNDECLARED.name, Match(oif=wans, ct_state=KNOWN)
    return [
        Rule(here, replace(known, mapped=True, direction="original"), RETURN, "answers"),
        Rule(here, replace(known, translated=True, direction="reply"), RETURN, "answers"),
        *kept_inside(here, known),
        # A flow without an answer stays new.
        Rule(here, Match(oif=wans, ct_state=("new",), again=True), Action("jump", AGAIN.name), "undeclared"),
        Rule(AGAIN.name, Match(mapped=True), RETURN, "answers"),
        *kept_inside(AGAIN.name, Match()),
    ]


def moved(gateway: Resolved) -> t.List[Rule]:
    """The route of a flow between undeclared links may have moved to one with a default route.

    As for WANs, with one exception: hosts behind that link get answers from private addresses.
    """
    links, here = gateway.around.ways_out, MOVED.name
    if not links or gateway.undeclared == "leave":
        return []
    later = (Match(oif=links, ct_state=(*KNOWN, *UNKNOWN)), Match(oif=links, ct_state=("new",), again=True))
    return [
        *(Rule(FORWARD.name, match, Action("jump", here), "undeclared") for match in later),
        # What another instance exempts, and what anybody translates.
        Rule(here, Match(mark=LET_THROUGH), RETURN, "reach"),
        Rule(here, Match(mapped=True), RETURN, "answers"),
        # Packets that conntrack does not know have no direction.
        *kept_inside(here, Match(direction="original"), Match(ct_state=UNKNOWN)),
    ]
