# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What services of others get, so that the loader runs once more after them.

nftables.service and netfilter-persistent.service flush everything, ours too, whenever they are started, reloaded or
stopped; docker puts its jumps in front of ours. On systemd each of them that is installed gets a drop-in.

Docker drops what is forwarded to its containers only if it was docker who turned forwarding on (20.10.24, 26.1.5). So
where it is enabled, forwarding comes after it at boot: from docker itself, and from the loader in docker's drop-in.
"""

from __future__ import annotations

import typing as t

from .commands import find
from .units import SYSTEMD

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .commands import Service


HEAD = "# Written by the Ansible collection ipmasq.linux: reloads our rules whenever this service has changed rules.\n"
#: While it flushes and loads, no packet of a gateway's links finds a route: "close" (see shut.py).
DROP_IN_TEXT = """\
[Service]
{before}ExecStartPost=-/bin/sh /etc/ipmasq/boot{words}
{reload}{stop}ExecStopPost=-/bin/sh /etc/ipmasq/boot{words}
"""
CLOSE = "-/bin/sh /etc/ipmasq/boot close"
#: Only for those that can be reloaded: it would be all that their reload does.
RELOAD_TEXT = "ExecReload=-/bin/sh /etc/ipmasq/boot{words}\n"
#: The keys whose commands of others ours says anew, in the turn of a stop and a reload.
REPLACED = ("ExecStop", "ExecReload")
#: Drop-ins apply in the order of their names: ours comes after those of others.
NAME = "zz-ipmasq.conf"
#: What is left alone, and what is lost.
UNSURE = (
    "{0}.service: {1} has a command that continues on the next line or is not UTF-8, so it is left alone, and the "
    "gateway is not shut before {2}; write each command on one line"
)
WHEN = {"ExecStop": "a stop", "ExecReload": "a reload"}
BEHIND = (
    "{0}.service: {1} sets {2} after our drop-in, so the gateway may stay open while that service changes "
    "rules, or lose its own; give the file a name that sorts before {3}"
)
#: Those that flush everything when they are started, reloaded or stopped.
FLUSHING = ("nftables", "netfilter-persistent")
#: Only for those that load what others have saved of ours, too.
BEFORE_TEXT = "ExecStartPre=-/bin/sh /etc/ipmasq/boot sets\n"
SAVED = ("netfilter-persistent",)
#: ``netfilter-persistent reload``, ``start`` and ``flush``, also by hand and without systemd, run all that is in here,
#: in the order of names (run-parts): ours first and last.
PLUGINS = "/usr/share/netfilter-persistent/plugins.d"
PLUGIN_TEXT = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux: {what}
[ -e /etc/ipmasq/boot ] || exit 0
case "$1" in
start | flush)
{lines}    ;;
esac
"""
FIRST = PLUGIN_TEXT.format(
    what="nothing is forwarded while other rules are loaded.",
    lines="    /bin/sh /etc/ipmasq/boot sets\n    /bin/sh /etc/ipmasq/boot close\n",
)
LAST = PLUGIN_TEXT.format(what="reloads our rules.", lines="    /bin/sh /etc/ipmasq/boot reopen\n")
PLUGIN_FILES = {PLUGINS + "/05-ipmasq": (FIRST, 0o755), PLUGINS + "/95-ipmasq": (LAST, 0o755)}
LEFT_OUT = (
    "{0} is read-only; after 'netfilter-persistent reload' or 'flush', typed by hand, run 'sh /etc/ipmasq/boot', "
    "because nothing else loads the rules again"
).format(PLUGINS)
#: Services of others, and what their drop-in tells the loader.
NEIGHBOURS = {"nftables": " reopen", "netfilter-persistent": " reopen", "docker": " late"}
#: Path to text and mode.
Files = t.Dict[str, t.Tuple[str, int]]


def files_of(systemd: bool, host: Sight) -> Files:
    found: Files = dict(PLUGIN_FILES) if host.exists(PLUGINS) and not is_fixed(PLUGINS, host) else {}
    for each in _neighbours(systemd, host):
        found[drop_in(each.name)] = (each.text(), 0o644)
    return found


def is_fixed(path: str, host: Sight) -> bool:
    """Whether this belongs to netfilter-persistent on a read-only /usr: what we have written there stays, and the rest
    does without it.
    """
    return path.startswith(PLUGINS) and not host.writable(PLUGINS)


def left_out(host: Sight) -> t.Tuple[str, ...]:
    """What is lost by that, in one sentence."""
    if not host.exists(PLUGINS) or not is_fixed(PLUGINS, host):
        return ()
    if all(host.read(path) == text for path, (text, _mode) in PLUGIN_FILES.items()):
        return ()
    return (LEFT_OUT,)


def remarks(systemd: bool, host: Sight) -> t.Tuple[str, ...]:
    """Where drop-ins of others leave less of ours than there should be."""
    return tuple(told for each in _neighbours(systemd, host) for told in each.remarks())


def _neighbours(systemd: bool, host: Sight) -> t.Iterator[_Neighbour]:
    for name in NEIGHBOURS if systemd else ():
        service = find(name, (drop_in(name), *OLD), host)
        if service:
            yield _Neighbour(name, service)


class _Neighbour:
    """A service of others that is installed."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self._service = service
        self._flushes = name in FLUSHING
        self._theirs = {key: service.commands(key, NAME) for key in REPLACED}

    def text(self) -> str:
        # The remarks are in the file, too: if what comes behind it changes, it has to be written anew.
        return HEAD + "".join("# {0}\n".format(each) for each in self.remarks()) + self._section()

    def _section(self) -> str:
        words = NEIGHBOURS[self.name]
        before = BEFORE_TEXT if self.name in SAVED else ""
        before += "ExecStartPre={0}\n".format(CLOSE) if self._flushes else ""
        stop, reload = (self._closed_first(key) if self._flushes else "" for key in REPLACED)
        if self._theirs["ExecReload"].lines:
            reload += RELOAD_TEXT.format(words=words)
        return DROP_IN_TEXT.format(words=words, before=before, reload=reload, stop=stop)

    def _closed_first(self, key: str) -> str:
        """A drop-in can only add a command after those of the unit and of other drop-ins, so they are repeated."""
        theirs = self._theirs[key]
        if not theirs.lines or not theirs.sure:
            return ""
        return "".join("{0}={1}\n".format(key, value) for value in ("", CLOSE, *theirs.lines))

    def remarks(self) -> t.List[str]:
        unsure = [key for key in REPLACED if self._flushes and not self._theirs[key].sure]
        keys, times = " and ".join(unsure), " and ".join(WHEN[key] for key in unsure)
        found = [UNSURE.format(self.name, keys, times)] if unsure else []
        ours = {line.partition("=")[0] for line in self._section().splitlines()}
        for path, used, cleared in self._service.behind(NAME):
            # A reload of theirs after ours may flush what ours has just loaded.
            lost = (cleared & ours) | (used & {"ExecReload"})
            if lost:
                found.append(BEHIND.format(self.name, path, ", ".join(sorted(lost)), NAME))
        return found


def drop_in(name: str) -> str:
    return "{0}{1}.service.d/{2}".format(SYSTEMD, name, NAME)


#: What earlier releases wrote: it sorts before ``override.conf``, which ``systemctl edit`` writes.
OLD = tuple("{0}{1}.service.d/ipmasq.conf".format(SYSTEMD, name) for name in NEIGHBOURS)
#: Whatever may have been written here, to be removed with the last instance.
ALL = (*(drop_in(name) for name in NEIGHBOURS), *OLD, *PLUGIN_FILES)
