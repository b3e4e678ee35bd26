# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs of a Debian release, from the lab's image of it, for tests that run outside of any container."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "roles/lab/files/lab-image"
RELEASES = ("bullseye", "bookworm", "trixie")
VARIANTS = ("", "-nft", "-legacy")
PROGRAMS = ("nft", "conntrack", "ip") + tuple(
    family + variant + ending
    for family in ("iptables", "ip6tables")
    for variant in VARIANTS
    for ending in ("", "-save", "-restore")
)


class NotHere(Exception):  # noqa: N818 - reads as what it is
    """Why this machine cannot have the programs of another release."""


@contextlib.contextmanager
def mounted(release: str) -> t.Iterator[pathlib.Path]:
    """The files of a release. The image is mounted read-only."""
    if os.geteuid() != 0:
        raise NotHere("only root may mount an image")
    if not shutil.which("podman"):
        raise NotHere("podman is not installed")
    build = subprocess.run([sys.executable, str(IMAGES), release], capture_output=True, text=True, check=False)
    if build.returncode:
        raise NotHere("no image of {0}: {1}".format(release, build.stderr.strip().splitlines()[-1]))
    image = json.loads(build.stdout)["images"][release]
    root = subprocess.run(["podman", "image", "mount", image], capture_output=True, text=True, check=True)
    try:
        yield pathlib.Path(root.stdout.strip())
    finally:
        subprocess.run(["podman", "image", "unmount", image], capture_output=True, check=False)


def command(root: pathlib.Path, program: pathlib.Path) -> list[str]:
    """A program of these files with its own loader and libraries. It sees the files of this machine, without a
    chroot, because tests pass files and namespaces by their paths."""
    loader = _loader(root)
    # bullseye's image has two folders for libraries.
    folders = [root / place / loader.parent.name for place in ("usr/lib", "lib")]
    return [str(loader), "--library-path", ":".join(str(each) for each in folders), str(program)]


def _loader(root: pathlib.Path) -> pathlib.Path:
    return sorted([*root.glob("usr/lib/*/ld-*.so*"), *root.glob("lib/*/ld-*.so*")])[0]


def provide(root: pathlib.Path, folder: pathlib.Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """A folder for PATH with the programs of these files. Returns what each of them starts: words, and environment."""
    found = {}
    for name in PROGRAMS:
        more = {"XTABLES_LIBDIR": str(root / "usr/lib" / _loader(root).parent.name / "xtables")}
        path = root / "usr/sbin" / name
        while path.is_symlink():
            target = os.readlink(path)
            path = root / target.lstrip("/") if target.startswith("/") else path.parent / target
        # Both variants of iptables are multi-call programs, and take the name as their first word.
        words = command(root, path if path.exists() else root / "bin" / name)
        if path.name.startswith("xtables-"):
            words.append(name.replace("-nft", "").replace("-legacy", ""))
        exports = ["export {0}={1}".format(key, value) for key, value in more.items()]
        place = folder / name
        place.write_text(
            "\n".join(["#!/bin/sh", *exports, 'exec {0} "$@"\n'.format(" ".join(words))]), encoding="utf-8"
        )
        place.chmod(0o755)
        found[name] = (words, more)
    return found
