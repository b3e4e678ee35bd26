# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile text, for every option that takes text, and readers of rules and scripts that share nothing with the code
that writes them."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import os
import pathlib
import re
import subprocess
import typing as t

from hypothesis import strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._base.words import LOGGED
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.tests.unit import params, strategies

Path = t.Tuple[str, ...]

#: What it would create, if any of it were executed.
CANARY = "canary"
PAYLOADS = (
    '"', "'", "\\", '\\"', "\\\\", "{", "}", "{}", "{0}", "{name}", "%s", "%n", "%(x)s", "$", "${IFS}", "$(>canary)",
    "`>canary`", ";>canary", ";>canary;", "|>canary", "&& >canary", ">canary", "'>canary;'", '">canary;"',
    "$(touch canary)", "\ntouch canary\n", "\n", "\r", "\r\n", "\t", "\x0b", "\x85", "\xa0", "\u2028", "\x00",
    "\x00canary", "\x1b[2J", "\x7f", "\u202e", "\u2066", "\u200f", "\u0627\u0644", "e\u0301", "\U0001f4a5", "\uff11",
    "\u0661", "\ud800", "\udcff", "-", "--", "-j ACCEPT", "-j", "--comment", " -j ACCEPT ", '" -j ACCEPT "', "*", "+",
    "!", "#", "..", "../../etc/shadow", "/", "%", "@", ",", ":", "=", "[", "]", "(", ")", "~", "^", "?",
    "\n-A FORWARD -j ACCEPT", "\nCOMMIT\n*nat\n", "}; flush ruleset; ", '"; flush ruleset; #', '"}}]}', "\\u0022",
    '", "x": "', "ipmasq:lab/jump", "ipmasq:default/jump", "# and then\n", "# family ip6\n", "{{ 7 * 7 }}", "<b>",
)  # fmt: skip
LONG = 10000

#: Every possible name of an interface: 15 bytes without slash, colon and white space.
LINK_NAMES = tuple(
    dict.fromkeys(
        name
        for payload in PAYLOADS
        for name in (payload, "w" + payload, payload + "0")
        if 0 < len(name.encode("utf-8", "surrogateescape" if "\ud800" not in name else "surrogatepass")) <= 15
        and not re.search(r"[/:\s\x00\ud800]", name)
        and name not in (".", "..")
    )
)


