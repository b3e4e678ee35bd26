# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The scripts that end a change: the timer's, the rollback's, and the one that keeps it.

To keep a change, every file is first written beside its final place: those of our own folder into one folder there,
others under temporary names. Then one file, INSTANCE.commit, is put in place. From then on, the change is kept, and any
process that finds that file (after a power failure, the loader at boot) moves the others. Few processes do this, as
each one costs a host about a millisecond, and a change has ten files.
"""

from __future__ import annotations

import posixpath
import shlex
import typing as t
from dataclasses import dataclass, field

from .._base.journal import SAY
from .._base.lock import SHELL as LOCK
from .freeing import FREE_TEXT, OLD, put_back, quoted

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host

#: Seconds that another process may take to end a change before the timer does it.
PATIENCE = 10
#: Suffix of a change's file that is not yet in its place, and of the folder with those of our own folder.
PART = ".ipmasq-new"
#: In that folder: second names of the files that will be replaced.
SECOND = "old"
HEAD = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux for one change; removed once it is confirmed or rolled back.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022
cd {folder} || exit 0
{say}"""
#: The timer's script.
TIMER_TEXT = """\
# The timer of an earlier change may wake up here, too.
[ "$1" = '{token}' ] || exit 0
back() {{
    until sh ./restore; do
        [ -e change.json ] || exit 1
        sleep 1
    done
    exit 0
}}
if mv armed reverting 2> /dev/null; then
    back
fi
# Another process came first. If it died midway, finish its work.
waited=0
while [ -e change.json ] && [ $waited -lt {patience} ]; do
    sleep 1
    waited=$((waited + 1))
done
while [ -e confirming ]; do
    sh ./keep && exit 0
    # A decided change stays; an undecided one that cannot be written is rolled back.
    [ -e change.json ] || exit 1
    [ -e decided ] || [ -e {commit} ] || mv confirming reverting
    sleep 1
done
[ ! -e reverting ] || back
"""
#: For the controller's new connection. Whatever this does not finish, gateway_confirm does. Its last word is the proof
#: that it was this script that ended well.
CONFIRM_TEXT = """\
[ "$1" = '{token}' ] && [ -e ready ] && mv armed confirming 2> /dev/null || exit 1
sh ./keep {said} || exit 1
[ ! -e /run/systemd/system ] || systemctl --no-block stop {unit}.timer
echo {token}
"""
#: These two scripts and the loader never run at the same time; the second one finds nothing to do. What was rolled back
#: while this waited is not kept.
ALONE = LOCK + "lock || exit 1\n"
NOTHING_TO_RESTORE = "[ -e change.json ] || exit 0\n"
NOTHING_TO_KEEP = """\
if [ ! -e change.json ]; then
    case "$(cat {folder}.last)" in
    '{token} reverted '* | '{token} failed '*) exit 1 ;;
    esac
    exit 0
fi
"""
#: Another process may hold a lock for long, so this is retried; every line may run several times.
RESTORE_END = """\
tries=$(cat tries 2> /dev/null || echo 0)
if [ $failed != 0 ] && [ "$tries" -lt {tries} ]; then
    echo $((tries + 1)) > tries && sleep 3 && exec sh ./restore "$1" "$2"
fi
why=${{1:-{why}}}
if [ $failed = 0 ]; then
    outcome=reverted
    say "{instance}: rolled back: $why"
else
    outcome=failed
    say "{instance}: not rolled back completely; inspect this host: $why"
fi
printf '%s\n' "{token} $outcome $(date +%H:%M:%S) $why" > {folder}.last
[ ! -e back ] || [ "$2" = {forgotten} ] || mv -f back {folder}.forget
cd / && mv {folder} {folder}.gone && rm -rf {folder}.gone
"""
KEEP_END = """\
[ ! -e owed ] || mv -f owed {folder}.owed
[ ! -e forget ] || mv -f forget {folder}.forget
if [ -e proof ]; then
    mv -f proof {folder}.proof
else
    [ ! -e {folder}.proof ] || rm -f {folder}.proof
fi
outcome=confirmed
if [ -e {commit} ]; then
    outcome=unfinished
    echo "not every file is in its place (see {commit})" >&2
    say "{instance}: kept, but not every file is in its place; at the next boot this host stays closed"
else
    say "{instance}: ${{1:-kept; the run that decided this ended before it could report it}}"
fi
echo "{token} $outcome ${{2:-$(date +%H:%M:%S)}}" > {folder}.last
cd / && mv {folder} {folder}.gone && rm -rf {folder}.gone
"""
#: Connections are deleted without the lock, while nobody waits for this shell, and in a unit that does not end with it.
FORGET = """\
if [ -e {folder}.forget ]; then
    exec 9>&-
    [ -e /run/systemd/system ] &&
        systemd-run --quiet --description="NAT gateway: forgets connections" /bin/sh {folder}.forget 2> /dev/null ||
        setsid sh {folder}.forget < /dev/null > /dev/null 2>&1 &
fi
"""
#: The file that says which connections a rollback deletes, and the word of a caller that deletes them itself.
BACK = "back"
#: The file with the outcome of a change's proof.
PROOF = "proof"
FORGOTTEN = "forgotten"
EXIT = "exit $failed\n"
KEPT = "[ $outcome = confirmed ] || exit {unfinished}\n"
#: The prefix of a script's messages to its caller, in addition to the journal.
SAYS = "ipmasq warns: "
#: Exit code: the change is kept, but not all of it is on disk.
UNFINISHED = 3
TRIES = 10


