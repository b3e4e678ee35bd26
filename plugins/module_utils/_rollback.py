# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A change that takes itself back unless somebody keeps it: the controller's new connection, or the module itself.

What is needed to go back, and to stay, lies as shell scripts under /run/ipmasq before anything is loaded, so that
neither needs Python or Ansible, and a reboot is a rollback too: /run is gone then, and /etc/ipmasq has what was kept
last. A timer (for a change that waits for its confirmation) or a guard (for one that does not: it watches the module's
process) ends a change that nobody else ends. Each claims the change by renaming one file; only one of them can.

To keep a change, every file is first written beside its place. Then one file, INSTANCE.commit, is put in place: from
here on the change is kept, and whoever finds that file (the loader at boot, after a power cut) moves the others.
"""

from __future__ import annotations

import json
import posixpath
import shlex
import time
import typing as t
import uuid
from dataclasses import dataclass, field

from ._errors import GatewayError, Problems, printable
from ._host import RUN_FOLDER, check_root
from ._journal import SAY
from ._lock import SHELL as LOCK
from ._origin import from_raw, origin, to_raw, utc
from ._values import check_instance

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host
    from ._origin import Origin

FOLDER = RUN_FOLDER
#: How long somebody else who has begun to end a change may take before the timer does it, in seconds.
PATIENCE = 10
#: How long a rollback may take: it may wait for the lock of iptables, for each family and filter.
LONGEST = 120
#: How long a module may take for a change that does not wait for its confirmation, in seconds.
GUARD = 300

#: A file of a change that is not yet in its place.
PART = ".ipmasq-new"
#: What the guard runs: at most so many seconds, as long as that process lives and its change is there.
GUARD_TEXT = (
    "n=0; while [ -d /proc/{pid} ] && [ $n -lt {seconds} ] && [ -e {staged} -o -e {script} ]; "
    "do sleep 1; n=$((n + 1)); done; rm -rf {staged}; [ ! -e {script} ] || exec sh {script} {token}"
)

HEAD = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux for one change; gone once it is confirmed or taken back.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022
cd {folder} || exit 0
{say}"""
#: What the timer runs.
TIMER_TEXT = """\
# A timer that outlived its own change wakes up here, too.
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
# Somebody else came first. If that died half-way, it is finished here.
waited=0
while [ -e change.json ] && [ $waited -lt {patience} ]; do
    sleep 1
    waited=$((waited + 1))
done
while [ -e confirming ]; do
    sh ./keep && exit 0
    # What was decided stays; what was not, and cannot be written, goes back.
    [ -e change.json ] || exit 1
    [ -e decided ] || [ -e {commit} ] || mv confirming reverting
    sleep 1
done
[ ! -e reverting ] || back
"""
#: Neither of these two runs beside the other, or beside the loader; who comes second finds nothing to do.
ALONE = (
    LOCK
    + """\
lock || exit 1
[ -e change.json ] || exit 0
"""
)
#: Somebody may hold a lock for long, so it is tried again: every line may be run as often as it takes.
RESTORE_END = """\
tries=$(cat tries 2> /dev/null || echo 0)
if [ $failed != 0 ] && [ "$tries" -lt {tries} ]; then
    echo $((tries + 1)) > tries && sleep 3 && exec sh ./restore "$1"
fi
why=${{1:-{why}}}
if [ $failed = 0 ]; then
    outcome=reverted
    say "{instance}: rolled back: $why"
else
    outcome=failed
    say "{instance}: not rolled back in full, look at this host: $why"
fi
echo "{token} $outcome $(date +%H:%M:%S)" > {folder}.last
[ ! -e back ] || mv -f back {folder}.forget
cd / && mv {folder} {folder}.gone && rm -rf {folder}.gone
"""
KEEP_END = """\
[ ! -e owed ] || mv -f owed {folder}.owed
[ ! -e forget ] || mv -f forget {folder}.forget
outcome=confirmed
if [ -e {commit} ]; then
    outcome=unfinished
    echo "not every file is in its place ({commit} says which)" >&2
    say "{instance}: kept, but not every file is in its place; at the next boot this host stays closed"
else
    say "{instance}: ${{1:-kept; the run that decided it has ended before it could say so}}"
fi
echo "{token} $outcome $(date +%H:%M:%S)" > {folder}.last
cd / && mv {folder} {folder}.gone && rm -rf {folder}.gone
"""
#: Connections are forgotten by whoever has the time: not with the lock, not while somebody waits for this shell, and
#: not in a unit that ends with it.
FORGET = """\
if [ -e {folder}.forget ]; then
    exec 9>&-
    [ -e /run/systemd/system ] && systemd-run --quiet /bin/sh {folder}.forget 2> /dev/null ||
        setsid sh {folder}.forget < /dev/null > /dev/null 2>&1 &
fi
"""
#: The file of a change that says what a rollback forgets.
BACK = "back"
EXIT = "exit $failed\n"
KEPT = "[ $outcome = confirmed ] || exit {unfinished}\n"
#: What a script says to whoever has started it, beside what it tells the journal.
SAYS = "ipmasq warns: "
#: The change is kept, but not all of it is on the disk.
UNFINISHED = 3
TRIES = 10

