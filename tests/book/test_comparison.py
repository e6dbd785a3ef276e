"""What the comparison of outputs lets pass, and what it does not."""

import io
from collections.abc import Callable, Iterator

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from llmguide import figures
from tests.book.comparison import compare_numbers, compare_outputs, compare_pictures, compare_text

Output = dict[str, object]


def test_equal_text_has_no_differences() -> None:
    assert compare_text("loss 0.4142\n", "loss 0.4142\n") == []


def test_one_digit_is_a_difference_and_both_lines_are_shown() -> None:
    (words,) = compare_text("step 1\nloss 0.4142\n", "step 1\nloss 0.4143\n")
    assert "-loss 0.4142" in words
    assert "+loss 0.4143" in words


def test_an_invisible_difference_is_shown_too() -> None:
    (words,) = compare_text("loss", "loss\n")
    assert "'loss'" in words
    assert r"'loss\n'" in words


@pytest.mark.parametrize(
    ("page", "now"),
    [
        ("loss 2.000", "loss 2.060"),  # the edge of the band belongs to it
        ("loss 2.000", "loss 1.940"),
        ("  9.98 | a", " 10.02 | a"),  # the padding of a column is not compared
        ("[-0.10  1.]", "[-0.1  1.02]"),
        ("1e-3 and 2.5E+04", "1.02e-03 and 25200.0"),
        ("nan -inf inf", "NaN -inf inf"),
        ("\N{MINUS SIGN}0.500", "-0.505"),  # the typographic minus
        ("1,000.5 words", "999.5 words"),
        ("0.00", "-0.00"),
        ("<td>0.50</td>", "<td>0.51</td>"),
        (r"$\frac{0.50}{x_1}$", r"$\frac{0.51}{x_1}$"),
        ("GPT2 at 83.3 %", "GPT2 at 84.1 %"),
    ],
)
def test_a_number_may_move_inside_the_band(page: str, now: str) -> None:
    assert compare_numbers(page, now, rtol=0.03) == []


@pytest.mark.parametrize(
    ("page", "now"),
    [
        ("loss 2.000", "loss 2.061"),
        ("loss 2.000", "loss -2.000"),
        ("0.00", "0.01"),
        ("0.5", "nan"),
        ("nan", "0.5"),
        ("inf", "-inf"),
        ("inf", "1e300"),
        ("step 100", "step 101"),  # a whole number counts something
        ("1,000 words", "1,001 words"),
        ("0.50 0.60", "0.50"),  # a number fewer
        ("0.50", "0.50 0.60"),  # a number more
        ("loss 0.50", "cost 0.50"),
        ("GPT2 0.50", "GPT3 0.50"),  # the digit of a name is text
        ("v1.2.3 0.50", "v1.2.4 0.50"),
        ("a b 0.50", "ab 0.50"),  # blanks between words are text
        ('<b style="color:#0072B2">0.50</b>', '<b style="color:#0073B2">0.50</b>'),
        ("nano 0.5", "info 0.5"),
    ],
)
def test_what_leaves_the_band_or_changes_the_text_is_a_difference(page: str, now: str) -> None:
    assert compare_numbers(page, now, rtol=0.03) != []


def test_the_message_names_the_number_and_how_far_it_moved() -> None:
    (words,) = compare_numbers("loss 1.00, then 2.00", "loss 1.01, then 2.50", rtol=0.03)
    assert words == "number 2 of 2: page 2.00, now 2.50, moved by 25.00%, band 3.00%"


