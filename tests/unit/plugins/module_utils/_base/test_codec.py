# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as JSON and back: what comes back is what was written, also where releases differ."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

import pytest
from hypothesis import given, reject

from ansible_collections.ipmasq.linux.plugins.module_utils._base import codec
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.stored import CLASSES
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.strategies import drawn, gateways


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 5


@dataclass(frozen=True)
class Outer:
    parts: t.Tuple[Inner, ...] = ()
    flag: bool = False
    kept: t.FrozenSet[str] = frozenset()
    maybe: t.Optional[Inner] = None
    pairs: t.Tuple[t.Tuple[str, int], ...] = ()


KNOWN = {"Inner": Inner, "Outer": Outer}
VALUES = [
    Outer(),
    Outer((Inner("a"), Inner("b", 7)), True, frozenset(("y", "x")), Inner("c"), (("p", 1), ("q", 2))),
    (None, True, 3, "text", ()),
]


def through(value, classes=None):
    classes = classes or KNOWN
    return codec.decode(json.loads(json.dumps(codec.encode(value, classes))), classes)


@pytest.mark.parametrize("value", VALUES)
def test_there_and_back(value):
    assert through(value) == value


def test_what_is_as_by_default_is_not_written():
    assert codec.encode(Outer(parts=(Inner("a"),)), KNOWN) == {"": "Outer", "parts": [{"": "Inner", "name": "a"}]}


def test_fields_come_and_go():
    raw = {"": "Outer", "gone": [{"": "Unheard"}], "flag": True}
    assert codec.decode(raw, KNOWN) == Outer(flag=True)


@pytest.mark.parametrize("raw", [{"": "Unheard"}, {"name": "a"}, {"": "Inner"}, {"": "Outer", "parts": [{}]}], ids=str)
def test_what_is_no_value(raw):
    with pytest.raises((ValueError, TypeError)):
        codec.decode(raw, KNOWN)


@pytest.mark.parametrize("value", [1.5, {"a": 1}, object(), Inner])
def test_what_cannot_be_written(value):
    with pytest.raises(TypeError):
        codec.encode(value, KNOWN)


@drawn(60)
@given(gateways())
def test_the_rules_of_a_gateway_come_back(options):
    try:
        gateway = resolve(gateway_from_params(gateway_params(**options)), Facts((), ())).gateway
    except GatewayError:
        reject()
    again = through(gateway, CLASSES)
    assert again == gateway
    assert compile_gateway(again) == compile_gateway(gateway)


# Values of a known type


@dataclass(frozen=True)
class Shape:
    words: t.Tuple[str, ...] = ()
    pair: t.Tuple[str, int] = ("", 0)
    first: t.Mapping[str, str] = field(default_factory=dict)
    inner: t.Tuple[Inner, ...] = ()
    free: t.Any = None


FULL = Shape(("a", "b"), ("c", 3), {"k": "v"}, (Inner("x", 1),), {"any": [1, None]})


def test_a_value_of_a_known_type_comes_back():
    raw = json.loads(json.dumps(codec.plain(FULL)))
    assert set(raw) == {"words", "pair", "first", "inner", "free"}
    assert codec.shaped(Shape, raw) == FULL
    assert codec.shaped(Shape, {"later": 1}) == Shape()


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {"words": "ab"},
        {"words": [1]},
        {"pair": ["a"]},
        {"pair": ["a", True]},
        {"first": []},
        {"first": {"k": 1}},
        {"inner": [{}]},
        {"inner": [7]},
    ],
    ids=json.dumps,
)
def test_another_shape_is_an_error(raw):
    with pytest.raises((TypeError, ValueError)):
        codec.shaped(Shape, raw)


def test_keys_that_only_one_of_two_objects_has():
    raw, known = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [1]}, {"b": {"d": {}}, "f": [2], "g": 4}
    more = codec.beyond(raw, known)
    assert more == {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert codec.together(known, more) == {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [2], "g": 4}
    assert codec.beyond(known, known) == {} and codec.together(known, {}) == known
    # What was unknown once may be known under the same name, in another form.
    assert codec.together({"a": {"x": 1}}, {"a": 1}) == {"a": {"x": 1}}
