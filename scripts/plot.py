"""Plots as SVG without a library: panels, three in a row, each from zero, readable on a light and on a dark page."""
import math
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, IN_A_ROW = 300, 210, 52, 18, 44, 42, 3

STYLE = """
  .page { fill: #ffffff } text { font: 11px system-ui, sans-serif; fill: #3d444d } .head { font-weight: 600; fill: #1f2328 }
  .grid { stroke: #d1d9e0; stroke-width: 1 } .axis { stroke: #818b98; stroke-width: 1 } .bound { stroke: #9a6700; stroke-dasharray: 4 3 }
  .line { fill: none; stroke: #0969da; stroke-width: 2; stroke-linejoin: round } .dot { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #b7bdc8 } .head { fill: #f0f6fc }
    .grid { stroke: #2a313c } .axis { stroke: #656c76 } .bound { stroke: #d29922 }
    .line { stroke: #58a6ff } .dot { fill: #58a6ff }
  }
"""

def steps(most, count=4):
    """Round numbers from 0 up to the first one that is not below `most`."""
    rough = (most or 1) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [step * number for number in range(math.ceil((most or 1) / step - 1e-9) + 1)]

def panel(head, across, points, log=False, bound=None):
    """One panel: `points` are pairs; `log` spaces sizes by their logarithm and marks each; `bound` is a dashed line."""
    at = math.log10 if log else float
    xs, ys = [x for x, _ in points], [y for _, y in points]
    marks = xs if log else steps(max(xs))
    ticks = steps(max([*ys, bound or 0]))
    first, last = (at(xs[0]), at(xs[-1])) if log else (0, marks[-1])
    place = lambda x: LEFT + (at(x) - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)
    level = lambda y: HEIGHT - BOTTOM - y / ticks[-1] * (HEIGHT - TOP - BOTTOM)
    begin, end = LEFT, WIDTH - RIGHT
    out = [f'<text class="head" x="12" y="22">{escape(head)}</text>']
    for tick in ticks:
        kind = "grid" if tick else "axis"
        out.append(f'<line class="{kind}" x1="{begin}" x2="{end}" y1="{level(tick):.1f}" y2="{level(tick):.1f}"/>')
        out.append(f'<text x="{begin - 6}" y="{level(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for mark in marks:
        out.append(f'<text x="{place(mark):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{mark:g}</text>')
    out.append(f'<text x="{(begin + end) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
    if bound is not None:
        out.append(f'<line class="bound" x1="{begin}" x2="{end}" y1="{level(bound):.1f}" y2="{level(bound):.1f}"/>')
    out.append(f'<polyline class="line" points="{" ".join(f"{place(x):.1f},{level(y):.1f}" for x, y in points)}"/>')
    if log:
        out += [f'<circle class="dot" cx="{place(x):.1f}" cy="{level(y):.1f}" r="3"/>' for x, y in points]
    return out

def write(path, title, panels):
    """`panels`: the arguments of `panel`, as dictionaries."""
    width, height = WIDTH * min(len(panels), IN_A_ROW), HEIGHT * math.ceil(len(panels) / IN_A_ROW)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
           f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", f'<rect class="page" width="{width}" height="{height}" rx="6"/>']
    for number, words in enumerate(panels):
        row, column = divmod(number, IN_A_ROW)
        out += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *panel(**words), "</g>"]
    with open(path, "w") as file:
        file.write("\n".join([*out, "</svg>\n"]))
