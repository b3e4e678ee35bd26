# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The folder of a change that has not ended, and what a change leaves beside it."""

from __future__ import annotations

import json
import posixpath
import typing as t

from .._base.errors import GatewayError
from .._base.host import RUN_FOLDER
from .scripts import PROOF

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight

FOLDER = RUN_FOLDER
#: The file that the folder of a change has from its first moment to its last.
CHANGE = "change.json"


def folder_of(instance: str) -> str:
    return posixpath.join(FOLDER, instance)


def last_of(instance: str) -> str:
    return folder_of(instance) + ".last"


def owed_of(instance: str) -> str:
    """Exists while a kept change has not yet deleted the connections that it made wrong."""
    return folder_of(instance) + ".owed"


def proof_of(instance: str) -> str:
    """The last proof of a kept change, or of gateway_probe, as JSON."""
    return folder_of(instance) + "." + PROOF


def last_proof(instance: str, host: Sight) -> t.Optional[t.Dict[str, t.Any]]:
    """The last proof since the host was booted; None if there is none."""
    try:
        found = json.loads(host.read(proof_of(instance)) or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def change_of(instance: str) -> str:
    """Exists as long as the folder is that of a change; it comes and goes together with it."""
    return posixpath.join(folder_of(instance), CHANGE)


def pending_of(instance: str, host: Sight) -> t.Dict[str, t.Any]:
    """The change that has not ended (``timer.described``); empty if there is none."""
    try:
        return dict(json.loads(host.read(change_of(instance)) or "{}"))
    except (ValueError, TypeError):
        return {}


def leave(instance: str, token: str, name: str, text: str, host: Host) -> bool:
    """Put a file into the folder of the change with this token; False if the change has ended.

    That may happen at any moment, and a folder that is made anew would be taken for a change that nobody ends. A rename
    makes none.
    """
    part = posixpath.join(FOLDER, ".{0}-{1}-{2}".format(instance, token[:8], name))
    host.write(part, text, 0o600)
    path = posixpath.join(folder_of(instance), name)
    if _is_there(instance, token, host) and host.rename(part, path):
        return True
    host.remove(part)
    if _is_there(instance, token, host):
        raise GatewayError("{0}: cannot be written".format(path))
    return False


def _is_there(instance: str, token: str, host: Sight) -> bool:
    return bool(pending_of(instance, host).get("token") == token)


def clear(instance: str, aside: str, host: Host) -> None:
    """Remove a folder that has no change in it, as runs of earlier versions have left some. It is ``aside`` first,
    because another run may have cleared it, too, and then begun a change.
    """
    if host.exists(change_of(instance)) or not host.rename(folder_of(instance), aside):
        return
    if host.exists(posixpath.join(aside, CHANGE)):
        host.rename(aside, folder_of(instance))
    else:
        host.remove_tree(aside)
