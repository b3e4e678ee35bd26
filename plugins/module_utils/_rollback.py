# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A change that is rolled back unless somebody keeps it: the controller's new connection, or the module itself.

Shell scripts under /run/ipmasq contain everything needed for a rollback and for keeping the change. They are written
before anything is loaded. Neither script needs Python or Ansible, and a reboot is a rollback, too: it clears /run, and
/etc/ipmasq has what was kept last. A timer (for a change that awaits confirmation) or a guard (for a change that does
not: it watches the module's process) ends a change that nobody else ends. Each claims the change by renaming one file;
only one of them can succeed.

To keep a change, every file is first written under a temporary name. Then one file, INSTANCE.commit, is put in place.
From then on, the change is kept, and any process that finds that file (after a power failure, the loader at boot) moves
the others.
"""

from __future__ import annotations

import json
import posixpath
import shlex
import time
import typing as t
import uuid
from dataclasses import dataclass, field

from . import _codec as codec
from ._errors import GatewayError, Problems, printable
from ._host import RUN_FOLDER, check_root
from ._journal import SAY
from ._lock import SHELL as LOCK
from ._origin import Origin, origin, utc
from ._values import check_instance

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host, Sight

FOLDER = RUN_FOLDER
#: Seconds that another process may take to end a change before the timer does it.
PATIENCE = 10
#: Seconds that a rollback may take: it may wait for the iptables lock, per family and filter.
LONGEST = 120
#: Seconds that a module may take for a change without confirmation.
GUARD = 300

#: Suffix of a change's file that is not yet in its place.
PART = ".ipmasq-new"
#: The guard's command: it waits at most this long, while that process lives and its change exists.
GUARD_TEXT = (
    "n=0; while [ -d /proc/{pid} ] && [ $n -lt {seconds} ] && [ -e {staged} -o -e {script} ]; "
    "do sleep 1; n=$((n + 1)); done; rm -rf {staged}; [ ! -e {script} ] || exec sh {script} {token}"
)

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
#: These two scripts and the loader never run at the same time; the second one finds nothing to do.
ALONE = (
    LOCK
    + """\
lock || exit 1
[ -e change.json ] || exit 0
"""
)
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
echo "{token} $outcome $(date +%H:%M:%S)" > {folder}.last
[ ! -e back ] || [ "$2" = {forgotten} ] || mv -f back {folder}.forget
cd / && mv {folder} {folder}.gone && rm -rf {folder}.gone
"""
KEEP_END = """\
[ ! -e owed ] || mv -f owed {folder}.owed
[ ! -e forget ] || mv -f forget {folder}.forget
rm -f {folder}.proof
[ ! -e proof ] || mv -f proof {folder}.proof
outcome=confirmed
if [ -e {commit} ]; then
    outcome=unfinished
    echo "not every file is in its place (see {commit})" >&2
    say "{instance}: kept, but not every file is in its place; at the next boot this host stays closed"
else
    say "{instance}: ${{1:-kept; the run that decided this ended before it could report it}}"
fi
echo "{token} $outcome $(date +%H:%M:%S)" > {folder}.last
cd / && mv {folder} {folder}.gone && rm -rf {folder}.gone
"""
#: Connections are deleted without the lock, while nobody waits for this shell, and in a unit that does not end with it.
FORGET = """\
if [ -e {folder}.forget ]; then
    exec 9>&-
    [ -e /run/systemd/system ] && systemd-run --quiet /bin/sh {folder}.forget 2> /dev/null ||
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

#: Options of gateway_confirm. Every change waits for that module, so it loads only what this file needs.
OPTIONS: t.Dict[str, t.Dict[str, t.Any]] = {
    "instance": {"type": "str", "default": "default"},
    "state": {"type": "str", "default": "confirmed", "choices": ["confirmed", "reverted"]},
    "token": {"type": "str", "default": "", "no_log": False},
    # Not used; module_defaults can set them for the group.
    "backend": {"type": "str", "default": "auto", "choices": ["auto", "nftables", "iptables"]},
    "confirm_timeout": {"type": "int", "default": 30},
    "confirm_by": {"type": "str", "default": "controller", "choices": ["controller", "person"]},
    "wait": {"type": "int", "default": 0},
}


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
    """Both ends of a change."""

    restoring: Restoring
    keeping: Keeping


@dataclass(frozen=True)
class Confirmation:
    """How long a change awaits confirmation before it is rolled back, and its token."""

    seconds: int
    token: str
    until: str  # for people
    host: str = ""  # this host's own name


def waiting(seconds: int, host: str = "") -> Confirmation:
    until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
    return Confirmation(seconds, uuid.uuid4().hex, until, host)


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


def unit_of(instance: str) -> str:
    return "ipmasq-rollback-" + instance


def check_free(instance: str, host: Sight) -> None:
    """Allow only one change at a time: an instance may remove what another one needs."""
    check_others(instance, host)
    if not host.exists(folder_of(instance)):
        return
    until = _pending(instance, host).get("until")
    if until:
        raise GatewayError(
            "instance: a change to '{0}' awaits confirmation until {1}; wait, or confirm or revert it with "
            "gateway_confirm".format(instance, until)
        )
    raise GatewayError(
        "instance: another change to '{0}' is in progress; wait until it is done (if no process is "
        "running, remove {1})".format(instance, folder_of(instance))
    )


def check_others(instance: str, host: Sight) -> None:
    for path in host.find(FOLDER + "/*/change.json"):
        other = posixpath.basename(posixpath.dirname(path))
        if other != instance and not other.startswith(".") and not other.endswith(".gone"):
            raise GatewayError("instance: a change to '{0}' is in progress; wait until it is done".format(other))


def await_others(seconds: int, host: Sight) -> None:
    """Wait for changes in progress, of any instance. If one remains, the usual refusal follows."""
    for _second in range(seconds):
        if not host.find(FOLDER + "/[a-z]*/change.json"):
            return
        host.sleep(1)


def _pending(instance: str, host: Sight) -> t.Dict[str, t.Any]:
    try:
        return dict(json.loads(host.read(folder_of(instance) + "/change.json") or "{}"))
    except (ValueError, TypeError):
        return {}


def arm(instance: str, pending: t.Optional[Confirmation], prepared: Prepared, host: Host) -> Confirmation:
    """Start a change, which ends by ``disarm``, by ``keep`` or ``finish``, or by itself.

    Returns what identifies the change: ``pending``, or a token of its own if it awaits no confirmation.
    """
    restoring, keeping = prepared
    folder = folder_of(instance)
    known = pending or Confirmation(GUARD, uuid.uuid4().hex, "")
    staged = posixpath.join(FOLDER, ".{0}-{1}".format(instance, known.token[:8]))
    head = HEAD.format(folder=folder, say=SAY)
    by = origin(host)
    words = {"folder": folder, "token": known.token, "tries": TRIES, "instance": instance, "why": _why(known, by)}
    commit = shlex.quote(keeping.commit)
    words.update(commit=commit, unfinished=UNFINISHED, forgotten=FORGOTTEN)
    scripts = {
        "timer": head + TIMER_TEXT.format(token=known.token, patience=PATIENCE, commit=commit),
        "restore": head + ALONE + _restore_text(restoring, keeping) + (RESTORE_END + FORGET + EXIT).format(**words),
        "keep": head + ALONE + _keep_text(keeping) + (KEEP_END + FORGET + KEPT).format(**words),
        "commit": _commit_text(keeping),
        "change.json": json.dumps(_described(known, keeping, by, host)) + "\n",
    }
    scripts.update(restoring.files)
    if pending:
        said = shlex.quote("confirmed {0}, over a new connection".format(by.words))
        scripts["confirm"] = head + CONFIRM_TEXT.format(token=known.token, said=said, unit=unit_of(instance))
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
        # Start the timer before anything is changed, so that no crash leaves a change without one.
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
    """The reason for a rollback that nobody requested, quoted for the shell."""
    if not known.until:
        return shlex.quote("the run {0} was interrupted".format(by.words))
    return shlex.quote("nobody confirmed the change {0} before {1}".format(by.words, known.until))


def _described(known: Confirmation, keeping: Keeping, by: Origin, host: Sight) -> t.Dict[str, t.Any]:
    return {
        "token": known.token,
        "until": known.until,
        "commit": keeping.commit,
        "deadline": utc(host.now() + known.seconds),
        "by": codec.plain(by),
    }


def waits(instance: str, host: Sight) -> t.Optional[t.Dict[str, str]]:
    """A change that awaits confirmation, for people: without the token, which would let anyone confirm it."""
    pending = _pending(instance, host)
    if not pending.get("until"):
        return None
    try:
        known = codec.shaped(Origin, pending.get("by", {}))
    except (TypeError, AttributeError):
        return None
    return {"until": str(pending.get("deadline", "")), "user": known.user, "from": known.address, "at": known.at}


#: A step that fails is named, and the next ones are tried all the same.
FAILING_TEXT = """\
failed=0
failing() {
    failed=1
    echo "'$1' has failed" >&2
}
"""


def _restore_text(restoring: Restoring, keeping: Keeping) -> str:
    lines = ["{0} || failing {1}".format(line, shlex.quote(line)) for line in restoring.lines]
    lines += ["if [ -e undecided ]; then", "rm -f {0}".format(_words(_parts(keeping))), *_put_back(keeping), "fi"]
    return FAILING_TEXT + "".join(line + "\n" for line in lines)


#: A file that is immutable (chattr +i) or a mount cannot be replaced; check that in advance.
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


def _put_back(keeping: Keeping) -> t.List[str]:
    """Undo what ``free`` has left if it was killed: a second name of a file, or a file under that name alone."""
    olds = _words(path + OLD for path in [*keeping.files, *keeping.stale])
    one = '[ ! -e "$old" ] || { [ -e "${old%.*}" ] && rm -f "$old"; } || mv -f "$old" "${old%.*}"'
    return ["for old in {0}; do {1}; done".format(olds, one)] if olds else []


def _keep_text(keeping: Keeping) -> str:
    """Write all files under temporary names, then the file that decides, and then move everything into place."""
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
    lines += _put_back(keeping)
    lines += ["free {0} || give_up {0}".format(shlex.quote(path)) for path in [*keeping.files, *keeping.stale]]
    lines.append("sync {0} 2> /dev/null || sync".format(_words(parts)))
    lines.append("mv -f {0} {1} || give_up".format(shlex.quote(parts[-1]), shlex.quote(keeping.commit)))
    lines += ["mv undecided decided", "fi"]
    # What still cannot be moved at the second attempt is moved at the next boot.
    lines.append("[ ! -e {0} ] || sh {0} || sh {0}".format(shlex.quote(keeping.commit)))
    says = 'echo "{0}has failed:" {1} >&2'
    lines += ["{0} || {1}".format(line, says.format(SAYS, shlex.quote(line))) for line in keeping.after]
    return FREE_TEXT.format(parts=_words(parts), old=OLD) + "".join(line + "\n" for line in lines)


def _parts(keeping: Keeping) -> t.List[str]:
    return [path + PART for path in [*keeping.files, keeping.commit]]


def _commit_text(keeping: Keeping) -> str:
    """May run several times: a file that was moved is no longer there to be moved again."""
    lines = ["# Written by the Ansible collection ipmasq.linux; removed once every file of a change is in its place."]
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
        words = "Rollback of the NAT gateway's change to {0}, unless confirmed until {1}".format(instance, known.until)
        after = ["--on-active={0}".format(known.seconds), "--timer-property=AccuracySec=100ms"]
        command = "[ ! -e {0} ] || exec sh {0} {1}".format(script, known.token)
        if _systemd_run(unit, words, after, ["/bin/sh", "-c", command], host):
            return
    _session("sleep {0}; [ ! -e {1} ] || exec sh {1} {2}".format(known.seconds, script, known.token), host)


def _start_guard(instance: str, known: Confirmation, staged: str, host: Host) -> None:
    """Like the timer, but it wakes up when this process has ended."""
    script = folder_of(instance) + "/timer"
    words = {"seconds": known.seconds, "staged": staged, "script": script, "token": known.token}
    watch = GUARD_TEXT.format(pid=host.pid(), **words)
    if host.exists("/run/systemd/system"):
        # A separate unit for each change: the previous one may not have noticed yet that its process has ended.
        unit = "{0}-{1}".format(unit_of(instance), known.token[:8])
        title = "Watch over the NAT gateway's change to {0}".format(instance)
        if _systemd_run(unit, title, [], ["/bin/sh", "-c", watch], host):
            return
    _session(watch, host)


def _systemd_run(unit: str, words: str, options: t.List[str], command: t.List[str], host: Host) -> bool:
    # If it is killed, it starts again and finishes its work.
    restart = "--property=Restart=on-failure"
    described = ["--unit=" + unit, "--description=" + words]
    return host.run(["systemd-run", "--quiet", *described, restart, *options, *command]).rc == 0


def _session(command: str, host: Host) -> None:
    """Start a process in its own session, without our open files."""
    done = host.run(["sh", "-c", "setsid sh -c {0} < /dev/null > /dev/null 2>&1 &".format(shlex.quote(command))])
    if done.rc != 0:
        raise GatewayError("the rollback timer could not be started: {0}".format(done.err.strip()))


def _stop_timer(instance: str, host: Host) -> None:
    """Stop the systemd timer; other timers find nothing to do when they wake up."""
    if host.exists("/run/systemd/system"):
        host.run(["systemctl", "stop", unit_of(instance) + ".timer"])


def disarm(instance: str, known: Confirmation, host: Host) -> None:
    """Remove what was prepared for a change, and its timer."""
    if _pending(instance, host).get("token") != known.token:
        return
    if known.until:
        _stop_timer(instance, host)
    # Atomically, because half of a rollback would be worse than none.
    host.rename(folder_of(instance), folder_of(instance) + ".gone")
    host.remove_tree(folder_of(instance) + ".gone")


def end_unmade(instance: str, known: Confirmation, host: Host) -> bool:
    """End a change before anything was changed; False if the timer is ending it."""
    claimed = _claim(instance, known, host)
    if claimed:
        disarm(instance, known, host)
    return claimed


def check_armed(instance: str, known: Confirmation, host: Sight) -> None:
    """Raises GatewayError if the deadline passed before the change was made."""
    if _pending(instance, host).get("token") != known.token or not host.exists(folder_of(instance) + "/armed"):
        raise GatewayError(
            "the change was rolled back before it was complete: it took longer than its {0} s, or a service reloaded "
            "the rules meanwhile".format(known.seconds)
        )


def leave(instance: str, name: str, text: str, host: Host) -> None:
    """Put a file into the folder of the change."""
    host.write(posixpath.join(folder_of(instance), name), text, 0o600)


def ready(instance: str, known: Confirmation, host: Host, forget: str = "") -> None:
    """The change is made and may be confirmed from now on. Raises GatewayError if the timer was faster.

    ``forget`` is the shell text that then deletes connections that have become wrong.
    """
    check_armed(instance, known, host)
    if forget:
        leave(instance, "forget", forget, host)
    leave(instance, "ready", "", host)


def _claim(instance: str, known: Confirmation, host: Host) -> bool:
    """Claim a change to roll it back: False if the timer is doing so, or has done so."""
    if _pending(instance, host).get("token") != known.token:
        return False
    folder = folder_of(instance)
    return any(host.rename("{0}/{1}".format(folder, name), folder + "/reverting") for name in ("armed", "confirming"))


def _await_end(instance: str, known: Confirmation, host: Sight) -> bool:
    """Whether the timer has finished its rollback."""
    for _each in range(2 * LONGEST):
        if _pending(instance, host).get("token") != known.token:
            return True
        host.sleep(0.5)
    return False


def take_back(instance: str, known: Confirmation, prepared: Prepared, why: str, host: Host) -> str:
    """Roll back a change that has failed. Returns why that failed, too, as text; empty if it succeeded.

    ``prepared`` is what it was armed with. The caller forgets connections, because it can judge each of them.
    """
    pending = _pending(instance, host)
    if not _claim(instance, known, host):
        # The timer was faster. What was done since must still be undone.
        if not _await_end(instance, known, host):
            return "its timer has started to roll the change back and does not finish; inspect the host"
        known = arm(instance, None, prepared, host)
        pending = _pending(instance, host)
        _claim(instance, known, host)
    return _restore(instance, pending, why, host, FORGOTTEN)


def keep(instance: str, known: Confirmation, host: Host, said: str = "") -> t.Tuple[str, ...]:
    """Make a change permanent that needs no confirmation; returns warnings.

    ``said`` is the text for the journal. Raises GatewayError if the change cannot be written.
    """
    check_armed(instance, known, host)
    if not host.rename(folder_of(instance) + "/armed", folder_of(instance) + "/confirming"):
        check_armed(instance, known, host)
    kept = _keep(instance, known.token, said, host)
    if kept.problem:
        raise GatewayError("the change could not be written to disk: {0}".format(kept.problem))
    return kept.warnings


@dataclass(frozen=True)
class Kept:
    """The result of the script that keeps a change."""

    problem: str = ""  # why the change was not kept
    warnings: t.Tuple[str, ...] = ()


def _keep(instance: str, token: str, said: str, host: Host) -> Kept:
    """Run the script that keeps a change. It is also kept if the script was killed after the decision, or another
    process kept it.
    """
    script = folder_of(instance) + "/keep"
    commit = _pending(instance, host).get("commit", "")
    done = host.run(["sh", script, said])
    if done.rc not in (0, UNFINISHED) and (host.exists(folder_of(instance) + "/decided") or host.exists(commit)):
        done = host.run(["sh", script, said])
    err = " ".join(done.err.split())
    if done.rc == UNFINISHED or _known(instance, token, host).was == "unfinished":
        text = "the change is made and stays, but could not be written to disk completely ({0}); at the next boot "
        return Kept("", ((text + "this host stays closed until that is fixed: run this again").format(err),))
    if done.rc == 0 or _known(instance, token, host).was == "confirmed":
        return Kept("", warned(done.err))
    return Kept(err or "exit code {0}".format(done.rc))


def warned(err: str) -> t.Tuple[str, ...]:
    """The warnings in what the script that keeps a change has written to its standard error."""
    lines = [line[len(SAYS) :] for line in err.splitlines() if line.startswith(SAYS)]
    return tuple(line + "; check it before the next boot" for line in lines)


@dataclass(frozen=True)
class Answer:
    changed: bool
    was: str  # pending, confirmed, reverted, failed, unfinished; empty if that change is unknown
    at: str = ""  # when it ended, as text
    warnings: t.Tuple[str, ...] = ()


def finish(instance: str, token: str, keep_it: bool, sight: Sight) -> Answer:
    """Confirm or roll back a pending change: the one with this token or, without a token, any."""
    folder = folder_of(instance)
    pending = _pending(instance, sight)
    if not pending.get("until") or (token and pending["token"] != token):
        return _known(instance, token, sight)
    host = sight.acting()
    if not host:
        return Answer(True, "pending")
    if keep_it and not host.exists(folder + "/ready"):
        raise GatewayError(
            "instance: the change to '{0}' is not complete yet, or its module has died; wait, or revert it now".format(
                instance
            )
        )
    claimed = "confirming" if keep_it else "reverting"
    # A confirmation that has begun may be finished by anyone; its script waits for others, and does nothing twice.
    begun = keep_it and host.exists(folder + "/confirming")
    if not begun and not host.rename(folder + "/armed", "{0}/{1}".format(folder, claimed)):
        return _outcome(instance, pending["token"], host)
    if keep_it:
        kept = _keep(instance, pending["token"], "confirmed " + origin(host).words, host)
        if kept.problem:
            host.rename(folder + "/confirming", folder + "/reverting")
            back = _restore(instance, pending, "it could not be written to disk: " + kept.problem, host)
            raise GatewayError(
                "the change works, but could not be written to disk ({0}); {1}".format(
                    kept.problem, back or "it was rolled back"
                )
            )
        _stop_timer(instance, host)
        return Answer(True, "pending", warnings=kept.warnings)
    back = _restore(instance, pending, "reverted " + origin(host).words, host)
    if back:
        raise GatewayError(back)
    return Answer(True, "pending")


def _restore(instance: str, pending: t.Mapping[str, t.Any], why: str, host: Host, *words: str) -> str:
    """Roll back. Returns why that failed, as text; empty if it succeeded."""
    done = host.run(["sh", folder_of(instance) + "/restore", why, *words])
    # It tries several times, and says the same each time.
    said = "; ".join(dict.fromkeys(line.strip() for line in done.err.splitlines())) or "exit code {0}".format(done.rc)
    if done.rc != 0 and _pending(instance, host).get("token") == pending["token"]:
        again = "at {0}".format(pending["until"]) if pending["until"] else "once this run has ended"
        return "it is not rolled back yet ({0}); its timer tries again {1}".format(said, again)
    _stop_timer(instance, host)
    if done.rc == 0 or _known(instance, pending["token"], host).was == "reverted":
        return ""
    return "rollback failed; inspect the host: {0}".format(said)


def _outcome(instance: str, token: str, host: Sight) -> Answer:
    """Wait for the outcome of a change that another process is ending."""
    for _each in range(2 * LONGEST):
        known = _known(instance, token, host)
        if known.was:
            return known
        if _pending(instance, host).get("token") != token:
            # The outcome is written before the folder is removed.
            return _known(instance, token, host)
        host.sleep(0.5)
    raise GatewayError(
        "instance: another process is ending the change to '{0}' and does not finish; inspect the host".format(instance)
    )


class ChangeLost(GatewayError):  # noqa: N818 - reads as what it is
    """There is no change to confirm or roll back. ``values`` describe the last one, for callers with a token."""

    def __init__(self, problem: str, values: t.Mapping[str, t.Any]) -> None:
        super().__init__(problem)
        self.values = values


def end_change(instance: str, token: str, keep: bool, host: Sight) -> t.Dict[str, t.Any]:
    """The return values of gateway_confirm. Raises ChangeLost if the change has ended the other way."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    answer = finish(instance, token, keep, host)
    values: t.Dict[str, t.Any] = {"changed": answer.changed, "was": answer.was, "at": answer.at, "instance": instance}
    values["host"] = answering(host)
    lost = _lost(instance, answer, token, keep)
    if lost:
        raise ChangeLost(lost, values)
    if answer.warnings:
        values["warnings"] = list(answer.warnings)
    return values


def answering(host: Sight) -> str:
    """This host's own name; a new connection may have reached another host."""
    return printable((host.read("/proc/sys/kernel/hostname") or "").strip())


def _lost(instance: str, answer: Answer, token: str, keep: bool) -> str:
    """Why the requested outcome was not reached; empty if it was."""
    when = " at {0}".format(answer.at) if answer.at else ""
    if answer.was == "failed":
        text = "instance: the change to '{0}' could not be rolled back completely{1}; inspect the host"
        return text.format(instance, when)
    if answer.was == "unfinished":
        text = "instance: the change to '{0}' was kept{1}, but not all of it is on disk; run the gateway again"
        return text.format(instance, when)
    if keep and answer.was == "reverted":
        return "instance: too late, the change to '{0}' was rolled back{1}; make it again".format(instance, when)
    if keep and not answer.was:
        known = "that change to '{0}' is unknown" if token else "no change to '{0}' awaits confirmation"
        return "instance: " + (known + "; it was not made on this host, or the host has rebooted since").format(
            instance
        )
    if not keep and answer.was == "confirmed":
        text = "instance: too late, the change to '{0}' was confirmed{1}; to undo it, apply the previous declaration"
        return text.format(instance, when)
    return ""


def _known(instance: str, token: str, host: Sight) -> Answer:
    """The outcome of the last change, if it has this token."""
    last, outcome, at = [*(host.read(last_of(instance)) or "").split(), "", "", ""][:3]
    return Answer(False, outcome, at) if last and (not token or last == token) else Answer(False, "")