@dataclass(frozen=True)
class Keeping:
    """What makes a change permanent."""

    commit: str  # the file that decides it
    files: t.Mapping[str, t.Tuple[str, int]] = field(default_factory=dict)
    stale: t.Tuple[str, ...] = ()
    before: t.Tuple[str, ...] = ()  # shell lines to run before the files are moved
    after: t.Tuple[str, ...] = ()
    folder: str = ""  # removed at the end if it is empty
    owing: str = ""  # what a later run needs to delete connections that have become wrong


@dataclass(frozen=True)
class Restoring:
    """A rollback: shell lines, and the files that they use."""

    lines: t.Tuple[str, ...]
    files: t.Mapping[str, str]


class Prepared(t.NamedTuple):
    """Both ends of a change, and the marks of the host that it rests on (``meanwhile.marks``); empty: none."""

    restoring: Restoring
    keeping: Keeping
    since: str = ""


#: A step that fails is named, and the next ones are still tried.
FAILING_TEXT = """\
failed=0
failing() {
    failed=1
    echo "'$1' has failed" >&2
}
"""


def scripts(folder: str, token: str, why: str, prepared: Prepared) -> t.Dict[str, str]:
    """The files of a change by name, beside its description. ``why``: the reason for a rollback that nobody requested,
    quoted for the shell.
    """
    restoring, keeping = prepared.restoring, prepared.keeping
    head = HEAD.format(folder=folder, say=SAY)
    commit = shlex.quote(keeping.commit)
    words = {"folder": folder, "token": token, "tries": TRIES, "instance": posixpath.basename(folder), "why": why}
    words.update(commit=commit, unfinished=UNFINISHED, forgotten=FORGOTTEN)
    found = {
        "timer": head + TIMER_TEXT.format(token=token, patience=PATIENCE, commit=commit),
        "restore": head
        + ALONE
        + NOTHING_TO_RESTORE
        + _restore_text(restoring, keeping)
        + (RESTORE_END + FORGET + EXIT).format(**words),
        "keep": head
        + ALONE
        + NOTHING_TO_KEEP.format(**words)
        + _keep_text(keeping)
        + (KEEP_END + FORGET + KEPT).format(**words),
    }
    found.update(restoring.files)
    if keeping.owing:
        found["owed"] = keeping.owing
    return found


