# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Flows whose route has changed since they began: nothing translates them where they leave now."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .chains import DROP, FORWARD, KNOWN, LET_THROUGH, NEVER_OUTSIDE, RETURN, UNDECLARED
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
        *(
            Rule(here, replace(known, family=f, source=nets), DROP, "guard")
            for f, nets in by_family(NEVER_OUTSIDE).items()
        ),
        # A flow without an answer stays new.
        Rule(here, Match(oif=wans, ct_state=("new",), again=True), Action("jump", AGAIN.name), "undeclared"),
        Rule(AGAIN.name, Match(mapped=True), RETURN, "answers"),
        *(Rule(AGAIN.name, Match(f, source=nets), DROP, "guard") for f, nets in by_family(NEVER_OUTSIDE).items()),
    ]


def moved(gateway: Resolved) -> t.List[Rule]:
    """The route of a flow between undeclared links may have moved to one with a default route.

    As for WANs, with one exception: hosts behind that link get answers from private addresses.
    """
    links, here = gateway.around.ways_out, MOVED.name
    if not links or gateway.undeclared == "leave":
        return []
    unknown = ("invalid", "untracked")
    later = (Match(oif=links, ct_state=(*KNOWN, *unknown)), Match(oif=links, ct_state=("new",), again=True))
    return [
        *(Rule(FORWARD.name, match, Action("jump", here), "undeclared") for match in later),
        # What another instance exempts, and what anybody translates.
        Rule(here, Match(mark=LET_THROUGH), RETURN, "reach"),
        Rule(here, Match(mapped=True), RETURN, "answers"),
        *(
            Rule(here, replace(match, family=family, source=nets), DROP, "guard")
            for family, nets in by_family(NEVER_OUTSIDE).items()
            # Conntrack gives packets that it does not know no direction, and the NAT does not see them.
            for match in (Match(direction="original"), Match(ct_state=unknown))
        ),
    ]
