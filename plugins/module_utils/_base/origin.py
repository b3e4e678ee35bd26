# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Who applies a change, from where, when, and with which version of this collection."""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass

from .errors import GatewayError, printable

if t.TYPE_CHECKING:  # pragma: no cover
    from .host import Sight

#: From galaxy.yml, which is not on the managed host; a test compares the two.
VERSION = "1.0.0"
#: The maximum number of processes between this one and the login: python, sh, sudo, sshd.
MOST_ANCESTORS = 32
#: Longer names and addresses are cut.
LONGEST = 64


@dataclass(frozen=True)
class Origin:
    user: str = ""  # the login name, not root
    address: str = ""  # of the SSH client; empty without SSH
    at: str = ""  # UTC, ISO 8601
    version: str = ""

    @property
    def words(self) -> str:
        return "by {0}{1}".format(self.user or "somebody", " from " + self.address if self.address else "")


def origin(host: Sight) -> Origin:
    user, address = _login(host.aside())
    return Origin(user, address, utc(host.now()), VERSION)


def answering(host: Sight) -> str:
    """This host's own name; a new connection may have reached another host."""
    return printable((host.read("/proc/sys/kernel/hostname") or "").strip())


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _login(host: Sight) -> t.Tuple[str, str]:
    """User and address. sudo removes SSH_CONNECTION (ssh(1)) from the environment, so its parents are read, too."""
    pid, became, user = "self", "", ""
    for _generation in range(MOST_ANCESTORS):
        known = dict(each.partition("=")[::2] for each in _text(host, pid, "environ").split("\0"))
        became = became or known.get("SUDO_USER") or known.get("DOAS_USER") or ""
        user = known.get("USER") or known.get("LOGNAME") or user
        address = known.get("SSH_CONNECTION", "").partition(" ")[0]
        parent = re.search(r"^PPid:\s+(\d+)", _text(host, pid, "status"), re.MULTILINE)
        if address or not parent or parent.group(1) == "0":
            return _short(became or user or "root"), _short(address)
        pid = parent.group(1)
    return _short(became or user or "root"), ""


def _short(text: str) -> str:
    return printable(text)[:LONGEST]


def _text(host: Sight, pid: str, name: str) -> str:
    """A file of a process; empty if it has ended or is hidden (another user namespace, hidepid)."""
    try:
        return host.read("/proc/{0}/{1}".format(pid, name)) or ""
    except GatewayError:
        return ""
