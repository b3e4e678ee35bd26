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
"""

from __future__ import annotations

import json
import posixpath
import shlex
import typing as t
import uuid
from dataclasses import dataclass

from .._base import codec
from .._base.errors import GatewayError
from .._base.lock import await_scripts
from .._base.origin import Origin, origin, utc
from .folder import FOLDER, change_of, clear, folder_of, last_of, last_proof, leave, owed_of, pending_of, proof_of
from .meanwhile import UNDER_WAY
from .scripts import (
    BACK,
    FORGOTTEN,
    PROOF,
    SAYS,
    UNFINISHED,
    Keeping,
    Prepared,
    Restoring,
    confirm_script,
    scripts,
    write_copies,
)
from .timer import (
    Confirmation,
    described,
    reason,
    renewed,
    start_guard,
    start_timer,
    stop_timer,
    time_of_day,
    unit_of,
    waiting,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight

#: What callers need of the other files.
__all__ = (
    "BACK", "FOLDER", "PROOF", "Confirmation", "Keeping", "Prepared", "Restoring", "change_of", "folder_of", "last_of",
    "last_proof", "leave", "owed_of", "proof_of", "renewed", "unit_of", "waiting",
)  # fmt: skip
#: Seconds that a rollback may take: it may wait for the iptables lock, per family and filter.
LONGEST = 120
#: Seconds in which one nearly always ends.
SHORTLY = 10
#: Seconds after its deadline in which a rollback may still wait for the lock of another program.
LATE = 180
#: How a change has ended that is kept, and what its run says if another process has done so.
KEPT = ("confirmed", "unfinished")
STAYS = "the change is made and stays: this run took too long, and the timer has kept it"
#: Seconds that a module may take for a change without confirmation.
GUARD = 300


def check_free(instance: str, host: Sight) -> None:
    """Allow only one change at a time: an instance may remove what another one needs."""
    check_others(instance, host)
    # A folder without a change was left by an earlier version, and does not count; a link was not.
    if not host.exists(change_of(instance)) and not host.link(folder_of(instance)):
        return
    until = pending_of(instance, host).get("until")
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
        if not host.find(UNDER_WAY):
            return
        host.sleep(1)


def arm(instance: str, pending: t.Optional[Confirmation], prepared: Prepared, host: Host) -> Confirmation:
    """Start a change, which ends by ``disarm``, by ``keep`` or ``finish``, or by itself.

    Returns what identifies the change: ``pending``, or a token of its own if it awaits no confirmation.
    """
    folder = folder_of(instance)
    known = pending or Confirmation(GUARD, uuid.uuid4().hex, "")
    staged = posixpath.join(FOLDER, ".{0}-{1}".format(instance, known.token[:8]))
    by = origin(host)
    texts = scripts(folder, known.token, reason(known, by), prepared)
    texts["change.json"] = json.dumps(described(known, prepared.keeping.commit, by, host.now())) + "\n"
    if pending:
        said = "confirmed {0}, over a new connection".format(by.words)
        texts["confirm"] = confirm_script(folder, known.token, said, unit_of(instance))
    try:
        host.remove_tree(staged)
        host.make_folder(staged)
        for name, text in texts.items():
            host.write(posixpath.join(staged, name), text, 0o600)
        write_copies(prepared.keeping, staged, host)
        for name in ("undecided", "armed"):
            host.write(posixpath.join(staged, name), "", 0o600)
        # Start the timer before anything is changed, so that no crash leaves a change without one.
        if pending:
            start_timer(instance, folder + "/timer", known, host)
        else:
            start_guard(instance, folder + "/timer", staged, known, host)
        if not host.rename(staged, folder):
            check_free(instance, host)
            clear(instance, staged + "-left", host)
            if not host.rename(staged, folder):
                raise GatewayError("{0}: cannot be made".format(folder))
    except BaseException:
        host.remove_tree(staged)
        raise
    try:
        check_others(instance, host)
        # What a loader loads that has not seen this change comes first. One that looks now rolls this change back.
        await_scripts(host)
        check_armed(instance, known, host)
    except GatewayError:
        if not end_unmade(instance, known, host):
            _await_end(instance, known, host)
        raise
    return known


def waits(instance: str, host: Sight) -> t.Optional[t.Dict[str, t.Any]]:
    """A change that awaits confirmation, for people: without the token, which would let anyone confirm it."""
    pending = pending_of(instance, host)
    if not pending.get("until"):
        return None
    try:
        known = codec.shaped(Origin, pending.get("by", {}))
    except (TypeError, AttributeError):
        return None
    until = str(pending.get("deadline", ""))
    overdue = until < utc(host.now() - LATE)
    return {"until": until, "user": known.user, "from": known.address, "at": known.at, "overdue": overdue}


def disarm(instance: str, known: Confirmation, host: Host) -> None:
    """Remove what was prepared for a change, and its timer."""
    if pending_of(instance, host).get("token") != known.token:
        return
    if known.until:
        stop_timer(instance, host)
    # Atomically, because half of a rollback would be worse than none.
    host.rename(folder_of(instance), folder_of(instance) + ".gone")
    host.remove_tree(folder_of(instance) + ".gone")


def end_unmade(instance: str, known: Confirmation, host: Host) -> bool:
    """End a change before anything was changed; False if the timer is ending it."""
    claimed = _claim(instance, known, host)
    if claimed:
        disarm(instance, known, host)
    return claimed


class RolledBack(GatewayError):  # noqa: N818 - reads as what it is
    """Its timer or the loader has rolled a change back, or is about to."""


def check_armed(instance: str, known: Confirmation, host: Sight) -> None:
    """Raises RolledBack if the change has been rolled back before it was made."""
    if pending_of(instance, host).get("token") != known.token or not host.exists(folder_of(instance) + "/armed"):
        raise RolledBack("the change was rolled back before it was complete: " + _why(instance, known, host))


def _why(instance: str, known: Confirmation, host: Sight) -> str:
    """Why a change was rolled back while it was being made: the script that does so says it once it is done."""
    late = "it took longer than its {0} s".format(known.seconds)
    _await_end(instance, known, host, SHORTLY)
    token, _outcome, _at, why = [*(host.read(last_of(instance)) or "").split(None, 3), "", "", "", ""][:4]
    if token != known.token or not why:
        return late + ", or a service reloaded the rules meanwhile"
    return late if shlex.quote(why.strip()) == reason(known, origin(host)) else why.strip()


def ready(instance: str, known: Confirmation, host: Host, forget: str = "") -> None:
    """The change is made and may be confirmed from now on. Raises GatewayError if the timer was faster.

    ``forget`` is the shell text that then deletes connections that have become wrong.
    """
    check_armed(instance, known, host)
    if forget:
        leave(instance, known.token, "forget", forget, host)
    # From the moment that this is there, somebody may have confirmed the change.
    if not leave(instance, known.token, "ready", "", host):
        check_armed(instance, known, host)


def _claim(instance: str, known: Confirmation, host: Host) -> bool:
    """Claim a change to roll it back: False if the timer is doing so, or has done so."""
    if pending_of(instance, host).get("token") != known.token:
        return False
    folder = folder_of(instance)
    return any(host.rename("{0}/{1}".format(folder, name), folder + "/reverting") for name in ("armed", "confirming"))


def _await_end(instance: str, known: Confirmation, host: Sight, most: int = LONGEST) -> bool:
    """Whether the timer has finished its rollback."""
    for _each in range(2 * most):
        if pending_of(instance, host).get("token") != known.token:
            return True
        host.sleep(0.5)
    return False


def ended_by_another(instance: str, known: Confirmation, host: Sight) -> str:
    """How the timer, the loader or a person has ended a change (``Answer.was``); ``overtaken`` if another change has
    ended since; empty if it has not ended.
    """
    if pending_of(instance, host).get("token") == known.token:
        begun = [name for name in ("armed", "confirming") if host.exists(folder_of(instance) + "/" + name)]
        if begun or not _await_end(instance, known, host):
            return ""
    return _known(instance, known.token, host).was or "overtaken"


def take_back(instance: str, known: Confirmation, prepared: Prepared, why: str, host: Host) -> str:
    """Roll back a change that has failed. Returns why that failed, too, as text; empty if it succeeded.

    ``prepared`` is what it was armed with. The caller forgets connections, because it can judge each of them.
    """
    pending = pending_of(instance, host)
    if not _claim(instance, known, host):
        # The timer was faster. What was done since must still be undone.
        if not _await_end(instance, known, host):
            return "its timer has started to roll the change back and does not finish; inspect the host"
        try:
            known = arm(instance, None, prepared, host)
        except RolledBack:
            return ""  # by the loader, with the same scripts
        pending = pending_of(instance, host)
        _claim(instance, known, host)
    left = _restore(instance, pending, why, host, FORGOTTEN)
    # Its timer may have begun to keep the change before it was claimed here.
    return left or (STAYS if _known(instance, known.token, host).was in KEPT else "")


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
    script = ["sh", folder_of(instance) + "/keep", said, time_of_day(host.now())]
    commit = pending_of(instance, host).get("commit", "")
    done = host.run(script)
    if done.rc not in (0, UNFINISHED) and (host.exists(folder_of(instance) + "/decided") or host.exists(commit)):
        done = host.run(script)
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
    pending = pending_of(instance, sight)
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
            if not back and _known(instance, pending["token"], host).was in KEPT:
                # The lock was held by another process, which was keeping this change, and has.
                return Answer(True, "pending")
            raise GatewayError(
                "the change works, but could not be written to disk ({0}); {1}".format(
                    kept.problem, back or "it was rolled back"
                )
            )
        stop_timer(instance, host)
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
    if done.rc != 0 and pending_of(instance, host).get("token") == pending["token"]:
        again = "at {0}".format(pending["until"]) if pending["until"] else "once this run has ended"
        return "it is not rolled back yet ({0}); its timer tries again {1}".format(said, again)
    stop_timer(instance, host)
    if done.rc == 0 or _known(instance, pending["token"], host).was == "reverted":
        return ""
    return "rollback failed; inspect the host: {0}".format(said)


def _outcome(instance: str, token: str, host: Sight) -> Answer:
    """Wait for the outcome of a change that another process is ending."""
    for _each in range(2 * LONGEST):
        known = _known(instance, token, host)
        if known.was:
            return known
        if pending_of(instance, host).get("token") != token:
            # The outcome is written before the folder is removed.
            return _known(instance, token, host)
        host.sleep(0.5)
    raise GatewayError(
        "instance: another process is ending the change to '{0}' and does not finish; inspect the host".format(instance)
    )


def _known(instance: str, token: str, host: Sight) -> Answer:
    """The outcome of the last change, if it has this token."""
    last, outcome, at = [*(host.read(last_of(instance)) or "").split(), "", "", ""][:3]
    return Answer(False, outcome, at) if last and (not token or last == token) else Answer(False, "")
