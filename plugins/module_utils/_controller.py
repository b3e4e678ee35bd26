# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""By which port Ansible has reached this host, so that a filter never shuts it out."""

from __future__ import annotations

import re
import typing as t

from ._errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host

SSH = 22
#: Processes between this one and the login: python, sh, sudo, sshd.
MOST_ANCESTORS = 32


def controller_ports(host: Host) -> t.Tuple[int, ...]:
    """The port of the SSH server behind this run; 22 where the connection is no SSH (a container, this machine).

    sudo takes SSH_CONNECTION (ssh(1)) out of the environment, so the parents are asked too.
    """
    pid = "self"
    for _generation in range(MOST_ANCESTORS):
        found = re.search(r"(?:^|\0)SSH_CONNECTION=\S+ \d+ \S+ (\d+)", _text(host, pid, "environ"))
        if found:
            return (int(found.group(1)),)
        parent = re.search(r"^PPid:\s+(\d+)", _text(host, pid, "status"), re.MULTILINE)
        if not parent or parent.group(1) == "0":
            break
        pid = parent.group(1)
    return (SSH,)


def _text(host: Host, pid: str, name: str) -> str:
    """A file of a process, empty if it has ended or is nobody's business (another user namespace, hidepid)."""
    try:
        return host.read("/proc/{0}/{1}".format(pid, name)) or ""
    except GatewayError:
        return ""
