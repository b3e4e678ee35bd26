# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module here can do."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return the changes it would make, without making them.
    support: full
  diff_mode:
    description: Returns what has changed, or would in check mode, in the words of a gateway.
    support: full
  idempotent:
    description: Running it again with the same options changes nothing.
    support: full
  platform:
    description: The systems it runs on.
    support: full
    platforms: Linux
"""

    CONFIRM = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; it tells what is pending, and leaves it so.
    support: full
  diff_mode:
    description: It ends a change that was shown before.
    support: none
  idempotent:
    description: Running it again changes nothing.
    support: full
  platform:
    description: The systems it runs on.
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
    description: It changes nothing, so there is nothing to compare.
    support: N/A
  idempotent:
    description: It never changes anything.
    support: full
  platform:
    description: The systems it runs on.
    support: full
    platforms: Linux
"""