def copies(keeping: Keeping) -> t.Dict[str, t.Tuple[str, int]]:
    """The files that will be kept, by their names in the folder of the change: text and mode. Those of one folder are
    in one folder, under the names that they have before they are moved, so one process copies them."""
    texts = {**keeping.files, keeping.commit: (_commit_text(keeping), 0o600)}
    sources = _sources(keeping)
    return {sources[part]: texts[path] for path, part in _parts(keeping).items()}


def folders(keeping: Keeping) -> t.List[str]:
    """The folders for these copies, and an empty one that becomes part of our own."""
    found = dict.fromkeys(posixpath.dirname(name) for name in _sources(keeping).values())
    return [*found, posixpath.join(_source_of_ours(keeping), SECOND)]


def write_copies(keeping: Keeping, folder: str, host: Host) -> None:
    """``folder``: that of the change."""
    for name in folders(keeping):
        host.make_folder(posixpath.join(folder, name))
    for name, (text, mode) in copies(keeping).items():
        host.write(posixpath.join(folder, name), text, mode)


def _sources(keeping: Keeping) -> t.Dict[str, str]:
    """Every file under its temporary name: the file in the folder of the change that it is a copy of."""
    parts = list(_parts(keeping).values())
    places = list(dict.fromkeys(posixpath.dirname(part) for part in parts))
    return {
        part: "new/{0}/{1}".format(places.index(posixpath.dirname(part)), posixpath.basename(part)) for part in parts
    }


def _source_of_ours(keeping: Keeping) -> str:
    return posixpath.dirname(_sources(keeping)[_parts(keeping)[keeping.commit]])


def confirm_script(folder: str, token: str, said: str, unit: str) -> str:
    """``said`` is for the journal; ``unit`` is that of the timer."""
    head = HEAD.format(folder=folder, say=SAY)
    return head + CONFIRM_TEXT.format(token=token, said=shlex.quote(said), unit=unit)


def _restore_text(restoring: Restoring, keeping: Keeping) -> str:
    lines = ["{0} || failing {1}".format(line, shlex.quote(line)) for line in restoring.lines]
    begun, olds = quoted(_begun(keeping)), put_back(keeping.files, keeping.stale)
    lines += ["if [ -e undecided ]; then", "rm -rf {0}".format(begun), *olds, "fi"]
    return FAILING_TEXT + "".join(line + "\n" for line in lines)


def _keep_text(keeping: Keeping) -> str:
    """Write all files under temporary names, then the file that decides, and then move everything into place."""
    stage, sources, begun = _stage(keeping), _sources(keeping), _begun(keeping)
    ours, own = posixpath.dirname(keeping.commit), _source_of_ours(keeping)
    elsewhere = [part for part in begun if part != stage]
    others = dict.fromkeys(posixpath.dirname(part) for part in elsewhere)
    lines = ["if [ -e undecided ]; then"]
    lines += ["[ -d {0} ] || mkdir -p {0} || give_up".format(shlex.quote(folder)) for folder in (ours, *others)]
    gone = '[ ! -e "$part" ] && [ ! -L "$part" ] || rm -rf "$part" || give_up'
    lines.append("for part in {0}; do {1}; done".format(quoted(begun), gone))
    lines.append("cp -Rp {0} {1} || give_up".format(own, shlex.quote(stage)))
    for folder in others:
        names = quoted(sources[part] for part in elsewhere if posixpath.dirname(part) == folder)
        lines.append("cp -p {0} {1} || give_up".format(names, shlex.quote(folder)))
    lines.append("put_back")
    replaced = dict.fromkeys([*keeping.files, *keeping.stale])
    mine = [path for path in replaced if posixpath.dirname(path) == ours]
    lines += ["free_ours {0}".format(quoted(mine))] if mine else []
    # Outside our own folder, no file has a second name for long.
    lines += ["free {0} || give_up {0}".format(shlex.quote(path)) for path in replaced if path not in mine]
    stale = [path for path in keeping.stale if path not in mine]
    lines.append("removable {0}".format(quoted([*begun, *stale])))
    parts = list(_parts(keeping).values())
    lines.append("sync {0} 2> /dev/null || sync".format(quoted([*parts, stage])))
    lines.append("mv -f {0} {1} || give_up".format(shlex.quote(parts[-1]), shlex.quote(keeping.commit)))
    # A rename is on the disk once its folder is (fsync(2)); without that, ext4 writes it up to five seconds later.
    lines.append("sync {0} 2> /dev/null || sync".format(shlex.quote(ours)))
    lines += ["mv undecided decided", "fi"]
    # What still cannot be moved at the second attempt is moved at the next boot.
    lines.append("[ ! -e {0} ] || sh {0} || sh {0}".format(shlex.quote(keeping.commit)))
    says = 'echo "{0}has failed:" {1} >&2'
    lines += ["{0} || {1}".format(line, says.format(SAYS, shlex.quote(line))) for line in keeping.after]
    olds = "".join(put_back(keeping.files, keeping.stale)) or ":"
    second = shlex.quote(posixpath.join(stage, SECOND))
    head = FREE_TEXT.format(begun=quoted(begun), old=OLD, put_back=olds, second=second)
    return head + "".join(line + "\n" for line in lines)


