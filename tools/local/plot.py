"""Draws values on logarithmic scales as an SVG image that can be read on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 720
MARGIN = 16
# The place of the names on the left, and of the last value's text on the right.
LABELS = 190
VALUES = 80
ROW = 28
HEAD = 40
FOOT = 44
# Pages show the image with <img>, so it has no background and chooses its colours by itself.
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .panel { font-weight: 600; }
  .tick { font-size: 11px; fill: #59636e; text-anchor: middle; }
  .grid { stroke: #d1d9e0; }
  .ours { fill: #0a6b5e; }
  .other { fill: #8b949e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .tick { fill: #9198a1; }
    .grid { stroke: #3d444d; }
    .ours { fill: #3fb8a5; }
    .other { fill: #9198a1; }
  }
"""


@dataclass(frozen=True)
class Row:
    """A value with its name and its text."""

    name: str
    value: float
    text: str
    is_ours: bool


@dataclass(frozen=True)
class Panel:
    """Rows with one scale, whose lines are at powers of ten."""

    title: str
    rows: Sequence[Row]


def draw(title: str, panels: Sequence[Panel]) -> str:
    """The image, with the values as a description for people who do not see it."""
    lines = [f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{escape(title)}</text>']
    top = MARGIN + HEAD
    for panel in panels:
        lines += drawn(panel, top)
        top += HEAD - MARGIN + ROW * len(panel.rows) + FOOT
    described = "; ".join(f"{panel.title}: {', '.join(f'{r.name} {r.text}' for r in panel.rows)}" for panel in panels)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - MARGIN}" role="img"'
    head += f' aria-labelledby="title description">\n<title id="title">{escape(title)}</title>'
    head += f'\n<desc id="description">{escape(described)}</desc>\n<style>{STYLE}</style>'
    return "\n".join([head, *lines, "</svg>", ""])


def drawn(panel: Panel, top: int) -> list[str]:
    first = math.floor(math.log10(min(row.value for row in panel.rows)))
    last = max(first + 1, math.ceil(math.log10(max(row.value for row in panel.rows))))
    left, width = MARGIN + LABELS, WIDTH - 2 * MARGIN - LABELS - VALUES
    lines = [f'<text class="panel" x="{MARGIN}" y="{top}">{escape(panel.title)}</text>']
    top += HEAD - MARGIN
    bottom = top + ROW * len(panel.rows)
    for power in range(first, last + 1):
        x = left + width * (power - first) / (last - first)
        lines.append(f'<line class="grid" x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 14}">{10.0**power:,.0f}</text>')
    for number, row in enumerate(panel.rows):
        x = left + width * (math.log10(row.value) - first) / (last - first)
        y = top + ROW * number + ROW // 2 - 4
        kind = "ours" if row.is_ours else "other"
        lines.append(f'<text x="{MARGIN}" y="{y + 5}">{escape(row.name)}</text>')
        lines.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="6"/>')
        lines.append(f'<text x="{x + 12:.1f}" y="{y + 5}">{escape(row.text)}</text>')
    return lines
