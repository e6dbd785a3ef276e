"""Numbers become pictures: one style and a few shapes of figure. Takes arrays, never imports torch."""

from collections.abc import Mapping, Sequence
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

# The style's colour cycle by name, for direct use.
BLUE, ORANGE, GREEN, PINK, INK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#1F2933"


def use_style() -> None:
    """Set the book's figure style: opaque white ground, colour-blind-safe colours, line style changes with colour."""
    plt.style.use(str(files("llmguide").joinpath("llmguide.mplstyle")))


def heatmap(
    axes: Axes,
    values: ArrayLike,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    signed: bool = False,
    limit: float | None = None,
    digits: int | None = None,
) -> AxesImage:
    """Draw a matrix as coloured cells.

    Args:
        values: (rows, columns) numbers; NaN is left blank.
        signed: colours around zero (PuOr); otherwise from 0 up (cividis).
        limit: the largest magnitude of the colour scale; None takes the largest in `values`.
        digits: print each value in its cell with this many decimals.
    """
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"a heat map needs a matrix, got an array of shape {matrix.shape}")
    top = float(np.nanmax(np.abs(matrix))) if limit is None else limit
    image = axes.imshow(
        matrix, cmap="PuOr" if signed else "cividis", vmin=-top if signed else 0.0, vmax=top, aspect="equal"
    )
    axes.grid(visible=False)
    _name_ticks(axes, rows, columns, shape=(matrix.shape[0], matrix.shape[1]))
    if digits is not None:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isnan(value):
                continue
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # perceived brightness
            text_colour = "white" if dark else INK
            axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color=text_colour, fontsize="small")
    return image


def attention_map(
    axes: Axes, weights: ArrayLike, *, queries: Sequence[str], keys: Sequence[str] | None = None, title: str = ""
) -> AxesImage:
    """Draw (T, S) attention weights, one row a query, colours from 0 to 1."""
    image = heatmap(axes, weights, rows=queries, columns=queries if keys is None else keys, limit=1.0)
    axes.set(title=title, ylabel="query: the token that reads", xlabel="key: the token that is read")
    return image


def lines(
    axes: Axes, x: ArrayLike, series: Mapping[str, ArrayLike], *, spread: bool = True, label: bool = True
) -> None:
    """Draw named curves, each labelled at its right end.

    Args:
        series: name to (points,) values, or to (seeds, points): then the mean is drawn, and the range over the seeds
            as a band.
        spread: draw that band.
        label: write the names at the right end of the curves; False leaves it to a legend.
    """
    points = np.asarray(x, dtype=float)
    for name, values in series.items():
        runs = np.atleast_2d(np.asarray(values, dtype=float))
        if runs.shape[-1] != points.size:
            raise ValueError(f"{name!r} has {runs.shape[-1]} points, x has {points.size}")
        (line,) = axes.plot(points, runs.mean(axis=0), label=name)
        if spread and len(runs) > 1:
            axes.fill_between(points, runs.min(axis=0), runs.max(axis=0), color=line.get_color(), alpha=0.15, lw=0)
        if label:
            axes.annotate(
                name,
                (points[-1], runs.mean(axis=0)[-1]),
                xytext=(4, 0),
                textcoords="offset points",
                color=line.get_color(),
                va="center",
            )


def _name_ticks(
    axes: Axes, rows: Sequence[str] | None, columns: Sequence[str] | None, *, shape: tuple[int, int]
) -> None:
    for names, size, what in ((rows, shape[0], "rows"), (columns, shape[1], "columns")):
        if names is not None and len(names) != size:
            raise ValueError(f"the matrix has {size} {what}, got {len(names)} names")
    if rows is not None:
        axes.set_yticks(range(shape[0]), labels=list(rows))
    if columns is not None:
        axes.set_xticks(range(shape[1]), labels=list(columns), rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
