# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The largest packet that gets through, out and in, and whether somebody says so when a packet is too large."""

from __future__ import annotations

import typing as t

from . import stun
from .talk import sight, sized

if t.TYPE_CHECKING:  # pragma: no cover
    from .talk import Server
    from .wire import Ask, Port, Wire

LEAST = {4: 576, 6: 1280}
STEP = 4
AT_ONCE = 16
#: Packets that get through are answered soon; the others never.
PATIENCE = 1.6


class Path(t.NamedTuple):
    """``mtu`` is 0 if it is unknown. ``silent``: larger packets vanish, and nobody says so."""

    mtu: int
    silent: bool
    why: str


UNKNOWN = Path(0, False, "no server answers")


def measure(wire: Wire, server: Server, ours: bool) -> t.Tuple[Path, Path]:
    """Out and in. Only our own reflector sends large answers. Raises OSError without a route."""
    port = wire.open(server.version, server.place)
    link = wire.mtu(port, server.place)
    out = _search(wire, _Way(port, server, outward=True), link)
    if not ours:
        if out.silent:
            out = Path(0, False, "{0}; it may be the server that ignores larger questions".format(out.why))
        return out, Path(0, False, "only the collection's own reflector sends large answers")
    into = _search(wire, _Way(port, server, outward=False), link)
    if into.silent and 0 < out.mtu <= into.mtu:
        # A larger question has to leave in fragments, which may be what is lost.
        into = into._replace(silent=False)
    return out, into


class _Way(t.NamedTuple):
    port: Port
    server: Server
    outward: bool

    def ask(self, wire: Wire, size: int) -> Ask:
        more = () if self.outward else (stun.answer_size(size),)
        return sized(wire, self.port, self.server.place, size, *more)


def _search(wire: Wire, way: _Way, size: int) -> Path:
    wire.fragment(way.port, allowed=not way.outward)
    for _router in range(8):
        heard = wire.ask([way.ask(wire, size)], min(PATIENCE, wire.patience))[0]
        found = sight(heard)
        told = found.message.path_mtu if found.message else heard.told.mtu if heard.told else 0
        if found.message and not told:
            return Path(size, False, "{0} bytes get through".format(size))
        if not LEAST[way.port.version] <= told < size:
            break
        size = told
    return _narrow(wire, way, LEAST[way.port.version], size)


def _narrow(wire: Wire, way: _Way, fits: int, size: int) -> Path:
    """Nobody said what fits, so try sizes in between."""
    known = 0
    lost = size
    while lost - fits > STEP:
        tries = sizes(fits, lost)
        heard = wire.ask([way.ask(wire, each) for each in tries], min(PATIENCE, wire.patience))
        through = [each for each, one in zip(tries, heard) if sight(one).message]
        if not through:
            break
        known = fits = max(through)
        lost = min([each for each in tries if each > fits] + [lost])
    if not known:
        return Path(0, False, "packets of {0} bytes get no answer, and neither do smaller ones".format(size))
    return Path(known, True, "{0} bytes get through, {1} vanish, and no router says so".format(known, lost))


def sizes(fits: int, lost: int) -> t.List[int]:
    """Up to 16 sizes from what should fit to just below what is lost."""
    step = max(STEP, (lost - fits) // AT_ONCE // STEP * STEP)
    found = list(range(fits, lost, step))
    return found[: AT_ONCE + 1] + found[-1:] * (len(found) > AT_ONCE + 1)
