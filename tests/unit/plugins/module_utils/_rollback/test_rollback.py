# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who ends a change. tests/integration/test_confirm.py shows with the real shell what the scripts do."""

from __future__ import annotations

import posixpath

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import lock
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done, Onlooker
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.timer import time_of_day
from ansible_collections.ipmasq.linux.tests.unit import fakes

FOLDER = "/run/ipmasq/default"
BACK = rollback.Restoring(("nft -f ./old0.nft",), {"old0.nft": "# rules"})
KEEP = rollback.Keeping(
    "/etc/ipmasq/x.commit",
    {"/etc/ipmasq/a b.json": ("{}", 0o600)},
    ("/etc/old",),
    ("before",),
    ("after",),
    "/etc/ipmasq",
)
PENDING = rollback.Confirmation(30, "secret", "14:05:30")


@pytest.fixture
def host():
    made = fakes.FakeHost(fakes.NFT)
    made.files.pop("/run/systemd/system/x")
    return made


def armed(host, keeping=KEEP, pending=PENDING):
    return rollback.arm("default", pending, rollback.Prepared(BACK, keeping), host)


def started(host):
    """The call that has started the timer or the guard; after it, arming waits for scripts that have the lock."""
    assert host.calls[-1] == ["sh", "-c", lock.PASS]
    return host.calls[-2]


def made(host):
    """Armed, and carried out."""
    known = armed(host)
    rollback.ready("default", known, host)
    return known


def test_the_timer_starts_once_everything_is_there(host):
    armed(host)
    written = [event[1] for event in host.events if event[0] == "write"]
    staged = "/run/ipmasq/.default-secret/"
    assert written[-1] == staged + "armed"
    kept = {"new/0/" + posixpath.basename(path) for path in (*KEEP.files, KEEP.commit)}
    assert {staged + name for name in {"timer", "restore", "keep", "old0.nft"} | kept} < set(written)
    assert host.events[-1] == ("rename", staged[:-1])
    assert started(host)[:2] == ["sh", "-c"] and "exec sh /run/ipmasq/default/timer secret'" in started(host)[2]


def test_systemd_keeps_the_time_where_it_is_there(host):
    host.files["/run/systemd/system/x"] = ""
    armed(host)
    assert started(host)[0] == "systemd-run" and "--on-active=30" in started(host)
    # A container whose systemd refuses it.
    rollback.disarm("default", PENDING, host)
    host.answers["systemd-run"] = Done(1, "", "no bus")
    armed(host)
    assert started(host)[:2] == ["sh", "-c"]


def test_only_one_change_waits(host):
    armed(host)
    with pytest.raises(GatewayError, match=r"awaits confirmation until 14:05:30"):
        armed(host)
    rollback.disarm("default", PENDING, host)
    rollback.check_free("default", host)


def test_a_change_that_waits_for_nobody_is_guarded_while_its_process_lives(host):
    known = armed(host, pending=None)
    words = started(host)[2]
    assert "[ -d /proc/{0} ]".format(host.pid()) in words and "timer " + known.token in words
    with pytest.raises(
        GatewayError, match=r"instance: another change to 'default' is in progress; wait until it is done"
    ):
        armed(host)
    # Only the change itself may confirm it.
    assert rollback.finish("default", "", True, host) == rollback.Answer(False, "")
    rollback.check_armed("default", known, host)
    del host.files[FOLDER + "/armed"]
    with pytest.raises(GatewayError, match=r"rolled back before it was complete: it took longer than its 300 s"):
        rollback.keep("default", known, host)


def test_what_is_not_made_yet_cannot_be_confirmed(host):
    armed(host)
    with pytest.raises(GatewayError, match=r"the change to 'default' is not complete yet, or its module has died"):
        rollback.finish("default", "", True, host)
    assert rollback.finish("default", "", False, host) == rollback.Answer(True, "pending")


def test_a_change_of_another_instance_is_awaited(host):
    armed(host)
    with pytest.raises(GatewayError, match=r"a change to 'default' is in progress"):
        rollback.check_free("lab", host)


class LoaderFirst(fakes.FakeHost):
    """While arming waits for the lock, the loader rolls the change back; or the lock stays held."""

    held = False

    def run(self, argv, stdin=None):
        if list(argv) == ["sh", "-c", lock.PASS]:
            if self.held:
                return Done(1, "", "ipmasq: " + lock.HELD)
            self.rename(FOLDER + "/armed", FOLDER + "/reverting")
        return super().run(argv, stdin)

    def sleep(self, seconds):
        # The loader's rollback takes half a second.
        self.remove_tree(FOLDER)


