"""The picture in docs/benchmarks.md: read units of a page as a list grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tests.service import ROOT

PICTURE: Final = ROOT / "docs" / "bench-paging.svg"

WIDTH: Final = 760
LEFT: Final = 70
RIGHT: Final = 640
TOP: Final = 60
BOTTOM: Final = 300
HEIGHT: Final = 360
POWERS: Final = range(7)
"""Of ten, on the axis of read units."""

PARTITION_UNITS: Final = 3_000
"""Read units that a partition serves in a second ('Best practices for designing and using partition keys')."""

STYLE: Final = """
    text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #57606a }
    .title { font-size: 14px; font-weight: 600; fill: #1f2328 }
    .grid { stroke: #d0d7de } .limit { stroke: #8c959f; stroke-dasharray: 4 4 }
    path { fill: none; stroke-width: 2.5 } path.walked { stroke: #bc4c00 } path.counted { stroke: #0969da }
    .fill-walked { fill: #bc4c00 } .fill-counted { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1 } .title { fill: #e6edf3 } .grid { stroke: #30363d } .limit { stroke: #656c76 }
      path.walked { stroke: #f0883e } path.counted { stroke: #58a6ff }
      .fill-walked { fill: #f0883e } .fill-counted { fill: #58a6ff }
    }
"""


Point = tuple[int, float, float | None]
"""Sessions of a list, read units of its dearest page, and those of a page by walking."""


def write(points: Sequence[Point]) -> None:
    """Draw read units over sessions, on logarithmic axes."""
    first, last = math.log10(points[0][0]), math.log10(points[-1][0])

    def x_of(sessions: float) -> float:
        return LEFT + 14 + (RIGHT - LEFT - 28) * (math.log10(sessions) - first) / (last - first)

    def y_of(units: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * math.log10(units) / POWERS[-1]

    parts = [_text(LEFT, 30, "Read units of one page", kind="title")]
    for power in POWERS:
        y = y_of(10**power)
        parts += [_line("grid", LEFT, y, RIGHT, y), _text(LEFT - 8, y + 4, f"{10**power:,}", "end")]
    y = y_of(PARTITION_UNITS)
    parts += [
        _line("limit", LEFT, y, RIGHT, y),
        _text(RIGHT, y - 5, "what a partition serves in a second: 3,000", "end"),
    ]
    parts += [_text(x_of(sessions), BOTTOM + 20, f"{sessions:,}", "middle") for sessions, *_ in points]
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 42, "sessions of the organization", "middle"))
    lines = {
        "counted": [(sessions, units) for sessions, units, _ in points],
        "walked": [(sessions, units) for sessions, _, units in points if units],
    }
    for kind, line in lines.items():
        places = [(x_of(sessions), y_of(units)) for sessions, units in line]
        parts.append(f'<path class="{kind}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>')
        parts += [f'<circle class="fill-{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in places]
        x, y = places[-1]
        parts.append(_text(x + 8, y + 4, f"{kind}: {line[-1][1]:,.0f}", kind=f"fill-{kind}"))
    label = "Read units of one page: walking climbs, counted pages stay flat"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
    text = [f'{head}role="img" aria-label="{label}">', f"<style>{STYLE}</style>", *parts, "</svg>", ""]
    PICTURE.write_text("\n".join(text))


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
