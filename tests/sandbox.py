# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host of one test: the real tools and the real kernel, in the test's own network namespace and folder."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import rtnetlink

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done, Host

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
#: Where programs are found; tests with the tools of another release put theirs in front.
PATH = USUAL = "/usr/sbin:/sbin:/usr/bin:/bin"
#: What the scripts among these start, by their path, for a start without a shell: words, and more of the environment.
STARTED: dict[str, tuple[list[str], dict[str, str]]] = {}
OWN_NAMESPACE = "/proc/thread-self/ns/net"
LIBC = ctypes.CDLL(None, use_errno=True)


def _inodes(*paths: str) -> frozenset:
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            found.add(os.stat(path).st_ino)
    return frozenset(found)


#: The namespaces that no test may touch: the one in which this process began, and that of the first process.
FORBIDDEN = _inodes(OWN_NAMESPACE, "/proc/1/ns/net")


def enter_network_namespace() -> None:
    """Move this process to a new network namespace. /proc/sys/net and /proc/net follow it."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    require_namespace()


def require_namespace() -> None:
    """Nothing may be wired, loaded or switched in the host's own namespace."""
    if not FORBIDDEN or _inodes(OWN_NAMESPACE) & FORBIDDEN:
        raise AssertionError("this is the namespace of the host; a test has to be in its own")