@pytest.mark.parametrize("pending", [PENDING, None])
@pytest.mark.parametrize("held", [True, False])
def test_a_change_that_meets_the_loader_is_not_begun(held, pending):
    host = LoaderFirst(fakes.NFT)
    host.held = held
    words = lock.HELD if held else "or a service reloaded the rules meanwhile"
    with pytest.raises(GatewayError, match=words):
        armed(host, pending=pending)
    assert not [path for path in host.files if path.startswith(FOLDER)]


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("nobody confirmed the change by root before 14:05:30", "it took longer than its 30 s"),
        ("a service reloaded the rules", "a service reloaded the rules"),
        ("", "it took longer than its 30 s, or a service reloaded the rules meanwhile"),
    ],
)
def test_whoever_took_it_back_has_said_why(host, why, said):
    known = armed(host)
    host.remove_tree(FOLDER)
    host.files[FOLDER + ".last"] = "secret reverted 14:05:30 {0}\n".format(why)
    with pytest.raises(rollback.RolledBack) as caught:
        rollback.ready("default", known, host)
    assert caught.value.problems == ("the change was rolled back before it was complete: " + said,)


def test_a_folder_without_a_change_is_in_nobodys_way(host):
    host.files[FOLDER + "/proof"] = "{}"
    rollback.check_free("default", host)
    made(host)
    assert FOLDER + "/proof" not in host.files and FOLDER + "/ready" in host.files


def taken_back(host, known):
    return rollback.take_back("default", known, rollback.Prepared(BACK, KEEP), "it failed", host)


def test_two_loaders_that_roll_a_change_back_are_no_failure():
    """Docker's restart runs it twice: while the change is made, and while the run itself rolls it back."""
    host = LoaderFirst(fakes.NFT)
    gone = rollback.Confirmation(30, "gone", "14:05:30")
    assert taken_back(host, gone) == ""
    assert not [path for path in host.files if path.startswith(FOLDER)]


def test_a_change_is_overdue_some_time_after_its_deadline(host):
    armed(host)
    assert rollback.waits("default", host)["overdue"] is False
    host.time += PENDING.seconds + rollback.LATE + 1
    assert rollback.waits("default", host)["overdue"] is True


def test_whoever_rolls_a_change_back_has_claimed_it(host):
    known = armed(host, pending=None)
    host.answers["sh " + FOLDER + "/restore"] = Done(1, "", "nft: busy\n")
    again = "its timer tries again once this run has ended"
    assert taken_back(host, known) == "it is not rolled back yet (nft: busy); " + again
    assert host.calls[-1] == ["sh", FOLDER + "/restore", "it failed", rollback.FORGOTTEN]
    assert FOLDER + "/reverting" in host.files
    # Another process has claimed it.
    assert (
        taken_back(host, known) == "its timer has started to roll the change back and does not finish; inspect the host"
    )
    assert host.calls.count(["sleep", "0.5"]) == 2 * rollback.LONGEST
    later = rollback.Confirmation(30, "later", "14:05:30")
    rollback.disarm("default", later, host)
    assert FOLDER + "/reverting" in host.files
    rollback.disarm("default", known, host)
    assert FOLDER + "/reverting" not in host.files


def test_what_was_done_after_the_timer_is_rolled_back_too(host):
    known = armed(host, pending=None)
    rollback.disarm("default", known, host)
    assert taken_back(host, known) == ""
    assert [call[:2] for call in host.calls if call[0] == "sh"][-1] == ["sh", FOLDER + "/restore"]
    # A later change is not touched.
    armed(host, pending=rollback.Confirmation(30, "later", "14:05:30"))
    with pytest.raises(GatewayError, match="awaits confirmation until 14:05:30"):
        taken_back(host, known)
    assert FOLDER + "/armed" in host.files


def test_each_guard_is_a_unit_of_its_own(host):
    host.files["/run/systemd/system/x"] = ""
    names = []
    for _each in range(2):
        known = armed(host, pending=None)
        names += [word for word in started(host) if word.startswith("--unit=")]
        rollback.keep("default", known, host)
    assert len(set(names)) == 2 and rollback.folder_of("default") + "/keep" not in host.files


def test_what_cannot_be_kept_at_once_is_an_error(host):
    known = armed(host, pending=None)
    host.answers["sh " + FOLDER + "/keep"] = Done(1, "", "cp: No space left on device\n")
    with pytest.raises(GatewayError, match=r"the change could not be written to disk: cp: No space left on device"):
        rollback.keep("default", known, host)


def test_a_timer_that_does_not_start_leaves_nothing(host):
    host.answers["sh -c"] = Done(127, "", "setsid: not found")
    with pytest.raises(GatewayError, match="rollback timer could not be started: setsid: not found"):
        armed(host)
    assert not [name for name in host.files if name.startswith("/run/ipmasq")]


@pytest.mark.parametrize(
    ("keep", "script", "said"), [(True, "keep", "confirmed by root"), (False, "restore", "reverted by root")]
)
def test_one_of_them_ends_it(host, keep, script, said):
    made(host)
    assert rollback.finish("default", "", keep, Onlooker(host)) == rollback.Answer(True, "pending")
    assert rollback.finish("default", "secret", keep, host) == rollback.Answer(True, "pending")
    # The script that keeps it gets the time, so that it need not start date.
    at = [time_of_day(host.now())] if keep else []
    assert ["sh", FOLDER + "/" + script, said, *at] in host.calls


