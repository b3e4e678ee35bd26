# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Frozen values as JSON, and back.

``plain`` and ``shaped`` are for values whose type is known to the reader: the parts of the state file.

``encode`` and ``decode`` are for values of any of several types: an intent, which a later run compiles again.

A dataclass becomes an object with the name that ``classes`` has for it and the fields that differ from their defaults.
A field that a later release adds therefore does not change what is written until somebody uses it. Tuples become lists,
and lists become tuples.
"""

from __future__ import annotations

import typing as t
from collections import abc
from dataclasses import MISSING, fields, is_dataclass

#: The key of the class name, which cannot be a Python field name.
CLASS, SET = "", "{}"


def encode(value: t.Any, classes: t.Mapping[str, type]) -> t.Any:
    """A value of these dataclasses, tuples, frozen sets, strings, numbers, booleans and None as JSON."""
    return _encoded(value, {kind: name for name, kind in classes.items()})


def _encoded(value: t.Any, names: t.Mapping[type, str]) -> t.Any:
    if type(value) in names:
        found: t.Dict[str, t.Any] = {CLASS: names[type(value)]}
        for each in fields(value):
            part = getattr(value, each.name)
            if each.default is MISSING or part != each.default:
                found[each.name] = _encoded(part, names)
        return found
    if isinstance(value, tuple):
        return [_encoded(part, names) for part in value]
    if isinstance(value, frozenset):
        return {SET: sorted(_encoded(part, names) for part in value)}
    if value is None or isinstance(value, (str, int)):  # bool is an int
        return value
    raise TypeError("{0!r} cannot be encoded".format(value))


def decode(raw: t.Any, classes: t.Mapping[str, type]) -> t.Any:
    """Decode a value. A field that its class no longer has is ignored.

    Raises ValueError or TypeError if a class is unknown or a field without default is missing.
    """
    if isinstance(raw, list):
        return tuple(decode(part, classes) for part in raw)
    if not isinstance(raw, dict):
        return raw
    if SET in raw:
        return frozenset(decode(part, classes) for part in raw[SET])
    kind = classes.get(raw.get(CLASS, ""))
    if kind is None:
        raise ValueError("{0!r} is not a known class".format(raw.get(CLASS)))
    known = {each.name for each in fields(t.cast("t.Any", kind))}
    return kind(**{name: decode(part, classes) for name, part in raw.items() if name in known})


def plain(value: t.Any) -> t.Any:
    """A value of dataclasses, tuples, mappings, strings, numbers and JSON as JSON, with all of its fields.

    A class with a method ``to_raw`` has a form of its own, and ``from_raw`` reads it.
    """
    if hasattr(value, "to_raw"):
        return value.to_raw()
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return dict(value) if isinstance(value, abc.Mapping) else value


def shaped(kind: t.Any, raw: t.Any) -> t.Any:
    """The value of this type that ``plain`` has written. A missing field has its default; an unknown one is ignored.

    Raises ValueError or TypeError on anything else.
    """
    if kind is t.Any:
        return raw
    if hasattr(kind, "from_raw"):
        return kind.from_raw(raw)
    if is_dataclass(kind):
        known = _of(dict, raw)
        hints = t.get_type_hints(kind)
        return t.cast("t.Any", kind)(**{name: shaped(hints[name], known[name]) for name in hints if name in known})
    if kind in (str, int, bool):
        return _of(kind, raw)
    if kind.__origin__ is tuple:
        return _tuple(kind.__args__, _of(list, raw))
    key, value = kind.__args__  # a mapping
    return {shaped(key, name): shaped(value, part) for name, part in _of(dict, raw).items()}


def _tuple(kinds: t.Sequence[t.Any], parts: t.Sequence[t.Any]) -> t.Tuple[t.Any, ...]:
    if kinds[-1] is ...:
        return tuple(shaped(kinds[0], part) for part in parts)
    if len(kinds) != len(parts):
        raise ValueError("{0!r} does not have {1} parts".format(parts, len(kinds)))
    return tuple(shaped(kind, part) for kind, part in zip(kinds, parts))


def _of(kind: type, raw: t.Any) -> t.Any:
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):  # a bool is a number in Python
        raise TypeError("{0!r} is not of type {1}".format(raw, kind.__name__))
    return raw


def beyond(raw: t.Any, known: t.Any) -> t.Dict[str, t.Any]:
    """The keys of a JSON object, also of objects in it, that another one lacks."""
    if not (isinstance(raw, dict) and isinstance(known, dict)):
        return {}
    found = {key: value for key, value in raw.items() if key not in known}
    inner = {key: beyond(value, known[key]) for key, value in raw.items() if key in known}
    return {**found, **{key: value for key, value in inner.items() if value}}


def together(known: t.Any, more: t.Any) -> t.Any:
    """A JSON object, with the keys that ``beyond`` has found."""
    if not (isinstance(known, dict) and isinstance(more, dict)):
        return known
    missing = {key: value for key, value in more.items() if key not in known}
    return {**{key: together(value, more.get(key, {})) for key, value in known.items()}, **missing}
