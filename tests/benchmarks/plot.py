"""The pictures of the figures: what a page costs as a list grows, and what a request and a start cost in CPU."""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.benchmarks.engine import ROOT

PICTURE: Final = ROOT / "docs" / "bench-paging.svg"
BARS: Final = ROOT / "docs" / "bench-speed.svg"

WIDTH: Final = 884
HEIGHT: Final = 380
PANEL_WIDTH: Final = 310
PANEL_TOP: Final = 74
PANEL_BOTTOM: Final = 322
PANEL_LEFTS: Final = (66, 498)
LABEL_GAP: Final = 8

BAR_LEFTS: Final = (24, 462)
BAR_NAME: Final = 96
BAR_WIDTH: Final = 250
BAR_STEP: Final = 34

PARTITION_UNITS: Final = 3_000
"""Read units that a partition serves in a second ('Best practices for designing and using partition keys')."""

STYLE: Final = """
    text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #57606a }
    .title { font-size: 14px; font-weight: 600; fill: #1f2328 }
    .grid { stroke: #d0d7de; stroke-width: 1 }
    .limit { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 4 4 }
    .walked { stroke: #bc4c00 } .counted { stroke: #0969da }
    path { fill: none; stroke-width: 2.5; stroke-linejoin: round }
    circle { stroke: none } circle.walked, text.walked { fill: #bc4c00; stroke: none }
    circle.counted, text.counted { fill: #0969da; stroke: none }
    .name { font-weight: 600 } rect { stroke: none } rect.walked { fill: #bc4c00 } rect.counted { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1 } .title { fill: #e6edf3 } .grid { stroke: #30363d } .limit { stroke: #656c76 }
      .walked { stroke: #f0883e } .counted { stroke: #58a6ff }
      rect.walked { fill: #f0883e } rect.counted { fill: #58a6ff }
      circle.walked, text.walked { fill: #f0883e } circle.counted, text.counted { fill: #58a6ff }
    }
"""


class Point(NamedTuple):
    """One size of a list: the dearest of the measured pages by counts, and a walked one."""

    sessions: int
    counted_units: float
    counted_ms: float
    walked_units: float
    walked_ms: float


def write(points: Sequence[Point]) -> None:
    """Draw the points."""
    PICTURE.write_text(drawing(points))


def drawing(points: Sequence[Point]) -> str:
    """Two panels with logarithmic axes, read units and milliseconds over sessions."""
    units = _Panel(PANEL_LEFTS[0], points, lambda p: p.walked_units, lambda p: p.counted_units)
    times = _Panel(PANEL_LEFTS[1], points, lambda p: p.walked_ms, lambda p: p.counted_ms)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-label="Read units and time of one page against the number of sessions: '
        'walking climbs, counted pages stay flat">',
        f"<style>{STYLE}</style>",
        *units.drawn("Read units of one page"),
        *units.limit(PARTITION_UNITS, "partition's limit a second"),
        *times.drawn("Time of one page, milliseconds"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def write_bars(panels: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> None:
    """Draw panels of named bars, each on a scale of its own."""
    height = PANEL_TOP + BAR_STEP * max(len(bars) for _, bars in panels)
    label = "CPU of a page and of a start-up: list_sessions beside the idiomatic implementation and the bare floor"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
    ]
    for left, (title, bars) in zip(BAR_LEFTS, panels, strict=True):
        parts.append(f'<text class="title" x="{left}" y="{PANEL_TOP - 38}">{title}</text>')
        most = max(value for _, value in bars)
        for number, (name, value) in enumerate(bars):
            y, width = PANEL_TOP - 16 + number * BAR_STEP, BAR_WIDTH * value / most
            kind = "walked" if name == "idiomatic" else "counted"
            parts.append(_text(left, y + 15, name, "start", "name" if number == 0 else ""))
            parts.append(f'<rect class="{kind}" x="{left + BAR_NAME}" y="{y}" width="{width:.1f}" height="20" rx="3"/>')
            parts.append(_text(left + BAR_NAME + width + LABEL_GAP, y + 15, f"{value:.3g}", "start"))
    BARS.write_text("\n".join([*parts, "</svg>"]) + "\n")


class _Panel:
    """A pair of axes and the two lines on them."""

    def __init__(
        self,
        left: int,
        points: Sequence[Point],
        walked: Callable[[Point], float],
        counted: Callable[[Point], float],
    ) -> None:
        self._left = left
        self._sessions = [point.sessions for point in points]
        self._lines = {"walked": [walked(point) for point in points], "counted": [counted(point) for point in points]}
        values = [value for line in self._lines.values() for value in line]
        self._least, self._most = min(0, math.floor(math.log10(min(values)))), math.ceil(math.log10(max(values)))

    def drawn(self, title: str) -> list[str]:
        right = self._left + PANEL_WIDTH
        parts = [f'<text class="title" x="{self._left}" y="{PANEL_TOP - 38}">{title}</text>']
        for power in range(self._least, self._most + 1):
            y = self._y(10**power)
            parts.append(f'<line class="grid" x1="{self._left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(_text(self._left - LABEL_GAP, y + 4, _count(10**power), "end"))
        parts += [_text(self._x(each), PANEL_BOTTOM + 20, _count(each), "middle") for each in self._sessions]
        parts.append(_text((self._left + right) / 2, PANEL_BOTTOM + 42, "sessions of the organization", "middle"))
        for kind, line in self._lines.items():
            places = [(self._x(x), self._y(y)) for x, y in zip(self._sessions, line, strict=True)]
            parts.append(f'<path class="{kind}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>')
            parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in places]
            last_x, last_y = places[-1]
            parts.append(_text(last_x + LABEL_GAP, last_y - 2, kind, "start", f"{kind} name"))
            parts.append(_text(last_x + LABEL_GAP, last_y + 13, f"{line[-1]:,.0f}", "start", kind))
        return parts

    def limit(self, value: float, name: str) -> list[str]:
        """A level to compare with."""
        y = self._y(value)
        return [
            f'<line class="limit" x1="{self._left}" x2="{self._left + PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>',
            _text(self._left + PANEL_WIDTH - 4, y + 16, f"{name}: {value:,}", "end"),
        ]

    def _x(self, sessions: float) -> float:
        first, last = math.log10(self._sessions[0]), math.log10(self._sessions[-1])
        return self._left + 14 + (PANEL_WIDTH - 28) * (math.log10(sessions) - first) / (last - first)

    def _y(self, value: float) -> float:
        share = (math.log10(value) - self._least) / (self._most - self._least)
        return PANEL_BOTTOM - (PANEL_BOTTOM - PANEL_TOP) * share


def _count(number: float) -> str:
    return f"{number / 1_000_000:,.0f} million" if number >= 1_000_000 else f"{number:,}"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
