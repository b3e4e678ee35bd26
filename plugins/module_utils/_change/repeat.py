# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Skip a run that would find nothing to do, because the same questions have the same answers.

The result for a gateway depends only on the options, our code, and the host's answers. A run that changes nothing
records each question to the host with a digest of the answer in ``/run/ipmasq/INSTANCE.seen``. The next run with the
same options and code asks the same questions; if every answer is the same, so is the result. At the first different
answer, the record is deleted and the run starts from the beginning. The host is read as thoroughly as ever; the run
only saves the compiler's work (10,000 entries: 10 s).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import sys
import typing as t

from .._base.errors import GatewayError
from .._base.host import RUN_FOLDER, STEADY, Onlooker, begins, code_parts
from .._facts.controller import asks, reach

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Done, Host, Sight
    from .._base.sockets import Netlink

Json = t.Dict[str, t.Any]

#: Counters and lifetimes, which change by themselves; groups are kept.
VARYING = {
    "nft": re.compile(r'()"counter": \{"packets": \d+, "bytes": \d+\}'),
    # Lifetimes of addresses and routes from DHCP or router advertisements, and bridge timers.
    "ip": re.compile(r'()"(?:valid_life_time|preferred_life_time|expires|[a-z_]*timer)":[0-9.]+'),
    # Comments, and counters of rules and chains; other text that looks like a counter may be a log prefix.
    "save": re.compile(r"^(?:#.*|\[\d+:\d+\] |(:\S+ \S+) \[\d+:\d+\])", re.MULTILINE),
}
#: Login data is read by process number; the key contains the answers, and those for _facts/controller.py.
OWN_PROCESSES = re.compile(r"/proc/(?:self|\d+)/")


def repeated(params: t.Mapping[str, t.Any], host: Sight, step: t.Callable[[Sight], Json]) -> Json:
    """The result of ``step`` for this host, without running it if the result is known. Raises what ``step`` raises."""
    path = posixpath.join(RUN_FOLDER, "{0}.seen".format(params["instance"]))
    if posixpath.dirname(path) != RUN_FOLDER:
        return step(host)
    key = _key(params, host)
    known = _known(path, key, host)
    if known is not None:
        return known
    listener = Listener(host)
    result = step(listener)
    acting = host.acting()
    if acting:
        try:
            if result.get("changed"):
                acting.remove(path)
            elif not listener.spoiled:
                seen = {"key": key, "asked": listener.asked, "result": result}
                acting.write(path, json.dumps(seen), 0o600)
        except GatewayError:
            pass  # the next run takes longer
    return result


def tell(result: Json, instance: str, host: Sight) -> Json:
    """Remarks become warnings the first time, and notes afterwards.

    A reboot forgets what was reported, and so does a run in which it no longer applies. This is stored apart from the
    state, because a link that comes and goes deserves a remark but is not a change.
    """
    remarks = list(result.pop("remarks", ()))
    path = posixpath.join(RUN_FOLDER, "{0}.told".format(instance))
    if posixpath.dirname(path) != RUN_FOLDER:
        return result
    try:
        told = list(json.loads(host.read(path) or "[]"))
    except (GatewayError, ValueError, TypeError):
        told = []
    new = [sentence for sentence in remarks if sentence not in told]
    result["notes"] = list(result.get("notes", ())) + [sentence for sentence in remarks if sentence in told]
    if new:
        result["warnings"] = list(result.get("warnings", ())) + new
    acting = host.acting()
    if told != remarks and acting:
        try:
            if remarks:
                acting.write(path, json.dumps(remarks), 0o600)
            else:
                acting.remove(path)
        except GatewayError:
            pass  # it is reported again
    return result


def _key(params: t.Mapping[str, t.Any], host: Sight) -> str:
    ports: t.Tuple[t.Optional[int], ...] = ()
    if params.get("input") == "protect":
        found = reach(host)
        # Which of the known ports this run uses makes no difference, unless the user's list may lack it.
        ports = found.ports if params.get("input_controller_ports") is None else (found.run,)
    return _digest([json.dumps(params, sort_keys=True), list(ports), code_parts(), sys.version])


def _known(path: str, key: str, host: Sight) -> t.Optional[Json]:
    try:
        seen = json.loads(host.read(path) or "{}")
        if seen.get("key") != key:
            return None
        for kind, words, answer in seen["asked"]:
            if _digest(_answer(host, kind, words)) != answer:
                return None
        return dict(seen["result"])
    except (GatewayError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _answer(host: Sight, kind: str, words: t.List[str]) -> t.Any:
    """A host's answer without what changes by itself. An error is an answer, too."""
    try:
        answer = host.ask(words) if kind == "ask" else getattr(host, kind)(*words)
    except GatewayError as error:
        return list(error.problems)
    return _steady(kind, words, answer)


def _steady(kind: str, words: t.Sequence[str], answer: t.Any) -> t.Any:
    if kind == "ask":
        program = "save" if words[0].endswith("-save") else words[0]
        out = VARYING[program].sub(_kept, answer.out) if program in VARYING else answer.out
        return [answer.rc, out, answer.err]
    if words == ["/proc/meminfo"] and answer:
        return answer.partition("\n")[0]  # the size; the rest is the use count
    return answer


def _kept(found: t.Match[str]) -> str:
    return found.group(1) or ""


def is_steady(argv: t.Sequence[str]) -> bool:
    """Whether a command gives the same answer as long as nothing changes on the host."""
    return argv[0].endswith("-save") or ("-batch" not in argv and any(begins(argv, known) for known in STEADY))


def _digest(value: t.Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Listener(Onlooker):
    """Records the questions. Anything but a question that can be repeated spoils the record."""

    def __init__(self, host: Sight) -> None:
        super().__init__(host)
        self.asked: t.List[t.Tuple[str, t.List[str], str]] = []
        self.spoiled = False

    def _note(self, kind: str, words: t.Sequence[str], steady: t.Any) -> None:
        if not (asks(kind, words) or (words and OWN_PROCESSES.match(words[0]))):
            self.asked.append((kind, list(words), _digest(steady)))

    def _ask(self, kind: str, *words: str) -> t.Any:
        try:
            answer = super()._ask(kind, *words)
        except GatewayError as error:
            self._note(kind, words, list(error.problems))
            raise
        self._note(kind, words, _steady(kind, list(words), answer))
        return answer

    def ask(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        done = super().ask(argv, stdin)
        if stdin is None and (is_steady(argv) or asks("ask", argv)):
            self._note("ask", argv, _steady("ask", argv, done))
        else:
            self.spoiled = True
        return done

    def netfilter(self) -> Netlink:
        self.spoiled = True
        return self._host.netfilter()

    def acting(self) -> t.Optional[Host]:
        self.spoiled = True
        return self._host.acting()
