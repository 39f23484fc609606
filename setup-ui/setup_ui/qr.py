"""A QR code as SVG inside the page: no image request, drawn in the page's own colours."""

from __future__ import annotations

from markupsafe import Markup

SVG = (
    '<svg class="qr" viewBox="0 0 {size} {size}" role="img" aria-label="QR code: {text}"'
    ' shape-rendering="crispEdges"><rect width="{size}" height="{size}"/><path d="{path}"/></svg>'
)


def render_qr(text: str) -> Markup:
    """An ``<svg>`` element; its size comes from the style sheet.

    segno makes the modules (pure Python; python3-qrcode would bring Pillow and its codecs). The
    path is written here, because colours and size are the style sheet's.
    """
    import segno  # only the pages that show one pay for it

    code = segno.make(text, error="m", micro=False)
    matrix = [[bool(module) for module in row] for row in code.matrix_iter(border=4)]
    path = "".join(
        f"M{x} {y}h{length}v1h-{length}z"
        for y, row in enumerate(matrix)
        for x, length in _runs(row)
    )
    size = len(matrix)
    return Markup(SVG).format(text=text, size=size, path=path)


def _runs(row: list[bool]) -> list[tuple[int, int]]:
    """Dark modules side by side become one rectangle: a third of the bytes."""
    runs: list[tuple[int, int]] = []
    for x, dark in enumerate(row):
        if dark and runs and sum(runs[-1]) == x:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif dark:
            runs.append((x, 1))
    return runs
