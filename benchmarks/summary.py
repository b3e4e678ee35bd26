# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody reads who decides whether to use this: ten lines and a picture, and three figures for the README."""

from __future__ import annotations

import re
import textwrap
import typing as t

from . import measure
from .control_told import FIRST, NOOP, OURS, PEERS, Figures

if t.TYPE_CHECKING:
    from collections.abc import Mapping

    Results = Mapping[str, Mapping[str, t.Any]]

PLAIN, CLASSIC, NFT = "plain routing", "four classic lines", "ours, nftables"
PICTURE = "summary"
#: In the README, from these words to the end of the paragraph.
README = re.compile(r"^Measured on a machine with .*?(?=\n\n)", re.M | re.S)
#: What the picture shows of the data plane.
BARS = {"bulk": "one TCP connection", "small": "small packets", "tcp": "new TCP connections", "udp": "new UDP flows"}


class Known:
    """Figures of all benches by what they say; None where nothing was measured."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.control = Figures(self.found("control"))

    def found(self, bench: str) -> dict[str, t.Any]:
        parts = self.results.get(bench, {}).get("parts", {})
        return {name: part["found"] for name, part in parts.items()}

    def way(self, key: str, name: str) -> list[float] | None:
        values: list[float] | None = self.found("data").get(f"ways, {key}", {}).get("values", {}).get(name)
        return values

    def rate(self, key: str, name: str = NFT) -> float | None:
        values = self.way(key, name)
        return measure.median(values) if values else None

    def share(self, key: str, floor: str = CLASSIC) -> float | None:
        ours, theirs = self.way(key, NFT), self.way(key, floor)
        return measure.ratio(ours, theirs).median if ours and theirs else None

    def share_of(self, key: str, name: str) -> float | None:
        """As a share of plain routing."""
        ours, plain = self.way(key, name), self.way(key, PLAIN)
        return measure.ratio(ours, plain).median if ours and plain else None

    def times(self, count: int) -> float | None:
        """How many times as fast ours is as a task for each rule."""
        found = self.control.ratio(count, f"common, {FIRST}", f"{OURS}, {FIRST}")
        return found.median if found else None

    def against_ping(self, count: int) -> float | None:
        found = self.control.ratio(count, f"{OURS}, {NOOP}")
        return found.median if found else None

    @property
    def processors(self) -> str:
        for bench in ("data", "control"):
            for part in self.results.get(bench, {}).get("parts", {}).values():
                return str(part["machine"]["processor"])
        return ""


def text(results: Results, folder: str) -> str:
    lines = [f"- {line}" for line in sentences(results)]
    return f"![What it costs: time to apply 50 entries, and rates beside plain routing]({folder}/{PICTURE}.svg)\n\n" + (
        "\n".join(lines)
    )


def sentences(results: Results) -> list[str]:
    """At most ten; one whose figures were not measured is left out."""
    known = Known(results)
    made = (apply, noop, fleet, proof, packet, carries, sessions, scale, verdicts, when)
    return [line for line in (each(known) for each in made) if line]


def apply(known: Known) -> str:
    few, many = known.times(50), known.times(1_000)
    if not few:
        return ""
    stopped, date = known.control.gaps(1_000).get("common"), known.control.kept(1_000, "common")
    least, why = ("at least ", f" (the tasks were {stopped}{', on ' + date if date else ''})") if stopped else ("", "")
    more = f", and 1,000 {least}**{many:.0f} times** as fast{why}" if many else ""
    return f"50 entries are applied **{few:.0f} times** as fast as with one task for each rule{more}."


def noop(known: Known) -> str:
    found = {count: known.against_ping(count) for count in (1, 1_000, 10_000)}
    said = [f"**{ratio:.2f} times** with {count:,}" for count, ratio in found.items() if ratio]
    if not said:
        return ""
    return f"A run that changes nothing, against `ansible.builtin.ping` on the same host: {', '.join(said)} entries."


def fleet(known: Known) -> str:
    found = known.found("fleet").get("100 gateways")
    if not found:
        return ""
    change, ping = found["times"]["one line changed"], found["times"]["ping play"]
    how = "proven and confirmed" if found.get("proven") else "confirmed"
    taken, ratio = measure.median(change), measure.ratio(change, ping).median
    return (
        f"A change on 100 gateways, each {how}, takes {taken:.0f} s: {taken / 100:.2f} s a gateway, "
        f"**{ratio:.1f} times** as long as a ping of all."
    )


def proof(known: Known) -> str:
    loop, changes = known.found("promises").get("closed loop"), known.found("promises").get("changes under load")
    if not loop or not changes:
        return ""
    lost = changes["pings lost"] + changes["packets lost"]
    return (
        f"A gateway proves {loop['promises']} promises with packets in **{measure.median(loop['seconds']):.1f} s**, "
        f"{loop['on a wire']} of them on a wire; {changes['changes']} changes under load lose **{lost} packets**."
    )


def packet(known: Known) -> str:
    ours, plain, classic = known.rate("small"), known.rate("small", PLAIN), known.rate("small", CLASSIC)
    if not ours or not plain or not classic:
        return ""
    more, theirs = 1e9 / ours - 1e9 / plain, 1e9 / classic - 1e9 / plain
    return (
        f"A packet costs **{more:.0f} ns** more than with plain routing; with the four classic lines, which guarantee "
        f"nothing, {theirs:.0f} ns more."
    )


def carries(known: Known) -> str:
    bulk, small, tcp, udp = (known.rate(key) for key in ("bulk", "small", "tcp", "udp"))
    if not bulk or not small or not tcp or not udp:
        return ""
    return (
        f"A gateway of this size ({known.processors}, which generate the traffic, too) carries **{bulk:.0f} Gbit/s** "
        f"in one TCP connection, {_thousands(small)} small packets, {_thousands(tcp)} new TCP connections, or "
        f"{_thousands(udp)} new UDP flows a second."
    )


def sessions(known: Known) -> str:
    held = known.found("sessions").get("held")
    if not held:
        return ""
    return f"It holds **{held['kept']:,} flows** at once, at {held['bytes']:.0f} bytes of memory for each."


def scale(known: Known) -> str:
    sizes, loads = known.found("data").get("sizes, tcp", {}).get("values", {}), known.found("data").get("rows", {})
    one, most = sizes.get(f"{NFT} × 1"), sizes.get(f"{NFT} × 10,000")
    seconds = loads.get("loads", {}).get(f"{NFT} × 10,000")
    if not one or not most or not seconds:
        return ""
    return (
        f"With 10,000 LAN networks and as many port forwards, loaded in {measure.median(seconds):.1f} s, new TCP "
        f"connections come at **{measure.ratio(most, one).median:.2f}** of the rate with one."
    )


def verdicts(known: Known) -> str:
    lines = [measure.is_held(line) for data in known.results.values() for line in data["budgets"]]
    held, missed, none = (lines.count(each) for each in (True, False, None))
    return f"Of {len(lines)} [budgets](#budgets), {held} are held, {missed} are missed, and {none} are not measured."


def when(known: Known) -> str:
    dates = {part["date"] for data in known.results.values() for part in data["parts"].values()}
    return f"Measured between {min(dates)} and {max(dates)}." if len(dates) > 1 else f"Measured on {', '.join(dates)}."


def _thousands(value: float) -> str:
    """Three digits are enough for a reader."""
    digits = max(len(str(int(value))) - 3, 0)
    return f"{round(value, -digits):,.0f}"


# --- the picture -----------------------------------------------------------------------------------------------------


def picture(results: Results) -> dict[str, t.Any]:
    """For plot.py: how long 50 entries take, as multiples of ours in the same round; rates as shares of routing."""
    known = Known(results)
    first = f"{OURS}, {FIRST}"
    proven = known.control.parts.get("50 entries", {}).get("proven")
    times = {"ours, with its proof" if proven else "ours": 1.0}
    for way, name in PEERS.items():
        found, date = known.control.ratio(50, f"{way}, {FIRST}", first), known.control.kept(50, way)
        if found:
            times[name + (f", on {date}" if date else "")] = found.median
    rates = {shown: [known.share_of(key, CLASSIC), known.share_of(key, NFT)] for key, shown in BARS.items()}
    return {"id": PICTURE, "times": times, "rates": {name: each for name, each in rates.items() if all(each)}}


# --- the README ------------------------------------------------------------------------------------------------------


def figures(results: Results) -> str:
    """Three figures, in the words of the README."""
    known = Known(results)
    times, ping, share = known.times(50), known.against_ping(1), known.share("small")
    if not times or not ping or not share:
        return ""
    words = (
        "Measured on a machine with two cores ([all figures](docs/performance.md)): 50 entries are applied "
        f"**{times:.0f} times** as fast as with one task for each rule; a run that changes nothing takes **{ping:.2f} "
        f"times** as long as `ansible.builtin.ping`; small packets are forwarded at **{share:.2f}** of the rate of the "
        "four classic lines, which guarantee none of the above."
    )
    return "\n".join(textwrap.wrap(words, 120, break_long_words=False, break_on_hyphens=False))


def in_readme(readme: str, results: Results) -> str:
    told = figures(results)
    if not README.search(readme):
        raise ValueError("README.md has no paragraph of figures")
    return README.sub(lambda _found: told, readme) if told else readme
