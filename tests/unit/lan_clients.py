# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A LAN client for unit tests: what its programs say, and files as text. It carries out ``ip route`` and scripts."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import typing as t

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done, Host
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.change import run
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.network_manager import DISPATCHER
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Route
from ansible_collections.ipmasq.linux.tests.unit.fakes import copied, moved

ONE_NETWORK = {"lan0": ["192.168.1.11/24", "fd00:1::11/64"]}
TWO_NETWORKS = {"lan0": ["192.168.1.11/24"], "lan1": ["192.168.9.15/24"]}
GATEWAY = {"name": "gw", "declared": [], "addresses": ["198.51.100.2", "192.168.1.1", "fd00:1::1"]}
DEFAULTS = {
    "state": "present",
    "gateway": "",
    "gateway6": "",
    "gateways": [GATEWAY],
    "interface": "",
    "dns": None,
    "replace_default": False,
    "unmanaged": "fail",
    "confirm_timeout": 30,
    "confirm_by": "controller",
    "wait": 0,
}
MAC = "02:00:00:00:00:0a"


def params(**options: t.Any) -> t.Dict[str, t.Any]:
    found = {**DEFAULTS, **options}
    found["gateways"] = [
        {"asked": True, "mirrored": False, "declared": None, "addresses": None, **each} for each in found["gateways"]
    ]
    return found


