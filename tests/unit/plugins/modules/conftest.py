# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module's main() as ansible-core would, and catch how it ends. For ansible-core 2.17 to 2.21."""

from __future__ import annotations

import importlib
import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import host as _host


class Ended(BaseException):
    """exit_json or fail_json: what it was called with. Like SystemExit, it passes through ``except Exception``."""

    def __init__(self, failed, values):
        super().__init__(repr(values))
        self.failed, self.values = failed, values


@pytest.fixture
def run(monkeypatch):
    """A function of module, host and check mode, and the options by name; returns (failed, return values)."""

    basic = pytest.importorskip("ansible.module_utils.basic", reason="no ansible-core beside this Python")

    def run_module(*call, **options):
        name, host, check_mode = (call + (None, False)[len(call) - 1 :])[:3]
        module = importlib.import_module("ansible_collections.ipmasq.linux.plugins.modules." + name)
        if name in ("masquerade", "forward", "port_forward", "forwarding"):
            options.setdefault("confirm_timeout", 0)
        arguments = {
            "ANSIBLE_MODULE_ARGS": dict(
                options, _ansible_check_mode=check_mode, _ansible_diff=True, _ansible_remote_tmp="/"
            )
        }
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(arguments).encode("utf-8"))
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)  # 2.19 and later

        def end(failed):
            def method(_module, *message, **values):
                values.update({"msg": message[0]} if message else {})
                raise Ended(failed, values)

            return method

        monkeypatch.setattr(basic.AnsibleModule, "exit_json", end(False))
        monkeypatch.setattr(basic.AnsibleModule, "fail_json", end(True))
        if host is not None:
            monkeypatch.setattr(_host, "AnsibleHost", lambda _module: host)
        with pytest.raises(Ended) as caught:
            module.main()
        return caught.value.failed, caught.value.values

    return run_module
