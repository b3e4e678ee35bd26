# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every Python that make test starts imports this first. Ansible's programs keep most of what they load and end soon:
to look for garbage as often as Python does by itself costs them up to a tenth of their processor time. And each of them
finds out anew which files a module consists of; see built_modules.py."""

from __future__ import annotations

import gc
import sys
import typing as t

gc.set_threshold(50_000, 20, 100)


class BuildsModules:
    """Waits for the part of Ansible that puts modules together; most programs never import it."""

    NAME = "ansible.executor.module_common"

    def find_spec(self, name: str, _path: t.Any = None, _target: t.Any = None) -> t.Any:
        if name != self.NAME:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec  # noqa: PLC0415 - every Python would pay for it

        spec: t.Any = find_spec(name)
        load = spec.loader.exec_module

        def load_and_hasten(module: t.Any) -> None:
            load(module)
            import built_modules  # noqa: PLC0415 - as above

            built_modules.hasten(module)

        spec.loader.exec_module = load_and_hasten
        return spec


sys.meta_path.insert(0, BuildsModules())
