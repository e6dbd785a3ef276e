"""Commands: `llmguide finetune`, `predict` and `chat`, for texts of the reader's own; printing is their job."""

import argparse
import csv
import importlib
import os
import random
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llmguide import checkpoints, inspection, metrics, runtime
from llmguide.corpora import Example, read_csv

RUN, REPORT = "training", "report.txt"  # in the folder that is written: the state of a run, and what it ended with
HELD_OUT = 5  # one row of so many of each class, where no test file is given
MINILM = "minilm"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 1 where something is wrong, after one line that says what and the way out."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = _say_warning
    try:
        if "LLMGUIDE_THREADS" in os.environ:
            torch.set_num_threads(runtime.threads())
        return int(options.command(options))
    except (OSError, TypeError, ValueError, FloatingPointError) as error:
        _say(f"llmguide: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("\nllmguide: stopped; the same command goes on from the last finished epoch", file=sys.stderr)
        return 130


def finetune(options: argparse.Namespace) -> int:
    """Train a classifier on a CSV, report on texts it has not seen, and write it for `transformers` to open."""
    out = Path(options.out)
    if (out / checkpoints.CONFIG).exists() and not options.replace:
        raise ValueError(f"{out} holds a model already; choose another folder, or pass --replace")
    if options.patience is not None and options.dev is None:
        raise ValueError(f"--patience {options.patience} needs texts to judge by: give --dev")
    train, names = read_csv(options.train, text=options.text, label=options.label)
    if options.test is None:
        train, test = held_out(train, seed=options.seed)
        source = f"a fifth of {options.train}, held out"
    else:
        test, _ = read_csv(options.test, text=options.text, label=options.label, labels=names)
        source = options.test
    dev = read_csv(options.dev, text=options.text, label=options.label, labels=names)[0] if options.dev else ()
    inspection.check_labels([example.label for example in train], names, texts=len(train))
    inspection.compare_splits(
        [example.text for example in train],
        [example.text for example in test],
        test_labels=[example.label for example in test],
        names=names,
    )
    adapters, finetuning, prediction, pretrained, recipes = _machinery()
    torch.manual_seed(options.seed)  # of a new head
    model, tokenizer = pretrained.classifier(_model(options.model), names, new_head=options.new_head)
    lora = _takes_lora(recipes, options, len(train))
    if lora:
        finetuning.add_low_rank(model, rank=options.rank, seed=options.seed)
    recipe = _recipe(recipes, options, len(train), lora=lora)
    cpu = _use_cpu(options.device)
    if _first_process():
        _say(f"{len(train)} texts to train on, {len(test)} to report on ({source}); classes: {', '.join(names)}")
        _say("training low-rank adapters (--no-lora for all weights)" if lora else "training the model's own weights")
        if cpu:
            _say(f"on the CPU: about {_minutes(model, tokenizer, train, recipe)}")
    started = time.process_time()
    finetuning.train_classifier(
        model,
        tokenizer,
        train,
        recipe,
        dev=dev,
        folder=out / RUN,
        progress=not options.quiet,
        use_cpu=cpu,
    )
    if not _first_process():
        return 0
    seconds = time.process_time() - started
    if lora:
        adapters.save_adapter(model, out / "adapter")
        adapters.merge(model)
    pretrained.save(model, tokenizer, out)
    answers = prediction.predict(model, tokenizer, [example.text for example in test])
    report = describe([example.label for example in test], answers.labels.tolist(), names)
    report += f"\n\nTraining took {seconds:.0f} processor seconds. The model is in {out}. Ask it with\n\n"
    report += f'    llmguide predict --model {out} "a text" "another text"\n'
    with runtime.replacing(out / REPORT) as temporary:
        temporary.write_text(report, encoding="utf-8")
    shutil.rmtree(out / RUN, ignore_errors=True)
    _say(f"\n{report}")
    return 0


def predict(options: argparse.Namespace) -> int:
    """Print, or write as a CSV, the class of each text and how sure the model is."""
    _, _, prediction, pretrained, _ = _machinery()
    if bool(options.texts) == (options.file is not None):
        raise ValueError("give texts, or --file with a CSV of them, and not both")
    if options.file is None:
        texts = list(options.texts)
    else:
        texts = [example.text for example in read_csv(options.file, text=options.text, label=None)[0]]
    model, tokenizer = pretrained.load_classifier(options.model)
    if not _use_cpu(options.device):
        model.to("cuda" if torch.cuda.is_available() else "mps")
    answers = prediction.predict(model, tokenizer, texts, on_long="error" if options.strict else "cut")
    rows = [
        (text, name, f"{probabilities.max():.4f}")
        for text, name, probabilities in zip(texts, answers.names, answers.probabilities, strict=True)
    ]
    if options.out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([("text", "label", "probability"), *rows])
        return 0
    with runtime.replacing(Path(options.out)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "probability"), *rows])
    _say(f"{len(rows)} answers are in {options.out}")
    return 0


