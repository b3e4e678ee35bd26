# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Frozen values as JSON and back, so that a later run can compile once more what an earlier one was told.

A dataclass becomes an object that names its class and the fields that are not as by default; a field that is new in a
later release does not alter what is written until somebody uses it. Tuples become lists, and lists become tuples.
"""

from __future__ import annotations

import typing as t
from dataclasses import MISSING, fields, is_dataclass

#: What an object says beside its fields, which all have names of Python.
CLASS, SET = "", "{}"


def encode(value: t.Any) -> t.Any:
    """A value made of dataclasses, tuples, frozen sets, texts, numbers, booleans and None, as JSON has it."""
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
    raise TypeError("{0!r} is no value that can be written".format(value))


def decode(raw: t.Any, classes: t.Mapping[str, type]) -> t.Any:
    """The value. A field that its class no longer has is passed over.

    Raises ValueError or TypeError if a class is unknown, or a field is missing that has no default.
    """
    if isinstance(raw, list):
        return tuple(decode(part, classes) for part in raw)
    if not isinstance(raw, dict):
        return raw
    if SET in raw:
        return frozenset(decode(part, classes) for part in raw[SET])
    kind = classes.get(raw.get(CLASS, ""))
    if kind is None:
        raise ValueError("{0!r} is no class that is known".format(raw.get(CLASS)))
    known = {each.name for each in fields(t.cast("t.Any", kind))}
    return kind(**{name: decode(part, classes) for name, part in raw.items() if name in known})


def dataclasses_in(names: t.Mapping[str, t.Any]) -> t.Dict[str, type]:
    """The dataclasses among the names of a module."""
    return {name: each for name, each in names.items() if isinstance(each, type) and is_dataclass(each)}
