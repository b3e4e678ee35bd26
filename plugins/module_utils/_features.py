# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a rule set needs against what a backend can: all that is missing, in one message, before anything is touched."""

from __future__ import annotations

import typing as t

from ._errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from ._backend.base import Backend
    from ._rules import Rule, RuleSet

#: Actions that are a feature of their own; every backend has the others.
ACTIONS = {"masquerade": "masquerade", "clamp_mss": "clamp_mss", "guard": "guard"}


def needed_by(rule: Rule) -> t.FrozenSet[str]:
    """The features that a backend has to have for this rule."""
    feature = ACTIONS.get(rule.action.kind)
    return frozenset((feature,)) if feature else frozenset()


def check_supported(ruleset: RuleSet, backend: Backend) -> None:
    missing = [
        "{0}: {1} is not possible with backend {2}; remove it or choose another backend".format(
            rule.key, feature, backend.name
        )
        for rule in ruleset.rules
        for feature in sorted(needed_by(rule) - backend.features)
    ]
    if missing:
        raise GatewayError(*dict.fromkeys(missing))
