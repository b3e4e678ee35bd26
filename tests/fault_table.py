# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What fault tests record for the table in docs/reliability.md, if ``make test-faults`` runs them."""

from __future__ import annotations

import json
import os


def record(fault: str, outcome: str) -> None:
    """One trial. The host is as it was ("before"), as declared ("after"), "closed" (does not route), or "between".

    A single write each, because tests run side by side.
    """
    table = os.environ.get("IPMASQ_FAULTS_TABLE")
    if table:
        with open(table, "ab", buffering=0) as stream:
            stream.write((json.dumps([fault, outcome]) + "\n").encode())
