"""Drawing: as much of SVG as plain plots take."""

from html import escape
from pathlib import Path

INK = "#1f2933"
FAINT = "#d9dee4"
GREY = "#8a96a3"
ACCENT = "#0f766e"
PAPER = "#ffffff"

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


class Drawing:
    """A picture of this size, in pixels, on paper of its own: pages may be dark."""

    def __init__(self, width, height, title):
        self.width = width
        self.height = height
        self.parts = [f"<title>{escape(title)}</title>"]
        self.rect(0, 0, width, height, PAPER)

    def rect(self, x, y, width, height, fill):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{fill}"/>'
        )

    def line(self, start, end, stroke=FAINT, width=1.0, dash=None):
        (x1, y1), (x2, y2) = start, end
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" stroke-width="{width}"{dashed}/>'
        )

    def circle(self, x, y, radius, fill, stroke=None):
        ring = f' stroke="{stroke}" stroke-width="1.5"' if stroke else ""
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"{ring}/>'
        )

    def shape(self, points, fill, stroke=None):
        outline = f' stroke="{stroke}" stroke-width="1.5"' if stroke else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{path}" fill="{fill}"{outline}/>')

    def text(self, x, y, words, size=13, fill=INK, anchor="start", weight="normal"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
        )

    def save(self, file):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="{FONT}">'
        )
        Path(file).write_text("\n".join([head, *self.parts, "</svg>"]) + "\n")
