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

from ._controller import asks, reach
from ._errors import GatewayError
from ._host import RUN_FOLDER, Host, code_parts

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Done, Netlink

Json = t.Dict[str, t.Any]

#: Counters and lifetimes, which change by themselves; groups are kept.
STEADY = {
    "nft": re.compile(r'()"counter": \{"packets": \d+, "bytes": \d+\}'),
    # Lifetimes of addresses and routes from DHCP or router advertisements, and bridge timers.
    "ip": re.compile(r'()"(?:valid_life_time|preferred_life_time|expires|[a-z_]*timer)":[0-9.]+'),
    # Comments, and counters of rules and chains; other text that looks like a counter may be a log prefix.
    "save": re.compile(r"^(?:#.*|\[\d+:\d+\] |(:\S+ \S+) \[\d+:\d+\])", re.MULTILINE),
}
#: Commands that only read, by their first words; the last word may continue, as in --get-active-zones.
READERS = (
    ("nft", "-j", "list"),
    ("ip", "-j"),
    ("iptables", "--version"),
    ("ipset", "list"),
    ("ipset", "save"),
    ("firewall-cmd", "--state"),
    ("firewall-cmd", "--get-"),
    ("firewall-cmd", "--info-"),
)
#: Login data is read by process number; the key contains the answers, and those for _controller.py.
OWN_PROCESSES = re.compile(r"/proc/(?:self|\d+)/")


def repeated(params: t.Mapping[str, t.Any], check_mode: bool, host: Host, step: t.Callable[[Host], Json]) -> Json:
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
    if not check_mode:
        try:
            if result.get("changed"):
                host.remove(path)
            elif not listener.spoiled:
                seen = {"key": key, "asked": listener.asked, "result": result}
                host.write(path, json.dumps(seen), 0o600)
        except GatewayError:
            pass  # the next run takes longer
    return result


def tell(result: Json, instance: str, check_mode: bool, host: Host) -> Json:
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
    if told != remarks and not check_mode:
        try:
            if remarks:
                host.write(path, json.dumps(remarks), 0o600)
            else:
                host.remove(path)
        except GatewayError:
            pass  # it is reported again
    return result


def _key(params: t.Mapping[str, t.Any], host: Host) -> str:
    ports: t.Tuple[t.Optional[int], ...] = ()
    if params.get("input") == "protect":
        found = reach(host)
        # Which of the known ports this run uses makes no difference, unless the user's list may lack it.
        ports = found.ports if params.get("input_controller_ports") is None else (found.run,)
    return _digest([json.dumps(params, sort_keys=True), list(ports), code_parts(), sys.version])


def _known(path: str, key: str, host: Host) -> t.Optional[Json]:
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


def _answer(host: Host, kind: str, words: t.List[str]) -> t.Any:
    """A host's answer without what changes by itself. An error is an answer, too."""
    try:
        answer = host.run(words) if kind == "run" else getattr(host, kind)(*words)
    except GatewayError as error:
        return list(error.problems)
    return _steady(kind, words, answer)


def _steady(kind: str, words: t.Sequence[str], answer: t.Any) -> t.Any:
    if kind == "run":
        program = "save" if words[0].endswith("-save") else words[0]
        out = STEADY[program].sub(_kept, answer.out) if program in STEADY else answer.out
        return [answer.rc, out, answer.err]
    if words == ["/proc/meminfo"] and answer:
        return answer.partition("\n")[0]  # the size; the rest is the use count
    return answer


def _kept(found: t.Match[str]) -> str:
    return found.group(1) or ""


def _digest(value: t.Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Listener(Host):
    """A host that records the questions. Anything but a question invalidates the record."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.asked: t.List[t.Tuple[str, t.List[str], str]] = []
        self.spoiled = False

    def _note(self, kind: str, words: t.Sequence[str], steady: t.Any) -> None:
        if not (asks(kind, words) or (words and OWN_PROCESSES.match(words[0]))):
            self.asked.append((kind, list(words), _digest(steady)))

    def _ask(self, kind: str, *words: str) -> t.Any:
        try:
            answer = getattr(self._host, kind)(*words)
        except GatewayError as error:
            self._note(kind, words, list(error.problems))
            raise
        self._note(kind, words, _steady(kind, list(words), answer))
        return answer

    def run(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        done = self._host.run(argv, stdin)
        if stdin is None and (reads(argv) or asks("run", argv)):
            self._note("run", argv, _steady("run", argv, done))
        else:
            self.spoiled = True
        return done

    def which(self, program: str) -> str:
        return str(self._ask("which", program))

    def is_root(self) -> bool:
        return bool(self._ask("is_root"))

    def read(self, path: str) -> t.Optional[str]:
        return t.cast("t.Optional[str]", self._ask("read", path))

    def exists(self, path: str) -> bool:
        return bool(self._ask("exists", path))

    def writable(self, path: str) -> bool:
        return bool(self._ask("writable", path))

    def find(self, pattern: str) -> t.List[str]:
        return t.cast("t.List[str]", self._ask("find", pattern))

    def link(self, path: str) -> str:
        return str(self._ask("link", path))

    def mode(self, path: str) -> int:
        return int(self._ask("mode", path))

    # --- Not questions

    def sleep(self, seconds: float) -> None:
        self._host.sleep(seconds)

    def log(self, line: str) -> None:
        self._host.log(line)

    def now(self) -> float:
        return self._host.now()

    def pid(self) -> int:
        return self._host.pid()

    def clock(self) -> float:
        return self._host.clock()

    def netfilter(self) -> Netlink:
        self.spoiled = True
        return self._host.netfilter()

    def write_switch(self, path: str, value: str) -> None:
        self.spoiled = True
        self._host.write_switch(path, value)

    def write(self, path: str, text: str, mode: int) -> None:
        self.spoiled = True
        self._host.write(path, text, mode)

    def remove(self, path: str) -> None:
        self.spoiled = True
        self._host.remove(path)

    def make_folder(self, path: str) -> bool:
        self.spoiled = True
        return self._host.make_folder(path)

    def rename(self, path: str, to: str) -> bool:
        self.spoiled = True
        return self._host.rename(path, to)

    def remove_tree(self, path: str) -> None:
        self.spoiled = True
        self._host.remove_tree(path)

    def remove_folder(self, path: str) -> None:
        self.spoiled = True
        self._host.remove_folder(path)


def reads(argv: t.Sequence[str]) -> bool:
    """Whether a command only reads and may be repeated."""
    if argv[0].endswith("-save"):
        return True
    return any(_begins(argv, known) for known in READERS)


def _begins(argv: t.Sequence[str], known: t.Sequence[str]) -> bool:
    last = len(known) - 1
    return len(argv) > last and list(argv[:last]) == list(known[:last]) and argv[last].startswith(known[last])
