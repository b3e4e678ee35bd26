# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Convert parts of rules from nft's JSON to nft's syntax, for people and for what nft accepts only as text.

Only expressions that we write are covered; foreign parts stay JSON.
"""

from __future__ import annotations

import json
import typing as t

from .expressions import L4PROTO, NAMES, NEXT_HEADER, compare

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.rows import Row
    from .expressions import Json

#: Templates of statements and expressions.
FORMS = {
    "counter": "counter packets {packets} bytes {bytes}",
    "flow": "flow {op} {flowtable}",
    "log": 'log prefix "{prefix}"',
    "limit": "limit rate {rate}/{per}",
    "ct helper": 'ct helper set "{0}"',
    "jump": "jump {target}",
    "goto": "goto {target}",
    "ct timeout": 'ct timeout set "{0}"',
    "prefix": "{addr}/{len}",
    "payload": "{protocol} {field}",
    "tcp option": "tcp option {name} {field}",
    "meta": "meta {key}",
    "rt": "rt {key}",
}
#: Keys that nft writes without "meta".
PLAIN = ("iifname", "oifname")
NAT = ("snat", "dnat", "masquerade", "redirect")


def shown(row: Row) -> str:
    """A row as text for people."""
    ((kind, body),) = json.loads(row.text).items()
    if kind == "counter":
        return "counter {0}".format(body["name"])
    if kind == "rule":
        text = " ".join(word for part in body["expr"] for word in words(_named(part)))
        note = ' comment "{0}"'.format(body["comment"]) if "comment" in body else ""
        return "{0}: {1}{2}".format(row.chain, text, note)
    return "{0} {1}: {2}".format(kind, row.chain or body.get("name", ""), " ".join(str(body[key]) for key in body))


def _named(part: Json) -> Json:
    """Replace a protocol number with its name."""
    if "match" in part and part["match"]["left"] in (L4PROTO, NEXT_HEADER):
        return compare(part["match"]["left"], NAMES.get(part["match"]["right"], part["match"]["right"]))
    return part


def words(part: Json) -> t.List[str]:
    """A statement as text; nothing for a counter that is zero."""
    ((kind, body),) = part.items()
    try:
        if kind in STATEMENTS and body:
            return STATEMENTS[kind](body)
        if kind in NAT and body:
            return [kind] + _nat(body)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ["{0} {1}".format(kind, json.dumps(body))]  # a rule of somebody else's, in a form that ours do not have
    if body is None:
        return [] if kind == "counter" else [kind]
    return [_filled(kind, body) or "{0} {1}".format(kind, json.dumps(body))]


def _match(body: Json) -> t.List[str]:
    op = [body["op"]] if body["op"] not in ("==", "in") else []
    if isinstance(body["right"], int) and "&" in body["left"]:
        return [_value(body["left"]), "==", hex(body["right"])]
    return [_value(body["left"])] + op + [_value(body["right"], quoted=_is_name(body["left"]))]


def _counter(body: Json) -> t.List[str]:
    if isinstance(body, dict) and "map" in body:
        pairs = ['{0} : "{1}"'.format(_value(key), name) for key, name in body["map"]["data"]["set"]]
        return ["counter name {0} map {{ {1} }}".format(_value(body["map"]["key"]), ", ".join(pairs))]
    return [_filled("counter", body) or "counter {0}".format(json.dumps(body))]


STATEMENTS: t.Mapping[str, t.Callable[[Json], t.List[str]]] = {
    "match": _match,
    "counter": _counter,
    "mangle": lambda body: [_value(body["key"]), "set", _value(body["value"])],
    "vmap": lambda body: [_value(body["key"]), "vmap", _pairs(body["data"], _is_name(body["key"]))],
    "reject": lambda body: ["reject with {0} {1}".format(body.get("type", ""), body.get("expr", "")).strip()],
}


def _nat(body: Json) -> t.List[str]:
    given = body.get("flags", [])
    flags = [given] if isinstance(given, str) else list(given)
    found = [body["family"]] if "family" in body else []
    if "netmap" in flags:
        flags.remove("netmap")
        found.append("prefix")
    if "addr" in body or "port" in body:
        to = _value(body.get("addr", ""))
        if "port" in body:
            bare = isinstance(body.get("addr"), str) and ":" in to
            to = ("[{0}]:{1}" if bare else "{0}:{1}").format(to, _value(body["port"]))
        found += ["to", to]
    return found + ([",".join(flags)] if flags else [])


def _pairs(data: Json, quoted: bool = False) -> str:
    """A map by its name, or with its elements, each of which may lead to a value or a verdict."""
    if not isinstance(data, dict) or "set" not in data:
        return _value(data)
    pairs = [(_value(key, quoted), to) for key, to in data["set"]]
    verdicts = ("jump", "goto", "accept", "drop", "return")
    told = [
        (key, " ".join(words(to)) if isinstance(to, dict) and set(to) & set(verdicts) else _value(to))
        for key, to in pairs
    ]
    return "{ " + ", ".join("{0} : {1}".format(*pair) for pair in told) + " }"


def _is_name(left: Json) -> bool:
    return isinstance(left, dict) and left.get("meta", {}).get("key") in PLAIN


def _value(value: Json, quoted: bool = False) -> str:
    if isinstance(value, list):
        return ",".join(_value(element) for element in value)
    if not isinstance(value, dict):
        plain = {True: "exists", False: "missing"}[value] if isinstance(value, bool) else str(value)
        return '"{0}"'.format(plain) if quoted else plain
    ((kind, body),) = value.items()
    if kind == "set":
        return "{ " + ", ".join(_value(element, quoted) for element in body) + " }"
    if _is_name(value):
        return str(body["key"])
    try:
        return (VALUES[kind](body) if kind in VALUES else _filled(kind, body)) or json.dumps(value)
    except (KeyError, TypeError):
        return json.dumps(value)


def _bits(op: str, body: Json) -> str:
    """An expression combined with a bit mask."""
    return "{0} {1} {2}".format(_value(body[0]), op, hex(body[1])) if isinstance(body[1], int) else ""


#: Expressions that contain others.
VALUES: t.Mapping[str, t.Callable[[Json], str]] = {
    "|": lambda body: _bits("|", body) or "(" + " | ".join(map(_value, body)) + ")",
    "&": lambda body: _bits("&", body) or " & ".join(map(_value, body)),
    "range": lambda body: "-".join(map(_value, body)),
    "concat": lambda body: " . ".join(map(_value, body)),
    "ct": lambda body: "ct {0}{1}".format(body["dir"] + " " if "dir" in body else "", body["key"]),
    "fib": lambda body: "fib {0} {1}".format(" . ".join(body["flags"]), body["result"]),
    "map": lambda body: "{0} map {1}".format(_value(body["key"]), _pairs(body["data"])),
    "numgen": lambda body: "numgen {mode} mod {mod} offset {offset}".format(**body),
    "jhash": lambda body: "jhash {0} mod {1} seed {2}".format(_value(body["expr"]), body["mod"], body["seed"]),
}


def _filled(kind: str, body: Json) -> str:
    """The filled template; empty if there is none or the contents are not ours."""
    try:
        form = FORMS.get(kind, "")
        if kind == "ct" and "dir" in body:
            form = "ct {dir} {key}"
        return form.format(body) if isinstance(body, str) else form.format(**body)
    except (IndexError, KeyError, TypeError):
        return ""
