# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures as text."""

from __future__ import annotations


def number(value: float) -> str:
    """Three digits, or all those before the point: 0.0123, 1.23, 12.3, 12,345."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 if abs(value) >= 1 else 3
    return f"{value:.{digits - (abs(value) >= 10)}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def spread(median: float, low: float, high: float, digits: int = 2) -> str:
    """A figure and its ends; a single value has none."""
    return f"{median:.{digits}f}" if low == high else f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def mebibytes(size: float | None) -> str:
    return "not known" if size is None else f"{size / 2**20:.0f}"
