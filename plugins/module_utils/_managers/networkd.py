# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""systemd-networkd: a drop-in of the interface's .network file."""

from __future__ import annotations

import posixpath
import re
import shlex
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError
from .manager import NAME, Manager, comments, is_there, until

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .manager import Files, Setup
    from .seen import Route, Routes

STATUS = ("networkctl", "--no-pager", "-n", "0", "-a", "status")
#: networkd's own metric in IPv6.
USUAL = {4: 0, 6: 1024}


@dataclass(frozen=True)
class Link:
    network_file: str
    state: str


def read_links(sight: Sight) -> t.Dict[str, Link]:
    """The links that networkd knows; none if it is not running."""
    if sight.ask(["systemctl", "is-active", "systemd-networkd.service"]).rc != 0:
        return {}
    return links_of(sight.ask(STATUS).out)


def links_of(status: str) -> t.Dict[str, Link]:
    """The blocks of ``networkctl status -a``. Its JSON output is newer than the systemd of Debian 11."""
    links = {}
    for block in re.split(r"^\S+ +(?=\d+: )", status, flags=re.MULTILINE)[1:]:
        name = block.splitlines()[0].partition(": ")[2].strip()
        values = dict(re.findall(r"^ *(Network File|State): (.*?) *$", block, re.MULTILINE))
        state = re.search(r"\((.*)\)", values.get("State", ""))
        file = values.get("Network File", "")
        links[name] = Link(file if file.startswith("/") else "", state.group(1) if state else "")
    return links


def is_generated(link: Link) -> bool:
    """Whether netplan has written its file."""
    return link.network_file.startswith("/run/systemd/network/") and "netplan" in link.network_file


def reloaded(interfaces: t.Sequence[str], routes: Routes) -> t.Tuple[str, ...]:
    """It reconfigures only the interfaces whose files have changed."""
    tests = [
        "networkctl --no-pager -n 0 status {0} 2> /dev/null | grep -q '(configured)'".format(shlex.quote(each))
        for each in interfaces
    ]
    tests += [is_there(route) for route in routes]
    return ("networkctl reload", *([until(tests)] if tests else []))


class Networkd(Manager):
    name = "systemd-networkd"
    places = ("/etc/systemd/network/*.network.d/{0}.conf".format(NAME),)
    takes_dns = "resolved"

    def manages(self, interface: str, sight: Sight) -> bool:
        link = read_links(sight).get(interface)
        return bool(link and link.network_file and link.state != "unmanaged" and not is_generated(link))

    def files(self, setup: Setup, sight: Sight) -> Files:
        links = read_links(sight)
        network_file = links[setup.interface].network_file
        sharing = sorted(name for name, link in links.items() if link.network_file == network_file)
        if len(sharing) > 1:
            raise GatewayError(
                "{0} configures {1} alike, so a gateway in it would apply to all of them; give {2} its own .network "
                "file that sorts before it".format(network_file, ", ".join(sharing), setup.interface)
            )
        path = "/etc/systemd/network/{0}.d/{1}.conf".format(posixpath.basename(network_file), NAME)
        return {path: ("\n".join(self._lines(setup)) + "\n", 0o644)}

    @staticmethod
    def _lines(setup: Setup) -> t.List[str]:
        lines = comments(setup)
        for route in setup.routes:
            lines += ["", "[Route]", "Gateway={0}".format(route.gateway), *_options(route)]
        if setup.dns:
            lines += ["", "[Network]", *("DNS={0}".format(server) for server in setup.dns)]
        return lines

    def told(self, interfaces: t.Sequence[str], routes: Routes, paths: t.Sequence[str]) -> t.Tuple[str, ...]:
        return reloaded(interfaces, routes)


def _options(route: Route) -> t.List[str]:
    found = ["Metric={0}".format(route.metric)] if route.metric != USUAL[route.version] else []
    # With DHCP, the address comes after the route, which could not reach its gateway until then.
    return found + (["GatewayOnLink=yes"] if route.onlink else [])
