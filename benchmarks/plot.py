# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Curves as SVG. Reads results and needs matplotlib, so it runs in a virtual environment of its own:

python benchmarks/plot.py FOLDER RESULTS.json …
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
# The same figures give the same file, byte by byte.
mpl.rcParams["svg.hashsalt"] = "ipmasq.linux"
mpl.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot as plt, ticker

LICENCE = """<!--
Copyright (c) 2026, ipmasq.linux contributors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->"""
MARKERS = "osD^vPX*"


def main(folder: str, *paths: str) -> int:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in paths:
        for curve in json.loads(Path(path).read_text(encoding="utf-8")).get("curves", []):
            draw(curve, Path(folder) / f"{curve['id']}.svg")
    return 0


def draw(curve: dict[str, t.Any], path: Path) -> None:
    """Medians, with a bar from the lowest value to the highest."""
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    for (name, points), marker in zip(curve["series"].items(), MARKERS * 4, strict=False):
        if not points:
            continue
        x, middle, low, high = zip(*points, strict=True)
        below = [value - least for value, least in zip(middle, low, strict=True)]
        above = [most - value for value, most in zip(middle, high, strict=True)]
        axes.errorbar(x, middle, yerr=[below, above], label=name, marker=marker, markersize=4, capsize=2, linewidth=1.2)
    scale(axes.xaxis, axes.set_xscale, curve.get("log_x", False))
    scale(axes.yaxis, axes.set_yscale, curve.get("log_y", False))
    if not curve.get("log_y"):
        axes.set_ylim(bottom=0)
    axes.set(title=curve["title"], xlabel=curve["x"], ylabel=curve["y"])
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    # matplotlib ends lines with blanks here and there.
    path.write_text("".join(line.rstrip() + "\n" for line in (first, LICENCE, *lines)), encoding="utf-8")


def scale(axis: t.Any, set_scale: t.Any, logarithmic: bool) -> None:
    if logarithmic:
        set_scale("log")
    axis.set_major_formatter(
        ticker.FuncFormatter(lambda value, _position: f"{value:,g}" if value < 1e6 else f"{value:,.0f}")
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
