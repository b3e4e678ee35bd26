# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.plugin_utils.repeating import RepeatingAction


class ActionModule(RepeatingAction):
    MODULE = "gateway"
