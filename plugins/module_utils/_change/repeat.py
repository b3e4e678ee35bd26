# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Skip a run that would find nothing to do, because the same questions have the same answers.

A run that changes nothing records its questions (``_change/asked``). The next run with the same options and code asks
the same questions; if every answer is the same, so is the result. At the first different answer, the run starts from
the beginning. The host is read as thoroughly as ever; the run only saves the compiler's work (10,000 entries: 10 s).

It also leaves a script that asks them without the module (``_change/again``), for the action plugin to run next time:
the module then need not be packed, sent and imported.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import shlex
import sys
import typing as t

from .._base.errors import GatewayError
from .._base.host import RUN_FOLDER, Onlooker, shortened
from .._base.pack import code_parts, packed
from .again import PACKED, SCRIPT
from .asked import answered, digest, here, is_steady, place, record, steady

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Done, Host, Sight
    from .._base.sockets import Netlink
    from .asked import Json

#: The beginning of the names of files with compiled code (``_change/direct``).
CODE = RUN_FOLDER + "/.code-"
#: The state files of all instances.
STATES = "/etc/ipmasq/*.json"


def repeated(params: t.Mapping[str, t.Any], host: Sight, step: t.Callable[[Sight], Json]) -> Json:
    """The result of ``step`` for this host, without running it if the result is known. Raises what ``step`` raises."""
    path = place(params["instance"], "seen")
    if not path:
        return step(host)
    options = digest([json.dumps(params, sort_keys=True), code_parts()])
    result, known = answered(record(path, host), options, host), True
    acting = host.acting()
    if result is None:
        listener = Listener(host)
        result = step(listener)
        known = not listener.spoiled and not result.get("changed")
        ends = bool(result.pop("by_ends", False))
        if acting:
            seen = {"options": options, "ends": ends, "asked": listener.asked, "result": result}
            known = _keep(params, seen if known else None, acting)
    if known and acting and acting.task:
        _leave(params["instance"], options, acting)
    return result


def _keep(params: t.Mapping[str, t.Any], seen: t.Optional[Json], host: Host) -> bool:
    """Record what can be repeated; without it, remove what was recorded. Whether there is a record now."""
    path = place(params["instance"], "seen")
    try:
        if seen is None:
            host.remove(path)
            host.remove(place(params["instance"], "again"))
            return False
        ports = "" if params.get("input") != "protect" else "run"
        # Which of the known ports this run uses makes no difference, unless the user's list may lack it.
        if ports and params.get("input_controller_ports") is None:
            ports = "all"
        known = dict(seen, ports=ports, here=here(ports, seen["ends"], host), params=shortened(params))
        host.write(path, json.dumps(known), 0o600)
    except GatewayError:
        return False  # the next run takes longer
    return True


def _leave(instance: str, options: str, host: Host) -> None:
    """The script that asks again without the module."""
    if not sys.executable:
        return
    words = {"task": host.task, "python": sys.executable, "instance": instance, "options": options}
    script = SCRIPT.format(**{name: shlex.quote(word) for name, word in words.items()})
    with contextlib.suppress(GatewayError):  # the next run takes longer
        host.write(place(instance, "again"), packed(script, PACKED), 0o600)


def forget(instance: str, host: Sight) -> None:
    """Remove the record and the script of an instance that is removed; with the last one, the compiled code."""
    acting = host.acting()
    paths = [place(instance, kind) for kind in ("seen", "again")]
    if not [path for path in host.find(STATES) if posixpath.basename(path) != instance + ".json"]:
        paths += host.find(CODE + "*")
    for path in filter(None, paths):
        with contextlib.suppress(GatewayError):
            if acting and acting.exists(path):
                acting.remove(path)


class Listener(Onlooker):
    """Records all questions but those ``aside``. Anything but a question that can be repeated spoils the record."""

    def __init__(self, host: Sight) -> None:
        super().__init__(host)
        self.asked: t.List[t.Tuple[str, t.List[str], str]] = []
        self.spoiled = False

    def _note(self, kind: str, words: t.Sequence[str], answer: t.Any) -> None:
        self.asked.append((kind, list(words), digest(answer)))

    def _ask(self, kind: str, *words: str) -> t.Any:
        try:
            answer = super()._ask(kind, *words)
        except GatewayError as error:
            self._note(kind, words, list(error.problems))
            raise
        self._note(kind, words, steady(kind, list(words), answer))
        return answer

    def ask(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        done = super().ask(argv, stdin)
        if stdin is None and is_steady(argv):
            self._note("ask", argv, steady("ask", argv, done))
        else:
            self.spoiled = True
        return done

    def kernel(self, protocol: int) -> Netlink:
        self.spoiled = True
        return self._host.kernel(protocol)

    def aside(self) -> Sight:
        return self._host.aside()

    def acting(self) -> t.Optional[Host]:
        self.spoiled = True
        return self._host.acting()
