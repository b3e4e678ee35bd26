# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One machine for all tests of a release; each test begins right after its first boot."""

from __future__ import annotations

import os
import typing as t

import image
import pytest
from machine import Machine

RELEASES = os.environ.get("IPMASQ_VM_RELEASES", "bookworm").split()


@pytest.fixture(scope="session", params=RELEASES)
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Machine]:
    try:
        found = image.provide(request.param)
    except image.ImageError as error:
        # A release that somebody named, as make vm does, has to be tested.
        (pytest.fail if "IPMASQ_VM_RELEASES" in os.environ else pytest.skip)(str(error))
    made = Machine(found, tmp_path_factory.mktemp("vm"))
    yield made
    made.close()


@pytest.fixture
def machine(booted: Machine) -> Machine:
    booted.restore()
    return booted
