# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""gateway_confirm: keep or roll back a change that awaits confirmation."""

from __future__ import annotations

import typing as t

from .._base.errors import GatewayError, Problems
from .._base.host import check_root
from .._base.origin import answering
from .._base.values import LAN_CLIENT, check_instance
from . import rollback

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .rollback import Answer


#: Options of gateway_confirm. Every change waits for that module, so it loads only what it needs.
OPTIONS: t.Dict[str, t.Dict[str, t.Any]] = {
    "instance": {"type": "str", "default": "default"},
    "state": {"type": "str", "default": "confirmed", "choices": ["confirmed", "reverted"]},
    "token": {"type": "str", "default": "", "no_log": False},
    # Not used; module_defaults can set them for the group.
    "backend": {"type": "str", "default": "auto", "choices": ["auto", "nftables", "iptables"]},
    "confirm_timeout": {"type": "int", "default": 30},
    "confirm_by": {"type": "str", "default": "controller", "choices": ["controller", "person"]},
    "wait": {"type": "int", "default": 0},
}


class ChangeLost(GatewayError):  # noqa: N818 - reads as what it is
    """There is no change to confirm or roll back. ``values`` describe the last one, for callers with a token."""

    def __init__(self, problem: str, values: t.Mapping[str, t.Any]) -> None:
        super().__init__(problem)
        self.values = values


def end_change(instance: str, token: str, keep: bool, host: Sight) -> t.Dict[str, t.Any]:
    """The return values of gateway_confirm. Raises ChangeLost if the change has ended the other way."""
    check_root(host)
    problems = Problems()
    # A LAN client's change ends here, too.
    if instance != LAN_CLIENT:
        check_instance(instance, problems)
    problems.raise_if_any()
    answer = rollback.finish(instance, token, keep, host)
    values: t.Dict[str, t.Any] = {"changed": answer.changed, "was": answer.was, "at": answer.at, "instance": instance}
    values["host"] = answering(host)
    lost = _lost(instance, answer, token, keep)
    if lost:
        raise ChangeLost(lost, values)
    if answer.warnings:
        values["warnings"] = list(answer.warnings)
    return values


def _lost(instance: str, answer: Answer, token: str, keep: bool) -> str:
    """Why the requested outcome was not reached; empty if it was."""
    when = " at {0}".format(answer.at) if answer.at else ""
    if answer.was == "failed":
        text = "instance: the change to '{0}' could not be rolled back completely{1}; inspect the host"
        return text.format(instance, when)
    if answer.was == "unfinished":
        text = "instance: the change to '{0}' was kept{1}, but not all of it is on disk; run the gateway again"
        return text.format(instance, when)
    if keep and answer.was == "reverted":
        return "instance: too late, the change to '{0}' was rolled back{1}; make it again".format(instance, when)
    if keep and not answer.was:
        known = "that change to '{0}' is unknown" if token else "no change to '{0}' awaits confirmation"
        return "instance: " + (known + "; it was not made on this host, or the host has rebooted since").format(
            instance
        )
    if not keep and answer.was == "confirmed":
        text = "instance: too late, the change to '{0}' was confirmed{1}; to undo it, apply the previous declaration"
        return text.format(instance, when)
    return ""
