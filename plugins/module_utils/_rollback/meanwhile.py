# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Two runs on one host: a change rests on what its run has read, and another change may have ended since.

It is compared once the change is armed, because from then on no other one can begin. What differs is planned anew.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
import typing as t

from .._base.errors import GatewayError
from .._base.host import RUN_FOLDER
from .timer import Confirmation, renewed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

#: Every change that ends writes the first, whether it is kept or rolled back. The others are for those who edit files,
#: and for a commit that another run has finished.
ENDED = (RUN_FOLDER + "/*.last", "/etc/ipmasq/*.json", "/etc/ipmasq/*.sums")
UNDER_WAY = RUN_FOLDER + "/[a-z]*/change.json"
#: How often a run reads the host.
ROUNDS = 3
Act = t.TypeVar("Act", bound=t.Callable[..., t.Any])


class Outdated(GatewayError):  # noqa: N818 - reads as what it is
    """Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            "instance: another run has changed this host since this one has read it; nothing was changed, run it again"
        )


def marks(sight: Sight, armed: bool = False) -> str:
    """Shows whether another change has ended: a digest.

    If a change was under way when the host was read, no later digest equals this one. ``armed``: the change under way
    is this run's own.
    """
    sight = sight.aside()
    paths = [path for pattern in ENDED for path in sight.find(pattern)]
    if not armed:
        paths += [path for path in sight.find(UNDER_WAY) if not posixpath.dirname(path).endswith(".gone")]
    texts = "".join("{0}\n{1}\n".format(path, sight.read(path)) for path in paths)
    return hashlib.sha256(texts.encode("utf-8", "surrogateescape")).hexdigest()


def planned_again(act: Act) -> Act:
    """Read the host and plan the change anew if another one has ended meanwhile. It then awaits a confirmation of its
    own.
    """

    @functools.wraps(act)
    def acting(*values: t.Any, **more: t.Any) -> t.Any:
        for _round in range(ROUNDS - 1):
            try:
                return act(*values, **more)
            except Outdated:
                values = tuple(_anew(each) for each in values)
                more = {name: _anew(each) for name, each in more.items()}
        return act(*values, **more)

    return t.cast("Act", acting)


def _anew(value: t.Any) -> t.Any:
    return renewed(value) if isinstance(value, Confirmation) else value
