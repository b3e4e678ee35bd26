# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host in memory: files, /proc/sys, and the parts of nft, iptables, ip and systemctl that the engine uses.

Everything that alters the host goes through ``_event``, so that a test can read the order of steps (``events``), forbid
all of them (``frozen``), or make one of them fail (``fail``).
"""

from __future__ import annotations

import fnmatch
import json
import posixpath
import re
import shlex
import typing as t

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done, Host, Onlooker
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback, scripts

if t.TYPE_CHECKING:
    from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Sight

Event = t.Tuple[str, ...]

NFT = ("nft", "ip", "systemctl", "conntrack")
IPTABLES_NFT = ("iptables", "iptables-nft", "ip", "systemctl", "conntrack")
IPTABLES_LEGACY = ("iptables", "iptables-legacy", "ip", "systemctl", "conntrack")

BUILTIN = {
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}  #: Destinations that ``ip route show match`` finds when it is asked for half of the Internet.
WAYS_OUT = ("default", "0.0.0.0/1", "::/1", "2000::/3", "2000::/4")


STAGED = re.compile(r"^cp -p (.+) \|\| give_up$", re.MULTILINE)
#: The folder with the files of our own folder, and what is in it.
OURS = re.compile(r"^cp -Rp (\S+) (.+) \|\| give_up$", re.MULTILINE)
SYNCED = re.compile(r"^sync (.+) 2> /dev/null", re.MULTILINE)
MOVED = re.compile(r"^for part in (.+); do .+; done\n\[ \$# = 0 \] \|\| mv -f \"\$@\" (.+) \|\| exit 1$", re.MULTILINE)
MOVED_ALONE = re.compile(r"^\[ ! -e (.+) \] \|\| mv -f \1 (.+) \|\| exit 1$", re.MULTILINE)


class Forbidden(AssertionError):  # noqa: N818 - reads as what it is
    """The code under test wrote to a frozen host."""


def copied(keep: str) -> t.Iterator[t.Tuple[str, str]]:
    """What the script that keeps a change copies: where each file will be, and its name in the folder of the change."""
    source, stage = OURS.findall(keep)[0]
    stage = shlex.split(stage)[0]
    for part in shlex.split(SYNCED.findall(keep)[0]):
        if posixpath.dirname(part) == stage:
            name = posixpath.basename(part)
            yield posixpath.join(posixpath.dirname(stage), name), posixpath.join(source, name)
    for words in STAGED.findall(keep):
        *names, folder = shlex.split(words)
        for name in names:
            yield posixpath.join(folder, posixpath.basename(name)[1 : -len(scripts.PART)]), name


def moved(commit: str) -> t.Iterator[t.Tuple[str, str]]:
    """What the file that decides moves: each temporary name, and the place."""
    for words, folder in MOVED.findall(commit):
        for part in shlex.split(words):
            yield part, posixpath.join(shlex.split(folder)[0], posixpath.basename(part))
    for part, path in MOVED_ALONE.findall(commit):
        yield shlex.split(part)[0], shlex.split(path)[0]


def link(name: str, *addresses: str, **more: t.Any) -> t.Dict[str, t.Any]:
    """One interface as ``ip -j -d addr show`` prints it."""
    found = {"ifname": name, "link_type": more.pop("link_type", "ether"), "addr_info": []}
    for address in addresses:
        local, length = address.split("/")
        scope = "link" if local.startswith("fe80") else "global"
        found["addr_info"].append({"local": local, "prefixlen": int(length), "scope": scope})
    kind = more.pop("kind", "")
    if kind:
        found["linkinfo"] = {"info_kind": kind}
    found.update(more)
    return found


def route(dev: str, metric: int = 0, dst: str = "default", **more: t.Any) -> t.Dict[str, t.Any]:
    """One route as ``ip -j route show`` prints it."""
    found = {"dst": dst, "gateway": "172.18.0.1", "dev": dev, "flags": []}
    if metric:
        found["metric"] = metric
    found.update(more)
    return found


def seen(host: Host, check_mode: bool) -> Sight:
    """A host as a module gets it."""
    return Onlooker(host) if check_mode else host


class FakeNft:
    """Tables by name, each a list of objects as they were added."""

    def __init__(self) -> None:
        self.tables: t.Dict[str, t.List[t.Dict[str, t.Any]]] = {}

    def load(self, text: str) -> str:
        """Apply a transaction as a whole or not at all; returns an error."""
        tables = {name: list(place) for name, place in self.tables.items()}
        for command in json.loads(text)["nftables"]:
            ((verb, what),) = command.items()
            ((kind, body),) = what.items()
            if kind == "table":
                if verb == "add":
                    tables.setdefault(body["name"], [])
                elif tables.pop(body["name"], None) is None:
                    return "Error: No such file or directory"
                continue
            place = tables[body["table"]]
            if kind == "rule":
                chains = [each["chain"]["name"] for each in place if "chain" in each]
                targets = [part["jump"]["target"] for part in body["expr"] if "jump" in part]
                for chain in [body["chain"]] + targets:
                    if chain not in chains:
                        return "Error: Could not process rule: No such file or directory\nadd rule {0}".format(chain)
            place.append({kind: body})
        self.tables = tables
        return ""

    def listing(self, table: str) -> str:
        found: t.List[t.Any] = [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}]
        found.append({"table": {"family": "inet", "name": table, "handle": 1}})
        place = self.tables[table]
        for kind in ("chain", "counter", "rule"):
            for handle, each in enumerate(place, 2):
                if kind in each:
                    body = dict(each[kind], family="inet", table=table, handle=handle)
                    if kind == "rule":
                        body["expr"] = [_counted(part) for part in body["expr"]]
                    found.append({kind: body})
        return json.dumps({"nftables": found})

    def chains(self) -> str:
        found = [
            {"chain": dict(each["chain"], family="inet", table=table)}
            for table, place in self.tables.items()
            for each in place
            if "chain" in each
        ]
        return json.dumps({"nftables": found})


def _turned(value: t.Any) -> t.Any:
    """With the elements of its maps in the kernel's order."""
    if not isinstance(value, dict):
        return value
    return {key: each[::-1] if key == "set" else _turned(each) for key, each in value.items()}


