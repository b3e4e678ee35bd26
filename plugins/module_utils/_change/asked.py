# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The record of a run that changed nothing: what it asked the host, and whether the answers are still the same.

The result for a gateway depends only on the options, our code, and the host's answers. ``/run/ipmasq/INSTANCE.seen``
has each question with a digest of its answer, and the result. This file is also part of a script that runs without
Ansible (``_change/again``), so it imports little.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import sys
import typing as t

from .._base.errors import GatewayError
from .._base.host import RUN_FOLDER, STEADY, begins

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

Json = t.Dict[str, t.Any]

#: Counters and lifetimes, which change by themselves; groups are kept.
VARYING = {
    "nft": re.compile(r'()"packets": \d+, "bytes": \d+'),
    # Lifetimes of addresses and routes from DHCP or router advertisements, bridge timers, and addresses that the kernel
    # still looks for elsewhere: for a second or two.
    "ip": re.compile(r'()"(?:valid_life_time|preferred_life_time|expires|[a-z_]*timer)":[0-9.]+|"tentative":true,'),
    # Comments, and counters of rules and chains; other text that looks like a counter may be a log prefix.
    "save": re.compile(r"^(?:#.*|\[\d+:\d+\] |(:\S+ \S+) \[\d+:\d+\])", re.MULTILINE),
}


def place(instance: str, kind: str) -> str:
    """The path of a file of this instance; empty if its name would lead elsewhere."""
    path = posixpath.join(RUN_FOLDER, "{0}.{1}".format(instance, kind))
    return path if posixpath.dirname(path) == RUN_FOLDER else ""


def record(path: str, host: Sight) -> Json:
    """What the last run recorded; empty if it recorded nothing, or if the file is damaged."""
    try:
        found = json.loads(host.read(path) or "{}")
    except (GatewayError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def answered(seen: Json, options: str, host: Sight) -> t.Optional[Json]:
    """The recorded result, if these are its options (a digest) and all answers are the same; otherwise None."""
    try:
        if seen.get("options") != options or seen["here"] != here(seen["ports"], seen["ends"], host):
            return None
        for kind, words, answer in seen["asked"]:
            if digest(_answer(host, kind, words)) != answer:
                return None
        return dict(seen["result"])
    except (GatewayError, ValueError, TypeError, KeyError, AttributeError):
        return None


def here(ports: str, ends: bool, host: Sight) -> t.List[t.Any]:
    """The Python, and the ``ports`` of SSH that matter: ``all``, that of this ``run``, or none. With them, if they
    matter, the addresses of both ``ends`` of this run's connection.
    """
    found: t.List[t.Any] = [sys.version]
    if ports:
        from .._facts.controller import reach  # noqa: PLC0415 - its imports take longer than most questions

        known = reach(host)
        found += known.ports if ports == "all" else (known.run,)
        found += known.ends if ends else ()
    return found


def tell(result: Json, instance: str, host: Sight) -> Json:
    """Remarks become warnings the first time, and notes afterwards.

    A reboot forgets what was reported, and so does a run in which it no longer applies. This is stored apart from the
    state, because a link that comes and goes deserves a remark but is not a change.
    """
    remarks = list(result.pop("remarks", ()))
    path = place(instance, "told")
    if not path:
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


def _answer(host: Sight, kind: str, words: t.List[str]) -> t.Any:
    """A host's answer without what changes by itself. An error is an answer, too."""
    try:
        answer = host.ask(words) if kind == "ask" else getattr(host, kind)(*words)
    except GatewayError as error:
        return list(error.problems)
    return steady(kind, words, answer)


def steady(kind: str, words: t.Sequence[str], answer: t.Any) -> t.Any:
    if kind == "ask":
        program = "save" if words[0].endswith("-save") else words[0]
        out = VARYING[program].sub(_kept, answer.out) if program in VARYING else answer.out
        return [answer.rc, out, answer.err]
    if words == ["/proc/meminfo"] and answer:
        return answer.partition("\n")[0]  # the size; the rest is the use count
    if words == ["/proc/net/ipv6_route"] and answer:
        # Default routes, without their counters.
        routes = (line.split() for line in answer.splitlines() if line[32:36] == " 00 ")
        return [columns[:6] + columns[8:] for columns in routes]
    return answer


def _kept(found: t.Match[str]) -> str:
    return found.group(1) or ""


def is_steady(argv: t.Sequence[str]) -> bool:
    """Whether a command gives the same answer as long as nothing changes on the host."""
    return argv[0].endswith("-save") or ("-batch" not in argv and any(begins(argv, known) for known in STEADY))


def digest(value: t.Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
