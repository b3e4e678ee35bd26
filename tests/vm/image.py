# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A root file system and a kernel for virtual machines, made from Debian's packages and kept in ~/.cache/ipmasq-vm.

The name of a kept one ends in a hash of its recipe, so that a changed recipe is a new image.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

CACHE = Path.home() / ".cache" / "ipmasq-vm"
GUEST = Path(__file__).resolve().parent / "guest"
NEEDS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PACKAGES = [
    "linux-image-amd64",  # linux-image-cloud-amd64 lacks many of the modules that these machines need
    *("systemd-sysv", "udev", "kmod", "procps", "python3"),
    *("nftables", "iptables", "iproute2", "conntrack", "iputils-ping", "ppp", "wireguard-tools"),
]
HASH = 12  # digits of it in a name
SIZE = "3G"  # of the disk, most of it a hole

AGENT_UNIT = """\
[Unit]
Description=Runs what the host asks for

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/vm/agent.py

[Install]
WantedBy=multi-user.target
"""
#: What a Debian machine also does, and what only takes time here.
MASKED = [
    *("apt-daily-upgrade.timer", "apt-daily.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "getty.target", "systemd-timesyncd.service"),
]


class ImageError(Exception):
    """Why there is no image, in one sentence."""


class Image(t.NamedTuple):
    disk: Path
    kernel: Path
    initrd: Path


def require_programs() -> None:
    missing = sorted(program for program in NEEDS if not shutil.which(program, path=SBIN))
    if missing:
        raise ImageError("missing: {0}; 'tools/setup vm' installs it".format(" ".join(missing)))


def provide(release: str, more: t.Sequence[str] = ()) -> Image:
    """The image of a release, built now if it is missing. ``more``: packages besides those that tests need."""
    require_programs()
    name = "-".join([release, *more])
    made = CACHE / "{0}-{1}".format(name, recipe_hash())
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = os.open(CACHE, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once do not make the same image twice
    try:
        if not made.exists():
            for older in CACHE.glob(name + "-" + "[0-9a-f]" * HASH):
                shutil.rmtree(older)
            _build(release, more, made)
    finally:
        os.close(lock)
    return Image(made / "disk", made / "kernel", made / "initrd")


def recipe_hash() -> str:
    recipe = json.dumps([PACKAGES, SIZE, guest_files(), MASKED])
    return hashlib.sha256(recipe.encode()).hexdigest()[:HASH]


def guest_files() -> dict[str, str]:
    """Files of the machine in addition to packages: path to text."""
    return {
        "etc/hostname": "vm\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",  # otherwise every boot is a first boot
        # A small initrd: it is unpacked without KVM here, and only has to find this disk.
        "etc/initramfs-tools/conf.d/vm": "MODULES=list\n",
        "usr/share/initramfs-tools/modules.d/vm": "virtio_pci\nvirtio_blk\next4\n",
        "etc/systemd/system/vm-agent.service": AGENT_UNIT,
        "usr/local/lib/vm/agent.py": (GUEST / "agent.py").read_text(encoding="utf-8"),
    }


def _build(release: str, more: t.Sequence[str], made: Path) -> None:
    if os.geteuid() != 0:
        raise ImageError("needs root to make a root file system")
    say("{0}: making a root file system from Debian's packages (about two minutes)".format(release))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".building-", dir=str(CACHE)) as folder:
        root, extra, part = Path(folder, "root"), Path(folder, "extra"), Path(folder, "image")
        _write_extra(extra)
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--include=" + ",".join([*PACKAGES, *more]),
            *["--dpkgopt=path-exclude=/usr/share/{0}/*".format(name) for name in ("doc", "man", "locale")],
            *_proxy(),
            "--essential-hook=sync-in {0} /".format(extra),  # before the kernel makes its initrd
            release,
            str(root),
            *_mirror(),
        )
        part.mkdir()
        shutil.copy(str(next(root.glob("boot/vmlinuz-*"))), str(part / "kernel"))
        shutil.copy(str(next(root.glob("boot/initrd.img-*"))), str(part / "initrd"))
        run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(part / "disk"), SIZE)
        part.rename(made)
    say("{0}: ready after {1:.0f} s".format(release, time.monotonic() - started))


def _write_extra(folder: Path) -> None:
    for name, text in guest_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    units = folder / "etc/systemd/system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir()
    (wanted / "vm-agent.service").symlink_to("/etc/systemd/system/vm-agent.service")
    for unit in MASKED:
        (units / unit).symlink_to("/dev/null")


def _proxy() -> list[str]:
    """The proxy of this machine's apt, whose configuration mmdebstrap does not read."""
    words = run("apt-config", "dump", "--format", "%f %v%n", "Acquire::http::Proxy").split()
    return ['--aptopt=Acquire::http::Proxy "{0}"'.format(words[1])] if len(words) == 2 else []


def _mirror() -> list[str]:
    """The mirror of this machine's apt, if it is a Debian machine; mmdebstrap knows another one."""
    wanted = ("--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
    found = [line.rstrip("/") for line in run("apt-get", "indextargets", *wanted).split()]
    return [uri for uri in found if not uri.endswith("-security")][:1]


def run(*argv: str) -> str:
    env = dict(os.environ, PATH=SBIN)
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, env=env)
    if done.returncode != 0:
        raise ImageError("{0} failed: {1}".format(argv[0], done.stderr.strip()[-2000:]))
    return done.stdout


def say(text: str) -> None:
    sys.stderr.write("vm: {0}\n".format(text))
