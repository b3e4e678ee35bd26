# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every Python that make test starts imports this first. Ansible's programs keep most of what they load and end soon:
to look for garbage as often as Python does by itself costs them up to a tenth of their processor time."""

from __future__ import annotations

import gc

gc.set_threshold(50_000, 20, 100)
