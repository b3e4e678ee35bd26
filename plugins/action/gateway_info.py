# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES
from ansible_collections.ipmasq.linux.plugins.plugin_utils.plain import PlainAction


class ActionModule(PlainAction):
    MODULE = "gateway_info"
    SPEC = MODULES["gateway_info"]