def _stage(keeping: Keeping) -> str:
    """The folder with the files of our own folder that are not yet in their places."""
    return posixpath.splitext(keeping.commit)[0] + PART


def _parts(keeping: Keeping) -> t.Dict[str, str]:
    """The temporary name of every file; the last one decides.

    NetworkManager and dhcpcd run whatever is in the folders of their hooks, but no hidden file.
    """
    found = {}
    for path in [*keeping.files, keeping.commit]:
        folder, name = posixpath.split(path)
        is_ours = folder == posixpath.dirname(keeping.commit)
        found[path] = posixpath.join(*(_stage(keeping), name) if is_ours else (folder, "." + name + PART))
    return found


def _begun(keeping: Keeping) -> t.List[str]:
    """What a change that is not kept leaves: that folder, and files elsewhere."""
    stage = _stage(keeping)
    return [stage, *(part for part in _parts(keeping).values() if posixpath.dirname(part) != stage)]


def _commit_text(keeping: Keeping) -> str:
    """May run several times: a file that was moved is no longer there to be moved again."""
    lines = ["# Written by the Ansible collection ipmasq.linux; removed once every file of a change is in its place."]
    lines += ["{0} || true".format(line) for line in keeping.before]
    stage, parts = _stage(keeping), _parts(keeping)
    mine = [parts[path] for path in keeping.files if posixpath.dirname(parts[path]) == stage]
    if mine:
        ours = shlex.quote(posixpath.dirname(keeping.commit))
        lines.append("set --")
        lines.append('for part in {0}; do [ ! -e "$part" ] || set -- "$@" "$part"; done'.format(quoted(mine)))
        lines.append('[ $# = 0 ] || mv -f "$@" {0} || exit 1'.format(ours))
    for path in keeping.files:
        part = shlex.quote(parts[path])
        if parts[path] not in mine:
            lines.append("[ ! -e {0} ] || mv -f {0} {1} || exit 1".format(part, shlex.quote(path)))
    lines += ["rm -f {0} || exit 1".format(quoted(keeping.stale))] if keeping.stale else []
    left = {posixpath.dirname(path) for path in keeping.stale if posixpath.dirname(path).endswith(".service.d")}
    lines += ["rmdir {0} 2> /dev/null || true".format(shlex.quote(folder)) for folder in sorted(left)]
    lines.append("rm -rf {0}".format(quoted((stage, keeping.commit))))
    if keeping.folder:
        lines.append("rmdir {0} 2> /dev/null || true".format(keeping.folder))
    return "".join(line + "\n" for line in lines)
