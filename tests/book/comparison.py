"""Is what a cell prints now what its page shows? Text by character or by number, pictures by eye.

Every function returns the differences in words, and an empty list where there are none.
"""

import base64
import difflib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float64]

PICTURES = ("image/png", "image/jpeg")
NUMBERED = ("text/plain", "text/html", "text/latex", "text/markdown")  # where a band is honoured

SIZE = 0.02  # of a side: how much larger or smaller a picture may be


@dataclass(frozen=True)
class Allowance:
    """How far a picture may be from the one on the page."""

    shift: float  # of a side: how far a mark may have moved
    contrast: float  # of black to white, mean over a small window: what may remain after the best shift


# Text is drawn differently by another series of matplotlib: labels take other room, and axes move a little with them.
# Measured on figures in the book's style, 3.11 against 3.10: at most 0.035; the smallest change that must be seen, a
# heat-map cell 0.05 off: 0.075. Between releases of one series nothing moves; without hinting text differs by 0.025.
SAME_SERIES = Allowance(shift=0.007, contrast=0.03)
ANOTHER_SERIES = Allowance(shift=0.013, contrast=0.04)

_HALVE = 2  # pixels averaged into one before looking: antialiasing is not a difference
_WINDOW = 8  # side of the window over which the contrast is averaged, in halved pixels

_NUMBER = re.compile(
    r"""
    (?<![\w.\#&])                                        # not inside a name, a version, a colour or an entity
    [-+−]?
    (?: \d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?            # 1,234,567.8
      | (?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?             # 12, 12., .5, 1e-3
      | (?:nan|NaN|inf|Infinity|∞)(?!\w)
    )
    """,
    re.VERBOSE,
)


def compare_outputs(
    page: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], *, rtol: float | None
) -> list[str]:
    """Compare the outputs of one cell, in order: the same kinds, the same text, pictures that look the same.

    Args:
        rtol: the band of the cell's numbers; None where every character counts.
    """
    differences = []
    for number, (stored, fresh) in enumerate(zip_longest(page, now), start=1):
        where = f"output {number}" if max(len(page), len(now)) > 1 else "output"
        if stored is None or fresh is None:
            here, there = ("now", "the page") if stored is None else ("on the page", "this run")
            differences.append(f"{where} is only {here}, {there} has none:\n{_show(stored or fresh or {})}")
            continue
        old, new = _contents(stored), _contents(fresh)
        if old.keys() != new.keys():
            differences.append(f"{where} has other kinds: page {sorted(old)}, now {sorted(new)}")
        for kind in old.keys() & new.keys():
            differences += [f"{where}, {kind}: {words}" for words in _compare(kind, old[kind], new[kind], rtol)]
    return differences


def compare_text(page: str, now: str) -> list[str]:
    """Every character counts."""
    if page == now:
        return []
    lines = difflib.unified_diff(page.splitlines(), now.splitlines(), "page", "now", lineterm="", n=1)
    return ["\n" + ("\n".join(lines) or f"page {page!r}\nnow  {now!r}")]


def compare_numbers(page: str, now: str, *, rtol: float) -> list[str]:
    """Numbers may move within the band, one by one; the text between them may not, nor may whole numbers.

    A whole number counts something (steps, tokens, parameters) and does not wander with the machine. Blanks beside a
    number are not compared, since a column is padded to its longest number.
    """
    old, new = _NUMBER.findall(page), _NUMBER.findall(now)
    if [part.strip(" \t") for part in _NUMBER.split(page)] != [part.strip(" \t") for part in _NUMBER.split(now)]:
        counts = f" ({len(old)} numbers on the page, {len(new)} now)" if len(old) != len(new) else ""
        return [f"the text between the numbers differs{counts}" + "".join(compare_text(page, now))]
    return [
        f"number {place} of {len(old)}: page {before}, now {after}, {_moved(before, after)}, band {rtol:.2%}"
        for place, (before, after) in enumerate(zip(old, new, strict=True), start=1)
        if not _within(before, after, rtol)
    ]


