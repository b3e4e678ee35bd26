# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A part that nobody but this test knows: one class and a place among the others are all that it takes."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, info, removing, state as states
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts import order as parts
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import NOTHING, Delta, Part, Shell
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

PATH, SHARED, STATE = "/srv/banner", "/srv/banner.md", "/etc/ipmasq/default.json"
LANS = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]


@dataclass(frozen=True)
class Banner:
    text: str = ""
    first: str = ""  # what the file said before the first run


class _Banner(Part[Banner]):
    """A file with the names of the LANs."""

    endings = (".banner",)
    idle = False  # it says that it has done its work, and has not

    def places(self, instance):
        return (SHARED,)

    def want(self, gateway, was, scene, sight):
        first = was.first if was.text else sight.read(PATH) or ""
        return Banner(",".join(lan.name for lan in gateway.lans), first), ("the banner names the LANs",)

    def plan(self, was, want, scene, sight):
        text, live = want.text or was.first, sight.read(PATH) or ""
        return NOTHING if text == live else Delta(("~ banner: " + text,), text, cuts=True)

    def check(self, delta, sight):
        if delta.do == "forbidden":
            raise GatewayError("banner: forbidden")

    def apply(self, delta, want, scene, host):
        if delta.do is not None and not self.idle:
            host.write(PATH, delta.do, 0o644)
        return ("the banner was painted",) if delta.do else ()

    def restore(self, delta, was, want, scene, sight):
        lines = ("cp banner {0} && chmod 644 {0}".format(PATH),)
        return Shell(lines, {"banner": sight.read(PATH) or ""}) if delta.do else Shell()

    def settle(self, was, want, scene):
        return ("ring the bell",) if want.text else ()

    def boot(self, want, scene):
        return {".banner": want.text + "\n"} if want.text else {}

    def files(self, want, scene):
        return {"/srv/banner.md": ("banner of " + scene.instance + "\n", 0o644)} if want.text else {}


@pytest.fixture
def banner(monkeypatch):
    made: t.Any = _Banner("banner", Banner())
    for module in (engine, info, removing):
        monkeypatch.setattr(module, "PARTS", (*parts.PARTS, made))
    monkeypatch.setattr(states, "KINDS", (*states.KINDS, made))
    return made


def apply(host, check=False, **options):
    lans = options.pop("lans", None) or [dict(LANS[0], name=options.pop("lan", "lan"))]
    gateway = gateway_from_params(gateway_params(lans=lans, **options))
    return engine.apply_gateway(gateway, "auto", fakes.seen(host, check))


def test_a_part_comes_is_kept_drifts_and_goes(banner):
    host = fakes.FakeHost(files={PATH: "first"})
    told = apply(host, check=True).to_dict()
    assert host.files[PATH] == "first" and "~ banner: lan" in told["differences"]
    done = apply(host).to_dict()
    assert done["differences"] == told["differences"] and done["notes"] == told["notes"]
    assert "the banner names the LANs" in done["notes"] and "the banner was painted" in done["warnings"]
    assert "banner: lan\n" in done["diff"]["after"]
    assert host.files[PATH] == "lan" and host.files["/etc/ipmasq/default.banner"] == "lan\n"
    assert host.files["/srv/banner.md"] == "banner of default\n"
    assert "./default.banner" in host.files["/etc/ipmasq/default.sums"]
    assert json.loads(host.files[STATE])["parts"]["banner"] == {"text": "lan", "first": "first"}

    host.frozen = True
    assert not apply(host).changed
    assert info.gateway_info("default", host)["as_applied"]
    host.frozen = False
    host.files[PATH] = "somebody else"
    assert info.gateway_info("default", host)["drift"] == ["~ banner: lan"]
    assert apply(host).change.cuts and host.files[PATH] == "lan"

    removing.remove_instance("default", host)
    assert host.files[PATH] == "first"
    assert not [path for path in host.files if path.startswith(("/etc/ipmasq/", "/srv/banner.md"))]


def test_a_file_of_two_instances_goes_with_the_last(banner, monkeypatch):
    monkeypatch.setattr(_Banner, "files", lambda _self, want, _scene: {SHARED: ("hello\n", 0o644)} if want.text else {})
    host = fakes.FakeHost()
    apply(host)
    apply(host, instance="second", lans=[dict(LANS[0], interfaces=["lan1"], networks=["192.168.2.0/24"])])
    removing.remove_instance("second", host)
    assert host.files[SHARED] == "hello\n"
    del host.files[SHARED]
    assert "- {0}: gone".format(SHARED) in info.gateway_info("default", host)["drift"]
    apply(host)
    removing.remove_instance("default", host)
    assert SHARED not in host.files


def test_a_file_of_one_instance_goes_with_it(banner, monkeypatch):
    monkeypatch.setattr(_Banner, "places", lambda _self, instance: ("/srv/" + instance,))
    monkeypatch.setattr(_Banner, "files", lambda _self, _want, scene: {"/srv/" + scene.instance: ("hello\n", 0o644)})
    host = fakes.FakeHost()
    apply(host)
    apply(host, instance="second", lans=[dict(LANS[0], interfaces=["lan1"], networks=["192.168.2.0/24"])])
    removing.remove_instance("second", host)
    assert "/srv/second" not in host.files and host.files["/srv/default"] == "hello\n"


def test_what_a_part_refuses_stops_the_run_before_anything_is_touched(banner):
    host = fakes.FakeHost()
    before = host.snapshot()
    for check in (True, False):
        with pytest.raises(GatewayError, match=r"^banner: forbidden$"):
            apply(host, check=check, lan="forbidden")
        assert host.snapshot() == before


def test_a_part_that_did_not_do_its_work_takes_the_change_back(banner):
    host = fakes.FakeHost()
    apply(host)
    banner.idle = True
    with pytest.raises(GatewayError) as caught:
        apply(host, lan="office")
    assert caught.value.problems[0] == "after the change, this is still to be done: ~ banner: office"
    assert host.files[PATH] == "lan"
    assert json.loads(host.files[STATE])["parts"]["banner"]["text"] == "lan"


def test_its_shell_is_in_the_scripts_that_end_a_change(banner):
    host = fakes.FakeHost(files={PATH: "first"})
    scripts, write = {}, host.write

    def noted(path, text, mode):
        folder, _slash, name = path.rpartition("/")
        scripts.update({name: text} if folder.startswith("/run/ipmasq/") else {})
        write(path, text, mode)

    host.write = noted
    apply(host)
    assert (
        "cp banner /srv/banner && chmod 644 /srv/banner || failing" in scripts["restore"]
        and scripts["banner"] == "first"
    )
    assert "ring the bell || echo" in scripts["keep"]
