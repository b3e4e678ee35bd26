# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""netplan with systemd-networkd: a file of its own, which netplan merges with those of the user by the interface's ID.

Interfaces that netplan gives to NetworkManager are NetworkManager's.
"""

from __future__ import annotations

import re
import typing as t

from .._base.errors import GatewayError
from .manager import NAME, Manager, comments
from .networkd import USUAL, is_generated, read_links, reloaded

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .manager import Files, Setup
    from .seen import Routes

PATH = "/etc/netplan/90-{0}.yaml".format(NAME)
GENERATED = re.compile(r".*/10-netplan-(.+)\.network")
KIND, ID = re.compile(r"  ([\w-]+):$"), re.compile(r"    (\S+):$")
ALL = {4: "0.0.0.0/0", 6: "::/0"}


class Netplan(Manager):
    name = "netplan"
    places = (PATH,)
    takes_dns = "resolved"

    def manages(self, interface: str, sight: Sight) -> bool:
        link = read_links(sight).get(interface)
        return bool(link and is_generated(link) and link.state != "unmanaged")

    def files(self, setup: Setup, sight: Sight) -> Files:
        found = GENERATED.match(read_links(sight)[setup.interface].network_file)
        name = found.group(1) if found else setup.interface
        kind = kinds_of(sight.ask(["netplan", "get"]).out).get(name)
        if not kind:
            raise GatewayError(
                "netplan configures {0}, but `netplan get` does not name {1}; run `netplan generate` and this "
                "again".format(setup.interface, name)
            )
        lines = [*comments(setup), "network:", "  version: 2", "  {0}:".format(kind), "    {0}:".format(_quoted(name))]
        lines.append("      routes:")
        for route in setup.routes:
            lines += ['        - to: "{0}"'.format(ALL[route.version]), '          via: "{0}"'.format(route.gateway)]
            lines += ["          metric: {0}".format(route.metric)] if route.metric != USUAL[route.version] else []
            # With DHCP, the address comes after the route, which could not reach its gateway until then.
            lines += ["          on-link: true"] if route.onlink else []
        if setup.dns:
            lines += [
                "      nameservers:",
                "        addresses:",
                *('          - "{0}"'.format(each) for each in setup.dns),
            ]
        return {PATH: ("\n".join(lines) + "\n", 0o600)}

    def told(self, interfaces: t.Sequence[str], routes: Routes, paths: t.Sequence[str]) -> t.Tuple[str, ...]:
        return ("netplan generate", *reloaded(interfaces, routes))


def kinds_of(text: str) -> t.Dict[str, str]:
    """The kind (ethernets, bridges, …) of each ID in the output of ``netplan get``."""
    kinds, kind = {}, ""
    for line in text.splitlines():
        kind_found, name = KIND.match(line), ID.match(line)
        if kind_found:
            kind = kind_found.group(1)
        elif name and kind:
            kinds[name.group(1).strip("\"'")] = kind
    return kinds


def _quoted(name: str) -> str:
    return '"{0}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))
