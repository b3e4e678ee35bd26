# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Talk STUN with servers: one question, one answer, and whether the answer may be believed."""

from __future__ import annotations

import typing as t

from . import stun
from .wire import Ask

if t.TYPE_CHECKING:  # pragma: no cover
    from .stun import Endpoint, Message
    from .wire import Heard, Port, Wire


class Server(t.NamedTuple):
    """A STUN server at one address."""

    text: str
    place: Endpoint

    @property
    def version(self) -> int:
        return 6 if ":" in self.place.address else 4

    @property
    def name(self) -> str:
        """As the user wrote it, with the address if that is something else."""
        return self.text if self.place.address in self.text else "{0} ({1})".format(self.text, self.place.address)


class Sight(t.NamedTuple):
    """The end of one question. ``source`` is empty without an answer."""

    message: t.Optional[Message]
    source: t.Optional[Endpoint]
    problem: str
    size: int = 0

    @property
    def mapped(self) -> t.Optional[Endpoint]:
        return self.message.mapped if self.message and not self.message.error else None


def question(wire: Wire, port: Port, to: Endpoint, *attributes: bytes, hears: t.Optional[Port] = None) -> Ask:
    transaction = wire.token(12)
    return Ask(port, to, stun.request(transaction, *attributes), answers(transaction), hears)


def sized(wire: Wire, port: Port, to: Endpoint, size: int, *attributes: bytes) -> Ask:
    """A question whose IP packet has this size."""
    transaction = wire.token(12)
    data = stun.filled(transaction, stun.payload(size, port.version), *attributes)
    return Ask(port, to, data, answers(transaction))


def answers(transaction: bytes) -> t.Callable[[bytes], bool]:
    """Knows the answer to a question by its transaction, wherever it comes from."""

    def mine(data: bytes) -> bool:
        found = stun.decode(data)
        return found is not None and found.transaction == transaction and found.kind != stun.REQUEST

    return mine


def sight(heard: Heard) -> Sight:
    message = stun.decode(heard.data) if heard.source else None
    problem = message.error if message else _silence(heard)
    return Sight(message, heard.source, problem, len(heard.data))


def sight_from(heard: Heard, place: Endpoint) -> Sight:
    """An answer from elsewhere than the place that was asked is not believed."""
    found = sight(heard)
    if found.source and found.source != place:
        return Sight(None, None, "{0} answered instead, which is not believed".format(found.source))
    return found


def _silence(heard: Heard) -> str:
    if heard.told:
        return heard.told.words
    if heard.strangers:
        return "what answered does not speak STUN, or answers with another transaction ID, and is not believed"
    return "no answer"