def can_have_namespaces() -> str:
    """The reason why tests in namespaces are not possible here, empty if they are."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    pid = os.fork()
    if pid == 0:
        os._exit(0 if LIBC.unshare(CLONE_NEWNET) == 0 else 1)
    return "" if os.waitpid(pid, 0)[1] == 0 else "unshare(CLONE_NEWNET) is refused here"


def raise_loopback() -> None:
    """What ``ip link set lo up`` does, without a process: every node of every test has one."""
    require_namespace()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


class Namespace:
    """A network namespace that lives as long as this object. Sockets opened inside stay there."""

    def __init__(self) -> None:
        before = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter_network_namespace()
            self._handle = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _setns(before)
            os.close(before)

    @property
    def path(self) -> str:
        """For ``ip link set … netns PATH``."""
        return "/proc/{0}/fd/{1}".format(os.getpid(), self._handle)

    @contextlib.contextmanager
    def inside(self):
        before = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._handle)
            yield self
        finally:
            _setns(before)
            os.close(before)

    def sh(self, command: str) -> str:
        with self.inside():
            return sh(command)

    def ip_batch(self, *commands: str) -> None:
        with self.inside():
            ip_batch(*commands)

    def close(self) -> None:
        os.close(self._handle)


def _setns(handle: int) -> None:
    if LIBC.setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def sh(command: str, check: bool = True) -> str:
    """A shell command of the test itself, such as wiring an interface; it has to succeed."""
    require_namespace()
    argv, more = _program(command) or (["/bin/sh", "-ec", command], {})
    done = spawned(argv[0], argv, {"PATH": PATH, **more}, "replace")
    assert not check or done.rc == 0, command + "\n" + done.out + done.err
    return done.out


#: Words that mean the same without a shell.
PLAIN = re.compile(r"[\w./:@%,+-]+( [\w./:@%,=+-]+)*", re.ASCII)


def _program(command: str) -> tuple[list, dict] | None:
    """One program with plain words is started without a shell, which takes as much processor time as the program; None
    if it has to be a shell."""
    if not PLAIN.fullmatch(command):
        return None
    name, *words = command.split(" ")
    path = shutil.which(name, path=PATH)
    if not path:
        return None
    argv, more = STARTED.get(path, ([path], {}))
    return [*argv, *words], more


def spawned(path: str, argv: list, more: dict, errors: str, stdin: str | None = None) -> Done:
    """What subprocess.run does, which takes four times the processor time; tests start a hundred thousand programs."""
    told, heard = os.pipe()
    said = os.memfd_create("errors")
    asked = -1
    try:
        actions = [(os.POSIX_SPAWN_DUP2, heard, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
        if stdin is not None:
            asked = os.memfd_create("input")
            with open(asked, "wb", closefd=False) as stream:
                stream.write(stdin.encode("utf-8", errors))
            os.lseek(asked, 0, os.SEEK_SET)
            actions.append((os.POSIX_SPAWN_DUP2, asked, 0))
        # Python ignores these.
        usual = [signal.SIGPIPE, signal.SIGXFSZ]
        pid = os.posix_spawn(path, argv, {**os.environ, **more}, file_actions=actions, setsigdef=usual)
        os.close(heard)
        heard = -1
        with open(told, "rb", buffering=0, closefd=False) as stream:
            out = stream.readall()
        rc = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        err = os.pread(said, os.fstat(said).st_size, 0)
    finally:
        for handle in (told, said, heard, asked):
            if handle >= 0:
                os.close(handle)
    return Done(rc, *(text.decode("utf-8", errors).replace("\r\n", "\n") for text in (out, err)))


def ip_batch(*commands: str) -> None:
    """Commands of ip(8). Those that wire a test are nearly all of them, and need no program."""
    require_namespace()
    left = rtnetlink.carry_out(commands)
    if not left:
        return
    path = shutil.which("ip", path=PATH) or ""
    words, more = STARTED.get(path, ([path], {}))
    done = spawned(words[0], [*words, "-batch", "-"], {"PATH": PATH, **more}, "replace", "\n".join(left))
    assert done.rc == 0, "\n".join(left) + "\n" + done.out + done.err


#: What a change prepares for a shell to run.
SCRIPT = re.compile(r"/run/ipmasq/[^/]+/(timer|restore|keep|new/\d+/([^/]+\.)?commit)")


def with_tools(script: str) -> str:
    """A script that sets PATH itself finds the tools of another release, too: what one nft has listed may crash an
    older one that loads it. One that a test has given a PATH of its own keeps it.
    """
    first = PATH[: -len(USUAL)] if PATH.endswith(USUAL) else ""
    return script.replace("\nPATH=", "\nPATH=" + first)


class SandboxHost(Host):
    """Everything below /proc is the kernel's, every other path is under ``root``.

    ``variant`` says what the command ``iptables`` of this host is (``nft`` or ``legacy``); empty: what it really is.
    ``without`` are programs that this host does not have.
    """

    def __init__(self, root: pathlib.Path, variant: str = "", without: tuple = ()) -> None:
        self.root = root
        self.variant = variant
        self.without = without
        self.calls: list[list[str]] = []
        self.writes: list[str] = []

    def run(self, argv, stdin=None):
        require_namespace()
        self.calls.append(list(argv))
        program = self.which(argv[0])
        if not program:
            return Done(127, "", argv[0] + ": not found")
        if argv[0] == "sh":
            argv = [word.replace("/run/ipmasq", self.place("/run/ipmasq")) for word in argv]
        if list(argv) == ["iptables", "--version"] and self.variant:
            return Done(0, "iptables v1.8.9 ({0})\n".format(self.variant.replace("nft", "nf_tables")), "")
        words, more = STARTED.get(program, ([program], {}))
        more = {"PATH": PATH, "LC_ALL": "C", "XTABLES_LOCKFILE": str(self.root / "xtables.lock"), **more}
        errors = "surrogateescape"  # as AnsibleModule.run_command does
        return spawned(words[0], [*words, *argv[1:]], more, errors, stdin)

    def which(self, program):
        if program in self.without:
            return ""
        return shutil.which(program, path=PATH) or ""

    def place(self, path: str) -> str:
        return path if path.startswith("/proc/") else str(self.root) + path

    def read(self, path):
        return super().read(self.place(path))

    def exists(self, path):
        return super().exists(self.place(path))

    def writable(self, path):
        return super().writable(self.place(path))

    def find(self, pattern):
        found = super().find(self.place(pattern))
        return [path if path.startswith("/proc/") else path[len(str(self.root)) :] for path in found]

    def write_switch(self, path, value):
        require_namespace()
        self.writes.append(path)
        super().write_switch(path, value)

    def write(self, path, text, mode):
        self.writes.append(path)
        if SCRIPT.fullmatch(path):
            # What the shell will run has to stay in the folder of this host.
            text = with_tools(re.sub(r"/(etc|run|var/lib)/", lambda found: self.place(found.group()), text))
        super().write(self.place(path), text, mode)

    def mode(self, path):
        return super().mode(self.place(path))

    def is_free(self, path):
        return super().is_free(self.place(path))

    def remove(self, path):
        self.writes.append(path)
        super().remove(self.place(path))

    def remove_folder(self, path):
        self.writes.append(path)
        super().remove_folder(self.place(path))

    def make_folder(self, path):
        self.writes.append(path)
        return super().make_folder(self.place(path))

    def rename(self, path, to):
        self.writes.append(path)
        return super().rename(self.place(path), self.place(to))

    def remove_tree(self, path):
        self.writes.append(path)
        super().remove_tree(self.place(path))

    def sh(self, command: str) -> str:
        return sh(command)

    def put(self, path: str, text: str) -> None:
        """A file that another program has written."""
        target = pathlib.Path(self.place(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def loader(self, *words: str) -> dict:
        """What starts the loader as ipmasq.service does, with /etc/ipmasq in the folder of this host."""
        require_namespace()
        loader = pathlib.Path(self.place("/etc/ipmasq/boot")).read_text(encoding="utf-8")
        moved = re.sub(r"/(etc|run)/(?=ipmasq)", lambda found: self.place(found.group()), loader)
        assert moved != loader
        moved = with_tools(moved)
        env = dict(os.environ, PATH=PATH, XTABLES_LOCKFILE=str(self.root / "xtables.lock"))
        return {"args": ["sh", "-c", moved, "boot", *words], "text": True, "env": env}

    def boot(self, *words: str) -> subprocess.CompletedProcess:
        """Run the loader to its end."""
        return subprocess.run(**self.loader(*words), capture_output=True, check=False)

    def snapshot(self) -> dict:
        """Everything that a module could alter: rules, switches, files. Compare two snapshots with ``==``."""
        require_namespace()
        return {"rules": foreign_rules(), "switches": switches(), "files": files(self.root)}


def files(root: pathlib.Path) -> dict:
    found = {}
    # The script that ends a change removes its folder last. Of one that is killed meanwhile, it stays.
    deadline = time.monotonic() + 5
    while any(root.glob("run/ipmasq/*.gone")) and time.monotonic() < deadline:
        time.sleep(0.02)
    # os.walk skips a folder that somebody removes meanwhile.
    listed = [pathlib.Path(folder, name) for folder, _below, names in os.walk(root) for name in names]
    for path in sorted(listed):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.name not in ("xtables.lock", ".lock")
            and path.suffix != ".last"
        ):
            with contextlib.suppress(FileNotFoundError):  # a script that has ended removes itself
                found[str(path)] = (path.read_bytes(), path.stat().st_mode)
    return found


def addresses() -> list:
    """Every address of this namespace but those that links give themselves."""
    listed = sh("ip -o address show").splitlines()
    return sorted(line.partition("valid_lft")[0] for line in listed if "scope link" not in line)


def switches() -> dict:
    found = {}
    for top in ("/proc/sys/net/ipv4", "/proc/sys/net/ipv6", "/proc/sys/net/netfilter"):
        for folder, below, names in os.walk(top):
            if "neigh" in below:
                below.remove("neigh")
            for name in names:
                with contextlib.suppress(OSError):
                    found[f"{folder}/{name}"] = _content(f"{folder}/{name}")
    found.pop("/proc/sys/net/netfilter/nf_conntrack_count", None)
    return found


def _content(path: str) -> bytes:
    """There are 1,500 switches, read before and after most tests: open() takes three times as long, and room for the
    longest one, which most of them do not need, half as long again."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        begun = os.read(handle, 512)
        return begun if len(begun) < 512 else begun + os.read(handle, 1 << 16)
    finally:
        os.close(handle)