#: Of the module gateway_confirm. Each change waits for it, so it brings along no more than this file needs.
OPTIONS: t.Dict[str, t.Dict[str, t.Any]] = {
    "instance": {"type": "str", "default": "default"},
    "state": {"type": "str", "default": "confirmed", "choices": ["confirmed", "reverted"]},
    "token": {"type": "str", "default": "", "no_log": False},
    # Not used; module_defaults may give them to the group.
    "backend": {"type": "str", "default": "auto", "choices": ["auto", "nftables", "iptables"]},
    "confirm_timeout": {"type": "int", "default": 30},
    "confirm_by": {"type": "str", "default": "controller", "choices": ["controller", "person"]},
    "wait": {"type": "int", "default": 0},
}


@dataclass(frozen=True)
class Keeping:
    """What makes a change last."""

    commit: str  # the file that decides it
    files: t.Mapping[str, t.Tuple[str, int]] = field(default_factory=dict)
    stale: t.Tuple[str, ...] = ()
    before: t.Tuple[str, ...] = ()  # lines of shell, before the files are moved
    after: t.Tuple[str, ...] = ()
    folder: str = ""  # removed at the end if nothing is left in it
    owing: str = ""  # of connections that have become wrong: what a later run needs to forget them


@dataclass(frozen=True)
class Restoring:
    """The rollback: lines of shell that may use these files of their folder."""

    lines: t.Tuple[str, ...]
    files: t.Mapping[str, str]


@dataclass(frozen=True)
class Confirmation:
    """How long a change waits for its confirmation before it takes itself back, and what that has to name."""

    seconds: int
    token: str
    until: str  # for people
    host: str = ""  # the name of this host, as it knows itself


def waiting(seconds: int, host: str = "") -> Confirmation:
    until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
    return Confirmation(seconds, uuid.uuid4().hex, until, host)


def folder_of(instance: str) -> str:
    return posixpath.join(FOLDER, instance)


def last_of(instance: str) -> str:
    return folder_of(instance) + ".last"


def owed_of(instance: str) -> str:
    """There as long as a change that was kept has not forgotten the connections that it made wrong."""
    return folder_of(instance) + ".owed"


def unit_of(instance: str) -> str:
    return "ipmasq-rollback-" + instance


def check_free(instance: str, host: Host) -> None:
    """Only one change may be under way: what one instance removes with itself, another one may need."""
    check_others(instance, host)
    if not host.exists(folder_of(instance)):
        return
    until = _pending(instance, host).get("until")
    if until:
        raise GatewayError(
            "instance: a change of '{0}' waits for its confirmation until {1}; wait, or confirm or revert it with "
            "gateway_confirm".format(instance, until)
        )
    raise GatewayError(
        "instance: another change of '{0}' is under way; wait until it is done (or, if no process is at it, "
        "remove {1})".format(instance, folder_of(instance))
    )


