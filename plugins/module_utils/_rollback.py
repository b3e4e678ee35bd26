# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A change that takes itself back unless it is confirmed.

What is needed to go back, and to stay, lies as shell scripts under /run/ipmasq before anything is loaded, so that the
timer needs neither Python nor Ansible, and a reboot is a way back too: /run is gone then, and /etc/ipmasq has what was
confirmed last. Timer and confirmation each claim the change by renaming one file; only one of them can.
"""

from __future__ import annotations

import json
import posixpath
import shlex
import typing as t
from dataclasses import dataclass, field

from ._errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host

FOLDER = "/run/ipmasq"
#: How long somebody else who has begun to end a change may take before the timer does it, in seconds.
PATIENCE = 10

HEAD = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux for one change; gone once it is confirmed or taken back.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd {folder} || exit 0
"""
#: What the timer runs.
TIMER_TEXT = """\
# A timer that outlived its own change wakes up here, too.
[ "$1" = '{token}' ] || exit 0
if mv armed reverting 2> /dev/null; then
    exec sh ./restore
fi
# Somebody else came first. If that died half-way, it is finished here.
waited=0
while [ -e change.json ] && [ $waited -lt {patience} ]; do
    sleep 1
    waited=$((waited + 1))
done
[ ! -e confirming ] || exec sh ./keep
[ ! -e reverting ] || exec sh ./restore
"""
RESTORE_END = """\
echo '{token} reverted' > {folder}.last
cd / && rm -rf {folder}
exit $failed
"""
KEEP_END = """\
echo '{token} confirmed' > {folder}.last
cd / && rm -rf {folder}
"""


@dataclass(frozen=True)
class Keeping:
    """What makes a change last."""

    files: t.Mapping[str, t.Tuple[str, int]] = field(default_factory=dict)
    stale: t.Tuple[str, ...] = ()
    before: t.Tuple[str, ...] = ()  # lines of shell in front of it
    after: t.Tuple[str, ...] = ()
    folder: str = ""  # removed at the end if nothing is left in it
    forget: t.Tuple[str, ...] = ()  # what conntrack(8) is told of each connection that has become wrong


@dataclass(frozen=True)
class Restoring:
    """The way back: lines of shell that may use these files of their folder."""

    lines: t.Tuple[str, ...]
    files: t.Mapping[str, str]


def folder_of(instance: str) -> str:
    return posixpath.join(FOLDER, instance)


def last_of(instance: str) -> str:
    return folder_of(instance) + ".last"


def unit_of(instance: str) -> str:
    return "ipmasq-rollback-" + instance


def check_free(instance: str, host: Host) -> None:
    """Only one change of an instance may wait for its confirmation."""
    if host.exists(folder_of(instance)):
        raise GatewayError(
            "instance: a change of '{0}' waits for its confirmation until {1}; wait, or confirm or revert it with "
            "gateway_confirm".format(instance, _until(instance, host))
        )


def _until(instance: str, host: Host) -> str:
    try:
        return str(json.loads(host.read(folder_of(instance) + "/change.json") or "")["until"])
    except (ValueError, KeyError, TypeError):
        return "it is taken back"


def arm(
    instance: str, token: str, seconds: int, until: str, restoring: Restoring, keeping: Keeping, host: Host
) -> None:
    """Start the timer. From here on the change ends by ``disarm``, ``confirm``, or by itself."""
    folder = folder_of(instance)
    if not host.make_folder(folder):
        check_free(instance, host)
    head = HEAD.format(folder=folder)
    scripts = {
        "timer": head + TIMER_TEXT.format(token=token, patience=PATIENCE),
        "restore": head + _restore_text(restoring) + RESTORE_END.format(token=token, folder=folder),
        "keep": head + _keep_text(keeping) + KEEP_END.format(token=token, folder=folder),
        "change.json": json.dumps({"token": token, "until": until, "seconds": seconds}) + "\n",
    }
    scripts.update(restoring.files)
    if keeping.forget:
        scripts["forget"] = "".join(line + "\n" for line in keeping.forget)
    scripts.update({"new.{0}".format(number): text for number, (text, _mode) in enumerate(keeping.files.values())})
    try:
        for name, text in scripts.items():
            host.write(posixpath.join(folder, name), text, 0o600)
        host.write(folder + "/armed", "", 0o600)
        _start_timer(instance, token, seconds, host)
    except BaseException:
        disarm(instance, host)
        raise


def _restore_text(restoring: Restoring) -> str:
    lines = ["failed=0"] + ["{0} || failed=1".format(line) for line in restoring.lines]
    return "".join(line + "\n" for line in lines)


