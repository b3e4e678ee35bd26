# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual machine: its own Debian kernel with systemd, and commands that run in it.

It has no network except what tests create inside. Host and guest talk through a virtio port (see guest/agent.py).
The disk is discarded at the end; until then it survives reboots.
"""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import subprocess
import tarfile
import typing as t
from pathlib import Path

import ansible

from ansible_collections.ipmasq.linux.plugins import module_utils

if t.TYPE_CHECKING:
    from image import Image

#: Seconds. An idle machine needs a fifteenth of that; this one may be busy.
BOOT_WITHIN = 300
MEMORY = "768"
SAVED = "fresh"
PACKAGES = "/usr/lib/python3/dist-packages"
#: What ansible-core's own wrapper does once it has unpacked itself (module_utils/_internal/_ansiballz/_loader.py).
LAUNCHER = """
import runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module("ansible_collections.ipmasq.linux.plugins.modules." + sys.argv[1], run_name="__main__", alter_sys=True)
"""


class Done(t.NamedTuple):
    rc: int
    out: str
    err: str


class Machine:
    """Booted when made. ``folder`` gets what its console says."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.console = folder / "console"
        self._port, theirs = socket.socketpair()
        with theirs, open(str(folder / "qemu"), "wb") as complaints:
            self._qemu = subprocess.Popen(
                _qemu_argv(image, self.console, theirs.fileno()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                pass_fds=(theirs.fileno(),),
            )
        try:
            self.monitor("qmp_capabilities")
            self._meet()
            self._install_collection()
            self._hmp("savevm " + SAVED)
        except BaseException:
            self.close()
            raise

    def run(self, argv: t.Sequence[str], input: str | bytes | None = None, timeout: float = 60) -> Done:  # noqa: A002
        """One command in the guest, and how it ended. Late is an error: nothing here is meant to hang."""
        self._send(_asked(argv, input.encode() if isinstance(input, str) else input or b"", timeout))
        answer = self._receive(timeout + 60)
        out, err = (base64.b64decode(answer[name]).decode(errors="replace") for name in ("out", "err"))
        if answer["late"]:
            raise TimeoutError("{0}: not done after {1} s\n{2}{3}".format(argv, timeout, out, err))
        return Done(answer["rc"], out, err)

    def sh(self, command: str, timeout: float = 60) -> str:
        """What a shell command prints; it has to succeed."""
        done = self.run(["sh", "-ec", command], timeout=timeout)
        assert done.rc == 0, "{0}\n{1}{2}".format(command, done.out, done.err)
        return done.out

    def start(self, unit: str, *argv: str) -> None:
        """A command in the background, until ``systemctl stop`` of that unit."""
        self.sh("systemctl reset-failed {0} 2>/dev/null || true".format(unit))
        done = self.run(["systemd-run", "--quiet", "--unit=" + unit, *argv])
        assert done.rc == 0, done.err

    def put(self, path: str, data: bytes) -> None:
        done = self.run(["sh", "-ec", 'mkdir -p "$(dirname "$1")"; cat > "$1"', "put", path], input=data)
        assert done.rc == 0, done.err

    def read(self, path: str) -> str:
        return self.sh("cat " + path)

    def module(self, name: str, params: t.Mapping[str, t.Any], check: bool = False) -> dict[str, t.Any]:
        """Run a module of the collection as Ansible does, and return what it reports."""
        asked = {"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check)}
        done = self.run(["python3", "-c", LAUNCHER, name], input=json.dumps(asked), timeout=180)
        assert done.out.lstrip().startswith("{"), done
        return json.loads(done.out)

    def apply(self, params: t.Mapping[str, t.Any], check: bool = False) -> dict[str, t.Any]:
        """The gateway module, which has to succeed. There is no controller here to confirm a change."""
        result = self.module("gateway", dict({"confirm_timeout": 0}, **params), check)
        assert not result.get("failed"), result["msg"]
        return result

    def reboot(self) -> None:
        """An orderly reboot; what is on the disk stays."""
        self._send(_asked(["systemctl", "--no-block", "reboot"]))
        self._meet()

    def restore(self) -> None:
        """Back to the moment after the first boot, memory and disk; takes a second, while a boot takes many."""
        self._hmp("loadvm " + SAVED)

    def close(self) -> None:
        self._qemu.kill()
        self._qemu.communicate()
        self._port.close()

    def monitor(self, execute: str, **arguments: t.Any) -> t.Any:
        """A command to QEMU itself, in QMP."""
        assert self._qemu.stdin and self._qemu.stdout
        self._qemu.stdin.write(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
        self._qemu.stdin.flush()
        for line in self._qemu.stdout:
            message = json.loads(line)
            assert "error" not in message, message["error"]
            if "return" in message:
                return message["return"]
        raise self._dead()

    def _hmp(self, command: str) -> None:
        """A command that QMP does not have; its output is the error."""
        said = self.monitor("human-monitor-command", **{"command-line": command})
        assert not said, said

    def _meet(self) -> None:
        """Wait until the guest is up; its agent speaks first. Before a reboot it may or may not get to answer."""
        while "boot" not in self._receive(BOOT_WITHIN):
            pass
        self.run(["systemctl", "is-system-running", "--wait"], timeout=BOOT_WITHIN)

    def _install_collection(self) -> None:
        """Our code and what it needs of ansible-core, where the guest's Python looks for it."""
        self.put("/run/code.tar", _code())
        self.sh("tar -x -f /run/code.tar -C {0}; rm /run/code.tar".format(PACKAGES))
        # Compiled before the machine is saved, so that no test waits for it.
        self.sh("python3 -c 'import ansible_collections.ipmasq.linux.plugins.modules.gateway'", timeout=180)

    def _send(self, message: dict) -> None:
        data = json.dumps(message).encode()
        try:
            self._port.sendall(struct.pack("!I", len(data)) + data)
        except OSError:
            raise self._dead() from None

    def _receive(self, timeout: float) -> dict[str, t.Any]:
        self._port.settimeout(timeout)
        (size,) = struct.unpack("!I", self._read(4))
        return json.loads(self._read(size))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self._port.recv(size - len(data))
            except OSError:
                part = b""
            if not part:
                raise self._dead()
            data += part
        return data

    def _dead(self) -> RuntimeError:
        said = [path.read_text(errors="replace")[-3000:] for path in (self.console.parent / "qemu", self.console)]
        return RuntimeError("the machine does not answer; it said last:\n" + "\n".join(said))


def _asked(argv: t.Sequence[str], data: bytes = b"", timeout: float = 60) -> dict[str, t.Any]:
    """What guest/agent.py understands."""
    return {"argv": list(argv), "input": base64.b64encode(data).decode(), "timeout": timeout}


def _qemu_argv(image: Image, console: Path, port: int) -> list[str]:
    return [
        *("setpriv", "--pdeathsig", "KILL"),  # when a test is killed, its machine ends, too
        "qemu-system-x86_64",
        # Never KVM: a machine that is a guest itself may have a /dev/kvm under which a kernel hangs silently.
        *("-accel", "tcg,thread=multi"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-nic", "none"),
        *("-smp", "2", "-m", MEMORY),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", "root=/dev/vda rw console=ttyS0 loglevel=4 systemd.show_status=no mitigations=off nopti"),
        # Writes go to a file that QEMU has removed already.
        *("-drive", "file={0},format=raw,if=virtio,snapshot=on,cache=unsafe".format(image.disk)),
        *("-serial", "file:{0}".format(console)),
        *("-qmp", "stdio"),
        *("-device", "virtio-serial", "-chardev", "socket,id=agent,fd={0}".format(port)),
        *("-device", "virtserialport,chardev=agent,name=agent"),
    ]


def _code() -> bytes:
    """A tar of the Python packages ansible (what modules may use of it) and ansible_collections.ipmasq.linux."""
    core, plugins = Path(ansible.__file__).parent, Path(next(iter(module_utils.__path__))).parent
    wanted = [path for pattern in ("*.py", "_vendor/*.py", "module_utils/**/*.py") for path in core.glob(pattern)]
    sources = [(path, Path("ansible") / path.relative_to(core)) for path in wanted]
    for folder in ("module_utils", "modules"):
        for path in plugins.glob(folder + "/**/*.py"):
            sources.append((path, Path("ansible_collections/ipmasq/linux/plugins") / path.relative_to(plugins)))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for source, name in sources:
            archive.add(str(source.resolve()), str(name))
    return stream.getvalue()