def check_others(instance: str, host: Host) -> None:
    for path in host.find(FOLDER + "/*/change.json"):
        other = posixpath.basename(posixpath.dirname(path))
        if other != instance and not other.startswith(".") and not other.endswith(".gone"):
            raise GatewayError("instance: a change of '{0}' is under way; wait until it is done".format(other))


def await_others(seconds: int, host: Host) -> None:
    """Wait for changes that are under way, of whichever instance. Whoever still is then gets the usual refusal."""
    for _second in range(seconds):
        if not host.find(FOLDER + "/[a-z]*/change.json"):
            return
        host.sleep(1)


def _pending(instance: str, host: Host) -> t.Dict[str, t.Any]:
    try:
        return dict(json.loads(host.read(folder_of(instance) + "/change.json") or "{}"))
    except (ValueError, TypeError):
        return {}


def arm(
    instance: str, pending: t.Optional[Confirmation], restoring: Restoring, keeping: Keeping, host: Host
) -> Confirmation:
    """From here on the change ends by ``disarm``, by ``keep`` or ``finish``, or by itself.

    Gives back what the change is known by: ``pending``, or a token of its own if it waits for no confirmation.
    """
    folder = folder_of(instance)
    known = pending or Confirmation(GUARD, uuid.uuid4().hex, "")
    staged = posixpath.join(FOLDER, ".{0}-{1}".format(instance, known.token[:8]))
    head = HEAD.format(folder=folder, say=SAY)
    by = origin(host)
    words = {"folder": folder, "token": known.token, "tries": TRIES, "instance": instance, "why": _why(known, by)}
    commit = shlex.quote(keeping.commit)
    words.update(commit=commit, unfinished=UNFINISHED)
    scripts = {
        "timer": head + TIMER_TEXT.format(token=known.token, patience=PATIENCE, commit=commit),
        "restore": head + ALONE + _restore_text(restoring, keeping) + (RESTORE_END + FORGET + EXIT).format(**words),
        "keep": head + ALONE + _keep_text(keeping) + (KEEP_END + FORGET + KEPT).format(**words),
        "commit": _commit_text(keeping),
        "change.json": json.dumps(_described(known, keeping, by, host)) + "\n",
    }
    scripts.update(restoring.files)
    if keeping.owing:
        scripts["owed"] = keeping.owing
    scripts.update({"new.{0}".format(number): text for number, (text, _mode) in enumerate(keeping.files.values())})
    try:
        host.remove_tree(staged)
        host.make_folder(staged)
        for name, text in scripts.items():
            host.write(posixpath.join(staged, name), text, 0o600)
        for name in ("undecided", "armed"):
            host.write(posixpath.join(staged, name), "", 0o600)
        # The timer runs before there is anything to take back, so that no death of ours leaves a change without one.
        if pending:
            _start_timer(instance, known, host)
        else:
            _start_guard(instance, known, staged, host)
        if not host.rename(staged, folder):
            check_free(instance, host)
            raise GatewayError("{0}: cannot be made".format(folder))
    except BaseException:
        host.remove_tree(staged)
        raise
    try:
        check_others(instance, host)
    except GatewayError:
        disarm(instance, known, host)
        raise
    return known


def _why(known: Confirmation, by: Origin) -> str:
    """Why a change is taken back that nobody has ended, as a word of the shell."""
    if not known.until:
        return shlex.quote("the run {0} ended half-way".format(by.words))
    return shlex.quote("nobody confirmed the change {0} until {1}".format(by.words, known.until))


def _described(known: Confirmation, keeping: Keeping, by: Origin, host: Host) -> t.Dict[str, t.Any]:
    return {
        "token": known.token,
        "until": known.until,
        "commit": keeping.commit,
        "deadline": utc(host.now() + known.seconds),
        "by": to_raw(by),
    }


def waits(instance: str, host: Host) -> t.Optional[t.Dict[str, str]]:
    """A change that waits for its confirmation, for people: never the token, which is a key to it."""
    pending = _pending(instance, host)
    if not pending.get("until"):
        return None
    try:
        known = from_raw(pending.get("by", {}))
    except (TypeError, AttributeError):
        return None
    return {"until": str(pending.get("deadline", "")), "user": known.user, "from": known.address, "at": known.at}


