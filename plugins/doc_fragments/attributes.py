# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of all modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying the host.
    support: full
  diff_mode:
    description: Returns what has changed (or would change in check mode), in terms of the options.
    support: full
  idempotent:
    description: Running it again with the same options changes nothing.
    support: full
  platform:
    description: The platforms that the module supports.
    support: full
    platforms: Linux
"""

    CONFIRM = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; it reports a pending change without ending it.
    support: full
  diff_mode:
    description: The change that it ends was shown before.
    support: none
  idempotent:
    description: Running it again changes nothing.
    support: full
  platform:
    description: The platforms that the module supports.
    support: full
    platforms: Linux
"""

    PROBE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; it sends its packets there, too, because nothing of them lasts.
    support: full
  diff_mode:
    description: It changes nothing, so there is no diff.
    support: N/A
  idempotent:
    description: Running it again changes nothing.
    support: full
  platform:
    description: The platforms that the module supports.
    support: full
    platforms: Linux
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; it never changes anything.
    support: full
  diff_mode:
    description: It changes nothing, so there is no diff.
    support: N/A
  idempotent:
    description: It never changes anything.
    support: full
  platform:
    description: The platforms that the module supports.
    support: full
    platforms: Linux
"""
