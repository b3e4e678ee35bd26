# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract is small, and both backends have all of it and nothing else."""

from __future__ import annotations

import ast
import inspect

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend import base
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.base import Backend
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, NFT

METHODS = {name for name in vars(Backend) if not name.startswith("_")}


def test_at_most_ten_methods_and_all_of_them_are_told():
    assert Backend.__abstractmethods__ == METHODS
    assert len(METHODS) <= 10
    told = {line.split()[0] for line in base.__doc__.splitlines() if line[:1].isalpha() and "  " in line}
    assert told - {"method"} == METHODS


@pytest.mark.parametrize("backend", [NFT, BOTH], ids=["nftables", "iptables"])
def test_no_method_that_only_one_backend_has(backend):
    own = {name for name, each in vars(type(backend)).items() if callable(each) and not name.startswith("_")}
    # The name of a program of iptables, which select looks for.
    assert own - {"program"} <= METHODS


@pytest.mark.parametrize("kind", [Backend, type(NFT), type(BOTH)], ids=["base", "nftables", "iptables"])
def test_nothing_but_read_touches_the_host(kind):
    for name, each in vars(kind).items():
        arguments = inspect.signature(each).parameters if inspect.isfunction(each) else ()
        assert ("sight" in arguments) == (name == "read"), name
        assert "host" not in arguments
        assert len(arguments) <= 5, name


def test_the_base_does_nothing_itself():
    bodies = [node for node in ast.walk(ast.parse(inspect.getsource(Backend))) if isinstance(node, ast.FunctionDef)]
    assert bodies
    assert all(len(node.body) == 1 and isinstance(node.body[0], ast.Expr) for node in bodies)