def _stream(text: str, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def _shown(**data: str) -> Output:
    return {"output_type": "display_data", "data": {kind.replace("_", "/"): text for kind, text in data.items()}}


@pytest.mark.parametrize(
    ("page", "now"),
    [
        ([_stream("a")], []),
        ([], [_stream("a")]),
        ([_stream("a")], [_stream("a", "stderr")]),
        ([_stream("a"), _shown(text_plain="b")], [_shown(text_plain="b"), _stream("a")]),
        ([_shown(text_plain="b", text_html="<b>")], [_shown(text_plain="b")]),
        ([_shown(text_plain="b", text_html="<b>1</b>")], [_shown(text_plain="b", text_html="<b>2</b>")]),
        ([_shown(text_plain="b", text_latex="$1$")], [_shown(text_plain="b", text_latex="$2$")]),
        (
            [{"output_type": "error", "ename": "ValueError", "evalue": "no heads", "traceback": []}],
            [{"output_type": "error", "ename": "ValueError", "evalue": "no keys", "traceback": []}],
        ),
    ],
)
def test_outputs_differ_when_one_is_missing_or_says_something_else(page: list[Output], now: list[Output]) -> None:
    assert compare_outputs(page, page, rtol=None) == []
    assert compare_outputs(page, now, rtol=None) != []


def test_the_band_reaches_every_kind_of_text() -> None:
    page = [_stream("0.500"), _shown(text_plain="0.500", text_html="<b>0.500</b>", text_latex="$0.500$")]
    now = [_stream("0.505"), _shown(text_plain="0.505", text_html="<b>0.505</b>", text_latex="$0.505$")]
    assert compare_outputs(page, now, rtol=0.03) == []
    assert len(compare_outputs(page, now, rtol=None)) == 4


@pytest.fixture(autouse=True)
def _book_style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        figures.use_style()
        yield
    plt.close("all")


def _png(figure: Figure, version: str = matplotlib.__version__) -> bytes:
    """What a notebook's cell draws: a PNG cropped to its ink, that says which matplotlib drew it."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", bbox_inches="tight", metadata={"Software": f"Matplotlib version{version}, the web"}
    )
    plt.close(figure)
    return buffer.getvalue()


def _curves(
    *, move: float = 0.0, drop: bool = False, colour: str = "#D55E00", title: str = "The spread grows with the width"
) -> bytes:
    figure, axes = plt.subplots()
    x = np.linspace(0, 10, 200)
    axes.plot(x, np.sin(x))
    if not drop:
        axes.plot(x, 0.8 * np.cos(x) + move, color=colour)
    axes.annotate("scaled", (10, np.sin(10)), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set(xlabel="width of a head K", ylabel="standard deviation", title=title, ylim=(-1.3, 1.3))
    return _png(figure)


def _heat_map(*, add: float = 0.0) -> bytes:
    weights = np.random.default_rng(1).dirichlet(np.ones(6), size=6)
    weights[2, 3] += add
    figure, axes = plt.subplots()
    figures.attention_map(axes, weights, queries=["the", "lantern", "is", "at", "the ", "mill"])
    return _png(figure)


def _bars(*, add: float = 0.0, version: str = matplotlib.__version__) -> bytes:
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    axes.barh(["feed-forward", "attention", "embeddings"], [3.0, 1.0 + add, 9.2])
    axes.set(xlabel="parameters (millions)")
    return _png(figure, version)


@pytest.mark.parametrize("draw", [_curves, _heat_map, _bars])
def test_a_figure_equals_itself_drawn_again(draw: Callable[[], bytes]) -> None:
    assert compare_pictures(draw(), draw(), rtol=None) == []


@pytest.mark.parametrize("draw", [_heat_map, _bars])
def test_other_hinting_of_letters_is_not_a_difference(draw: Callable[[], bytes]) -> None:
    page = draw()
    with matplotlib.rc_context({"text.hinting": "none"}):
        now = draw()
    assert page != now
    assert compare_pictures(page, now, rtol=None) == []


def test_other_antialiasing_of_lines_is_not_a_difference() -> None:
    page = _curves()
    with matplotlib.rc_context({"path.snap": False, "lines.linewidth": 1.7}):
        now = _curves()
    assert page != now
    assert compare_pictures(page, now, rtol=None) == []


@pytest.mark.parametrize(
    ("page", "now"),
    [
        pytest.param(_curves, lambda: _curves(move=0.06), id="a curve moved by 2 % of the height"),
        pytest.param(_curves, lambda: _curves(drop=True), id="a line is gone"),
        pytest.param(_curves, lambda: _curves(colour="#CC79A7"), id="a line has another colour"),
        pytest.param(
            _curves, lambda: _curves(title="The spread falls with the width"), id="the title says another word"
        ),
        pytest.param(_heat_map, lambda: _heat_map(add=0.05), id="a heat-map cell changed by a twentieth of the scale"),
        pytest.param(_bars, lambda: _bars(add=0.2), id="a bar is longer"),
    ],
)
def test_a_figure_that_says_something_else_is_a_difference(page: Callable[[], bytes], now: Callable[[], bytes]) -> None:
    (words,) = compare_pictures(page(), now(), rtol=None)
    assert "of full contrast" in words
    assert compare_pictures(now(), page(), rtol=None) != []


def test_the_message_says_where_the_picture_differs() -> None:
    (words,) = compare_pictures(_bars(), _bars(add=2.0), rtol=None)
    assert "x = " in words
    assert "allowed 0.030" in words


def test_another_series_of_matplotlib_may_move_marks_a_little_more() -> None:
    page = _bars()
    assert compare_pictures(page, _bars(add=0.12), rtol=None) != []
    assert compare_pictures(page, _bars(add=0.12, version="9.99.1"), rtol=None) == []
    assert compare_pictures(page, _bars(add=0.3, version="9.99.1"), rtol=None) != []


def test_a_band_lets_a_curve_wander_and_no_line_vanish() -> None:
    page = _curves()
    assert compare_pictures(page, _curves(move=0.06), rtol=0.03) == []
    assert compare_pictures(page, _curves(move=0.3), rtol=0.03) != []
    assert compare_pictures(page, _curves(drop=True), rtol=0.03) != []


def test_a_picture_of_another_size_is_a_difference() -> None:
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    small = _png(figure)
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    axes.plot([0, 1])
    (words,) = compare_pictures(small, _png(figure), rtol=None)
    assert "the size differs" in words