def _counted(part: t.Any) -> t.Any:
    """What the kernel prints: counters with numbers, sets in its own order."""
    if "counter" in part and "map" not in (part["counter"] or ()):
        return {"counter": part["counter"] or {"packets": 0, "bytes": 0}}
    if "counter" in part or "dnat" in part:
        return _turned(part)
    right = part.get("match", {}).get("right")
    if isinstance(right, dict) and "set" in right:
        return {"match": dict(part["match"], right={"set": right["set"][::-1]})}
    return part


class FakeIptables:
    """Chains of one family and one variant: table to chain to (policy, rules), each rule [packets, bytes, text]."""

    def __init__(self) -> None:
        self.tables: t.Dict[str, t.Dict[str, t.Tuple[str, t.List[t.List[t.Any]]]]] = {
            table: {chain: ("ACCEPT", []) for chain in chains} for table, chains in BUILTIN.items()
        }

    def append(self, table: str, chain: str, text: str) -> None:
        self.tables[table].setdefault(chain, ("-", []))[1].append([0, 0, text])

    def insert(self, table: str, chain: str, text: str) -> None:
        self.tables[table][chain][1].insert(0, [0, 0, text])

    def save(self, counters: bool) -> str:
        lines = ["# Generated by a fake"]
        for table in sorted(self.tables):
            lines.append("*" + table)
            for chain, (policy, _rules) in self.tables[table].items():
                lines.append(":{0} {1} [0:0]".format(chain, policy))
            for chain, (_policy, rules) in self.tables[table].items():
                for packets, octets, text in rules:
                    counts = "[{0}:{1}] ".format(packets, octets) if counters else ""
                    lines.append("{0}-A {1}{2}".format(counts, chain, " " + text if text else ""))
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"

    def restore(self, text: str, commit: t.Callable[[str], t.Optional[str]]) -> str:
        """Table by table, as the kernel does it: an error leaves the tables before it applied."""
        table = ""
        staged: t.Dict[str, t.Any] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("*"):
                table = line[1:]
                staged = {name: (policy, list(rules)) for name, (policy, rules) in self.tables[table].items()}
            elif line == "COMMIT":
                error = commit(table)
                if error:
                    return error
                self.tables[table] = staged
            elif line and not line.startswith("#"):
                error = _apply(staged, line)
                if error:
                    return "iptables-restore: line {0} failed: {1}".format(number, error)
        return ""


