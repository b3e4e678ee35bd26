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

from .units import SYSTEMD, UNITS

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight


#: While it flushes and loads, no packet of a gateway's links finds a route: "close" (see shut.py).
DROP_IN_TEXT = """\
# Written by the Ansible collection ipmasq.linux: reloads our rules whenever this service has changed rules.
[Service]
{before}ExecStartPost=-/bin/sh /etc/ipmasq/boot{words}
{reload}{stop}ExecStopPost=-/bin/sh /etc/ipmasq/boot{words}
"""
CLOSE = "-/bin/sh /etc/ipmasq/boot close"
#: Only for those that can be reloaded: it would be all that their reload does.
RELOAD_TEXT = "ExecReload=-/bin/sh /etc/ipmasq/boot{words}\n"
RELOADED = ("nftables", "docker")
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
    for name, words in NEIGHBOURS.items() if systemd else ():
        places = ["{0}{1}.service".format(folder, name) for folder in UNITS]
        unit = next((path for path in places if host.exists(path)), "")
        if unit:
            found[drop_in(name)] = (_drop_in_text(name, words, host.read(unit) or ""), 0o644)
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


def _drop_in_text(name: str, words: str, unit: str) -> str:
    reload = RELOAD_TEXT.format(words=words) if name in RELOADED else ""
    before = BEFORE_TEXT if name in SAVED else ""
    stop = ""
    if name in FLUSHING:
        before += "ExecStartPre={0}\n".format(CLOSE)
        stop = _closed_first("ExecStop", unit)
        reload = (_closed_first("ExecReload", unit) if reload else "") + reload
    return DROP_IN_TEXT.format(words=words, before=before, reload=reload, stop=stop)


def _closed_first(key: str, unit: str) -> str:
    """A drop-in can only add a command behind those of the unit, so they are said anew."""
    lines = [line for line in unit.splitlines() if line.startswith(key + "=")]
    if not lines or any(line.endswith("\\") for line in lines):
        return ""
    return "".join(line + "\n" for line in [key + "=", "{0}={1}".format(key, CLOSE), *lines])


def drop_in(name: str) -> str:
    return "{0}{1}.service.d/ipmasq.conf".format(SYSTEMD, name)


#: Whatever may have been written here, to be removed with the last instance.
ALL = (*(drop_in(name) for name in NEIGHBOURS), *PLUGIN_FILES)
