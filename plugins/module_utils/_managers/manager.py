# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The contract of a network manager: which files of ours it reads at boot, and which commands make it read them.

A change of routes takes effect by ``ip route``, the same for all of them, and is confirmed. Only then are the files put
in place, so that a reboot in between is a rollback.
"""

from __future__ import annotations

import shlex
import typing as t
from abc import ABC, abstractmethod
from dataclasses import dataclass

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .seen import Route, Routes

HEAD = "# Written by the Ansible collection ipmasq.linux; lan_client with state=absent removes it."
#: The name of our files, wherever they are.
NAME = "ipmasq-lan-client"
#: Path to text and mode.
Files = t.Dict[str, t.Tuple[str, int]]


@dataclass(frozen=True)
class Setup:
    """What a manager keeps: the routes through one interface, and DNS servers if it has to know them."""

    interface: str
    routes: Routes
    dns: t.Tuple[str, ...] = ()
    search: t.Tuple[str, ...] = ()  # the domains that are searched
    own_resolver: bool = False  # /etc/resolv.conf is ours


class Manager(ABC):
    name = ""  # as its users know it
    #: Shell patterns of all files that ``files`` may name.
    places: t.Tuple[str, ...] = ()
    #: Whether it takes DNS servers: never, if systemd-resolved is in use, or always.
    takes_dns = "never"
    #: Whether a default route without metric on the same interface may be replaced: it comes from the manager itself,
    #: which runs our script afterwards.
    replaces = False

    @abstractmethod
    def manages(self, interface: str, sight: Sight) -> bool:
        """Whether it is in charge of the addresses of this interface."""

    @abstractmethod
    def files(self, setup: Setup, sight: Sight) -> Files:
        """What it reads at boot. Raises GatewayError if that is impossible here."""

    def told(self, interfaces: t.Sequence[str], routes: Routes, paths: t.Sequence[str]) -> t.Tuple[str, ...]:
        """Lines of shell to run once these files of its have changed or are gone. ``routes`` have to be there then."""
        return ()


def comments(setup: Setup) -> t.List[str]:
    return [HEAD, *("# Route: {0}".format(route) for route in setup.routes)]


def is_ours(text: t.Optional[str]) -> bool:
    return HEAD in (text or "")


def replacing(routes: Routes, otherwise: str = "status=1") -> t.List[str]:
    """Lines of a script that a manager runs."""
    return ["{0} || {1}".format(route.line("replace"), otherwise) for route in routes]


def is_there(route: Route) -> str:
    """A shell command that succeeds if a route is there."""
    words = ["ip", "-{0}".format(route.version), "route", "show", "default", *route.via]
    words += ["dev", route.dev] + (["metric", str(route.metric)] if route.metric else [])
    # For ip, metric 0 is any, and no gateway, too.
    found = " ".join(shlex.quote(word) for word in words) + ("" if route.gateway else " | grep -v ' via '")
    return found + (" | grep -q ." if route.metric else " | grep -qv ' metric '")


def until(tests: t.Sequence[str]) -> str:
    """A line of shell that waits at most ten seconds. A manager answers before it is done."""
    both = " && ".join(tests)
    return "n=0; until {0} || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done; {0}".format("{ " + both + "; }")