class Client(Host):
    """``manager``: networkd (also for netplan), ifupdown, NetworkManager, dhcpcd, or nobody."""

    def __init__(
        self,
        addresses: t.Optional[t.Dict[str, t.List[str]]] = None,
        routes: t.Sequence[str | Route] = (),
        manager: str = "networkd",
        files: t.Optional[t.Mapping[str, str]] = None,
        network_file: str = "/etc/systemd/network/10-{}.network",
        dynamic: bool = False,
        resolved: bool = False,
    ) -> None:
        self.addresses = ONE_NETWORK if addresses is None else addresses
        self.live = [route if isinstance(route, Route) else Route.parse(route) for route in routes]
        self.manager, self.network_file, self.dynamic, self.resolved = manager, network_file, dynamic, resolved
        self.files: t.Dict[str, str] = {"/run/systemd/system/x": "", **(files or {})}
        self.links: t.Dict[str, str] = {}
        self.modes: t.Dict[str, int] = {}
        self.services = ""
        self.netplan = ""
        self.devices = "lan0:connected\nlo:connected (externally)\n"  # nmcli's words
        self.calls: t.List[str] = []
        self.logged: t.List[str] = []
        self.broken = ""  # the beginning of a command that fails
        if manager == "ifupdown":
            names = "".join("{0}={0}\n".format(name) for name in self.addresses)
            self.files["/run/network/ifstate"] = "lo=lo\n" + names
        if manager == "NetworkManager":
            self.files[DISPATCHER] = ""
        if manager == "dhcpcd":
            self.files.update({"/run/dhcpcd/pid": "1\n", "/usr/lib/dhcpcd/dhcpcd-hooks/20-resolv.conf": ""})
        for number, name in enumerate(self.addresses, 2):
            self.files["/sys/class/net/{0}/ifindex".format(name)] = "{0}\n".format(number)
            if manager == "NetworkManager":
                self.files["/run/NetworkManager/devices/{0}".format(number)] = "[device]\nmanaged=true\n"

    # what a test looks at

    def state(self) -> t.Any:
        """Everything that a change may alter, except for what is pending."""
        files = {path: text for path, text in self.files.items() if not path.startswith("/run/ipmasq")}
        return files, {path: mode for path, mode in self.modes.items() if path in files}, sorted(map(str, self.live))

    def routes(self) -> t.List[str]:
        return [str(route) for route in self.live]

    def apply(self, check_mode: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
        host = OnlyLooking(self) if check_mode else self
        return run(params(confirm_timeout=0, **options), host)

    # the seam

    def is_root(self) -> bool:
        return True

    def which(self, program: str) -> str:
        return "/usr/bin/" + program

    def log(self, line: str) -> None:
        self.logged.append(line)

    def sleep(self, seconds: float) -> None:
        self.calls.append("sleep")

    def run(  # noqa: C901, PLR0911 - a program each
        self, argv: t.Sequence[str], stdin: t.Optional[str] = None
    ) -> Done:
        text = " ".join(argv)
        self.calls.append(text)
        if self.broken and text.startswith(self.broken):
            return Done(2, "", "RTNETLINK answers: Network is unreachable")
        if text == "ip -j address show":
            return Done(0, json.dumps(self._links()), "")
        if argv[0] == "ip" and argv[3] == "show":
            lines = ["{0} \n".format(route) for route in self.live if route.version == int(argv[1][1])]
            return Done(0, "".join(lines), "")
        if argv[0] == "ip":
            return self._change_route(list(argv))
        if text.startswith("systemctl is-active"):
            runs = {"systemd-networkd.service": self.manager == "networkd", "systemd-resolved.service": self.resolved}
            return Done(0 if runs[argv[2]] else 3, "", "")
        if argv[0] == "networkctl":
            return Done(0, status({name: self.network_file.format(name) for name in self.addresses}), "")
        if argv[0] == "nmcli" and argv[1] == "-t":
            return Done(0 if self.devices else 8, self.devices, "")
        if text == "netplan get":
            return Done(0, self.netplan, "")
        if argv[0] == "connmanctl":
            return Done(0, self.services, "")
        if argv[0] == "sh" and argv[1].endswith(("/keep", "/restore")):
            return self._script(argv[1])
        return Done(0, "", "")

    def _links(self) -> t.List[t.Dict[str, t.Any]]:
        loopback = {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}
        links: t.List[t.Dict[str, t.Any]] = [{"ifname": "lo", "addr_info": [loopback]}]
        for name, all_of_it in self.addresses.items():
            infos: t.List[t.Dict[str, t.Any]] = []
            for one in all_of_it:
                local, _slash, length = one.partition("/")
                family = "inet6" if ":" in local else "inet"
                infos.append({"family": family, "local": local, "prefixlen": int(length), "scope": "global"})
                infos[-1].update({"dynamic": True} if self.dynamic else {})
            infos.append({"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"})
            links.append({"ifname": name, "address": MAC, "addr_info": infos})
        return links

    def _change_route(self, argv: t.List[str]) -> Done:
        route = Route.parse(" ".join(argv[4:]), int(argv[1][1]))
        same = [each for each in self.live if (each.version, each.metric) == (route.version, route.metric)]
        if argv[3] == "replace":
            self.live = [each for each in self.live if each not in same[:1]] + [route]
        elif argv[3] == "del":
            # Metric 0 is any.
            gone = sorted((each for each in self.live if each.key[:3] == route.key[:3]), key=lambda each: each.metric)
            gone = [each for each in gone if route.metric in (0, each.metric)]
            self.live = [each for each in self.live if each not in gone[:1]]
            return Done(0 if gone else 2, "", "")
        return Done(0, "", "")

    def _script(self, path: str) -> Done:
        """What the script would do: it says it in few forms."""
        folder = path.rpartition("/")[0]
        if path.endswith("/restore"):
            for line in self.files[path].splitlines():
                self._line(line)
            outcome = "reverted"
        else:
            self._commit(self.files[path], folder)
            outcome = "confirmed"
        token = json.loads(self.files[folder + "/change.json"])["token"]
        self.remove_tree(folder)
        self.files[folder + ".last"] = "{0} {1} 10:00:00\n".format(token, outcome)
        return Done(0, "", "")

    def _commit(self, keep: str, folder: str) -> None:
        copies = {path: "{0}/{1}".format(folder, name) for path, name in copied(keep)}
        commit = copies[json.loads(self.files[folder + "/change.json"])["commit"]]
        text = self.files[commit]
        kept = [path for part, path in moved(text) if ".ipmasq-new" in part]
        for line in text.splitlines():
            found = re.match(r"\[ ! -e (\S+) \] \|\| mv -f \1 (\S+)", line)
            if line.startswith("for part in ") or (found and found[1].endswith(".ipmasq-new")):
                for path in kept:
                    self.files[path], self.modes[path] = (of[copies[path]] for of in (self.files, self.modes))
            elif found:
                self._move(found[1], found[2])
            elif line.startswith("rm -f "):
                for path in shlex.split(line.partition(" || ")[0])[2:]:
                    self.remove(path)
            elif " || cp -p " in line:
                source, target = shlex.split(line.partition(" || cp -p ")[2].partition(" || ")[0])
                self.files[target] = self.files[source]
                self.modes[target] = self.mode(source)
        after = [line for line in keep.splitlines() if " || echo " in line]
        for line in after:
            self._line(line)
            self.calls.append(line.partition(" || echo ")[0])

    def _line(self, line: str) -> None:
        found = re.search(r"(ip -\d route (?:replace|del) .*?)(?: 2> /dev/null)? \|\| ", line)
        if not found:
            return
        words = shlex.split(found[1])
        # "!": only if that route is there
        there = Route.parse(" ".join(words[4:]), int(words[1][1])).key in [each.key for each in self.live]
        if there or not line.startswith("! "):
            self._change_route(words)

    def _move(self, path: str, to: str) -> None:
        if path in self.files:
            self.files[to] = self.files.pop(path)
            self.modes[to] = self.modes.pop(path, 0o644)

    # files

    def read(self, path: str) -> t.Optional[str]:
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        return path in self.files or any(known.startswith(path + "/") for known in self.files)

    def link(self, path: str) -> str:
        return self.links.get(path, "")

    def mode(self, path: str) -> int:
        return self.modes.get(path, 0o644)

    def find(self, pattern: str) -> t.List[str]:
        depth = pattern.count("/")
        return sorted(p for p in self.files if p.count("/") == depth and fnmatch.fnmatchcase(p, pattern))

    def write(self, path: str, text: str, mode: int) -> None:
        self.files[path], self.modes[path] = text, mode

    def remove(self, path: str) -> None:
        self.files.pop(path, None)
        self.modes.pop(path, None)

    def make_folder(self, path: str) -> bool:
        return not self.exists(path)

    def rename(self, path: str, to: str) -> bool:
        if path in self.files:
            self._move(path, to)
            return True
        inside = [name for name in self.files if name.startswith(path + "/")]
        for name in inside:
            self._move(name, to + name[len(path) :])
        return bool(inside)

    def remove_tree(self, path: str) -> None:
        for name in [name for name in self.files if name.startswith(path + "/")]:
            self.remove(name)

    def remove_folder(self, path: str) -> None:
        """Folders are not modelled."""


class OnlyLooking(Client):
    """In check mode."""

    def __init__(self, client: Client) -> None:  # pylint: disable=super-init-not-called
        self.__dict__.update(client.__dict__)

    def acting(self) -> None:
        return None


def status(files: t.Mapping[str, str]) -> str:
    """As ``networkctl status -a`` prints it."""
    return "".join(
        "● {0}: {1}\n     Link File: n/a\n  Network File: {2}\n         State: routable (configured)\n\n".format(
            number, name, file
        )
        for number, (name, file) in enumerate(files.items(), 2)
    )
