# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""All access to the managed host: processes and files.

``Sight`` only asks. Check mode, and everything that plans a change, gets one and therefore cannot write; ``Host`` also
acts.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import syslog
import time
import typing as t
from abc import ABC, abstractmethod

from .errors import GatewayError, MissingProgram

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

    from .sockets import Frames, Netlink

#: State of changes in progress and of runs that found nothing to do. A reboot clears it.
RUN_FOLDER = "/run/ipmasq"
#: The tag of our journal lines.
TAG = "ipmasq"
#: In the environment of a module: the key of its task, for the script that answers the same task next time.
TASK = "IPMASQ_TASK"
#: Where programs are that PATH may lack.
SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
#: Programs answer in English.
SPOKEN = {"LC_ALL": "C", "LANGUAGE": "C"}


class Done(t.NamedTuple):
    rc: int
    out: str
    err: str


#: Commands that only read, by their first words; the last word may continue, as in --get-active-zones. Those of the
#: first list give the same answer as long as nothing changes.
STEADY = (
    ("nft", "-j", "list"), ("ip", "-j"), ("ipset", "list"), ("ipset", "save"), ("systemctl", "is-active", "ipmasq-"),
    ("iptables", "--version"), ("firewall-cmd", "--state"), ("firewall-cmd", "--get-"), ("firewall-cmd", "--info-"),
)  # fmt: skip
READING = (
    *STEADY, ("nft", "-c"), ("nft", "-V"), ("ip", "-o", "address", "show"), ("ip", "-4", "route", "show"),
    ("ip", "-6", "route", "show"), ("conntrack", "-L"), ("conntrack", "-S"), ("dnsmasq", "--test"),
    ("firewall-cmd", "--list-"), ("firewall-cmd", "--permanent", "--list-"), ("firewall-cmd", "--permanent", "--get-"),
    ("firewall-cmd", "--direct", "--get-"), ("firewall-cmd", "--permanent", "--direct", "--get-"),
    ("systemctl", "list-"), ("systemctl", "is-active"), ("nmcli", "-t", "-f", "DEVICE,STATE", "device"),
    ("networkctl", "--no-pager", "-n", "0", "-a", "status"), ("netplan", "get"), ("connmanctl", "services"),
)  # fmt: skip


def reads(argv: t.Sequence[str], stdin: t.Optional[str] = None) -> bool:
    """Whether a command only reads."""
    if "-batch" in argv:
        return all(line.startswith("route get ") for line in (stdin or "").splitlines())
    return argv[0].endswith("-save") or any(begins(argv, known) for known in READING)


def begins(argv: t.Sequence[str], known: t.Sequence[str]) -> bool:
    last = len(known) - 1
    return len(argv) > last and list(argv[:last]) == list(known[:last]) and argv[last].startswith(known[last])


