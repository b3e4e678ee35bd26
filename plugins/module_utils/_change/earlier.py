# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What earlier runs have left: the state of an instance, those of the others, and what refuses a change to it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError
from .._base.host import check_root
from .._parts.part import stem
from .._parts.rules import RULES
from .._parts.switches import SWITCHES
from .._rollback import transaction
from .._rollback.meanwhile import marks
from . import persist

if t.TYPE_CHECKING:  # pragma: no cover
    from .._backend.base import Backend
    from .._base.host import Sight
    from .persist import Parts
    from .state import State

    Reading = t.Callable[[Sight, str], t.Optional[State]]


#: How often, and with how many seconds in between, to look again for the state of another instance.
LOOKS, PAUSE = 10, 0.1


@dataclass(frozen=True)
class Earlier:
    """The states of an instance and of the others."""

    instance: str
    state: t.Optional[State]
    others: t.Tuple[State, ...]
    since: str = ""  # before anything was read

    def salvaged(self, parts: Parts, host: Sight) -> t.Optional[State]:
        """What the other files of an instance reveal that has lost its state."""
        return persist.salvaged(host, self.instance, parts)


def read(instance: str, host: Sight) -> Earlier:
    """Raises GatewayError if a state is damaged, or if we are not root."""
    check_root(host)
    since = marks(host)
    return Earlier(instance, persist.read_state(host, instance), others(instance, host), since)


def others(instance: str, host: Sight, reading: t.Optional[Reading] = None) -> t.Tuple[State, ...]:
    """The other instances of this host. ``reading``: how each is read where a damaged or lost one is not an error."""
    read_state = reading or _known
    states = [read_state(host, name) for name in persist.remaining(host) if name != instance]
    return tuple(state for state in states if state)


def _known(host: Sight, instance: str) -> t.Optional[State]:
    """A lost state is an error. While an instance is being removed, its files go one after the other."""
    for _look in range(LOOKS):
        state = persist.read_state(host, instance)
        if state or instance not in persist.remaining(host):
            return state
        host.sleep(PAUSE)
    raise GatewayError(
        "{0}.json: is missing, but other files of that instance are there; restore it from a backup, or start "
        "over: the module gateway with state=absent and instance={1} removes what is left".format(
            stem(instance), instance
        )
    )


def finish_decided(instance: str, host: Sight) -> None:
    """Finish a first change that was decided before a power failure, when no loader existed to finish it."""
    transaction.finish_decided(instance, stem(instance) + persist.COMMIT, host)


def refuse_items(state: t.Optional[State], instance: str) -> None:
    """A whole gateway would remove the items that modules have added one by one."""
    if state and state.owner != "gateway":
        raise GatewayError(
            "instance: '{0}' holds single items ({1}); to remove them, run once with state=absent, or choose another "
            "instance".format(instance, ", ".join(_held(state)))
        )


def _held(state: State) -> t.List[str]:
    """An instance's items, named by the modules that made them."""
    items = sorted({row.key for row in RULES.of(state).rows if "/" in row.key})
    return items + ["forwarding"] * bool(SWITCHES.of(state).values)


def refuse_gateway(state: t.Optional[State], instance: str) -> None:
    """The next run of the gateway would remove an item that it does not declare."""
    if state and state.owner == "gateway":
        raise GatewayError(
            "instance: '{0}' is managed by the gateway module, which removes what it does not declare; "
            "declare this item there, or choose another instance".format(instance)
        )


def refuse_second_backend(state: t.Optional[State], backend: Backend) -> None:
    """Rows cannot be converted between backends, so the items of an instance share one."""
    known = RULES.of(state)
    if state and known.rows and known.programs != backend.programs:
        raise GatewayError(
            "backend: the items of instance '{0}' use {1}, but this one would use {2}; leave backend out, "
            "or choose another instance".format(state.instance, known.programs, backend.programs)
        )