def _copied(parts: t.Tuple[t.Any, ...]) -> t.Tuple[t.Any, ...]:
    """A snapshot, copied as deep as tests alter things; copy.deepcopy() took a tenth of the time of all unit tests."""
    files, modes, nft, iptables = parts
    objects = {name: [{kind: dict(body) for kind, body in each.items()} for each in nft[name]] for name in nft}
    chains = {
        key: {
            table: {chain: (policy, [list(rule) for rule in rules]) for chain, (policy, rules) in place.items()}
            for table, place in tables.items()
        }
        for key, tables in iptables.items()
    }
    return dict(files), dict(modes), objects, chains


def _apply(chains: t.Dict[str, t.Any], line: str) -> str:  # noqa: PLR0911 - an error each
    counts, rest = ("0:0", line) if not line.startswith("[") else (line[1:].split("] ", 1)[0], line.split("] ", 1)[1])
    packets, octets = (int(number) for number in counts.split(":"))
    if rest.startswith(":"):
        name, policy, _counts = rest[1:].split()
        if len(name) > 28:
            return "chain name too long (must be under 29 chars)"
        chains[name] = (chains[name][0] if name in chains and policy == "-" else policy, [])
        return ""
    verb, name = rest.split(" ", 2)[:2]
    text = (rest.split(" ", 2) + [""])[2]
    if name not in chains:
        return "No chain/target/match by that name."
    rules = chains[name][1]
    if verb == "-X":
        used = [rule for _policy, others in chains.values() for rule in others if rule[2].endswith("-j " + name)]
        if rules or used:
            return "Device or resource busy"
        del chains[name]
    elif verb == "-D":
        same = [rule for rule in rules if rule[2] == text]
        if not same:
            return "Bad rule (does a matching rule exist in that chain?)."
        rules.remove(same[0])
    elif verb == "-I":
        position, text = text.split(" ", 1)
        if int(position) > len(rules) + 1:
            return "Index of insertion too big."
        rules.insert(int(position) - 1, [packets, octets, text])
    else:
        rules.append([packets, octets, text])
    return ""