COUNTS = re.compile(r"counter packets \d+ bytes \d+|expires \w+|\[\d+:\d+\]|^#.*$", re.M)


def foreign_rules() -> str:
    """Every rule of this namespace as the tools list them, less counters.

    Empty legacy tables that accept everything are left out: a module that was loaded keeps its tables.
    """
    # In one shell, as nearly every test does this twice.
    listing = sh(LISTING).split(NEXT + "\n")
    parts = [listing[0], _sets(listing[1]), listing[2]]
    for listed in listing[3:]:
        parts += legacy_tables(listed)
    return COUNTS.sub("", "\n".join(parts))


NEXT = "----8<----"
LISTING = f"""
nft list ruleset 2>&1; echo '{NEXT}'
ipset save 2> /dev/null || true; echo '{NEXT}'
ip rule; ip -6 rule
for family in ip ip6; do
    names=/proc/net/${{family}}_tables_names
    if [ -e $names ] && read -r _ < $names; then echo '{NEXT}'; ${{family}}tables-legacy-save; fi
done
"""


def sets() -> str:
    """Every set of ipset, with its members."""
    return _sets(sh("ipset save 2> /dev/null || true"))


def _sets(listing: str) -> str:
    """Sizes and seeds of a hash are the kernel's own."""
    return "\n".join(sorted(re.sub(r" (hashsize|bucketsize|initval) \S+", "", line) for line in listing.splitlines()))


def legacy_tables(listing: str) -> list:
    tables = [part for part in re.split(r"^(?=\*)", COUNTS.sub("", listing), flags=re.M) if part.startswith("*")]
    kept = [part for part in tables if re.search(r"^-A |^:\S+ (DROP|-)", part, re.M)]
    return sorted(kept)
