# SPDX-License-Identifier: MIT
"""The classes as bars: how many times faster than QEMU, and what was asked."""
from html import escape

ROW, TOP, LEFT, WIDTH = 30, 46, 150, 460
STYLE = """text { font: 13px sans-serif; fill: #24292f } .small { font-size: 11px; fill: #57606a }
.bar { fill: #2f81f7 } .asked { stroke: #cf222e; stroke-width: 2 } .one { stroke: #8c959f; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } }"""


def draw(ratios, targets):
    """An SVG document; `ratios` is {class: ratio}, `targets` as report.TARGETS."""
    rows = [(kind, ratio) for kind, ratio in ratios.items() if targets.get(kind, ("", 0))[0] == "at least"]
    most = max([ratio for _, ratio in rows] + [targets[kind][1] for kind, _ in rows] + [1])
    scale, height = WIDTH / most, TOP + ROW * len(rows) + 22
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 70} {height}" role="img">',
             f"<title>Rhea against QEMU, by class of work</title><style>{STYLE}</style>",
             '<text x="10" y="20">Times as fast as QEMU 7.2 (geometric mean of a class; red: asked)</text>']
    one = LEFT + scale
    lines.append(f'<line class="one" x1="{one:.0f}" x2="{one:.0f}" y1="{TOP - 8}" y2="{height - 18}"/>'
                 f'<text class="small" x="{one:.0f}" y="{height - 5}" text-anchor="middle">QEMU</text>')
    for number, (kind, ratio) in enumerate(rows):
        y, asked = TOP + ROW * number, LEFT + scale * targets[kind][1]
        lines.append(f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(kind)}</text>'
                     f'<rect class="bar" x="{LEFT}" y="{y}" width="{scale * ratio:.0f}" height="19" rx="2"/>'
                     f'<line class="asked" x1="{asked:.0f}" x2="{asked:.0f}" y1="{y - 3}" y2="{y + 22}"/>'
                     f'<text x="{LEFT + scale * ratio + 8:.0f}" y="{y + 14}">{ratio:.1f}x</text>')
    return "\n".join([*lines, "</svg>", ""])
