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
from .declaration import DECLARATION
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
#: Of the loader's note that it has shut every link because of an instance: of its pattern, or of a damaged list.
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
        if not found and sight.exists(_note(scene.instance)):
            lines = ("~ links: no longer shut because of this instance",)
        return Delta(lines, found, cuts=True, drifted=True) if lines else NOTHING

    def apply(self, delta: Delta, want: Open, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if delta.do is not None:
            host.remove(_note(scene.instance))
            shut.unshut(delta.do, host)
        return ()

    def restore(self, delta: Delta, was: Open, want: Open, scene: Scene, sight: Sight) -> Shell:
        if delta.do is None:
            return Shell()
        # What was shut usually has no rules.
        lines = shut.restoring_lines(delta.do)
        if sight.exists(_note(scene.instance)):
            lines.append(": > " + _note(scene.instance))
        return Shell(tuple(lines), bare=True)

    def warnings(self, want: Open, scene: Scene, sight: Sight) -> t.Tuple[str, ...]:
        return _kept_shut(scene, sight)

    def drift(self, known: Open, scene: Scene, sight: Sight) -> t.List[str]:
        if not scene.interfaces:
            return []
        said = "~ {0}: shut because its rules could not be loaded (see journalctl -t ipmasq)"
        found = [said.format(link) for link in _links(_found(scene, sight))]
        return found + ["~ " + each for each in _kept_shut(scene, sight)]


def _kept_shut(scene: Scene, sight: Sight) -> t.Tuple[str, ...]:
    """The run of one instance does not open what another one keeps shut."""
    if not scene.interfaces:
        return ()
    noted, closed = _others(scene, sight), _closed(scene, sight)
    claims = [claim for claim in _claims(scene, sight) if any(matches_any(claim.named, name) for name in closed)]
    # Most runs need not ask which links are shut.
    found = shut.shut_links(sight) if noted or claims else ()
    every = any(link == shut.ALL for _family, link in found)
    kept = [("every link", name) for name in noted if every]
    kept += [each for each in _left_shut(claims, found, scene) if matches_any(closed, each[0])]
    told = "{0}: stays shut until instance {1} is applied, whose rules the loader could not load"
    return tuple(told.format(*each) for each in kept)


@dataclass(frozen=True)
class _Claim:
    """What the loader shuts for another instance."""

    instance: str
    declared: t.Sequence[str]
    named: t.Sequence[str]  # these, and other links with a default route, which its rules close


def _claims(scene: Scene, sight: Sight) -> t.List[_Claim]:
    """Without its state, it is not known which of its links are declared, so all count as such."""
    told = {stem(other.instance) + ENDING: DECLARATION.of(other) for other in scene.others}
    claims = []
    for path in sorted({*told, *sight.find(FOLDER + "/*" + ENDING)} - {stem(scene.instance) + ENDING}):
        known, listed = told.get(path), _named(path, sight)
        declared = known.interfaces if known and known.interfaces else listed
        ways_out = known.ways_out if known else ()
        name = posixpath.basename(path)[: -len(ENDING)]
        claims.append(_Claim(name, declared, tuple(dict.fromkeys([*declared, *ways_out, *listed]))))
    return claims


def _left_shut(claims: t.Iterable[_Claim], found: Shut, scene: Scene) -> t.List[t.Tuple[str, str]]:
    """Links that this instance does not declare and the rules of others close, with those that are still shut.

    The run of each opens what it declares, so the last one finds no other that is shut, and opens the rest.
    """
    links = [link for link in dict.fromkeys(link for _family, link in found) if link != shut.ALL]
    own = [link for link in links if matches_any(scene.interfaces, link)]
    return [
        (link, claim.instance)
        for claim in claims
        if any(matches_any(claim.declared, link) for link in links)
        for link in links
        if link not in own and matches_any(claim.named, link)
    ]


def _closed(scene: Scene, sight: Sight) -> t.List[str]:
    """What the loader shuts for this instance beside what it declares."""
    return [name for name in _named(stem(scene.instance) + ENDING, sight) if name not in scene.interfaces]


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
    claims = _claims(scene, sight)
    theirs = [name for claim in claims for name in claim.named]
    left = {link for link, _instance in _left_shut(claims, found, scene)}
    ours = [*scene.interfaces, *_closed(scene, sight)]
    orphans = not scene.interfaces and not scene.switched
    every = _every(ours, theirs if orphans else None, scene, sight)
    return tuple(
        (family, link)
        for family, link in found
        if (
            every
            if link == shut.ALL
            else link not in left and (matches_any(ours, link) or (orphans and not matches_any(theirs, link)))
        )
    )


def _every(ours: t.List[str], theirs: t.Optional[t.List[str]], scene: Scene, sight: Sight) -> bool:
    """Whether every link is shut because of this instance alone."""
    if _others(scene, sight):
        return False
    if sight.exists(_note(scene.instance)) or any(name.endswith("*") for name in ours):
        return True
    return theirs is not None and not any(name.endswith("*") for name in theirs)


def _note(instance: str) -> str:
    return posixpath.join(RUN_FOLDER, instance + UNLISTED)


def _others(scene: Scene, sight: Sight) -> t.List[str]:
    """The other instances because of which every link is shut."""
    notes = sight.find(posixpath.join(RUN_FOLDER, "*" + UNLISTED))
    names = [posixpath.basename(path)[: -len(UNLISTED)] for path in notes]
    return [name for name in names if name != scene.instance]


def _named(path: str, sight: Sight) -> t.List[str]:
    return (sight.read(path) or "").split()


def _links(found: Shut) -> t.List[str]:
    return list(dict.fromkeys("every link" if link == shut.ALL else link for _family, link in found))


OPENING = _OpeningPart("opening", Open())