def _keep_text(keeping: Keeping) -> str:
    """First everything beside its place, and only if all of it is there, into it."""
    parts = {path: path + ".ipmasq-new" for path in keeping.files}
    lines = ["give_up() {", "    rm -f {0}".format(_words(parts.values())), "    exit 1", "}"] if parts else []
    for number, (path, (_text, mode)) in enumerate(keeping.files.items()):
        part = shlex.quote(parts[path])
        lines.append(
            "mkdir -p {0} && cp new.{1} {2} && chmod {3:o} {2} || give_up".format(
                shlex.quote(posixpath.dirname(path)), number, part, mode
            )
        )
    if parts:
        lines.append("sync {0} 2> /dev/null || sync".format(_words(parts.values())))
    lines += ["{0} || true".format(line) for line in keeping.before]
    lines += ["mv -f {0} {1} || exit 1".format(shlex.quote(part), shlex.quote(path)) for path, part in parts.items()]
    lines += ["rm -f {0}".format(shlex.quote(path)) for path in keeping.stale]
    if keeping.folder:
        lines.append("rmdir {0} 2> /dev/null || true".format(keeping.folder))
    lines += ["{0} || true".format(line) for line in keeping.after]
    if keeping.forget:
        # Before conntrack 1.4.7 there is no such option.
        one_by_one = "while read -r words; do conntrack $words; done < ./forget"
        lines.append("{{ conntrack --load-file ./forget || {0}; }} > /dev/null 2>&1 || true".format(one_by_one))
    return "".join(line + "\n" for line in lines)


def _words(values: t.Iterable[str]) -> str:
    return " ".join(shlex.quote(value) for value in values)


def _start_timer(instance: str, token: str, seconds: int, host: Host) -> None:
    script = folder_of(instance) + "/timer"
    if host.exists("/run/systemd/system"):
        unit = unit_of(instance)
        host.run(["systemctl", "reset-failed", unit + ".service", unit + ".timer"])
        done = host.run(
            [
                "systemd-run", "--quiet", "--unit=" + unit, "--on-active={0}".format(seconds),
                "--timer-property=AccuracySec=100ms", "/bin/sh", script, token,
            ]
        )  # fmt: skip
        if done.rc == 0:
            return
    # A process of its own session, that holds nothing of ours open.
    command = "setsid sh -c 'sleep {0}; exec sh {1} {2}' < /dev/null > /dev/null 2>&1 &".format(seconds, script, token)
    done = host.run(["sh", "-c", command])
    if done.rc != 0:
        raise GatewayError("the timer of the way back could not be started: {0}".format(done.err.strip()))


def _stop_timer(instance: str, host: Host) -> None:
    """The other kind of timer finds nothing to do when it wakes up."""
    if host.exists("/run/systemd/system"):
        host.run(["systemctl", "stop", unit_of(instance) + ".timer"])


def disarm(instance: str, host: Host) -> None:
    """The change did not come about, or has been taken back by whoever made it."""
    _stop_timer(instance, host)
    host.remove_tree(folder_of(instance))


@dataclass(frozen=True)
class Answer:
    changed: bool
    was: str  # pending, confirmed, reverted, or empty if nothing is known of that change


def finish(instance: str, token: str, keep: bool, host: Host, check_mode: bool) -> Answer:
    """Confirm what is pending, or take it back now. Without a token, whatever is pending is meant."""
    folder = folder_of(instance)
    pending = _pending_token(instance, host)
    if not pending or (token and pending != token):
        return Answer(False, _known(instance, token, host))
    if check_mode:
        return Answer(True, "pending")
    claimed = "confirming" if keep else "reverting"
    if not host.rename(folder + "/armed", "{0}/{1}".format(folder, claimed)):
        return Answer(False, "reverted" if host.exists(folder + "/reverting") else "confirmed")
    done = host.run(["sh", folder + ("/keep" if keep else "/restore")])
    if keep and done.rc != 0:
        host.run(["sh", folder + "/restore"])
        _stop_timer(instance, host)
        raise GatewayError(
            "the change works, but could not be written to the disk ({0}); it was taken back".format(
                done.err.strip() or "exit code {0}".format(done.rc)
            )
        )
    _stop_timer(instance, host)
    if done.rc != 0:
        raise GatewayError("the way back has failed, look at the host: {0}".format(done.err.strip()))
    return Answer(True, "pending")


def _pending_token(instance: str, host: Host) -> str:
    try:
        return str(json.loads(host.read(folder_of(instance) + "/change.json") or "{}").get("token", ""))
    except ValueError:
        return ""


def _known(instance: str, token: str, host: Host) -> str:
    """What became of the last change, if it was the one with this token."""
    last, _space, outcome = (host.read(last_of(instance)) or "").strip().partition(" ")
    return outcome if last and (not token or last == token) else ""
