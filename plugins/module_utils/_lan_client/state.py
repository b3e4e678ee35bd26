# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a LAN client remembers, in a folder of its own: the loader of a gateway loads everything beside its state."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .._base import codec
from .._base.errors import GatewayError, printable
from .._base.origin import VERSION as COLLECTION, Origin
from .._base.values import LAN_CLIENT
from .._parts.part import FOLDER as ALL
from .resolver import Resolver
from .routes import Sent

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

#: As gateway_confirm knows it.
INSTANCE = LAN_CLIENT
FOLDER = ALL + "/lan_client"
PATH = FOLDER + "/state.json"
VERSION = 2


@dataclass(frozen=True)
class Parts:
    routes: Sent = field(default_factory=Sent)
    resolver: Resolver = field(default_factory=Resolver)
    folders: t.Tuple[str, ...] = ()  # those that our files have brought


@dataclass(frozen=True)
class State:
    parts: Parts = field(default_factory=Parts)
    applied: Origin = field(default_factory=Origin)
    collection: str = COLLECTION
    version: int = VERSION
    instance: str = INSTANCE
    owner: str = INSTANCE


def to_text(state: State) -> str:
    return json.dumps(codec.plain(state), indent=1, sort_keys=True) + "\n"


def read(sight: Sight) -> t.Optional[State]:
    """None if there is none. A damaged file is an error, never a fresh start."""
    text = sight.read(PATH)
    if text is None:
        return None
    try:
        found: State = codec.shaped(State, json.loads(text))
        if (found.version, found.owner) != (VERSION, INSTANCE):
            raise ValueError("version {0} of {1}".format(found.version, found.owner))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GatewayError(
            "{0}: is damaged or of a later version ({1}); restore it from a backup, or remove it and run this "
            "again".format(PATH, printable(str(error)))
        ) from None
    return found