def compare_pictures(page: bytes, now: bytes, *, rtol: float | None) -> list[str]:
    """Pictures look the same: each pixel of the one lies between the darkest and lightest found near it in the other.

    So a mark may move a little, and letters may be drawn by another release of the font library; a curve that went
    elsewhere, a line that is gone and a cell of another colour are seen. With a band, a mark may also move by that
    share of the picture, and a colour by that share of the scale.
    """
    if page == now:
        return []
    old, new = Image.open(io.BytesIO(page)), Image.open(io.BytesIO(now))
    if any(abs(b / a - 1) > SIZE for a, b in zip(old.size, new.size, strict=True)):
        return [f"the size differs: page {old.width} x {old.height}, now {new.width} x {new.height} pixels"]
    allowance = SAME_SERIES if _series(old) == _series(new) else ANOTHER_SERIES
    shift, contrast = allowance.shift + (rtol or 0.0), allowance.contrast + (rtol or 0.0)
    a, b = _pixels(old, old.size), _pixels(new, old.size)
    excess = np.maximum(_outside(a, b, shift), _outside(b, a, shift))
    worst = _window_mean(excess)
    if worst.max() <= contrast:
        return []
    row, column = (int(_HALVE * place) for place in np.unravel_index(int(worst.argmax()), worst.shape))
    return [
        f"the picture differs most at x = {column}, y = {row} pixels from its top left corner: "
        f"{worst.max():.3f} of full contrast, allowed {contrast:.3f}"
    ]


def _compare(kind: str, page: Any, now: Any, rtol: float | None) -> list[str]:
    if kind in PICTURES:
        return compare_pictures(base64.b64decode(page), base64.b64decode(now), rtol=rtol)
    if not (isinstance(page, str) and isinstance(now, str)):
        return [] if page == now else [f"page {page!r}, now {now!r}"]
    if rtol is not None and (kind in NUMBERED or kind.startswith("stream ")):
        return compare_numbers(page, now, rtol=rtol)
    return compare_text(page, now)


def _contents(output: Mapping[str, Any]) -> dict[str, Any]:
    """What an output shows, by kind; neither how it came (displayed or returned) nor a traceback's look."""
    match output["output_type"]:
        case "stream":
            return {f"stream {output['name']}": output["text"]}
        case "error":
            return {"error": f"{output['ename']}: {output['evalue']}"}
        case _:
            return dict(output["data"])


def _show(output: Mapping[str, Any]) -> str:
    shown = {kind: "(a picture)" if kind in PICTURES else content for kind, content in _contents(output).items()}
    return "\n".join(f"{kind}: {content}" for kind, content in shown.items())


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-").replace("∞", "inf"))


def _within(page: str, now: str, rtol: float) -> bool:
    if page.lstrip("+-−").replace(",", "").isdigit() and now.lstrip("+-−").replace(",", "").isdigit():
        return _value(page) == _value(now)
    a, b = _value(page), _value(now)
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return a == b
    return abs(b - a) <= rtol * abs(a) * (1 + 1e-9)  # the edge of the band belongs to it


def _moved(page: str, now: str) -> str:
    a, b = _value(page), _value(now)
    return f"moved by {abs(b - a) / abs(a):.2%}" if math.isfinite(a) and math.isfinite(b) and a else "moved"


def _series(picture: Image.Image) -> str:
    """`3.11` of the `Matplotlib version3.11.2, ...` that matplotlib writes into its PNG files."""
    found = re.search(r"version ?(\d+\.\d+)", str(picture.info.get("Software", "")))
    return found[1] if found else ""


def _pixels(picture: Image.Image, size: tuple[int, int]) -> Pixels:
    """(rows, columns, 3) numbers from 0 to 1, on white, halved."""
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture.convert("RGBA"))
    flat = ground.convert("RGB")
    if flat.size != size:
        flat = flat.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(flat.reduce(_HALVE), dtype=np.float64) / 255


def _outside(picture: Pixels, other: Pixels, shift: float) -> Pixels:
    """How far each pixel lies outside the range found within `shift` of it in the other picture."""
    lowest, highest = other, other
    for axis in (0, 1):
        reach = max(1, round(shift * other.shape[axis]))
        lowest = _nearby(np.minimum, lowest, reach, axis)
        highest = _nearby(np.maximum, highest, reach, axis)
    outside: Pixels = np.maximum(lowest - picture, picture - highest).clip(min=0).max(axis=-1)
    return outside


def _nearby(extreme: np.ufunc, values: Pixels, reach: int, axis: int) -> Pixels:
    """The least or the greatest value within reach of each pixel, along one axis."""
    turned = np.moveaxis(values, axis, 0)
    padded = np.pad(turned, [(reach, reach), (0, 0), (0, 0)], mode="edge")
    found = turned
    for offset in range(2 * reach + 1):
        found = extreme(found, padded[offset : offset + len(turned)])
    return np.moveaxis(found, 0, axis)


def _window_mean(values: Pixels) -> Pixels:
    side = min(_WINDOW, *values.shape)
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    mean: Pixels = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2
    return mean