class FakeHost(Host):
    """A gateway-to-be: WAN ppp0 with the default route, LAN lan0 with 192.168.1.0/24, both not yet forwarding."""

    def __init__(
        self,
        programs: t.Sequence[str] = NFT,
        links: t.Optional[t.Sequence[t.Mapping[str, t.Any]]] = None,
        files: t.Optional[t.Mapping[str, str]] = None,
        ipv6: bool = True,
    ) -> None:
        self.links = [link("lo"), link("ppp0", "203.0.113.1/32"), link("lan0", "192.168.1.1/24")]
        if links is not None:
            self.links = list(links)
        self.programs = set(programs)
        for name in ("iptables-nft", "iptables-legacy"):
            if name in self.programs:
                for action in ("save", "restore"):
                    self.programs |= {name + "-" + action, name.replace("ip", "ip6", 1) + "-" + action}
        self.routes: t.Dict[str, t.List[t.Dict[str, t.Any]]] = {"-4": [route("ppp0")], "-6": []}
        self.nexthops: t.List[t.Dict[str, t.Any]] = []
        self.rules = [{"table": "local"}, {"table": "main"}, {"table": "default"}]
        self.files: t.Dict[str, str] = {"/run/systemd/system/x": ""}
        self.modes: t.Dict[str, int] = {}
        for family in ("ipv4", "ipv6") if ipv6 else ("ipv4",):
            for name in ["all", "default"] + [each["ifname"] for each in self.links]:
                folder = "/proc/sys/net/{0}/conf/{1}/".format(family, name)
                self.files[folder + "forwarding"] = "0\n"
                self.files[folder + ("accept_ra" if family == "ipv6" else "accept_redirects")] = "1\n"
        self.files["/proc/sys/net/ipv4/ip_forward"] = "0\n"
        self.files.update(files or {})
        self.nft = FakeNft()
        self.iptables = {(variant, family): FakeIptables() for variant in ("nft", "legacy") for family in ("ip", "ip6")}
        self.root = True
        self.time = 1795861230.0  # 2026-11-28 10:20:30 UTC
        self.frozen = False
        self.read_only = False
        self.locked: t.Tuple[str, ...] = ()
        self.connections = ""  # what conntrack -L lists
        self.unknown_helpers: t.Tuple[str, ...] = ()
        self.logged: t.List[str] = []
        self.events: t.List[Event] = []
        self.calls: t.List[t.List[str]] = []
        self.answers: t.Dict[str, Done] = {}  # what a program says instead, by its first words
        self.fail: t.Optional[int] = None  # the event, counted from 0, that fails
        self.forget = False  # the kernel accepts every load and does nothing
        self.armed: t.Any = None  # the host when a rollback was prepared

    # What a test looks at

    def snapshot(self) -> t.Any:
        """Everything that a change could alter, as one value."""
        iptables = {key: each.tables for key, each in self.iptables.items()}
        return _copied((self.files, self.modes, self.nft.tables, iptables))

    def switch(self, key: str) -> str:
        return self.files["/proc/sys/" + key].strip()

    def kinds(self) -> t.List[str]:
        """The kinds of events, without repetitions and without what is prepared for the rollback."""
        kinds = [event[0] for event in self.events if not event[1].startswith(rollback.FOLDER)]
        return [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]

    def _event(self, *event: str) -> bool:
        """Whether the event goes well."""
        if self.frozen:
            raise Forbidden("wrote to the host: {0}".format(event))
        self.events.append(event)
        return self.fail != len(self.events) - 1

    # The seam

    def run(  # noqa: C901, PLR0911 - a program each
        self, argv: t.Sequence[str], stdin: t.Optional[str] = None
    ) -> Done:
        self.calls.append(list(argv))
        for words, done in self.answers.items():
            if " ".join(argv).startswith(words):
                return done
        if argv[0] == "sh" and argv[1].endswith("/keep"):
            return self._keep(argv[1][: -len("keep")])
        if argv[0] == "sh" and argv[1].endswith("/restore"):
            return self._restore(argv[1][: -len("/restore")])
        if argv[0] in ("sh", "systemd-run"):
            return Done(0, "", "")
        if not self.which(argv[0]):
            return Done(127, "", argv[0] + ": not found")
        if argv[0] == "ip":
            return Done(0, json.dumps(self._ip(list(argv))) if argv[1] != "xfrm" else "", "")
        if argv[0] == "nft":
            return self._nft(list(argv), stdin)
        if argv[0] == "conntrack":
            return Done(0, self.connections if argv[1] == "-L" else "", "")
        if argv[0] == "dnsmasq":
            return Done(0, "", "dnsmasq: syntax check OK.\n")
        if argv[0] == "systemctl":
            return self._systemctl(list(argv))
        if list(argv) == ["iptables", "--version"]:
            legacy = "iptables-nft" not in self.programs
            return Done(0, "iptables v1.8.9 ({0})\n".format("legacy" if legacy else "nf_tables"), "")
        name, variant, action = argv[0].split("-")
        return self._iptables(variant, "ip6" if name == "ip6tables" else "ip", action, list(argv), stdin)

    def _ip(self, argv: t.List[str]) -> t.Any:
        if argv == ["ip", "-j", "-d", "addr", "show"]:
            return self.links
        if argv == ["ip", "-j", "link", "show"]:
            return [dict(each, flags=["UP", "LOWER_UP"], mtu=1500) for each in self.links]
        if argv == ["ip", "-j", "nexthop", "show"]:
            return self.nexthops
        if argv[3] == "del":
            gone = {"priority": int(argv[5]), "iif": argv[7], "action": "blackhole"}
            if argv[2] == "rule":
                self._event(*argv)
                self.rules = [rule for rule in self.rules if rule != gone]
            return []
        assert argv[:2] == ["ip", "-j"] and argv[2] in self.routes
        routes = self.routes[argv[2]]
        half = "0.0.0.0/1" if argv[2] == "-4" else "2000::/4"
        known = {
            "rule show": self.rules,
            "route show table all match " + half: [each for each in routes if each["dst"] in WAYS_OUT],
            "route show default proto ra": [each for each in routes if each.get("protocol") == "ra"],
        }
        if " ".join(argv[3:]) in known:
            return known[" ".join(argv[3:])]
        assert argv[3:6] == ["route", "show", "table"] and argv[6] in ("all", "main") and argv[7] == "dev"
        return [each for each in routes if each.get("dev") == argv[8] and (argv[6] == "all" or "table" not in each)]

    def frames(self, link: str) -> t.Any:
        raise OSError("no such device: " + link)

    def which(self, program: str) -> str:
        return "/usr/sbin/" + program if program in self.programs else ""

    def is_root(self) -> bool:
        return self.root

    def kernel(self, _protocol: int) -> t.Any:
        """What a test sets; otherwise the kernel refuses, and the program has to be used."""
        raise OSError(1, "Operation not permitted")

    def sleep(self, seconds: float) -> None:
        self.calls.append(["sleep", str(seconds)])

    def log(self, line: str) -> None:
        self.logged.append(line)

    def now(self) -> float:
        return self.time

    def read(self, path: str) -> t.Optional[str]:
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        inside = (path[:-1] if path.endswith("/.") else path + "/") if path != "/" else path
        return path in self.files or any(known.startswith(inside) for known in self.files)

    def link(self, path: str) -> str:
        return self.files.get(path, "")

    def writable(self, path: str) -> bool:
        return not self.read_only and path not in self.locked

    def find(self, pattern: str) -> t.List[str]:
        depth = pattern.count("/")
        return sorted(p for p in self.files if p.count("/") == depth and fnmatch.fnmatchcase(p, pattern))

    def write_switch(self, path: str, value: str) -> None:
        assert path.startswith("/proc/sys/")
        if path not in self.files:
            raise GatewayError(path + ": cannot be set to " + value + ": No such file or directory")
        if not self._event("switch", path[len("/proc/sys/") :], value):
            raise GatewayError(path + ": cannot be set to " + value + ": Input/output error")
        self.files[path] = value + "\n"
        family = path.split("/")[4]
        if path.endswith(("/ip_forward", "/conf/all/forwarding")):
            tree = "/proc/sys/net/{0}/".format(family)
            for known in self.find(tree + "conf/*/forwarding"):
                self.files[known] = value + "\n"
            if family == "ipv4":
                self.files[tree + "ip_forward"] = value + "\n"
                self.files[tree + "conf/all/accept_redirects"] = "0\n" if value == "1" else "1\n"

    def write(self, path: str, text: str, mode: int) -> None:
        assert not path.startswith("/proc/")
        if not self._event("write", path):
            raise GatewayError(path + ": cannot be written: No space left on device")
        self.files[path], self.modes[path] = text, mode

    def mode(self, path: str) -> int:
        assert path in self.files
        return self.modes.get(path, 0o644)

    def remove(self, path: str) -> None:
        if not self._event("remove", path):
            raise GatewayError(path + ": cannot be removed: Read-only file system")
        self.files.pop(path, None)
        self.modes.pop(path, None)

    def make_folder(self, path: str) -> bool:
        self._event("folder", path)
        return not any(name.startswith(path + "/") for name in self.files)

    def is_free(self, path: str) -> bool:
        return False

    def rename(self, path: str, to: str) -> bool:
        self._event("rename", path)
        inside = [name for name in self.files if name.startswith(path + "/")]
        if inside and not any(name.startswith(to + "/") for name in self.files):
            self.armed = self.snapshot()
            for name in inside:
                self.files[to + name[len(path) :]] = self.files.pop(name)
                self.modes[to + name[len(path) :]] = self.modes.pop(name, 0o644)
            return True
        if path not in self.files or not self.exists(posixpath.dirname(to)):
            return False
        self.files[to], self.modes[to] = self.files.pop(path), self.modes.pop(path, 0o644)
        return True

    def remove_tree(self, path: str) -> None:
        self._event("remove", path)
        for name in [name for name in self.files if name.startswith(path + "/")]:
            del self.files[name]
            self.modes.pop(name, None)

    def remove_folder(self, path: str) -> None:
        if self.frozen:
            raise Forbidden("removed " + path)

    # The tools

    def _keep(self, folder: str) -> Done:
        """The effect of the script in the shell: every file staged, then moved; stale ones removed; services called."""
        staged = {}
        commit = json.loads(self.files[folder + "change.json"])["commit"]
        for path, name in copied(self.files[folder + "keep"]):
            if path != commit and not self._event("write", path):
                return Done(1, "", "cp: error writing '{0}': No space left on device".format(path))
            staged[path] = (self.files[folder + name], self.modes[folder + name])
        for _part, path in moved(staged[commit][0]):
            self.files[path], self.modes[path] = staged[path]
        for line in staged[commit][0].splitlines()[1:]:
            words = shlex.split(line)
            if words[0] == "systemctl":
                self._systemctl(words[: words.index("||")])
            elif words[:2] == ["rm", "-f"]:
                self._rm(*words[2 : words.index("||")])
        for line in self.files[folder + "keep"].splitlines():
            if line.startswith("systemctl"):
                self._systemctl([word for word in line.partition(" || ")[0].split() if word != "--quiet"])
        self.remove_tree(folder.rstrip("/"))
        return Done(0, "", "")

    def _rm(self, *paths: str) -> None:
        for path in paths:
            self._event("remove", path)
            self.files.pop(path, None)
            self.modes.pop(path, None)

    def _restore(self, folder: str) -> Done:
        """The effect of the script in the shell; that it has this effect is shown with real programs."""
        self._event("restore", folder)
        self.files, self.modes, self.nft.tables, tables = _copied(self.armed)
        for key, each in self.iptables.items():
            each.tables = tables[key]
        for name in [name for name in self.files if "/.default-" in name or name.startswith(folder + "/")]:
            del self.files[name]
            self.modes.pop(name, None)
        return Done(0, "", "")

    def _nft(self, argv: t.List[str], stdin: t.Optional[str]) -> Done:
        if argv[1:] == ["-j", "-f", "-"]:
            if not self._event("load", "nft"):
                return Done(1, "", "Error: Could not process rule: Cannot allocate memory\n")
            error = "" if self.forget else self.nft.load(stdin or "")
            return Done(1 if error else 0, "", error)
        if argv[1:] == ["-c", "-j", "-f", "-"]:
            asked = [body["add"].get("ct helper", {}).get("type") for body in json.loads(stdin or "")["nftables"]]
            return Done(1 if set(asked) & set(self.unknown_helpers) else 0, "", "")
        if argv[1:] == ["-j", "list", "chains"]:
            return Done(0, self.nft.chains(), "")
        assert argv[1:5] == ["-j", "list", "table", "inet"], "foreign rules are never listed: {0}".format(argv)
        if argv[5] not in self.nft.tables:
            return Done(1, "", "Error: No such file or directory\nlist table inet " + argv[5])
        return Done(0, self.nft.listing(argv[5]), "")

    def _iptables(self, variant: str, family: str, action: str, argv: t.List[str], stdin: t.Optional[str]) -> Done:
        tables = self.iptables[variant, family]
        if action == "save":
            return Done(0, tables.save("-c" in argv), "")
        assert action == "restore"
        assert "--noflush" in argv, "only --noflush spares the rules of others"

        def commit(table: str) -> t.Optional[str]:
            if not self._event("load", "{0}-{1}".format(family, variant), table):
                return "iptables-restore: line 1 failed: Cannot allocate memory"
            return None

        if self.forget:
            return Done(0, "", "")
        error = tables.restore(stdin or "", commit)
        return Done(1 if error else 0, "", error)

    def _serve(self, instance: str, starts: bool) -> None:
        """dnsmasq of an instance runs, or does not."""
        pid = "/run/ipmasq-services/{0}.pid".format(instance)
        if starts:
            self.files.update({pid: "4711\n", "/proc/4711": ""})
            conf = "/run/ipmasq-services/{0}.conf".format(instance)
            self.files["/proc/4711/cmdline"] = "dnsmasq\0--conf-file={0}\0".format(conf)
            for word in ("host", "name"):
                lines = re.findall(r"^#{0} (.*\n)".format(word), self.files.get(conf, ""), re.MULTILINE)
                path = conf.replace(".conf", ".{0}s".format(word))
                self.files[path], self.modes[path] = "".join(lines), 0o644
            path = conf.replace(".conf", ".started")
            text = re.sub(r"^#.*\n", "", self.files.get(conf, ""), flags=re.MULTILINE)
            self.files[path], self.modes[path] = text, 0o640
        else:
            for path in (pid, "/proc/4711", "/proc/4711/cmdline"):
                self.files.pop(path, None)

    def _systemctl(self, argv: t.List[str]) -> Done:
        if " ".join(argv[:2]) in self.answers:
            return self.answers[" ".join(argv[:2])]
        if argv[1] == "is-active":
            return Done(0, "active\n", "")
        enabled = "/etc/systemd/system/sysinit.target.wants/ipmasq.service"
        if not self._event("systemctl", *argv[1:]):
            return Done(1, "", "Failed to connect to bus")
        server = re.fullmatch(r"ipmasq-services@(\w+)\.service", argv[-1])
        if server:
            self._serve(server.group(1), argv[1] in ("start", "restart", "reload-or-restart"))
        elif argv[1] == "enable":
            self.files[enabled] = ""
        elif argv[1] == "disable":
            self.files.pop(enabled, None)
        return Done(0, "", "")
