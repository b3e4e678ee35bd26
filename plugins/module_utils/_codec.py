# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Encode frozen values as JSON and decode them, so that a later run can recompile an earlier run's intent.

A dataclass becomes an object with the name of its class and the fields that differ from their defaults. A field that a
later release adds therefore does not change what is written until somebody uses it. Tuples become lists, and lists
become tuples.
"""

from __future__ import annotations

import typing as t
from dataclasses import MISSING, fields, is_dataclass

#: The key of the class name, which cannot be a Python field name.
CLASS, SET = "", "{}"


def encode(value: t.Any) -> t.Any:
    """A value of dataclasses, tuples, frozen sets, strings, numbers, booleans and None as JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        found: t.Dict[str, t.Any] = {CLASS: type(value).__name__}
        for each in fields(value):
            part = getattr(value, each.name)
            if each.default is MISSING or part != each.default:
                found[each.name] = encode(part)
        return found
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if isinstance(value, frozenset):
        return {SET: sorted(encode(part) for part in value)}
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


def dataclasses_in(names: t.Mapping[str, t.Any]) -> t.Dict[str, type]:
    """The dataclasses in a module's namespace."""
    return {name: each for name, each in names.items() if isinstance(each, type) and is_dataclass(each)}
