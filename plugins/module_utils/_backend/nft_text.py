# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Parts of rules from nft's JSON to nft's own words: for people, and for what nft takes in words only.

Only what we write ourselves has its words here; what others have put among our rules stays JSON.
"""

from __future__ import annotations

import json
import typing as t

Json = t.Any

#: Statements and expressions that are a form to fill in.
FORMS = {
    "counter": "counter packets {packets} bytes {bytes}",
    "flow": "flow {op} {flowtable}",
    "jump": "jump {target}",
    "goto": "goto {target}",
    "ct timeout": 'ct timeout set "{0}"',
    "prefix": "{addr}/{len}",
    "payload": "{protocol} {field}",
    "tcp option": "tcp option {name} {field}",
    "meta": "meta {key}",
    "ct": "ct {key}",
    "rt": "rt {key}",
}
#: Those that nft writes without "meta".
PLAIN = ("iifname", "oifname")


def words(part: Json) -> t.List[str]:
    """The words of one statement; none for a counter that has not counted."""
    ((kind, body),) = part.items()
    if kind == "match":
        op = [body["op"]] if body["op"] not in ("==", "in") else []
        return [_value(body["left"])] + op + [_value(body["right"], quoted=_is_name(body["left"]))]
    if kind == "mangle":
        return [_value(body["key"]), "set", _value(body["value"])]
    if kind == "reject" and body:
        return ["reject with {0} {1}".format(body.get("type", ""), body.get("expr", "")).strip()]
    if body is None:
        return [] if kind == "counter" else [kind]
    return [_filled(kind, body) or "{0} {1}".format(kind, json.dumps(body))]


def _is_name(left: Json) -> bool:
    return isinstance(left, dict) and left.get("meta", {}).get("key") in PLAIN


def _value(value: Json, quoted: bool = False) -> str:
    if isinstance(value, list):
        return ",".join(_value(element) for element in value)
    if not isinstance(value, dict):
        plain = "exists" if value is True else str(value)
        return '"{0}"'.format(plain) if quoted else plain
    ((kind, body),) = value.items()
    if kind in ("set", "|"):
        joined = (", " if kind == "set" else " | ").join(_value(element, quoted) for element in body)
        return "{ " + joined + " }" if kind == "set" else "(" + joined + ")"
    if kind in ("&", "range"):
        return (" & " if kind == "&" else "-").join(_value(side) for side in body)
    return str(body["key"]) if _is_name(value) else _filled(kind, body) or json.dumps(value)


def _filled(kind: str, body: Json) -> str:
    """Empty if there is no such form, or what is in it is not ours."""
    try:
        form = FORMS.get(kind, "")
        return form.format(body) if isinstance(body, str) else form.format(**body)
    except (IndexError, KeyError, TypeError):
        return ""
