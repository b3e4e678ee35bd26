# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When there is a fence, and when not; integration/test_fence.py shows what it does."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.asked import is_steady
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._flows import conntrack
from ansible_collections.ipmasq.linux.plugins.module_utils._init import service
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts import fence
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

RELEASE = "/proc/sys/kernel/osrelease"
UNIT = "/etc/systemd/system/ipmasq-fence.service"
RESTART = tuple(service.RESTART_FENCE.split())


def host_with(release="6.1.0-25-amd64", **answers):
    host = fakes.FakeHost(files={RELEASE: release + "\n"})
    host.answers = {"nft -c -f -": Done(0, "", ""), "nft -V": Done(0, "  cli:\t\teditline\n", "")}
    host.answers["nft -j list chain inet"] = Done(0, "{}", "")
    host.answers.update(answers)
    return host


def apply(host, check_mode=False, **given):
    return engine.apply_gateway(gateway_from_params(gateway_params(**given)), "auto", fakes.seen(host, check_mode))


def told(result):
    return [note for note in result.notes if note.startswith("no fence: ")]


def test_it_comes_with_the_gateway_and_is_asked_for_by_one_process():
    host = host_with()
    first = apply(host)
    assert "+ fence: stands" in first.to_dict()["differences"] and not told(first)
    assert host.files["/etc/ipmasq/default.fence.nft"].startswith("add table inet ipmasq-fence\n")
    assert RESTART in host.events
    host.calls.clear()
    assert not apply(host).changed
    asked = [call for call in host.calls if call[0] == "nft" and ("chain" in call or "-c" in call or "-V" in call)]
    assert len(asked) == 1 and is_steady(asked[0])
    host.answers["nft -j list chain inet"] = Done(1, "", "Error: No such file or directory\n")
    assert gateway_info("default", host)["fence"] == {"stands": False, "why_not": ""}
    assert "~ fence: stands again" in apply(host, check_mode=True).to_dict()["differences"]


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("tracking", [True, False])
def test_check_mode_does_not_load_connection_tracking(monkeypatch, check_mode, tracking):
    host = host_with()
    (host.files.setdefault if tracking else host.files.pop)("/proc/sys/" + conntrack.MAX, "65536\n")
    tried, answer = [], host.ask

    def ask(argv, stdin=None):
        tried.extend([stdin] * (list(argv[:2]) == ["nft", "-c"]))
        return answer(argv, stdin)

    monkeypatch.setattr(host, "ask", ask)
    assert "+ fence: stands" in apply(host, check_mode).to_dict()["differences"]
    (text,) = tried
    assert "{ flags owner; }" in text and ("add rule" in text) == (tracking or not check_mode)


def test_it_goes_with_the_gateway():
    host = host_with()
    apply(host)
    host.events.clear()
    removing.remove_instance("default", host)
    assert ("systemctl", "stop", "ipmasq-fence.service") in host.events
    assert UNIT not in host.files and "/etc/ipmasq/default.fence.nft" not in host.files


def test_how_to_bring_it_back_depends_on_the_init():
    known, host = fence.Fence("table inet ipmasq-fence {}\n"), host_with()
    for init, way in (
        (None, "systemctl status ipmasq-fence"),
        (service.Init("systemd", {}, {}, (), "", "", {}, "x", ()), "systemctl status ipmasq-fence"),
        (service.Init("OpenRC", {}, {}, (), "", "", {}, "sh /etc/ipmasq/boot fence", ()), "sh /etc/ipmasq/boot fence"),
    ):
        found = fence.FENCE.drift(known, Scene("default", init=init), host)
        assert found == ["- fence: does not stand ({0})".format(way)]


def test_a_fence_that_cannot_be_renewed_is_told_and_no_reason_to_go_back():
    host = host_with()
    apply(host)
    host.answers[" ".join(RESTART)] = Done(1, "", "Job failed.\n")
    done = apply(host, drop_bogons=True, input="protect")
    (warning,) = [each for each in done.warnings if "fence" in each]
    assert warning.startswith("the fence does not stand ('{0}' has failed); a".format(" ".join(RESTART)))
    assert done.changed


@pytest.mark.parametrize(
    ("release", "why"),
    [
        ("5.10.0-30-amd64", "Linux 5.10.0-30-amd64 has no tables with an owner, which came with 5.12"),
        ("4.18.0-553.el8", "Linux 4.18.0-553.el8 has no tables with an owner, which came with 5.12"),
        ("odd", "Linux odd has no tables with an owner, which came with 5.12"),
        ("5.12.0", ""),
        ("6.1.0-25-amd64", ""),
    ],
)
def test_which_kernels_have_it(release, why):
    host = host_with(release)
    done = apply(host)
    assert told(done) == (["no fence: {0}; {1}".format(why, fence.UNFENCED)] if why else [])
    assert (UNIT in host.files) == (not why)
    host.frozen = True
    assert not apply(host).changed


@pytest.mark.parametrize(
    ("words", "done", "why"),
    [
        (
            "nft -c -f -",
            Done(1, "", "Error: syntax error, unexpected owner\nmore\n"),
            "Error: syntax error, unexpected owner",
        ),
        ("nft -c -f -", Done(1, "", ""), "no message"),
        ("nft -V", Done(0, "  cli:\t\tno\n", ""), "it is built without its interactive mode"),
    ],
)
def test_an_nft_that_cannot_is_asked_once(words, done, why):
    host = host_with(**{words: done})
    sentence = "no fence: {0}{1}; {2}".format(fence.REFUSED, why, fence.UNFENCED)
    assert told(apply(host)) == [sentence]
    host.calls.clear()
    again = apply(host)
    assert told(again) == [sentence] and not again.changed
    assert not [call for call in host.calls if " ".join(call).startswith(words)]
    # Another gateway, another try.
    host.answers[words] = Done(0, "", "")
    assert not told(apply(host, drop_bogons=True))
