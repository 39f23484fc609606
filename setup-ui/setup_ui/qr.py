"""A QR code as SVG inside the page: no image request, drawn in the page's own colours."""

from __future__ import annotations

from markupsafe import Markup

SVG = (
    '<svg class="qr" viewBox="0 0 {size} {size}" role="img" aria-label="QR code: {text}"'
    ' shape-rendering="crispEdges"><rect width="{size}" height="{size}"/><path d="{path}"/></svg>'
)


def render_qr(text: str) -> Markup:
    """An ``<svg>`` element; its size comes from the style sheet.

    ``python3-qrcode`` makes the modules; its SVG factory writes sizes in millimetres and a colour
    into the element, which a style sheet could not change, so the path is written here.
    """
    import qrcode  # only the pages that show one pay for it
    from qrcode.constants import ERROR_CORRECT_M

    code = qrcode.QRCode(border=4, error_correction=ERROR_CORRECT_M)
    code.add_data(text)
    matrix = code.get_matrix()
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
