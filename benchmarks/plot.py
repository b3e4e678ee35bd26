# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Curves, and the picture on top of the page, as SVG. Needs matplotlib, so it has a virtual environment of its own:

python benchmarks/plot.py FOLDER DRAWN.json, which has "curves" and a "picture".
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


#: Every picture has a background of its own, so that it can be read on a dark page, too.
mpl.rcParams["savefig.facecolor"] = "#ffffff"
OURS, THEIRS = "#0b6e4f", "#8d99ae"


def main(folder: str, path: str) -> int:
    Path(folder).mkdir(parents=True, exist_ok=True)
    drawn = json.loads(Path(path).read_text(encoding="utf-8"))
    for curve in drawn["curves"]:
        draw(curve, Path(folder) / f"{curve['id']}.svg")
    picture(drawn["picture"], Path(folder) / f"{drawn['picture']['id']}.svg")
    return 0


def picture(told: dict[str, t.Any], path: Path) -> None:
    """Two panels: how long it takes to apply, and rates beside plain routing."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.4), layout="constrained")
    names = list(told["times"])[::-1]
    values = [told["times"][name] for name in names]
    colours = [OURS if name.startswith("ours") else THEIRS for name in names]
    bars = left.barh(names, values, color=colours)
    left.bar_label(bars, labels=[f"{value:.0f} ×" for value in values], padding=3, fontsize="small")
    left.set(title="Time to apply 50 entries to one gateway")
    left.set_xlim(right=max(values, default=1) * 1.18)
    rates = told["rates"]
    places = range(len(rates))
    for shift, index, label, colour in ((0.2, 0, "four classic lines", THEIRS), (-0.2, 1, "ours, nftables", OURS)):
        shares = [each[index] for each in rates.values()]
        bars = right.barh([place + shift for place in places], shares, height=0.36, label=label, color=colour)
        right.bar_label(bars, labels=[f"{share:.0%}" for share in shares], padding=3, fontsize="small")
    right.set_yticks(list(places), list(rates))
    right.invert_yaxis()
    right.xaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    right.set(title="Rate, as a share of plain routing")
    right.set_xlim(0, 1.2)
    right.legend(fontsize="small", loc="lower right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


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
    save(figure, path)


def save(figure: t.Any, path: Path) -> None:
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
