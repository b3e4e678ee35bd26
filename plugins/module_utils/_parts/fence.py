# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The fence: an nftables table that belongs to a process, so that nobody else's flush removes it.

The kernel keeps a table with the flag ``owner`` as long as the socket that loaded it is open, and nobody else can
change it; ``nft flush ruleset`` skips it (Linux 5.12). Therefore the service ipmasq-fence runs ``nft -i``, which loads
the table and then waits for a line that never comes. The fence complements the rules of every backend.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._backend.nftables.fence import FENCE_TEXT, fence_text
from .._flows.conntrack import MAX
from .._rules.fence import compile_fence
from .part import NOTHING, Delta, Part, Shell, stem

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._resolve.resolved import Resolved
    from .part import Scene

#: The fence of a change, in its folder; empty if there is to be none.
FILE = "fence.nft"
#: The first kernel in which tables can have an owner.
KERNEL = (5, 12)
REFUSED = "nft refuses it: "
#: Lines of a fence that come before its chains, and need no module but nf_tables.
TABLE_LINES = 3
UNFENCED = "a flush of all rules by hand opens this host until they are loaded again"
MARK = re.compile(r"^add chain inet (\S+) ({0}\S+)$".format(FENCE_TEXT), re.MULTILINE)

#: Functions of the loader.
SHELL = r"""
# The fence of each instance: that of a change that is under way, or the one that was kept.
fences() {
    for fence in ./*.fence.nft; do
        name=$(basename "$fence" .fence.nft)
        [ ! -e "$fence" ] || [ -e "/run/ipmasq/$name/fence.nft" ] || echo "$PWD/$name.fence.nft"
    done
    for fence in /run/ipmasq/*/fence.nft; do
        case "$fence" in
        *.gone/*) ;;
        *) [ ! -s "$fence" ] || echo "$fence" ;;
        esac
    done
}

# Never comes back: what it has loaded is there as long as it lives. Nobody ever writes to its input again.
hold() {
    mkdir -p -m 700 /run/ipmasq-fence && rm -f /run/ipmasq-fence/input || exit 1
    mkfifo -m 600 /run/ipmasq-fence/input || exit 1
    # The process that started this may hold the lock.
    exec 3<> /run/ipmasq-fence/input 9>&-
    fences | sed 's/.*/include "&"/' >&3
    exec nft -i <&3
}

held() {
    for fence in $(fences); do
        set -- $(sed -n 's/^add chain inet \(ipmasq-fence[^ ]*\) \(text-[0-9a-f]*\)$/\1 \2/p' "$fence")
        tries=50
        until nft list chain inet "$1" "$2" > /dev/null 2>&1; do
            tries=$((tries - 1))
            [ $tries -gt 0 ] || { say "the fence of $fence was not loaded"; exit 1; }
            sleep 0.1 2> /dev/null || sleep 1
        done
    done
}

# Rules that somebody has saved may hold our fence, and nobody but its owner may load it.
saved_by_others() {
    grep -qs 'table inet ipmasq-fence' /etc/nftables.conf /etc/nftables/* /etc/nftables.d/* /etc/sysconfig/nftables.conf
}
"""


@dataclass(frozen=True)
class Fence:
    text: str = ""  # for nft: what remains when all other rules are flushed
    unfenced: str = ""  # why there is none


def fence_of(gateway: Resolved, init: str, host: Sight, known: str, refused: str) -> Fence:
    """The fence of a gateway.

    ``known`` is the text in the state file, ``refused`` nft's message about rules that have not changed.
    """
    why = _lacking(init, host)
    if why:
        return Fence(unfenced=why)
    text = fence_text(compile_fence(gateway))
    if text == known:
        return Fence(text)
    if refused.startswith(REFUSED):
        return Fence(unfenced=refused)
    why = _refusal(text, host)
    return Fence(unfenced=why) if why else Fence(text)


