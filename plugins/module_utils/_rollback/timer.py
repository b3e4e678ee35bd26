# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Who ends a change that nobody else ends: a timer, or a guard that watches the module's process."""

from __future__ import annotations

import shlex
import time
import typing as t
import uuid
from dataclasses import dataclass

from .._base import codec
from .._base.errors import GatewayError, first_lines, printable
from .._base.origin import utc

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._base.origin import Origin


#: The guard's command: it waits at most this long, while that process lives and its change exists.
GUARD_TEXT = (
    "n=0; while [ -d /proc/{pid} ] && [ $n -lt {seconds} ] && [ -e {staged} -o -e {script} ]; "
    "do sleep 1; n=$((n + 1)); done; [ ! -e {staged} ] || rm -rf {staged}; "
    "[ ! -e {script} ] || exec sh {script} {token}"
)
#: What a shell puts into the background may not have started, without an error; so it says that before anything else.
RUNS = "echo runs; exec > /dev/null 2>&1; "
SESSION = 'said=$(setsid sh -c {0} < /dev/null 2>&1 &); [ "$said" = runs ] || {{ echo "$said" >&2; exit 1; }}'


@dataclass(frozen=True)
class Confirmation:
    """How long a change awaits confirmation before it is rolled back, and its token."""

    seconds: int
    token: str
    until: str  # for people
    host: str = ""  # this host's own name


def reason(known: Confirmation, by: Origin) -> str:
    """The reason for a rollback that nobody requested, quoted for the shell."""
    if not known.until:
        return shlex.quote("the run {0} was interrupted".format(by.words))
    return shlex.quote("nobody confirmed the change {0} before {1}".format(by.words, known.until))


def described(known: Confirmation, commit: str, by: Origin, now: float) -> t.Dict[str, t.Any]:
    """A change, for those who end it and for ``waits``."""
    return {
        "token": known.token,
        "until": known.until,
        "commit": commit,
        "deadline": utc(now + known.seconds),
        "by": codec.plain(by),
    }


def waiting(seconds: int, host: str = "") -> Confirmation:
    return Confirmation(seconds, uuid.uuid4().hex, time_of_day(time.time() + seconds), host)


def renewed(known: Confirmation) -> Confirmation:
    """For the next attempt at the same change. The timer of the first one may still run, and asks for the token."""
    return waiting(known.seconds, known.host)


def time_of_day(seconds: float) -> str:
    """For people, as ``date +%H:%M:%S`` prints it."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def unit_of(instance: str) -> str:
    return "ipmasq-rollback-" + instance


def start_timer(instance: str, script: str, known: Confirmation, host: Host) -> None:
    """Run the script with the change's token once its time is over."""
    if host.exists("/run/systemd/system"):
        unit = unit_of(instance)
        host.run(["systemctl", "reset-failed", unit + ".service", unit + ".timer"])
        words = "Rollback of the NAT gateway's change to {0}, unless confirmed until {1}".format(instance, known.until)
        after = ["--on-active={0}".format(known.seconds), "--timer-property=AccuracySec=100ms"]
        command = "[ ! -e {0} ] || exec sh {0} {1}".format(script, known.token)
        if _systemd_run(unit, words, after, ["/bin/sh", "-c", command], host):
            return
    _session("sleep {0}; [ ! -e {1} ] || exec sh {1} {2}".format(known.seconds, script, known.token), host)


def start_guard(instance: str, script: str, staged: str, known: Confirmation, host: Host) -> None:
    """Like the timer, but it wakes up when this process has ended.

    ``staged`` is the folder of the change until its own folder, with the script, is there.
    """
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
    """Start a process in its own session, without our open files. Raises GatewayError unless it says that it runs."""
    done = host.run(["sh", "-c", SESSION.format(shlex.quote(RUNS + command))])
    if done.rc != 0:
        raise GatewayError(
            "the rollback timer could not be started: {0}; without systemd, setsid is needed (util-linux)".format(
                printable(first_lines(done.err))
            )
        )


def stop_timer(instance: str, host: Host) -> None:
    """Stop the systemd timer; other timers find nothing to do when they wake up."""
    if host.exists("/run/systemd/system"):
        host.run(["systemctl", "stop", unit_of(instance) + ".timer"])