def _restore_text(restoring: Restoring, keeping: Keeping) -> str:
    lines = ["failed=0"] + ["{0} || failed=1".format(line) for line in restoring.lines]
    lines.append("[ ! -e undecided ] || rm -f {0}".format(_words(_parts(keeping))))
    return "".join(line + "\n" for line in lines)


#: A file that nobody may change (chattr +i), or that is a mount, cannot be replaced, and it is better to know before.
FREE_TEXT = """\
give_up() {{
    [ $# = 0 ] || echo "$1 cannot be replaced" >&2
    rm -f {parts}
    exit 1
}}
free() {{
    [ -e "$1" ] || return 0
    [ ! -d "$1" ] || return 1
    if ln "$1" "$1{old}" 2> /dev/null; then
        rm -f "$1{old}"
    else
        mv -f "$1" "$1{old}" && mv -f "$1{old}" "$1" && return 0
        [ ! -e "$1" ] || rm -f "$1{old}"
        return 1
    fi
}}
"""
OLD = ".ipmasq-old"


def _keep_text(keeping: Keeping) -> str:
    """First everything beside its place, then the file that decides, and only then everything into its place."""
    staged = ["new.{0}".format(number) for number in range(len(keeping.files))] + ["commit"]
    modes = [mode for _text, mode in keeping.files.values()] + [0o600]
    parts = _parts(keeping)
    lines = ["if [ -e undecided ]; then"]
    # Few processes: each one costs the host about a millisecond, and a change has ten files.
    folders = dict.fromkeys(posixpath.dirname(part) for part in parts)
    lines.append("mkdir -p {0} && rm -f {1} || give_up".format(_words(folders), _words(parts)))
    lines += ["cp {0} {1} || give_up".format(name, shlex.quote(part)) for name, part in zip(staged, parts)]
    for mode in dict.fromkeys(modes):
        alike = [part for part, each in zip(parts, modes) if each == mode]
        lines.append("chmod {0:o} {1} || give_up".format(mode, _words(alike)))
    lines += ["free {0} || give_up {0}".format(shlex.quote(path)) for path in [*keeping.files, *keeping.stale]]
    lines.append("sync {0} 2> /dev/null || sync".format(_words(parts)))
    lines.append("mv -f {0} {1} || give_up".format(shlex.quote(parts[-1]), shlex.quote(keeping.commit)))
    lines += ["mv undecided decided", "fi"]
    # What cannot be moved now, not at the second try either, the next boot moves.
    lines.append("[ ! -e {0} ] || sh {0} || sh {0}".format(shlex.quote(keeping.commit)))
    says = 'echo "{0}has failed:" {1} >&2'
    lines += ["{0} || {1}".format(line, says.format(SAYS, shlex.quote(line))) for line in keeping.after]
    return FREE_TEXT.format(parts=_words(parts), old=OLD) + "".join(line + "\n" for line in lines)


def _parts(keeping: Keeping) -> t.List[str]:
    return [path + PART for path in [*keeping.files, keeping.commit]]


def _commit_text(keeping: Keeping) -> str:
    """Run as often as it takes: a file that has been moved is not there to be moved again."""
    lines = ["# Written by the Ansible collection ipmasq.linux; gone once every file of a change is in its place."]
    lines += ["{0} || true".format(line) for line in keeping.before]
    for path in keeping.files:
        part = shlex.quote(path + PART)
        lines.append("[ ! -e {0} ] || mv -f {0} {1} || exit 1".format(part, shlex.quote(path)))
    lines += ["rm -f {0} || exit 1".format(shlex.quote(path)) for path in keeping.stale]
    folders = {posixpath.dirname(path) for path in keeping.stale if posixpath.dirname(path).endswith(".service.d")}
    lines += ["rmdir {0} 2> /dev/null || true".format(shlex.quote(folder)) for folder in sorted(folders)]
    lines.append("rm -f {0}".format(shlex.quote(keeping.commit)))
    if keeping.folder:
        lines.append("rmdir {0} 2> /dev/null || true".format(keeping.folder))
    return "".join(line + "\n" for line in lines)