class Sight(ABC):
    """The questions that a host answers. Paths are absolute; text is UTF-8."""

    @abstractmethod
    def ask(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        """Run a program that only reads, as ``Host.run`` does. Raises ValueError for any other."""

    @abstractmethod
    def which(self, program: str) -> str:
        """The path of a program, even if PATH lacks the sbin folders; empty if it is not installed."""

    def acting(self) -> t.Optional[Host]:
        """The host, to act on it; None in check mode."""
        return None

    def aside(self) -> Sight:
        """This host, to ask what the record of a run (``_change/repeat``) leaves out: who runs it, and from where."""
        return self

    def is_root(self) -> bool:
        return os.geteuid() == 0

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        return time.time()

    def clock(self) -> float:
        """Seconds of a clock that nobody can set."""
        return time.monotonic()

    def kernel(self, protocol: int) -> Netlink:
        """A netlink socket. Raises OSError if access is refused."""
        from .sockets import Netlink  # noqa: PLC0415 - hardly any run needs it

        return Netlink(protocol)

    def pid(self) -> int:
        """The process ID of this run."""
        return os.getpid()

    def read(self, path: str) -> t.Optional[str]:
        """The text of a file with its line ends unchanged; None if it does not exist."""
        try:
            with open(path, "rb", buffering=0) as handle:  # as text, each takes half as long again
                return handle.read().decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise GatewayError("{0}: cannot be read: {1}".format(path, error.strerror)) from None

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def writable(self, path: str) -> bool:
        return os.access(path, os.W_OK)

    def link(self, path: str) -> str:
        """The target of a symbolic link; empty if it is not a link or is gone."""
        try:
            return os.readlink(path)
        except OSError:
            return ""

    def find(self, pattern: str) -> t.List[str]:
        """The paths that match a shell pattern, sorted."""
        return sorted(glob.glob(pattern))

    def mode(self, path: str) -> int:
        """The permission bits of an existing file."""
        return os.stat(path).st_mode & 0o7777


class Host(Sight):
    """A host that may also be changed."""

    #: The key of the task that a module runs for; empty if nobody asked to be answered without the module next time.
    task = ""

    @abstractmethod
    def run(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        """Run one process under ``LC_ALL=C`` without a shell. A missing program gives rc 127."""

    def ask(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        if not reads(argv, stdin):
            raise ValueError("{0} does not only read".format(" ".join(argv)))
        return self.run(argv, stdin)

    def acting(self) -> t.Optional[Host]:
        return self

    def frames(self, link: str) -> Frames:
        from .sockets import Frames  # noqa: PLC0415 - as above

        return Frames(link)

    def is_free(self, path: str) -> bool:
        """Whether this file exists, and nobody holds flock(2) on it."""
        with contextlib.suppress(OSError), open(path, "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def log(self, line: str) -> None:
        """Write one line to the host's journal, if there is one."""

    def write_switch(self, path: str, value: str) -> None:
        """Write a value to a file under /proc/sys."""
        try:
            with open(path, "w", encoding="ascii") as handle:
                handle.write(value + "\n")
        except OSError as error:
            raise GatewayError("{0}: cannot be set to {1}: {2}".format(path, value, error.strerror)) from None

    def write(self, path: str, text: str, mode: int) -> None:
        """Replace a whole file atomically: after a crash it has the old text or the new, never a part."""
        import tempfile  # noqa: PLC0415 - a run that finds nothing to do needs neither this nor shutil

        folder = os.path.dirname(path)
        try:
            _make_folders(folder, 0o700 if folder == RUN_FOLDER else 0o755)
            handle, part = tempfile.mkstemp(dir=folder, prefix=".ipmasq-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.chmod(part, mode)
                os.replace(part, path)
            except BaseException:
                os.unlink(part)
                raise
        except OSError as error:
            raise GatewayError("{0}: cannot be written: {1}".format(path, error.strerror)) from None

    def remove(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise GatewayError("{0}: cannot be removed: {1}".format(path, error.strerror)) from None

    def make_folder(self, path: str) -> bool:
        """Create a folder that only root may enter; False if it exists."""
        try:
            _make_folders(os.path.dirname(path), 0o700)
            os.mkdir(path, mode=0o700)
        except FileExistsError:
            return False
        except OSError as error:
            raise GatewayError("{0}: cannot be made: {1}".format(path, error.strerror)) from None
        return True

    def rename(self, path: str, to: str) -> bool:
        """Whether the rename succeeded. If several processes try, only one succeeds."""
        try:
            os.rename(path, to)
        except OSError:
            return False
        return True

    def remove_tree(self, path: str) -> None:
        import shutil  # noqa: PLC0415 - as above

        shutil.rmtree(path, ignore_errors=True)

    def remove_folder(self, path: str) -> None:
        """Remove a folder if it exists and is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(path)


class Onlooker(Sight):
    """Passes questions on, and nothing else: a host as check mode sees it."""

    def __init__(self, host: Sight) -> None:
        self._host = host

    def _ask(self, kind: str, *words: str) -> t.Any:
        return getattr(self._host, kind)(*words)

    def ask(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        return self._host.ask(argv, stdin)

    def which(self, program: str) -> str:
        return str(self._ask("which", program))

    def is_root(self) -> bool:
        return bool(self._ask("is_root"))

    def read(self, path: str) -> t.Optional[str]:
        return t.cast("t.Optional[str]", self._ask("read", path))

    def exists(self, path: str) -> bool:
        return bool(self._ask("exists", path))

    def writable(self, path: str) -> bool:
        return bool(self._ask("writable", path))

    def find(self, pattern: str) -> t.List[str]:
        return t.cast("t.List[str]", self._ask("find", pattern))

    def link(self, path: str) -> str:
        return str(self._ask("link", path))

    def mode(self, path: str) -> int:
        return int(self._ask("mode", path))

    def sleep(self, seconds: float) -> None:
        self._host.sleep(seconds)

    def now(self) -> float:
        return self._host.now()

    def clock(self) -> float:
        return self._host.clock()

    def pid(self) -> int:
        return self._host.pid()

    def kernel(self, protocol: int) -> Netlink:
        from .sockets import Listing  # noqa: PLC0415 - as above

        return Listing(self._host.kernel(protocol), protocol)


def _make_folders(path: str, mode: int) -> None:
    """os.makedirs applies its mode to the last folder only, and the umask takes from all of them."""
    if not os.path.isdir(path):
        _make_folders(os.path.dirname(path), mode)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)
            os.chmod(path, mode)


def write_log(line: str) -> None:
    syslog.openlog(TAG, 0, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_NOTICE, line)


class AnsibleHost(Host):
    """The managed host of an Ansible module."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        # With it, programs take an option after an operand for another operand: "systemctl enable --quiet" fails.
        os.environ.pop("POSIXLY_CORRECT", None)
        self.task = os.environ.pop(TASK, "")

    def run(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        program = self.which(argv[0])
        if not program:
            return Done(127, "", "{0}: not found".format(argv[0]))
        try:
            return Done(*self._run(program, argv, stdin))
        except OSError as error:
            raise GatewayError("{0}: cannot be run: {1}".format(program, error.strerror)) from None

    def _run(self, program: str, argv: t.Sequence[str], stdin: t.Optional[str]) -> t.Tuple[int, str, str]:
        result = self._module.run_command(
            [program] + list(argv[1:]),
            data=stdin or (None if stdin is None else "\n"),  # with "", the program would wait for ours
            binary_data=True,  # otherwise a newline is appended, which nft -j reads as a second document
            environ_update=SPOKEN,
            expand_user_and_vars=False,  # a link may be named $HOME
            handle_exceptions=False,
        )
        return t.cast("t.Tuple[int, str, str]", result)

    def log(self, line: str) -> None:
        # Set by the task, or by no_target_syslog in Ansible's configuration for every task.
        if not self._module.no_log:
            write_log(line)

    def which(self, program: str) -> str:
        return t.cast("str", self._module.get_bin_path(program, opt_dirs=list(SBIN)) or "")


def check_root(host: Sight) -> None:
    if not host.is_root():
        raise GatewayError("this needs root; add 'become: true' to the task or play")


#: Longer lists in options are not returned with the result; the caller has them.
MOST_ECHOED = 100


def shortened(params: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The options without long lists. With -vvv, Ansible would return, parse and copy them several times."""
    return {
        name: "{0} items".format(len(value)) if isinstance(value, list) and len(value) > MOST_ECHOED else value
        for name, value in params.items()
    }


def outcome(step: t.Callable[[Sight], t.Dict[str, t.Any]], host: Sight) -> t.Dict[str, t.Any]:
    """What a module returns. An error becomes one message with one problem per line."""
    try:
        return step(host)
    except GatewayError as error:
        missing = {"missing_programs": [error.program]} if isinstance(error, MissingProgram) else {}
        told = {"msg": "\n".join(error.problems), "problems": list(error.problems), "failed": True, **missing}
        return {**told, **getattr(error, "values", {}), "changed": False}
    except Exception as error:  # pylint: disable=broad-except
        import traceback  # noqa: PLC0415 - as above

        words = "this is a bug in ipmasq.linux, please report it: {0}: {1}".format(type(error).__name__, error)
        return {"msg": words, "exception": traceback.format_exc(), "failed": True, "changed": False}


def run_module(module: AnsibleModule, step: t.Callable[[Sight], t.Dict[str, t.Any]]) -> t.NoReturn:
    """Run a module's step and exit. In check mode, the step gets no host that it could change."""
    host = AnsibleHost(module)
    result = outcome(step, Onlooker(host) if module.check_mode else host)
    if result.pop("failed", False):
        module.fail_json(**result)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if not getattr(module, "_diff", True):
        result.pop("diff", None)  # needed only with --diff
    module.exit_json(invocation={"module_args": shortened(module.params)}, **result)
    raise AssertionError("exit_json ends the process")  # pragma: no cover