def hostile(base: str) -> t.Any:
    """A valid value with something inside, at its end or its beginning, up to 10,000 characters; or anything."""
    payload = st.sampled_from(PAYLOADS)
    middle = len(base) // 2
    return st.one_of(
        payload,
        payload.map(lambda text: base + text),
        payload.map(lambda text: text + base),
        payload.map(lambda text: base[:middle] + text + base[middle:]),
        st.tuples(payload, payload).map(lambda pair: pair[0] + base + pair[1]),
        payload.map(lambda text: base + text * (LONG // len(text))),
        payload.map(lambda text: (text * LONG)[:LONG] + base),
        st.sampled_from((base * LONG, " " * LONG + base, base + " " * LONG)).map(lambda text: text[-LONG:]),
        st.text(st.characters(), max_size=40),
        st.text(st.characters(), max_size=10).map(lambda text: base + text),
    )


def text_options(spec: t.Mapping[str, t.Any], path: Path = ()) -> t.List[Path]:
    """The path of every option that takes free text."""
    found: t.List[Path] = []
    for name, option in spec.items():
        if option.get("options"):
            found += text_options(option["options"], (*path, name))
        elif "choices" not in option and "str" in (option.get("type"), option.get("elements")):
            found.append((*path, name))
    return found


GATEWAY_SPEC = argspec.merge(argspec.INSTANCE, argspec.GATEWAY)
GATEWAY_TEXTS = text_options(GATEWAY_SPEC)
#: The lists of strategies.RIGHT, and what else an option needs to take effect.
RIGHT: t.Dict[str, t.Any] = dict(
    copy.deepcopy(strategies.RIGHT),
    # Nothing names the first LAN or the WAN, so that they may be called anything.
    lans=[dict(lan, reaches=[]) for lan in strategies.RIGHT["lans"]],
    # What a router sends here need not be on a link.
    nat=[dict(item, to_address="routed") if "to" in item else item for item in strategies.RIGHT["nat"]],
    port_forwards=[dict(item, wan=None) for item in strategies.RIGHT["port_forwards"]],
    input="protect",
    input_allow=[{"name": "vpn", "protocol": ["udp"], "port": ["51820"]}],
    log=list(LOGGED),
    multicast=[dict(item, wan=None, lan=None) for item in strategies.RIGHT["multicast"]],
)
#: A valid value of each option that RIGHT lacks.
BASES = {
    "instance": "lab", "mss": "1452", "conntrack_max": "65536", "log_prefix": "ipmasq ", "log_rate": "10/minute",
    "interface": "wan0", "interfaces": "lan0", "networks": "192.168.77.0/24", "reaches": "guests", "source": "guests",
    "destination": "198.51.100.0/24", "wan": "wan0", "port": "443", "to": "203.0.113.9", "to_port": "1024-65535",
    "rate": "10/second", "name": "office", "in_interface": "wan0", "out_interface": "wan0", "token": "0123abcd",
    "group": "239.0.0.0/8", "lan": "office", "dns_upstream": "9.9.9.9", "dns_domain": "office.example",
    "metrics_folder": "/var/lib/node_exporter", "managed_links": "hassio", "carried_from": "198.51.100.9/32",
}  # fmt: skip


def put(options: t.Dict[str, t.Any], path: Path, text: str, which: int, beside: bool) -> None:
    """``text`` as the value of an option; of a list of items in one of them, of a list of words alone or beside."""
    place = options
    spec: t.Any = GATEWAY_SPEC
    for name in path[:-1]:
        items = place.setdefault(name, [{}])
        place, spec = items[which % len(items)], spec[name]["options"]
    name = path[-1]
    if spec[name].get("type") == "list":
        place[name] = (list(place.get(name) or ()) if beside else []) + [text]
    else:
        place[name] = text


@st.composite
def gateways(draw: t.Any) -> t.Tuple[Path, str, t.Dict[str, t.Any]]:
    """Valid options except for one, with its path and its text."""
    path = draw(st.sampled_from(GATEWAY_TEXTS))
    text = draw(hostile(BASES[path[-1]]))
    options = copy.deepcopy(RIGHT)
    put(options, path, text, draw(st.integers(0, 3)), draw(st.booleans()))
    return path, text, params.gateway_params(**options)


# Readers


NFT_COMMANDS = ("add", "delete")
NFT_KINDS = ("table", "chain", "rule", "ct helper")
#: Everything that may be a key in our JSON.
NFT_TEXT = """
addr bytes counter ct data dir drop expr fib field flags flow flowtable goto hook jhash jump key l3proto left len limit
log map masquerade match meta mod mode name numgen offset op packets payload per policy port prefix prio protocol rate
reject return right result rt seed set snat dnat target type type_flags value mangle accept family table chain comment
range & |
"""
NFT_WORDS = frozenset([*NFT_TEXT.split(), "ct helper", "ct timeout", "tcp option"])
#: Words of nft, addresses, names of ours and of interfaces.
NFT_VALUE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9_.@:*/-]*(?: daddr)?|==|!=|in|&|\|")
COMMENT = re.compile(r"ipmasq:[a-z][a-z0-9_]{0,9}/[A-Za-z0-9_./@-]+\*?")


def read_nft(script: str, table: str, prefix: str) -> None:
    """Every command is about our table, every key is a known one, every text a plain word or the log's prefix."""
    commands = json.loads(script)["nftables"]
    lines = script.splitlines()
    assert len(lines) == len(commands) + 2
    for command, line in zip(commands, lines[1:-1]):
        assert _read_nft_line(line, table, prefix) == command, line


@functools.lru_cache(maxsize=None)  # Scripts share most of their lines, and reading each again takes minutes.
def _read_nft_line(line: str, table: str, prefix: str) -> t.Any:
    command = json.loads(line.rstrip(","))
    ((verb, what),) = command.items()
    ((kind, body),) = what.items()
    assert verb in NFT_COMMANDS and kind in NFT_KINDS
    assert body["family"] == "inet" and body["name" if kind == "table" else "table"] == table
    for key, value in _leaves(body):
        if key == "comment":
            assert COMMENT.fullmatch(value) and len(value) <= 128
        elif key == "prefix" and value.startswith(prefix):
            assert value[len(prefix) :] in [event + ": " for event in LOGGED]
        else:
            assert NFT_VALUE.fullmatch(value), (key, value)
    return command


def _leaves(value: t.Any, key: str = "") -> t.Iterator[t.Tuple[str, str]]:
    if isinstance(value, dict):
        assert set(value) <= NFT_WORDS, sorted(set(value) - NFT_WORDS)
        for name, part in value.items():
            yield from _leaves(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, key)
    elif isinstance(value, str):
        yield key, value


LATE = re.compile(r"add (ct timeout|chain|rule|flowtable) inet (\w+) ([\w.@/-]+)\b(.*)")
LATE_WORD = re.compile(r'"[A-Za-z0-9][A-Za-z0-9_.@*-]*"|[A-Za-z0-9@][\w.@:/-]*|[{};:,=&]|!=|-[0-9]+')
LATE_COMMENT = re.compile(r' comment "([^"]*)"$')


def read_nft_late(text: str, table: str) -> None:
    """The part that nft gets as text: one command a line, with known characters only."""
    for line in text.splitlines():
        _read_nft_late_line(line, table)


@functools.lru_cache(maxsize=None)
def _read_nft_late_line(line: str, table: str) -> None:
    command = LATE.fullmatch(line)
    assert command and command.group(2) == table, line
    rest = command.group(4)
    comment = LATE_COMMENT.search(rest)
    if comment:
        assert COMMENT.fullmatch(comment.group(1)), line
        rest = rest[: comment.start()]
    assert [word for word in LATE_WORD.sub(" ", rest).split() if word] == [], line


#: Each word of iptables that we write, and how many values follow it.
IPTABLES_TEXT = """
-s -d -i -o -p -m -j -g --dport --comment --log-prefix --ctstate --ctdir --ctorigdst --to-source --to-destination
--to-ports --to --reject-with --set-mss --helper --limit --icmp-type --icmpv6-type --dst-type --dir --pol --mode
--every --packet --cluster-local-nodemask --cluster-total-nodes --cluster-hash-seed --mark --set-xmark --ctstatus
--src-type
"""
IPTABLES_WORDS = dict.fromkeys(IPTABLES_TEXT.split(), 1)
IPTABLES_WORDS.update(
    {
        "!": 0,
        "--invert": 0,
        "--limit-iface-in": 0,
        "--tcp-flags": 2,
        "--random-fully": 0,
        "--persistent": 0,
        "--clamp-mss-to-pmtu": 0,
    }
)
TARGETS = frozenset(
    ("ACCEPT", "DROP", "REJECT", "RETURN", "MASQUERADE", "SNAT", "DNAT", "NETMAP", "LOG", "TCPMSS", "CT", "MARK")
)
IPTABLES_LINE = re.compile(
    r"\*(?:raw|mangle|filter|nat)|COMMIT|# family ip6?|# hold|:(?P<chain>\S+) - \[0:0\]|-X (?P<gone>\S+)"
    r"|(?:\[\d+:\d+\] )?-A (?P<place>\S+)(?P<rule> .*)?|(?:\[\d+:\d+\] )?-I (?P<hook>[A-Z]+) \d+(?P<jump> .*)"
    r"|-D (?P<from>[A-Z]+)(?P<old> .*)"
)
IPTABLES_VALUE = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9_.@:/,+\[\]-]*")


