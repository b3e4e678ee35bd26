# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The links of an instance that the loader has shut, which a run opens: it has loaded the rules.

Rules and switches may be as they were applied by then, such as after a file was restored from a backup, so this is a
difference like any other.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass

from .._base.host import RUN_FOLDER
from .._base.net import matches_any
from .._init import shut
from .part import FOLDER, NOTHING, Delta, Part, Shell, stem

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._init.shut import Shut
    from .._resolve.resolved import Resolved
    from .part import Scene

#: The loader opens by itself what it shuts while another service flushes and loads rules; at the latest after 5 s.
WINDOW, LONGEST, STEP = "/run/ipmasq/.shut", 6.0, 0.2


#: Of the file that lists an instance's links for the loader.
ENDING = ".shut"
#: Of the loader's note that it could not trust this list, and has shut every link.
UNLISTED = ".unlisted"


@dataclass(frozen=True)
class Open:
    """A gateway is open unless the loader decides otherwise, so no state has anything of it."""


class _OpeningPart(Part[Open]):
    """After what makes the links safe, and before forwarding."""

    opens = True

    def want(self, gateway: Resolved, was: Open, scene: Scene, sight: Sight) -> t.Tuple[Open, t.Tuple[str, ...]]:
        return self.empty, ()

    def plan(self, was: Open, want: Open, scene: Scene, sight: Sight) -> Delta:
        found = _found(scene, sight)
        lines = tuple("~ {0}: opened, after the loader had shut it".format(link) for link in _links(found))
        return Delta(lines, found, cuts=True, drifted=True) if found else NOTHING

    def apply(self, delta: Delta, want: Open, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if delta.do:
            host.remove(_note(scene.instance))
            # Another instance whose links are unknown keeps every link shut, until its own run.
            others = host.find(posixpath.join(RUN_FOLDER, "*" + UNLISTED))
            shut.unshut(tuple(each for each in delta.do if not others or each[1] != shut.ALL), host)
        return ()

    def restore(self, delta: Delta, was: Open, want: Open, scene: Scene, sight: Sight) -> Shell:
        # What was shut usually has no rules.
        lines = shut.restoring_lines(delta.do or ())
        if delta.do and sight.exists(_note(scene.instance)):
            lines.append(": > " + _note(scene.instance))
        return Shell(tuple(lines), bare=True) if delta.do else Shell()

    def drift(self, known: Open, scene: Scene, sight: Sight) -> t.List[str]:
        said = "~ {0}: shut because its rules could not be loaded (see journalctl -t ipmasq)"
        return [said.format(link) for link in _links(_found(scene, sight))] if scene.interfaces else []


def _found(scene: Scene, sight: Sight) -> Shut:
    """What the loader has shut for this instance. A removal also opens what no file of any instance names."""
    found = shut.shut_links(sight)
    waited = 0.0
    while found and sight.exists(WINDOW) and waited < LONGEST:
        sight.sleep(STEP)
        waited += STEP
        found = shut.shut_links(sight)
    if not found:
        return ()
    own = stem(scene.instance) + ENDING
    ours = [*scene.interfaces, *_named(own, sight), *_unlisted(_note(scene.instance), sight)]
    theirs = [name for path in sight.find(FOLDER + "/*" + ENDING) if path != own for name in _named(path, sight)]
    noted = sight.find(posixpath.join(RUN_FOLDER, "*" + UNLISTED))
    theirs += [name for path in noted if path != _note(scene.instance) for name in _unlisted(path, sight)]
    orphans = not scene.interfaces
    return tuple(
        (family, link) for family, link in found if _concerns(ours, link) or (orphans and not _concerns(theirs, link))
    )


def _note(instance: str) -> str:
    return posixpath.join(RUN_FOLDER, instance + UNLISTED)


def _unlisted(note: str, sight: Sight) -> t.List[str]:
    """In place of the names of an instance whose list the loader could not trust."""
    return [shut.ALL] if sight.exists(note) else []


def _concerns(names: t.Sequence[str], link: str) -> bool:
    """Whether a link is shut because of these names. All links are because of a pattern, or of unknown names."""
    if link == shut.ALL:
        return any(name.endswith("*") or name == shut.ALL for name in names)
    return matches_any(names, link)


def _named(path: str, sight: Sight) -> t.List[str]:
    return (sight.read(path) or "").split()


def _links(found: Shut) -> t.List[str]:
    return list(dict.fromkeys("every link" if link == shut.ALL else link for _family, link in found))


OPENING = _OpeningPart("opening", Open())