def _lacking(init: str, host: Sight) -> str:
    if not init:
        return "this host has neither systemd nor OpenRC nor sysvinit, so nothing would hold it"
    if init == "systemd" and not host.exists("/run/systemd/system"):
        return "systemd is not running here, so nothing would hold it; run this again once it is"
    if not host.which("nft"):
        return "nft is not installed; install the package nftables"
    release = (host.read("/proc/sys/kernel/osrelease") or "").strip()
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if not numbers or tuple(int(each) for each in numbers.groups()) < KERNEL:
        return "Linux {0} has no tables with an owner, which came with 5.12".format(release or "of an unknown release")
    return ""


def _refusal(text: str, host: Sight) -> str:
    """The error of this nft and kernel, without loading it. Ours may be loaded, so the test uses another name."""
    if not host.acting() and not host.exists("/proc/sys/" + MAX):
        # Even to try the rules, nft loads their modules, and with them connection tracking, which check mode must not.
        text = "".join(text.splitlines(keepends=True)[:TABLE_LINES])
    done = host.ask(["nft", "-c", "-f", "-"], stdin=text.replace("inet ipmasq-fence", "inet ipmasq-probe"))
    if done.rc != 0:
        return REFUSED + (done.err.strip().splitlines() or ["no message"])[0]
    if re.search(r"cli:\s+no", host.ask(["nft", "-V"]).out):
        return REFUSED + "it is built without its interactive mode"
    return ""


def stands(text: str, host: Sight) -> bool:
    """Whether exactly this fence is loaded. Nobody can have altered it, so only its mark is checked."""
    mark = MARK.search(text)
    return mark is not None and host.ask(["nft", "-j", "list", "chain", "inet", *mark.groups()]).rc == 0


class _FencePart(Part[Fence]):
    endings = (".fence.nft",)

    def want(self, gateway: Resolved, was: Fence, scene: Scene, sight: Sight) -> t.Tuple[Fence, t.Tuple[str, ...]]:
        init, refused = scene.init.name if scene.init else "", was.unfenced if scene.same else ""
        found = fence_of(gateway, init, sight, was.text, refused)
        why = found.unfenced
        return found, ("no fence: {0}; {1}".format(why, UNFENCED),) if why else ()

    def salvage(self, instance: str, sight: Sight) -> Fence:
        return Fence(sight.read(stem(instance) + ".fence.nft") or "")

    def plan(self, was: Fence, want: Fence, scene: Scene, sight: Sight) -> Delta:
        if was.text != want.text:
            line = "~ fence: renewed" if was.text and want.text else "+ fence: stands" if want.text else "- fence"
        elif want.text and not stands(want.text, sight):
            line = "~ fence: stands again"
        else:
            return NOTHING
        return Delta((line,), want)

    def apply(self, delta: Delta, want: Fence, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        """By what lies in the folder of this change. For a moment there is none, which counts only if somebody flushes.

        Where the service is not there, it comes with the files of the change.
        """
        if delta.do is None or not _served(scene, host):
            return ()
        restart = scene.init.restart_fence if scene.init else ""
        if host.run(restart.split()).rc == 0:
            return ()
        return ("the fence does not stand ('{0}' has failed); {1}".format(restart, UNFENCED),)

    def verify(self, was: Fence, want: Fence, scene: Scene, sight: Sight) -> None:
        """Its absence is a warning: the rules are there."""

    def restore(self, delta: Delta, was: Fence, want: Fence, scene: Scene, sight: Sight) -> Shell:
        if delta.do is None or not scene.init or not _served(scene, sight):
            return Shell()
        line = "{{ rm -f {0}; {1}; }}".format(FILE, scene.init.restart_fence_line)
        return Shell((line,), {FILE: want.text})

    def boot(self, want: Fence, scene: Scene) -> t.Mapping[str, str]:
        return {".fence.nft": want.text} if want.text else {}

    def drift(self, known: Fence, scene: Scene, sight: Sight) -> t.List[str]:
        if not known.text or stands(known.text, sight):
            return []
        # Others have no word for it, but one that starts it.
        other = scene.init and scene.init.name != "systemd" and scene.init.restart_fence
        return ["- fence: does not stand ({0})".format(other or "systemctl status ipmasq-fence")]


def _served(scene: Scene, sight: Sight) -> bool:
    return scene.init is not None and any(sight.exists(path) for path in scene.init.fence)


FENCE = _FencePart("fence", Fence())