def read_iptables(script: str, instance: str, prefix: str) -> None:
    """Every line is about a chain of ours or a jump to one, every word is known, text only appears where it may."""
    for line in script.split("\n")[:-1]:
        _read_iptables_line(line, instance, prefix)


@functools.lru_cache(maxsize=None)
def _read_iptables_line(line: str, instance: str, prefix: str) -> None:
    ours = re.compile(r"IPMASQ-{0}[A-Za-z0-9_.@/-]+".format("" if instance == "default" else instance + "-"))
    found = IPTABLES_LINE.fullmatch(line)
    assert found, line
    for name in (found.group("chain"), found.group("gone"), found.group("place")):
        assert not name or (ours.fullmatch(name) and len(name) <= 28), line
    words = split_like_restore(found.group("rule") or found.group("jump") or found.group("old") or "")
    while words:
        word = words.pop(0)
        assert word in IPTABLES_WORDS, line
        values, words = words[: IPTABLES_WORDS[word]], words[IPTABLES_WORDS[word] :]
        for value in values:
            if word == "--comment":
                assert COMMENT.fullmatch(value) and value.split("/")[0] == "ipmasq:" + instance, line
            elif word == "--log-prefix":
                assert value.startswith(prefix) and len(value) <= 29, line
            elif word in ("-j", "-g"):
                assert value in TARGETS or ours.fullmatch(value), line
            else:
                assert IPTABLES_VALUE.fullmatch(value), line