def _words(values: t.Iterable[str]) -> str:
    return " ".join(shlex.quote(value) for value in values)


def _start_timer(instance: str, known: Confirmation, host: Host) -> None:
    script = folder_of(instance) + "/timer"
    if host.exists("/run/systemd/system"):
        unit = unit_of(instance)
        host.run(["systemctl", "reset-failed", unit + ".service", unit + ".timer"])
        words = "Rollback of the NAT gateway's change of {0}, unless confirmed until {1}".format(instance, known.until)
        after = ["--on-active={0}".format(known.seconds), "--timer-property=AccuracySec=100ms"]
        command = "[ ! -e {0} ] || exec sh {0} {1}".format(script, known.token)
        if _systemd_run(unit, words, after, ["/bin/sh", "-c", command], host):
            return
    _session("sleep {0}; [ ! -e {1} ] || exec sh {1} {2}".format(known.seconds, script, known.token), host)


def _start_guard(instance: str, known: Confirmation, staged: str, host: Host) -> None:
    """Like the timer, but it wakes up when this process is no more."""
    script = folder_of(instance) + "/timer"
    words = {"seconds": known.seconds, "staged": staged, "script": script, "token": known.token}
    watch = GUARD_TEXT.format(pid=host.pid(), **words)
    if host.exists("/run/systemd/system"):
        # A unit of its own for each change: the last one's may not have seen yet that its process is gone.
        unit = "{0}-{1}".format(unit_of(instance), known.token[:8])
        title = "Watch over the NAT gateway's change of {0}".format(instance)
        if _systemd_run(unit, title, [], ["/bin/sh", "-c", watch], host):
            return
    _session(watch, host)


def _systemd_run(unit: str, words: str, options: t.List[str], command: t.List[str], host: Host) -> bool:
    # Whatever kills it, it begins anew, and finishes what it had begun.
    restart = "--property=Restart=on-failure"
    described = ["--unit=" + unit, "--description=" + words]
    return host.run(["systemd-run", "--quiet", *described, restart, *options, *command]).rc == 0


def _session(command: str, host: Host) -> None:
    """A process of its own session, that holds nothing of ours open."""
    done = host.run(["sh", "-c", "setsid sh -c {0} < /dev/null > /dev/null 2>&1 &".format(shlex.quote(command))])
    if done.rc != 0:
        raise GatewayError("the timer of the rollback could not be started: {0}".format(done.err.strip()))


def _stop_timer(instance: str, host: Host) -> None:
    """The other kinds of timer find nothing to do when they wake up."""
    if host.exists("/run/systemd/system"):
        host.run(["systemctl", "stop", unit_of(instance) + ".timer"])


def disarm(instance: str, known: Confirmation, host: Host) -> None:
    """This change did not come about, or has been taken back by whoever made it."""
    if _pending(instance, host).get("token") != known.token:
        return
    if known.until:
        _stop_timer(instance, host)
    # At once: half of a rollback would be worse than none.
    host.rename(folder_of(instance), folder_of(instance) + ".gone")
    host.remove_tree(folder_of(instance) + ".gone")


def check_armed(instance: str, known: Confirmation, host: Host) -> None:
    """Raises GatewayError if the time was over before the change was made."""
    if _pending(instance, host).get("token") != known.token or not host.exists(folder_of(instance) + "/armed"):
        raise GatewayError(
            "the change was taken back before it was made: it took longer than its {0} s, or a service has loaded the "
            "rules anew meanwhile".format(known.seconds)
        )


def ready(instance: str, known: Confirmation, host: Host, forget: str = "") -> None:
    """The change is made: from here on it may be confirmed. Raises GatewayError if the timer was quicker.

    ``forget`` is what a shell has to run then for connections that have become wrong.
    """
    check_armed(instance, known, host)
    if forget:
        host.write(folder_of(instance) + "/forget", forget, 0o600)
    host.write(folder_of(instance) + "/ready", "", 0o600)