def test_a_confirmation_that_has_begun_is_finished(host):
    made(host)
    host.files[FOLDER + "/confirming"] = host.files.pop(FOLDER + "/armed")
    assert rollback.finish("default", "secret", True, host) == rollback.Answer(True, "pending")
    assert ["sh", FOLDER + "/keep", "confirmed by root", time_of_day(host.now())] in host.calls


class Meanwhile(fakes.FakeHost):
    """Someone else ends the change in between."""

    writes = ""

    def rename(self, path, to):
        if path.endswith("/armed") and self.writes is not None:
            super().rename(path, to.rpartition("/")[0] + "/reverting")
            return False
        return super().rename(path, to)

    def sleep(self, seconds):
        super().sleep(seconds)
        if self.writes:
            self.files[FOLDER + ".last"] = self.writes
            super().remove_tree(FOLDER)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("outcome", ["reverted", "confirmed", "failed"])
def test_whoever_comes_second_is_told_how_it_ended(keep, outcome):
    """Not what was begun: a script that keeps a change may yet fail."""
    host = Meanwhile(fakes.NFT)
    made(host)
    host.writes = "secret {0} 14:05:31\n".format(outcome)
    assert rollback.finish("default", "secret", keep, host) == rollback.Answer(False, outcome, "14:05:31")
    assert host.calls[-1] == ["sleep", "0.5"]


def test_whoever_comes_second_to_what_does_not_end_is_told_so(host):
    made(host)
    host.files[FOLDER + "/reverting"] = host.files.pop(FOLDER + "/armed")
    with pytest.raises(GatewayError, match="is ending the change to 'default' and does not finish"):
        rollback.finish("default", "secret", True, host)


@pytest.mark.parametrize(
    ("last", "token", "was"),
    [
        ("secret reverted\n", "secret", "reverted"),
        ("secret confirmed\n", "secret", "confirmed"),
        ("secret confirmed\n", "", "confirmed"),
        ("secret confirmed\n", "other", ""),
        (None, "secret", ""),
    ],
)
def test_what_became_of_it_is_known_afterwards(host, last, token, was):
    if last:
        host.files[FOLDER + ".last"] = last
    assert rollback.finish("default", token, True, host) == rollback.Answer(False, was)


def test_what_cannot_be_kept_is_taken_back(host):
    made(host)
    host.answers["sh " + FOLDER + "/keep"] = Done(1, "", "No space left on device")
    with pytest.raises(GatewayError, match=r"could not be written to disk \(No space left on device\); it was rolled"):
        rollback.finish("default", "secret", True, host)
    said = "it could not be written to disk: No space left on device"
    assert host.calls[-1] == ["sh", FOLDER + "/restore", said]
    assert FOLDER + "/confirming" not in host.files


def test_a_file_that_is_not_in_its_place_is_not_called_kept(host):
    made(host)
    host.answers["sh " + FOLDER + "/keep"] = Done(rollback.UNFINISHED, "", "mv: cannot move\nnot every file\n")
    (told,) = rollback.finish("default", "secret", True, host).warnings
    assert "(mv: cannot move not every file); at the next boot this host stays closed until that is fixed" in told


def test_a_service_that_could_not_be_told_is_told(host):
    known = armed(host, pending=None)
    host.answers["sh " + FOLDER + "/keep"] = Done(
        0, "", "noise\nipmasq: default: kept\nipmasq warns: has failed: rc-update add ipmasq\n"
    )
    told = rollback.keep("default", known, host)
    assert told == ("has failed: rc-update add ipmasq; check it before the next boot",)


@pytest.mark.parametrize("gone", [True, False])
def test_a_rollback_that_fails_is_told(host, monkeypatch, gone):
    armed(host)

    def fails(argv, stdin=None):
        if gone:
            host.remove_tree(FOLDER)
        return Done(1, "", "nft: broken")

    monkeypatch.setattr(host, "run", fails)
    told = "rollback failed; inspect the host: nft: broken"
    later = r"it is not rolled back yet \(nft: broken\); its timer tries again at 14:05:30"
    with pytest.raises(GatewayError, match=told if gone else later):
        rollback.finish("default", "", False, host)


def test_somebody_elses_change_is_waited_for(host):
    rollback.await_others(60, host)
    assert [call for call in host.calls if call[0] == "sleep"] == []
    armed(host)
    rollback.await_others(3, host)
    assert [call for call in host.calls if call[0] == "sleep"] == [["sleep", "1"]] * 3
    with pytest.raises(GatewayError, match="awaits confirmation"):
        rollback.check_free("default", host)
    sleep, host.sleep = host.sleep, lambda _seconds: rollback.disarm("default", PENDING, host)
    rollback.await_others(60, host)
    rollback.check_free("default", host)
    host.sleep = sleep