def split_like_restore(text: str) -> t.List[str]:
    """iptables/xshared.c, add_param_to_argv(): double quotes, and backslashes inside them."""
    words: t.List[str] = []
    word, quoted, escaped, begun = "", False, False, False
    for char in text + " ":
        if quoted and escaped:
            word, escaped = word + char, False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted, begun = not quoted, True
        elif not quoted and char in " \t\n":
            if word or begun:
                words.append(word)
            word, begun = "", False
        else:
            word += char
    assert not quoted and not escaped, text
    return words


# Scripts, run by the real shell among programs that only record calls (nothing is removed, so that a canary stays)


VARIANTS = itertools.product(("iptables", "ip6tables"), ("nft", "legacy"), ("save", "restore"))
TOOLS = [
    *("nft", "conntrack", "ip", "modprobe", "systemctl", "systemd-run", "setsid", "sleep", "sync", "rm", "rmdir"),
    *("logger", "flock"),
    *("-".join(words) for words in VARIANTS),
]
REAL = ("basename", "cat", "chmod", "cp", "date", "grep", "mkdir", "mv", "readlink", "sed", "sh", "tail", "tr")
#: One write a line, as the programs of a pipe run at the same time.
NOTE = """#!/bin/sh
line=${0##*/}
for word in "$@"; do line="$line\t$word"; done
printf "%s\\n" "$line" >> '{0}'
"""
ROOTS = re.compile(r"/(?:etc|run|proc)(?=/)")


class Cell:
    """A folder that scripts take for the whole host."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name in TOOLS:
            (programs / name).write_text(NOTE.replace("{0}", str(self.log)), encoding="utf-8")
            (programs / name).chmod(0o755)
        for name in REAL:
            place = next(base + name for base in ("/bin/", "/usr/bin/") if os.path.exists(base + name))
            (programs / name).symlink_to(place)
        # Paths in the files are other ones here, so their sums differ.
        (programs / "sha256sum").write_text('#!/bin/sh\nwhile read -r sum file; do echo "$file: OK"; done\n')
        (programs / "sha256sum").chmod(0o755)

    def moved(self, text: str) -> str:
        text = re.sub(r"^PATH=.*$", "PATH=" + str(self.folder / "bin"), text, flags=re.M)
        return ROOTS.sub(lambda found: str(self.folder) + found.group(), text)

    def write(self, files: t.Mapping[str, str]) -> None:
        for path, text in files.items():
            place = pathlib.Path(os.fsdecode(str(self.folder) + path))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(self.moved(text), encoding="utf-8", errors="surrogateescape")

    def run(self, path: str, *words: str) -> t.List[t.List[str]]:
        """Run a script; returns the programs that it started, with their arguments."""
        if self.log.exists():
            self.log.unlink()
        done = subprocess.run(
            [str(self.folder / "bin" / "sh"), str(self.folder) + path] + list(words),
            cwd=str(self.folder),
            env={"PATH": str(self.folder / "bin")},
            capture_output=True,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert not re.search("not found|[Ss]yntax|unexpected|bad substitution|ermission denied|annot create", said), (
            said
        )
        noted = self.log.read_text(encoding="utf-8", errors="surrogateescape") if self.log.exists() else ""
        return [line.split("\t") for line in noted.splitlines()]

    def canaries(self) -> t.List[str]:
        return [str(path) for path in self.folder.rglob("*") if CANARY in path.name and "conf" not in path.parts]