def chat(options: argparse.Namespace) -> int:
    """Talk about a story, line by line, from a terminal or a pipe; with --model, talk to a chat model of the hub."""
    from llmguide import dialogue

    story = dialogue.story_of(options.story, seed=options.seed) if options.story or not options.model else None
    talking = dialogue.start(options.model, story, threshold=options.threshold)
    _say(f"{story}\n\n{dialogue.HELP}" if story else dialogue.HELP)
    dialogue.talk(talking, dialogue.lines(sys.stdin), _say)
    return 0


def held_out(examples: Sequence[Example], *, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """What to train on and what to report on: of each class one example in five is held out, by chance."""
    test: set[int] = set()
    for label in sorted({example.label for example in examples}):
        rows = [row for row, example in enumerate(examples) if example.label == label]
        test.update(random.Random(seed).sample(rows, len(rows) // HELD_OUT))
    if not test:
        raise ValueError(f"{len(examples)} rows are too few to hold some out; give --test, or five rows of a class")
    return (
        tuple(example for row, example in enumerate(examples) if row not in test),
        tuple(example for row, example in enumerate(examples) if row in test),
    )


def describe(labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]) -> str:
    """Accuracy with its interval, F1 of each class, and which class was taken for which, as text."""
    accuracy = metrics.bootstrap(metrics.accuracy, labels, predictions)
    guess = Counter(labels).most_common(1)[0][1] / len(labels)
    table = metrics.confusion(labels, predictions, classes=range(len(names)))
    wide = max(map(len, names))
    bounds = f"95 % interval {accuracy.low:.3f} to {accuracy.high:.3f}"
    lines = [
        f"Accuracy on {len(labels)} texts: {accuracy.value:.3f}, {bounds}",
        f"(always answering the commonest class: {guess:.3f})",
        "",
        f"{'class':{wide}}  {'texts':>6}  {'F1':>5}",
    ]
    for number, name in enumerate(names):
        own, seen = int(table[number].sum()), int(table[number].sum() + table[:, number].sum())
        score = f"{2 * table[number, number] / seen:.3f}" if own else "  -  "
        lines.append(f"{name:{wide}}  {own:>6}  {score:>5}")
    cells = [max(len(name), len(str(table.max()))) for name in names]
    lines += ["", "Rows: what a text is. Columns: what the model took it for."]
    lines.append("  ".join([" " * wide, *(f"{name:>{cell}}" for name, cell in zip(names, cells, strict=True))]))
    for name, row in zip(names, table, strict=True):
        lines.append(
            "  ".join([f"{name:{wide}}", *(f"{count:>{cell}}" for count, cell in zip(row, cells, strict=True))])
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llmguide", description="Fine-tune a classifier on your own texts, ask it, or talk about a story."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    train = commands.add_parser("finetune", help="train a classifier on a CSV", description=finetune.__doc__)
    train.set_defaults(command=finetune)
    train.add_argument("--train", required=True, metavar="CSV", help="texts and labels; UTF-8, with a header")
    train.add_argument("--dev", metavar="CSV", help="texts to judge the epochs by")
    train.add_argument("--test", metavar="CSV", help="texts to report on (default: a fifth of the training file)")
    train.add_argument("--model", default=MINILM, help="a folder, a hub name, or minilm (the default)")
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the model is written")
    train.add_argument("--text", default="text", metavar="COLUMN", help="the column of the texts (text)")
    train.add_argument("--label", default="label", metavar="COLUMN", help="the column of the classes (label)")
    lora = "train low-rank adapters, not the matrices (from 1,000 texts on, unless --layers is given)"
    train.add_argument("--lora", action=argparse.BooleanOptionalAction, help=lora)
    train.add_argument("--rank", type=int, default=8, help="of the adapters (8)")
    train.add_argument("--layers", type=int, metavar="N", help="train the last N blocks only; 0: the head alone")
    train.add_argument("--epochs", type=int, help="passes over the data")
    train.add_argument("--batch", type=int, help="texts an update, over all processes")
    train.add_argument("--rate", type=float, help="the learning rate")
    train.add_argument("--length", type=int, default=128, help="the tokens of a text that are read (128)")
    train.add_argument("--patience", type=int, metavar="N", help="stop after N epochs that were no better; needs --dev")
    train.add_argument("--seed", type=int, default=0, help="of all that is left to chance (0)")
    train.add_argument("--new-head", action="store_true", help="replace a head that was trained for other classes")
    train.add_argument("--replace", action="store_true", help="write over a model in the folder")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    ask = commands.add_parser("predict", help="ask a trained classifier", description=predict.__doc__)
    ask.set_defaults(command=predict)
    ask.add_argument("texts", nargs="*", help="texts to classify")
    ask.add_argument("--model", required=True, metavar="FOLDER", help="what finetune wrote")
    ask.add_argument("--file", metavar="CSV", help="a file of texts instead")
    ask.add_argument("--text", default="text", metavar="COLUMN", help="the column of the texts (text)")
    ask.add_argument("--out", metavar="CSV", help="write the answers to a file")
    ask.add_argument("--strict", action="store_true", help="refuse a text that is too long, do not cut it")
    talk = commands.add_parser("chat", help="talk about a story", description=chat.__doc__)
    talk.set_defaults(command=chat)
    talk.add_argument("--story", metavar="FILE", help="a text to talk about (default: a story of the village)")
    talk.add_argument("--model", help="a folder or hub name of a chat model (default: the book's storyteller)")
    talk.add_argument("--threshold", type=float, default=0.0, help="say 'I do not know' below this confidence (0)")
    talk.add_argument("--seed", type=int, default=0, help="which story (0)")
    for command in (train, ask):
        command.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute (auto)")
    return parser


def _machinery() -> list[Any]:
    """The modules that import `transformers`: seconds that `--help` and a fault of the data need not wait for."""
    names = ("adapters", "finetuning", "prediction", "pretrained", "recipes")
    return [importlib.import_module(f"llmguide.{name}") for name in names]


def _model(name: str) -> str | Path:
    return checkpoints.minilm_folder() if name == MINILM else name


def _takes_lora(recipes: Any, options: argparse.Namespace, texts: int) -> bool:
    """What was asked for; else what did best on so many texts (tests/benchmarks/README.md)."""
    if options.lora is None:
        return options.layers is None and bool(texts >= recipes.FEW)
    return bool(options.lora)


def _recipe(recipes: Any, options: argparse.Namespace, texts: int, *, lora: bool) -> Any:
    given = {"epochs": options.epochs, "batch": options.batch, "learning_rate": options.rate}
    return recipes.recipe_for(
        texts,
        lora=lora,
        layers=options.layers,
        length=options.length,
        patience=options.patience,
        seed=options.seed,
        **{name: value for name, value in given.items() if value is not None},
    )


def _use_cpu(device: str) -> bool:
    there = torch.cuda.is_available() or torch.backends.mps.is_available()
    if device == "gpu" and not there:
        warnings.warn("no GPU is there: computing on the CPU", stacklevel=2)
    return device == "cpu" or not there


def _minutes(model: Any, tokenizer: Any, train: Sequence[Example], recipe: Any) -> str:
    """How long a run will be, from one update's worth of texts: backward costs twice what forward does."""
    from llmguide.prediction import predict

    some = [example.text for example in train[: recipe.batch]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        predict(model, tokenizer, some)
    forward = time.perf_counter() - started
    minutes = round(3 * forward * recipe.epochs * len(train) / len(some) / 60)
    return "a minute" if minutes < 2 else f"{minutes} minutes"


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(text: str, file: Any = None) -> None:
    print(text, file=file, flush=True)


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    if _first_process():
        _say(f"llmguide: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
