# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collector and its timer come, drift and go; tests/integration/test_metrics.py shows it with the real ones."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, persist, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._init.metering import COLLECTOR, PATHS
from ansible_collections.ipmasq.linux.plugins.module_utils._init.units import METRICS_TIMER, METRICS_UNIT
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.metrics import METRICS, Metrics
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._services.collector import TEXT
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

CONF, TIMER = "/etc/ipmasq/default.metrics", "ipmasq-metrics@default.timer"
FOLDER = "/var/lib/prometheus/node-exporter"


def apply(host, check=False, metrics="textfile", **more):
    lans = [{"name": "lan", "interfaces": ["lan0"]}]
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "ppp0"}], lans=lans, metrics=metrics, **more))
    return engine.apply_gateway(gateway, "auto", fakes.seen(host, check))


def value(folder="/srv/textfiles", made=()):
    return Metrics(folder, "folder {0}\n".format(folder), made)


def test_it_comes_is_kept_and_goes():
    host = fakes.FakeHost()
    before = host.snapshot()
    assert "~ {0}: written".format(CONF) in apply(host, check=True).to_dict()["differences"]
    assert host.snapshot() == before
    assert "metrics: textfile in {0}\n".format(FOLDER) in apply(host).to_dict()["diff"]["after"]
    assert host.files[CONF].splitlines()[1:] == ["folder " + FOLDER, "backend nft", "link ppp0", "link lan0"]
    assert host.files[COLLECTOR] == TEXT and host.modes[COLLECTOR] == 0o700 and host.modes[CONF] == 0o600
    assert METRICS_TIMER in host.files and METRICS_UNIT in host.files
    load = host.files["/etc/ipmasq/default.load"].splitlines()
    assert load[-2:] == ["sh ./metrics record default || true", "systemctl --no-block start {0} || true".format(TIMER)]
    host.frozen = True
    assert not apply(host).changed
    assert gateway_info("default", host)["as_applied"]
    host.frozen = False
    assert "metrics: textfile in {0}\n".format(FOLDER) in apply(host, metrics="none").to_dict()["diff"]["before"]
    assert not [path for path in (CONF, *PATHS) if path in host.files]
    apply(host)
    removing.remove_instance("default", host)
    assert not [path for path in (CONF, *PATHS) if path in host.files]


def test_a_gateway_without_metrics_touches_nothing_of_them():
    host = fakes.FakeHost()
    apply(host, metrics="none")
    assert not [path for path in host.files if "metrics" in path or "prometheus" in path]
    assert not [words for words in host.calls if "metrics" in " ".join(words)]


def test_a_timer_that_was_stopped_is_started_again():
    host = fakes.FakeHost()
    apply(host)
    host.answers["systemctl is-active"] = Done(3, "inactive\n", "")
    told = "- metrics: not written (systemctl status {0})".format(TIMER)
    assert gateway_info("default", host)["drift"] == [told]
    assert apply(host, check=True).change.drifted
    done = apply(host)
    assert "~ metrics: written again" in done.to_dict()["differences"]
    assert ("systemctl", "restart", TIMER) in host.events and not done.warnings
    host.answers["systemctl restart"] = Done(1, "", "refused")
    assert apply(host).warnings == ("metrics are not written (systemctl status {0})".format(TIMER),)


def test_where_systemd_does_not_run_nothing_is_expected_to():
    host = fakes.FakeHost()
    host.answers["systemctl is-active"] = Done(1, "", "")
    del host.files["/run/systemd/system/x"]
    host.files["/lib/systemd/systemd"] = ""
    apply(host)
    assert not apply(host).changed


def test_without_systemd_it_is_a_loop():
    host = fakes.FakeHost((*fakes.NFT, "update-rc.d"), files={"/etc/init.d": "", "/etc/inittab": ""})
    del host.files["/run/systemd/system/x"]
    apply(host)
    assert COLLECTOR in host.files and METRICS_TIMER not in host.files
    assert "sh ./metrics start default || true" in host.files["/etc/ipmasq/default.load"]
    told = "- metrics: not written (/run/ipmasq/default.metering has its process group)"
    assert told in gateway_info("default", host)["drift"]
    assert "~ metrics: written again" in apply(host).to_dict()["differences"]
    assert ["sh", COLLECTOR, "start", "default"] in host.calls
    host.files.update(
        {"/run/ipmasq/default.metering": "4711\n", "/proc/4711/cmdline": "sh\0-c\0while sh metrics write\0"}
    )
    assert told not in gateway_info("default", host)["drift"]


def test_nobody_who_could_start_it():
    host = fakes.FakeHost()
    del host.files["/run/systemd/system/x"]
    before = host.snapshot()
    with pytest.raises(
        GatewayError, match=r"^metrics: this host has neither systemd nor OpenRC nor sysvinit, so nothing"
    ):
        apply(host)
    assert host.snapshot() == before


def test_a_file_in_place_of_the_folder():
    host = fakes.FakeHost(files={"/srv/textfiles": "x"})
    with pytest.raises(GatewayError, match=r"^metrics_folder: /srv/textfiles is not a folder; name another one, or"):
        apply(host, metrics_folder="/srv/textfiles/deeper")


def test_a_folder_that_is_a_link_or_below_one_is_refused(monkeypatch):
    host = fakes.FakeHost()
    monkeypatch.setattr(host, "link", lambda path: "/etc/cron.d\n" if path == "/srv/textfiles" else "")
    for folder in ("/srv/textfiles", "/srv/textfiles/deeper"):
        with pytest.raises(
            GatewayError, match=r"^metrics_folder: /srv/textfiles is a link to /etc/cron\.d.*; name the"
        ):
            apply(host, metrics_folder=folder)


def test_only_folders_that_were_made_go_and_only_if_they_are_empty():
    host = fakes.FakeHost(files={"/var/lib/x": ""})
    apply(host)
    made = (FOLDER, "/var/lib/prometheus")
    assert METRICS.of(persist.read_state(host, "default")).made == made
    host.files[FOLDER + "/ipmasq-default.prom"] = ""
    apply(host, undeclared="leave")
    assert METRICS.of(persist.read_state(host, "default")).made == made
    lines = METRICS.settle(value(made=("/srv/textfiles",)), Metrics(), Scene("default"))
    assert [line.split()[1 if line[0] == "{" else 0] for line in lines] == ["systemctl", "rm", "rmdir", "rm"]
    assert METRICS.settle(Metrics(), Metrics(), Scene("default")) == ()
    moved = METRICS.settle(value(), value("/srv/elsewhere"), Scene("default"))
    assert moved[0] == "rm -f /srv/textfiles/ipmasq-default.prom" and "restart" in moved[-1]
    stays = METRICS.settle(value(), value(), Scene("default"))
    noted = "/run/ipmasq/default.loading"
    assert stays[0] == "{{ [ ! -e {0} ] || mv -f {0} /run/ipmasq/default.loaded; }}".format(noted) and len(stays) == 2


def test_what_a_lost_state_has_left_is_known():
    host = fakes.FakeHost(files={CONF: "# head\nfolder /srv/textfiles\nbackend nft\n"})
    assert METRICS.salvage("default", host) == Metrics("/srv/textfiles", host.files[CONF])
    assert METRICS.salvage("other", host) == Metrics()
    host.files[CONF] = "damaged"
    assert METRICS.salvage("default", host) == Metrics()
