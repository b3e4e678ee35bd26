# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module options as ansible-core passes them: the argument spec fills in what the caller left out."""

from __future__ import annotations

import os
import sys
import typing as t

from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec


def tried(values: t.Sequence[t.Any]) -> t.Sequence[t.Any]:
    """What a test tries one after the other: all, or on Pythons other than the main one each fifth, others on each.

    Those runs are about the Python, and have few examples (``IPMASQ_EXAMPLES``), too.
    """
    if int(os.environ.get("IPMASQ_EXAMPLES", "100")) >= 100:
        return values
    return values[sys.version_info[1] % min(5, len(values)) :: 5]


def fill(spec: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Options with defaults; an option that the spec does not have is a mistake of the test."""
    unknown = set(given) - set(spec)
    assert not unknown, "no such option: {0}".format(sorted(unknown))
    filled = {}
    for name, option in spec.items():
        value = given.get(name, option.get("default"))
        if option.get("elements") == "dict" and value is not None:
            value = [fill(option["options"], element) for element in value]
        filled[name] = value
    return filled


def gateway_params(**given: t.Any) -> t.Dict[str, t.Any]:
    return fill(argspec.merge(argspec.INSTANCE, argspec.BACKEND, argspec.STATE, argspec.GATEWAY), given)


def masquerade_params(**given: t.Any) -> t.Dict[str, t.Any]:
    return fill(argspec.merge(argspec.INSTANCE, argspec.BACKEND, argspec.STATE, argspec.MASQUERADE), given)


def forward_params(**given: t.Any) -> t.Dict[str, t.Any]:
    return fill(argspec.merge(argspec.INSTANCE, argspec.BACKEND, argspec.STATE, argspec.FORWARD), given)


def forwarding_params(**given: t.Any) -> t.Dict[str, t.Any]:
    return fill(argspec.merge(argspec.INSTANCE, argspec.STATE, argspec.FORWARDING), given)


def port_forward_params(**given: t.Any) -> t.Dict[str, t.Any]:
    spec = argspec.merge(argspec.INSTANCE, argspec.BACKEND, argspec.STATE, argspec.SINGLE_PORT_FORWARD)
    return fill(spec, given)
