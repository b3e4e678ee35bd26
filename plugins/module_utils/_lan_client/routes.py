# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The default routes of a LAN client: at run time by ``ip route``, at boot by a file that the network manager reads."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError, Problems
from .._managers.manager import is_there
from .._managers.seen import USUAL, Route, read_routes
from .._parts.part import NOTHING, Delta, Part, Shell
from .choice import OPTION, places

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._managers.manager import Manager
    from .._managers.seen import Routes, Seen
    from .._parts.part import Scene
    from .choice import Chosen, Wish

#: The highest priority that the kernel has.
FIRST = {4: 0, 6: 1}


@dataclass(frozen=True)
class Sent:
    """Where the traffic of a LAN client goes."""

    manager: str = ""
    interface: str = ""
    routes: t.Tuple[Route, ...] = ()
    replaced: t.Tuple[Route, ...] = ()  # what was there before the first run and comes back on removal


def wanted(wish: Wish, chosen: Chosen, seen: Seen, was: Sent, manager: Manager) -> t.Tuple[Routes, t.List[str]]:
    """The routes, and notes. Raises GatewayError if other routes conflict with them."""
    here, found, notes, problems = chosen.interface, [], [], Problems()
    for version, gateway in chosen.gateways.items():
        mine = {(gateway, here), *((route.gateway, route.dev) for route in was.routes)}
        others = seen.others(version, mine)
        if others and not wish.replace_default:
            problems.add(
                OPTION[version],
                "this host already has the IPv{0} default route {1}, through which the controller may reach it; set "
                "replace_default to true to let {2} on {3} win".format(version, _listed(others), gateway, here),
            )
            continue
        metric = _metric(version, others)
        first = [route for route in others if (route.metric == 0 if version == 4 else metric < FIRST[6])]
        if first and not (manager.replaces and version == 4 and all(each.dev == here for each in first)):
            problems.add(
                OPTION[version],
                "the IPv{0} default route {1} has the highest priority there is; remove it where it is configured, or "
                "give it a metric of 100 there, and run this again".format(version, _listed(first)),
            )
            continue
        onlink = all(own.dynamic for own in places(seen, gateway, wish.interface))
        found.append(Route(gateway, here, metric, onlink=onlink))
        if others:
            former = " and ".join(map(str, others))
            notes.append("IPv{0} goes through {1} on {2} instead of {3}".format(version, gateway, here, former))
    problems.raise_if_any()
    return tuple(found), notes


def _listed(routes: t.Iterable[Route]) -> str:
    return " and ".join("`{0}`".format(route) for route in routes)


def _metric(version: int, others: t.Iterable[Route]) -> int:
    """In IPv6, one that outranks all others; in IPv4, there is no better one than the usual."""
    lowest = min((route.metric for route in others), default=USUAL[version] + 1)
    return lowest - 1 if version == 6 and lowest <= USUAL[6] else USUAL[version]


@dataclass(frozen=True)
class Steps:
    """In this order, so that the host has a default route at any time."""

    add: Routes = ()
    remove: Routes = ()
    before: Routes = ()  # those that are added over or removed, as they are now

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


def steps(was: Sent, want: Sent, live: Routes) -> Steps:
    back = tuple(route for route in was.replaced if route not in want.replaced)
    kept = want.routes + back
    keys = {route.key for route in kept}
    there = {route.key for route in live}
    add = tuple(route for route in want.routes if route.key not in there)
    add += tuple(route for route in back if route not in live)
    remove = tuple(route for route in was.routes if route.key in there and route.key not in keys)
    places_taken = {(route.version, route.metric, route.dev) for route in add}
    gone = {route.key for route in remove}
    before = [each for each in live if each.key in gone or (each.version, each.metric, each.dev) in places_taken]
    return Steps(add, remove, tuple(before))


def undoing(was: Sent, want: Sent) -> t.List[str]:
    """Lines of shell that restore what was replaced, and remove what is no longer wanted."""
    back = [route for route in was.replaced if route not in want.replaced]
    kept = {route.key for route in (*want.routes, *back)}
    lines = [route.line("replace") for route in back]
    return lines + [_gone(route) for route in was.routes if route.key not in kept]


def _gone(route: Route) -> str:
    """Without metric, ``ip route del`` would remove another one via the same gateway if this one is gone."""
    return "! {0} || {1} 2> /dev/null || true".format(is_there(route), route.line("del"))


class RoutesPart(Part[Sent]):
    def want(self, gateway: t.Any, was: Sent, scene: Scene, sight: Sight) -> t.Tuple[Sent, t.Tuple[str, ...]]:
        """``gateway``: the manager, the interface and the routes."""
        manager, interface, routes = gateway
        return Sent(manager.name, interface, routes, _replaced(was, interface, routes, read_routes(sight))), ()

    def plan(self, was: Sent, want: Sent, scene: Scene, sight: Sight) -> Delta:
        do = steps(was, want, read_routes(sight))
        if not do:
            return NOTHING
        overwritten = [route for route in do.before if route not in do.remove]
        lines = ["- {0}".format(route) for route in (*do.remove, *overwritten)]
        lines += ["+ {0}".format(route) for route in do.add]
        return Delta(tuple(lines), do, cuts=True)

    def apply(self, delta: Delta, want: Sent, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        do: Steps = delta.do or Steps()
        for route in do.add:
            done = host.run(route.command("replace"))
            if done.rc != 0:
                raise GatewayError("the route `{0}` cannot be added: {1}".format(route, done.err.strip()))
        # Another one of the same metric may have taken its place.
        live = {route.key for route in read_routes(host)}
        for route in do.remove:
            if route.key in live:
                host.run(route.command("del"))
        return ()

    def restore(self, delta: Delta, was: Sent, want: Sent, scene: Scene, sight: Sight) -> Shell:
        do: Steps = delta.do or Steps()
        keys = {route.key for route in do.before}
        lines = [route.line("replace") for route in do.before]
        lines += [_gone(route) for route in do.add if route.key not in keys]
        return Shell(tuple(lines))


def _replaced(was: Sent, interface: str, routes: Routes, live: Routes) -> Routes:
    """The routes whose places ours take, from the time before they took them."""
    taken = {(route.version, route.metric) for route in routes}
    known = {(route.version, route.metric) for route in was.routes} if was.interface == interface else set()
    kept = tuple(each for each in was.replaced if (each.version, each.metric) in taken & known)
    return kept + tuple(each for each in live if (each.version, each.metric) in taken - known and each.dev == interface)


ROUTES = RoutesPart("routes", Sent())
