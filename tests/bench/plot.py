"""Bars and lines as SVG, readable on light and dark pages."""
import math
from xml.sax.saxutils import escape

WIDTH = 720
MARGIN = 16
HEAD = 44        # title
BAR, GAP = 18, 8
LABEL = 250      # left of the bars
VALUE = 90       # right of them
PLOT = 260       # height of a line plot

STYLE = """
svg { --page: #ffffff; --text: #1f2328; --faint: #8c959f;
      --ours: #0969da; --peer: #bc4c00; --limit: #8c959f; --third: #1a7f37; --fourth: #8250df; }
@media (prefers-color-scheme: dark) {
svg { --page: #0d1117; --text: #e6edf3; --faint: #6e7681;
      --ours: #58a6ff; --peer: #f0883e; --limit: #8b949e; --third: #3fb950; --fourth: #bc8cff; } }
text { font: 13px system-ui, sans-serif; fill: #1f2328; fill: var(--text); }
text.title { font-size: 15px; font-weight: 600; }
text.faint { fill: #6e7681; fill: var(--faint); font-size: 12px; }
"""
COLOURS = {"page": "#ffffff", "faint": "#8c959f", "ours": "#0969da", "peer": "#bc4c00",
           "limit": "#8c959f", "third": "#1a7f37", "fourth": "#8250df"}
SERIES = ["ours", "peer", "third", "fourth"]


def _paint(attribute, name):
    """The attribute is for viewers that know no variables."""
    return f'{attribute}="{COLOURS[name]}" style="{attribute}: var(--{name})"'


def _text(x, y, words, kind="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def _line(x1, y1, x2, y2, name="faint", width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke-width="{width}" {_paint("stroke", name)}/>')


def _page(height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" {_paint("fill", "page")}/>',
        _text(MARGIN, 26, title, "title"), *parts, "</svg>", ""])


def bars(title, rows, tell, is_log=False):
    """Rows are (label, value, "ours" | "peer" | "limit"), values above 0; tell(value) is the text
    beside a bar.  With is_log each decade has the same width, and the title should say so."""
    values = [value for _, value, _ in rows]
    left, room = MARGIN + LABEL, WIDTH - 2 * MARGIN - LABEL - VALUE
    low = 10 ** math.floor(math.log10(min(values))) if is_log else 0
    if is_log and low == min(values):
        low /= 10

    def width(value):
        if is_log:
            return room * math.log(value / low) / math.log(max(values) / low)
        return room * value / max(values)

    parts = []
    for i, (label, value, kind) in enumerate(rows):
        y = HEAD + i * (BAR + GAP)
        parts += [
            _text(left - 8, y + BAR - 5, label, anchor="end"),
            f'<rect x="{left}" y="{y}" width="{max(width(value), 1):.1f}" height="{BAR}" rx="2" '
            f'{_paint("fill", kind)}/>',
            _text(left + width(value) + 6, y + BAR - 5, tell(value))]
    return _page(HEAD + len(rows) * (BAR + GAP) + MARGIN, title, parts)


def _ticks(most):
    step = 10 ** math.floor(math.log10(most))
    if most / step < 2.5:
        step /= 2
    return [step * i for i in range(int(most / step) + 1)]


def lines(title, series, tell_x, tell_y):
    """Series are (label, [(x, y), ...]); x by its logarithm, y from 0."""
    points = [point for _, points in series for point in points]
    most = max(y for _, y in points) * 1.05
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    left, right, bottom = MARGIN + 64, WIDTH - MARGIN - 130, HEAD + PLOT

    def place(x, y):
        share = math.log(x / low) / math.log(high / low) if high > low else 0.5
        return left + share * (right - left), bottom - PLOT * y / most

    parts = []
    for tick in _ticks(most):
        y = place(low, tick)[1]
        parts += [_line(left, y, right, y, width=0.5),
                  _text(left - 8, y + 4, tell_y(tick), "faint", "end")]
    for x in sorted({x for x, _ in points}):
        parts.append(_text(place(x, 0)[0], bottom + 20, tell_x(x), "faint", "middle"))
    ends = _spread([place(*points[-1])[1] for _, points in series])
    for (label, points), colour, end in zip(series, SERIES, ends):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke-width="2" '
                     f'{_paint("stroke", colour)}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" {_paint("fill", colour)}/>'
                  for x, y in (place(*point) for point in points)]
        parts += [f'<circle cx="{right + 14}" cy="{end:.1f}" r="4" {_paint("fill", colour)}/>',
                  _text(right + 22, end + 4, label)]
    return _page(bottom + 20 + MARGIN, title, parts)


def _spread(wanted, apart=17):
    """Heights near the wanted ones, none closer to another than 'apart'."""
    placed, last = {}, -math.inf
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        last = placed[i] = max(wanted[i], last + apart)
    return [placed[i] for i in range(len(wanted))]