def claim(instance: str, known: Confirmation, host: Host) -> bool:
    """Whoever makes a change takes it back: False if the timer is at it already, or was."""
    if _pending(instance, host).get("token") != known.token:
        return False
    folder = folder_of(instance)
    return any(host.rename("{0}/{1}".format(folder, name), folder + "/reverting") for name in ("armed", "confirming"))


def await_end(instance: str, known: Confirmation, host: Host) -> bool:
    """Whether the timer has come to the end of its rollback."""
    for _each in range(2 * LONGEST):
        if _pending(instance, host).get("token") != known.token:
            return True
        host.sleep(0.5)
    return False


def keep(instance: str, known: Confirmation, host: Host, said: str = "") -> t.Tuple[str, ...]:
    """Make a change last that waits for nobody's confirmation; gives back warnings.

    ``said`` is what the journal is told of it. Raises GatewayError if it cannot be written.
    """
    check_armed(instance, known, host)
    if not host.rename(folder_of(instance) + "/armed", folder_of(instance) + "/confirming"):
        check_armed(instance, known, host)
    kept = _keep(instance, known.token, said, host)
    if kept.problem:
        raise GatewayError("the change could not be written to the disk: {0}".format(kept.problem))
    return kept.warnings


@dataclass(frozen=True)
class Kept:
    """How the script that keeps a change has ended."""

    problem: str = ""  # why it is not kept
    warnings: t.Tuple[str, ...] = ()


def _keep(instance: str, token: str, said: str, host: Host) -> Kept:
    """It is kept, too, if the script was killed after it was decided, or somebody else has done it."""
    script = folder_of(instance) + "/keep"
    commit = _pending(instance, host).get("commit", "")
    done = host.run(["sh", script, said])
    if done.rc not in (0, UNFINISHED) and (host.exists(folder_of(instance) + "/decided") or host.exists(commit)):
        done = host.run(["sh", script, said])
    err = " ".join(done.err.split())
    if done.rc == UNFINISHED or _known(instance, token, host).was == "unfinished":
        text = "the change is made, and stays, but could not be written to the disk as a whole ({0}); at the next boot "
        return Kept("", ((text + "this host stays closed until that is mended: run this once more").format(err),))
    if done.rc == 0 or _known(instance, token, host).was == "confirmed":
        lines = [line[len(SAYS) :] for line in done.err.splitlines() if line.startswith(SAYS)]
        return Kept("", tuple(line + "; look at it before the next boot" for line in lines))
    return Kept(err or "exit code {0}".format(done.rc))


@dataclass(frozen=True)
class Answer:
    changed: bool
    was: str  # pending, confirmed, reverted, failed, unfinished, or empty if nothing is known of that change
    at: str = ""  # when it ended, for people
    warnings: t.Tuple[str, ...] = ()


def finish(instance: str, token: str, keep_it: bool, host: Host, check_mode: bool) -> Answer:
    """Confirm what is pending, or take it back now. Without a token, whatever is pending is meant."""
    folder = folder_of(instance)
    pending = _pending(instance, host)
    if not pending.get("until") or (token and pending["token"] != token):
        return _known(instance, token, host)
    if check_mode:
        return Answer(True, "pending")
    if keep_it and not host.exists(folder + "/ready"):
        raise GatewayError(
            "instance: the change of '{0}' is not made yet, or its module has died; wait, or revert it".format(instance)
        )
    claimed = "confirming" if keep_it else "reverting"
    if not host.rename(folder + "/armed", "{0}/{1}".format(folder, claimed)):
        return _outcome(instance, pending["token"], host)
    if keep_it:
        kept = _keep(instance, pending["token"], "confirmed " + origin(host).words, host)
        if kept.problem:
            host.rename(folder + "/confirming", folder + "/reverting")
            back = _restore(instance, pending, "it could not be written to the disk: " + kept.problem, host)
            raise GatewayError(
                "the change works, but could not be written to the disk ({0}); {1}".format(
                    kept.problem, back or "it was taken back"
                )
            )
        _stop_timer(instance, host)
        return Answer(True, "pending", warnings=kept.warnings)
    back = _restore(instance, pending, "taken back " + origin(host).words, host)
    if back:
        raise GatewayError(back)
    return Answer(True, "pending")


