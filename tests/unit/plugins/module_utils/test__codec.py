# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as JSON and back: what comes back is what was written, also where releases differ."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

import pytest
from hypothesis import given, reject

from ansible_collections.ipmasq.linux.plugins.module_utils import _codec as codec, _intent as intent
from ansible_collections.ipmasq.linux.plugins.module_utils._compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.strategies import drawn, gateways

CLASSES = codec.dataclasses_in(vars(intent))


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
    return codec.decode(json.loads(json.dumps(codec.encode(value))), classes or KNOWN)


@pytest.mark.parametrize("value", VALUES)
def test_there_and_back(value):
    assert through(value) == value


def test_what_is_as_by_default_is_not_written():
    assert codec.encode(Outer(parts=(Inner("a"),))) == {"": "Outer", "parts": [{"": "Inner", "name": "a"}]}


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
        codec.encode(value)


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
