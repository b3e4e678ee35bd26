# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The state file of an instance: ``{version, collection, instance, owner, applied, parts: {name: value}}``.

Each part has a kind, which names it and knows its type; nothing here depends on which parts there are. What a later
version of this collection has written beside is kept: parts and keys that are unknown here are written again as they
were. ``version`` counts only formats that an earlier reader would misunderstand.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field, replace

from .._base import codec
from .._base.errors import GatewayError, printable
from .._base.origin import VERSION as COLLECTION, Origin
from .._parts.declaration import DECLARATION
from .._parts.door import read_xml
from .._parts.order import PARTS
from .._parts.part import FOLDER, parts_of
from .._parts.rules import RULES

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._parts.part import Kind

VERSION = 2
KINDS: t.Tuple[Kind[t.Any], ...] = (DECLARATION, *PARTS)
#: The owner of a state that was reconstructed from what is left.
SALVAGED = "salvaged"
ENCODE = json.JSONEncoder(sort_keys=True).encode
#: What goes wrong with values that are not what we wrote.
MISREAD = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
#: The programs that may run the rules of an instance.
PROGRAMS = ("", "nft", "iptables-nft", "iptables-legacy")


@dataclass(frozen=True)
class State:
    """What was applied to one instance."""

    instance: str
    owner: str  # "gateway", or "items" for modules that manage single items
    parts: t.Mapping[str, t.Any] = field(default_factory=dict)  # by the names of their kinds
    applied: Origin = field(default_factory=Origin)  # who applied it
    collection: str = COLLECTION  # the version that wrote the file; empty if that was before version 2
    unknown: t.Mapping[str, t.Any] = field(default_factory=dict)  # what a later version wrote beside, as JSON

    def holding(self, kind: Kind[t.Any], value: t.Any) -> State:
        """This state with another value of one kind."""
        parts = {name: part for name, part in self.parts.items() if name != kind.name}
        return replace(self, parts=parts if value == kind.empty else {**parts, kind.name: value})

    @property
    def strange(self) -> t.Tuple[str, ...]:
        """The names of the parts that a later version wrote."""
        return tuple(sorted(set(self.unknown.get("parts", {})) - {kind.name for kind in KINDS}))


def to_raw(state: State) -> t.Dict[str, t.Any]:
    """The state as JSON, without what is unknown here."""
    return {
        "version": VERSION,
        "collection": state.collection,
        "instance": state.instance,
        "owner": state.owner,
        "applied": codec.plain(state.applied),
        "parts": {name: codec.plain(part) for name, part in state.parts.items()},
    }


def to_text(state: State) -> str:
    return _in_lines(codec.together(to_raw(state), state.unknown), "\n") + "\n"


def _in_lines(raw: t.Any, start: str) -> str:
    """JSON with each key, and each item of a list, in a line. json.dumps with ``indent`` takes ten times as long."""
    inner = start + " "
    if raw and isinstance(raw, dict):
        lines = ("{0}: {1}".format(ENCODE(key), _in_lines(raw[key], inner)) for key in sorted(raw))
        return "{" + inner + ("," + inner).join(lines) + start + "}"
    if raw and isinstance(raw, list):
        return "[" + inner + ("," + inner).join(map(ENCODE, raw)) + start + "]"
    return ENCODE(raw)


def read(path: str, instance: str, host: Sight) -> t.Optional[State]:
    """The state in a file; None if there is none. A damaged file is an error, never a fresh start."""
    text = host.read(path)
    if text is None:
        return None
    try:
        return _parsed(_current(json.loads(text), path), instance)
    except MISREAD as error:
        raise damaged(path, instance, error) from None


class Damaged(GatewayError):  # noqa: N818 - reads as what it is
    """A state file is not what was written."""


def damaged(path: str, instance: str, why: Exception) -> Damaged:
    return Damaged(
        "{0}: is damaged ({1}); restore it from a backup, or start over: the module gateway with state=absent and "
        "instance={2} removes what is left and reports what is lost".format(path, printable(str(why)), instance)
    )


def _parsed(raw: t.Any, instance: str) -> State:
    """Raises one of the errors that ``read`` catches, for anything that we would not have written."""
    if raw["instance"] != instance:
        told = "it is the state of instance {0}; move it out of {1} if it is a copy"
        raise ValueError(told.format(raw["instance"], FOLDER))
    if raw["owner"] not in ("gateway", "items"):
        raise ValueError("owner {0}".format(raw["owner"]))
    held = codec.shaped(t.Mapping[str, t.Any], raw["parts"])
    known = [(kind, codec.shaped(type(kind.empty), held[kind.name])) for kind in KINDS if kind.name in held]
    applied, collection = codec.shaped(Origin, raw.get("applied", {})), codec.shaped(str, raw["collection"])
    state = State(instance, raw["owner"], {kind.name: value for kind, value in known}, applied, collection)
    if RULES.of(state).programs not in PROGRAMS:
        raise ValueError("rules of {0}".format(RULES.of(state).programs))
    return replace(state, parts=parts_of(*known), unknown=codec.beyond(raw, to_raw(state)))


def _current(raw: t.Any, path: str) -> t.Any:
    """The JSON of a state file in today's format."""
    version = raw["version"]
    if version == 1:
        return _from_version_1(raw)
    if isinstance(version, int) and version > VERSION:
        raise GatewayError(
            "{0}: was written by version {1} of ipmasq.linux, and this is version {2}, which cannot read it; update "
            "the collection on the controller".format(path, printable(str(raw.get("collection", "?"))), COLLECTION)
        )
    if version != VERSION:
        raise ValueError("version {0}".format(version))
    return {**raw, "parts": _with_links_apart(raw["parts"])}


def _with_links_apart(parts: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """Before the first release, addresses and flowtable were one part."""
    links = parts.get("links")
    if links is None:
        return parts
    apart = {
        "addresses": {"needed": links["addresses"], "found": links["found"]},
        "flowtable": {"devices": links["offload"]},
    }
    return {**apart, **{name: part for name, part in parts.items() if name != "links"}}


def _from_version_1(raw: t.Any) -> t.Any:
    """Before the first release, all values were on one level; those that came last may be missing."""
    declared = raw.get("declared", {})
    lans = sorted(declared.get("lans", {}).items())
    roles = {"lans": [list(pair) for pair in lans], "wans": declared.get("wans", [])}
    if lans or roles["wans"]:
        roles["instance"] = raw["instance"]
    intent = raw.get("intent")
    inside = intent.get("lans", []) if isinstance(intent, dict) else []
    roles["networks"] = sorted([lan["name"], lan["networks"]] for lan in inside)
    parts = {
        "declaration": {
            "lines": raw["lines"],
            "interfaces": raw["interfaces"],
            "roles": roles,
            "chosen": raw.get("chosen", {}),
            "controller_ports": raw.get("controller_ports", []),
            "intent": raw.get("intent"),
        },
        "modules": {"names": raw["modules"]},
        "rules": {"programs": raw["programs"], "rows": raw["rows"], "base_chains": raw["base_chains"]},
        "links": raw["links"],
        "door": codec.plain(read_xml(raw["door"])),
        "fence": {"text": raw.get("fence", ""), "unfenced": raw.get("unfenced", "")},
        "switches": {"values": raw["switches"], "before": raw["before"]},
    }
    common = {name: raw[name] for name in ("instance", "owner", "applied") if name in raw}
    return {"version": VERSION, "collection": "", "parts": _with_links_apart(parts), **common}