def _restore(instance: str, pending: t.Mapping[str, t.Any], why: str, host: Host) -> str:
    """Why the change is not taken back, for people; empty if it is."""
    done = host.run(["sh", folder_of(instance) + "/restore", why])
    said = " ".join(done.err.split()) or "exit code {0}".format(done.rc)
    if done.rc != 0 and _pending(instance, host).get("token") == pending["token"]:
        return "it is not taken back yet ({0}); its timer tries that again at {1}".format(said, pending["until"])
    _stop_timer(instance, host)
    if done.rc == 0 or _known(instance, pending["token"], host).was == "reverted":
        return ""
    return "the rollback has failed, look at the host: {0}".format(said)


def _outcome(instance: str, token: str, host: Host) -> Answer:
    """What comes of a change that somebody else has begun to end. Nobody knows before it has ended."""
    for _each in range(2 * LONGEST):
        known = _known(instance, token, host)
        if known.was:
            return known
        if _pending(instance, host).get("token") != token:
            # Its last word is written before its folder goes.
            return _known(instance, token, host)
        host.sleep(0.5)
    raise GatewayError(
        "instance: somebody else has begun to end the change of '{0}', and does not come to an end".format(instance)
    )


class ChangeLost(GatewayError):  # noqa: N818 - reads as what it is
    """There is nothing left to confirm, or to take back. ``values`` say what there was, for whoever asks by a token."""

    def __init__(self, problem: str, values: t.Mapping[str, t.Any]) -> None:
        super().__init__(problem)
        self.values = values


def end_change(instance: str, token: str, keep: bool, host: Host, check_mode: bool) -> t.Dict[str, t.Any]:
    """The return values of gateway_confirm. Raises ChangeLost if the change has gone the other way."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    answer = finish(instance, token, keep, host, check_mode)
    values: t.Dict[str, t.Any] = {"changed": answer.changed, "was": answer.was, "at": answer.at, "instance": instance}
    values["host"] = answering(host)
    lost = _lost(instance, answer, token, keep)
    if lost:
        raise ChangeLost(lost, values)
    if answer.warnings:
        values["warnings"] = list(answer.warnings)
    return values


def answering(host: Host) -> str:
    """The name of this host, as it knows itself: who comes by a new connection may have come to another one."""
    return printable((host.read("/proc/sys/kernel/hostname") or "").strip())


def _lost(instance: str, answer: Answer, token: str, keep: bool) -> str:
    """Why what was asked for is not so now; empty if it is."""
    when = " at {0}".format(answer.at) if answer.at else ""
    if answer.was == "failed":
        text = "instance: the change of '{0}' was to be taken back{1}, and not every step has worked; look at the host"
        return text.format(instance, when)
    if answer.was == "unfinished":
        text = "instance: the change of '{0}' was kept{1}, but not all of it is on the disk; run the gateway once more"
        return text.format(instance, when)
    if keep and answer.was == "reverted":
        return "instance: too late, the change of '{0}' was taken back{1}; make it once more".format(instance, when)
    if keep and not answer.was:
        known = "nothing is known of that change of '{0}'" if token else "no change of '{0}' waits for its confirmation"
        return "instance: " + (known + "; it was never made here, or this host was restarted since").format(instance)
    if not keep and answer.was == "confirmed":
        text = "instance: too late, the change of '{0}' was confirmed{1}; apply what was there before to go back"
        return text.format(instance, when)
    return ""


def _known(instance: str, token: str, host: Host) -> Answer:
    """What became of the last change, if it was the one with this token."""
    last, outcome, at = [*(host.read(last_of(instance)) or "").split(), "", "", ""][:3]
    return Answer(False, outcome, at) if last and (not token or last == token) else Answer(False, "")
