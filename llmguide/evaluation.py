"""Evaluation: two systems on the same examples, by every metric that fits, with intervals and a paired test each."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from llmguide.metrics import Interval, accuracy, bootstrap, f1
from llmguide.overlap import exact_match, rouge, token_f1

Rows = NDArray[np.int64]  # numbers of examples, with repeats
Measure = Callable[[Rows, NDArray[np.bool_]], float]  # of these rows, answers exchanged between the systems where True


@dataclass(frozen=True, kw_only=True)
class Line:
    """One metric of a report."""

    metric: str
    first: Interval
    second: Interval
    difference: Interval  # the second's minus the first's, example by example
    p: float  # how often exchanging the systems' answers by coins moves the metric as far
    adjusted: float  # the same, when all lines of the report are asked at once (Holm)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Two systems compared; printed, it is a table."""

    names: tuple[str, str]
    examples: int
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        first, second = self.names
        rows: list[tuple[str, ...]] = [("", first, second, "difference", "p", "of all")]
        for line in self.lines:
            intervals = (_short(each) for each in (line.first, line.second, line.difference))
            rows.append((line.metric, *intervals, f"{line.p:.3f}", f"{line.adjusted:.3f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        return "\n".join([*table, f"{self.examples} examples; difference: {second} minus {first}"])


def report(
    references: Sequence[Any],
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    kind: Literal["labels", "texts"],
    names: tuple[str, str] = ("first", "second"),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Report:
    """Is the second system better than the first? Their answers to the same examples, against the references.

    `labels`: accuracy and macro-F1. `texts`: exact match, the F1 of shared words, ROUGE-1, ROUGE-L, BLEU; all 0 to 1.
    Intervals are bootstrapped over examples. The p value is that of a randomisation test: if the systems were equally
    good, exchanging their answers to any example would change nothing; with r of R random exchanges moving the metric
    at least as far as it was, p = (r + 1) / (R + 1).

    Args:
        references: the right answers.
        first: the first system's answers, in the order of the references.
        second: the second system's.
        kind: whether answers are classes or written texts.
        names: of the systems, for the table.
        resamples: of each interval and each test.

    Raises:
        ValueError: what is wrong with the input, and where: lengths, types, an empty reference, a spelling.

    Taught in: applications/evaluation
    Source: efron1979bootstrap; koehn2004statistical; noreen1989computer; holm1979simple
    """
    columns = {"references": references, names[0]: first, names[1]: second}
    _check(columns, kind, names)
    measures = _of_labels(references, first, second) if kind == "labels" else _of_texts(references, first, second)
    rows, same = np.arange(len(references)), np.zeros(len(references), dtype=bool)
    found = {}
    for name, measure in measures.items():
        metrics = (
            lambda chosen, measure=measure: measure(chosen, same),
            lambda chosen, measure=measure: measure(chosen, ~same),
            lambda chosen, measure=measure: measure(chosen, ~same) - measure(chosen, same),
        )
        intervals = [bootstrap(metric, rows, resamples=resamples, level=level, seed=seed) for metric in metrics]
        found[name] = (intervals, randomised(measure, examples=len(rows), resamples=resamples, seed=seed))
    adjusted = holm([p for _, p in found.values()])
    lines = tuple(
        Line(metric=name, first=a, second=b, difference=difference, p=p, adjusted=q)
        for (name, ((a, b, difference), p)), q in zip(found.items(), adjusted, strict=True)
    )
    return Report(names=names, examples=len(rows), lines=lines)


def randomised(measure: Measure, *, examples: int, resamples: int = 1000, seed: int = 0) -> float:
    """The two-sided p of a paired randomisation test, at least 1 / (resamples + 1).

    Args:
        measure: a metric of the first system: of these rows, its answers exchanged for the second's where True.

    Source: noreen1989computer
    """
    generator, rows = np.random.default_rng(seed), np.arange(examples)
    none = np.zeros(examples, dtype=bool)
    observed = abs(measure(rows, ~none) - measure(rows, none))
    swaps = generator.random((resamples, examples)) < 0.5
    moved = sum(abs(measure(rows, ~swap) - measure(rows, swap)) >= observed - 1e-12 for swap in swaps)
    return (moved + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    r"""P values when several questions are asked at once: the chance of *any* false alarm stays below the level.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may fall below one before it, or exceed 1.

    Raises:
        ValueError: a p value that is not between 0 and 1.

    Taught in: applications/evaluation
    Source: holm1979simple
    """
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"a p value lies between 0 and 1; got {wrong[0]}")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _of_labels(references: Sequence[Any], first: Sequence[Any], second: Sequence[Any]) -> dict[str, Measure]:
    true, a, b = (np.asarray(column) for column in (references, first, second))

    def measured(metric: Callable[..., float]) -> Measure:
        return lambda rows, swap: metric(true[rows], np.where(swap, b, a)[rows])

    if len(set(true.tolist())) < 2:
        return {"accuracy": measured(accuracy)}  # F1 needs two classes
    return {"accuracy": measured(accuracy), "macro-F1": measured(f1)}


def _of_texts(references: Sequence[str], first: Sequence[str], second: Sequence[str]) -> dict[str, Measure]:
    """Every text is scored once; resamples only add up."""
    both = np.array(
        [[_scores(text, right) for text, right in zip(s, references, strict=True)] for s in (first, second)]
    )

    def mean(column: int) -> Measure:
        return lambda rows, swap: float(both[swap[rows].astype(int), rows, column].mean())

    def bleu(rows: Rows, swap: NDArray[np.bool_]) -> float:
        *counts, ours, theirs = both[swap[rows].astype(int), rows, 4:].sum(axis=0).astype(int).tolist()
        return BLEU.compute_bleu(counts[:4], counts[4:], ours, theirs, smooth_method="exp").score / 100

    metrics = ("exact match", "word F1", "ROUGE-1", "ROUGE-L")
    return {name: mean(column) for column, name in enumerate(metrics)} | {"BLEU": bleu}


def _scores(text: str, reference: str) -> list[float]:
    """Four metrics of one text, then what BLEU adds up: matches and runs of 1 to 4 words, and two lengths."""
    counted = BLEU(effective_order=True).sentence_score(text, [reference])
    added = (*counted.counts, *counted.totals, counted.sys_len, counted.ref_len)
    return [
        exact_match(text, reference),
        token_f1(text, reference),
        rouge(text, reference),
        rouge(text, reference, of="L"),
        *(float(count) for count in added),
    ]


def _check(columns: dict[str, Sequence[Any]], kind: str, names: tuple[str, str]) -> None:
    if kind not in ("labels", "texts"):
        raise ValueError(f"kind is {kind!r}; it must be 'labels' or 'texts'")
    if len(columns) != 3:
        raise ValueError(f"the systems need two names that differ, and not 'references'; got {names}")
    for name, column in columns.items():
        if isinstance(column, str):
            raise ValueError(f"{name} is one string; give a list with one answer an example")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        counted = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"{counted}: give each system's answers to the same examples, in the same order, at least one")
    known = Counter(type(value) for value in columns["references"])
    spelt = {label.strip().casefold(): label for label in columns["references"] if isinstance(label, str)}
    for name, column in columns.items():
        for row, value in enumerate(column):
            _check_value(name, row, value, kind, known)
            if kind == "labels" and isinstance(value, str):
                meant = spelt.get(value.strip().casefold(), value)
                if meant != value:
                    raise ValueError(f"{name}, row {row}: label {value!r}; did you mean {meant!r}?")


def _check_value(name: str, row: int, value: object, kind: str, known: Counter[type]) -> None:
    if value is None or (isinstance(value, float) and value != value):
        raise ValueError(f'{name}, row {row}: the answer is missing ({value}); write "" for a text that says nothing')
    if kind == "texts":
        if not isinstance(value, str):
            raise ValueError(f"{name}, row {row}: {value!r} is of type {type(value).__name__}, not a text")
        if name == "references" and not value.strip():
            raise ValueError(f"references, row {row}: the reference is empty; leave the example out")
    elif isinstance(value, str) != (str in known) or len({issubclass(t, str) for t in known}) > 1:
        raise ValueError(
            f"{name}, row {row}: label {value!r} is of type {type(value).__name__}; "
            "write all labels as names or all as numbers"
        )


def _short(interval: Interval) -> str:
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
