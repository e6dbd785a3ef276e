"""Figures: what is drawn where, in which colours, without torch."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from llmguide import figures
from llmguide.figures import attention_map, heatmap, lines


@pytest.fixture
def axes() -> Iterator[Axes]:
    with plt.rc_context({"backend": "agg"}):
        figures.use_style()
        figure, axes = plt.subplots()
        yield axes
        figure.canvas.draw()  # a figure that cannot be drawn fails here
        plt.close(figure)


def test_figures_draw_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nimport matplotlib\nmatplotlib.use('agg')\n"
        "from llmguide import figures\nimport matplotlib.pyplot as plt\nfigures.use_style()\n"
        "figure, (left, right) = plt.subplots(1, 2)\n"
        "figures.attention_map(left, [[1.0]], queries=['a'])\n"
        "figures.lines(right, [0, 1], {'a': [0, 1]})\n"
        "figure.savefig('figure.png')\n"
        "assert 'torch' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=tmp_path)

    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_style_is_white_and_its_colours_have_names(axes: Axes) -> None:
    named = [figures.BLUE, figures.ORANGE, figures.GREEN, figures.PINK, figures.INK]
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()

    assert [to_hex(colour).upper() for colour in cycle["color"]] == named
    assert len(set(map(str, cycle["linestyle"]))) == len(named)  # told apart without colour
    assert to_hex(axes.get_figure().get_facecolor()) == "#ffffff"


# Heat maps


def test_a_heat_map_names_its_rows_and_columns(axes: Axes) -> None:
    heatmap(axes, np.eye(2, 3), rows=["a", "b"], columns=["x", "y", "z"])

    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]


def test_colours_run_from_zero_up_or_around_zero(axes: Axes) -> None:
    values = [[-2.0, 1.0]]

    up, around, limited = heatmap(axes, values), heatmap(axes, values, signed=True), heatmap(axes, values, limit=5.0)

    assert (up.get_clim(), up.cmap.name) == ((0.0, 2.0), "cividis")
    assert (around.get_clim(), around.cmap.name) == ((-2.0, 2.0), "PuOr")
    assert limited.get_clim() == (0.0, 5.0)


def test_numbers_are_printed_in_their_cells_and_nan_is_left_blank(axes: Axes) -> None:
    heatmap(axes, [[0.125, np.nan], [1.0, 0.5]], digits=2)

    printed = {text.get_position(): text.get_text() for text in axes.texts}
    assert printed == {(0, 0): "0.12", (0, 1): "1.00", (1, 1): "0.50"}


@given(value=st.floats(0, 1), signed=st.booleans())
def test_a_printed_number_stands_out_from_its_cell(value: float, signed: bool) -> None:
    figure, axes = plt.subplots()
    image = heatmap(axes, [[value]], digits=1, limit=1.0, signed=signed)

    (text,) = axes.texts
    cell, ink = (mpl.colors.to_rgb(c) for c in (image.cmap(image.norm(value)), text.get_color()))
    plt.close(figure)

    light, dark = sorted((_luminance(cell), _luminance(ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG's contrast for figures


def _luminance(colour: tuple[float, float, float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_an_attention_map_says_who_reads_whom(axes: Axes) -> None:
    image = attention_map(axes, [[0.75, 0.25], [0.5, 0.5]], queries=["the", "cat"], title="head 0")

    assert image.get_clim() == (0.0, 1.0)  # whatever the largest weight: maps can be compared
    assert [label.get_text() for label in axes.get_xticklabels()] == ["the", "cat"]
    assert "query" in axes.get_ylabel()
    assert "key" in axes.get_xlabel()
    assert axes.get_title(loc="left") == "head 0"


def test_an_attention_map_may_have_other_keys(axes: Axes) -> None:
    attention_map(axes, [[1.0, 0.0]], queries=["le"], keys=["the", "cat"])

    assert [label.get_text() for label in axes.get_xticklabels()] == ["the", "cat"]


# Lines


def test_each_line_is_labelled_at_its_right_end_in_its_colour(axes: Axes) -> None:
    lines(axes, [1, 2, 4], {"ours": [3.0, 2.0, 1.0], "theirs": [3.0, 3.0, 2.5]})

    labels = {text.get_text(): (text.xy, text.get_color()) for text in axes.texts}
    assert labels == {"ours": ((4.0, 1.0), figures.BLUE), "theirs": ((4.0, 2.5), figures.ORANGE)}


def test_several_seeds_are_a_mean_and_a_band(axes: Axes) -> None:
    lines(axes, [0, 1], {"ours": [[1.0, 5.0], [3.0, 6.0], [8.0, 13.0]]})

    (line,) = axes.lines
    (band,) = axes.collections
    assert line.get_ydata().tolist() == [4.0, 8.0]
    heights = band.get_paths()[0].get_extents()
    assert (heights.y0, heights.y1) == (1.0, 13.0)  # the range over the seeds


def test_one_seed_has_no_band_and_neither_has_a_reader_who_wants_none(axes: Axes) -> None:
    lines(axes, [0, 1], {"one": [[1.0, 5.0]]})
    lines(axes, [0, 1], {"two": [[1.0, 5.0], [3.0, 6.0]]}, spread=False)

    assert len(axes.collections) == 0


def test_labels_can_be_left_to_a_legend(axes: Axes) -> None:
    lines(axes, [0, 1], {"ours": [1.0, 5.0]}, label=False)

    assert len(axes.texts) == 0
    assert axes.get_legend_handles_labels()[1] == ["ours"]


# Errors name the wrong value


def test_a_heat_map_needs_a_matrix(axes: Axes) -> None:
    with pytest.raises(ValueError, match=r"a heat map needs a matrix, got an array of shape \(2, 3, 5\)"):
        heatmap(axes, np.zeros((2, 3, 5)))


def test_names_that_do_not_fit_the_matrix_are_counted(axes: Axes) -> None:
    with pytest.raises(ValueError, match="the matrix has 2 rows, got 3 names"):
        heatmap(axes, np.zeros((2, 3)), rows=["a", "b", "c"])
    with pytest.raises(ValueError, match="the matrix has 3 columns, got 1 names"):
        heatmap(axes, np.zeros((2, 3)), columns=["a"])


def test_a_curve_of_another_length_is_named(axes: Axes) -> None:
    with pytest.raises(ValueError, match="'ours' has 3 points, x has 2"):
        lines(axes, [0, 1], {"ours": [1.0, 2.0, 3.0]})
