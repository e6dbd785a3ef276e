"""Commands: a CSV becomes a saved model and a report; what is wrong is one line; two processes learn as one."""

import csv
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import pipeline

from llmguide import commands
from llmguide.checkpoints import WEIGHTS
from llmguide.commands import RUN, describe, held_out, main
from llmguide.corpora import Example
from tests.book.chapters import ROOT
from tests.unit import tiny

FINE = [(f"the {noun} is {word}", label) for noun in tiny.NOUNS for word, label in (("fine", "x"), ("dull", "y"))]
LEARN = ["--epochs", "6", "--batch", "8", "--rate", "1e-2", "--device", "cpu"]


def write(path: Path, rows: Sequence[tuple[str, str]], header: tuple[str, ...] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def named(examples: Sequence[Example]) -> list[tuple[str, str]]:
    return [(example.text, tiny.LABELS[example.label]) for example in examples]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.encoder_folder(tmp_path / "encoder")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    unique = {example.text: example for example in tiny.reviews(120)}
    return write(tmp_path / "my.csv", named(list(unique.values())))


@pytest.fixture(autouse=True)
def _warnings_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warnings.showwarning", lambda *_, **__: None)


@pytest.mark.parametrize("extra", [[], ["--lora", "--rate", "2e-2"]])
def test_a_csv_becomes_a_model_that_transformers_opens(
    folder: Path, train: Path, tmp_path: Path, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    assert main(["finetune", "--train", str(train), "--model", str(folder), "--out", str(out), *LEARN, *extra]) == 0

    said, bar = capsys.readouterr()
    report = (out / "report.txt").read_text(encoding="utf-8")
    assert report in said
    assert "step" in bar
    found = re.search(r"Accuracy on (\d+) texts: (0\.\d+|1\.000), 95 % interval .* to", report)
    assert found
    assert float(found[2]) > 0.7
    assert f"llmguide predict --model {out}" in report
    assert not (out / RUN).exists()
    assert (out / "adapter").exists() == bool(extra)
    answers = pipeline("text-classification", model=str(out), device="cpu")(["the film is dull", "the cast is lovely"])
    assert {answer["label"] for answer in answers} <= set(tiny.LABELS)

    assert main(["predict", "--model", str(out), "--device", "cpu", "the film is dull", "the cast is lovely"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0] == ["text", "label", "probability"]
    assert [row[1] for row in rows[1:]] == [answer["label"] for answer in answers]


@pytest.mark.parametrize(
    ("few", "extra", "lora"),
    [(1000, [], False), (50, [], True), (50, ["--no-lora"], False), (50, ["--layers", "1"], False)],
)
def test_many_texts_are_learnt_by_adapters_unless_asked_otherwise(
    folder: Path, train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, extra: list[str], lora: bool
) -> None:
    monkeypatch.setattr("llmguide.recipes.FEW", few)
    out = tmp_path / "out"
    command = ["finetune", "--train", str(train), "--model", str(folder), "--out", str(out), "--epochs", "1"]

    assert main([*command, "--device", "cpu", "--quiet", *extra]) == 0

    assert (out / "adapter").exists() == lora


def test_answers_to_a_file_go_to_a_file(folder: Path, train: Path, tmp_path: Path) -> None:
    out, answers = tmp_path / "out", tmp_path / "answers.csv"
    assert main(["finetune", "--train", str(train), "--model", str(folder), "--out", str(out), *LEARN, "--quiet"]) == 0

    assert main(["predict", "--model", str(out), "--file", str(train), "--out", str(answers), "--device", "cpu"]) == 0

    with answers.open(encoding="utf-8", newline="") as file, train.open(encoding="utf-8", newline="") as asked:
        texts = [row["text"] for row in csv.DictReader(asked)]
        assert [row["text"] for row in csv.DictReader(file)] == texts


def test_a_model_that_is_there_is_not_written_over(
    folder: Path, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert main(["finetune", "--train", str(train), "--model", str(folder), "--out", str(folder), *LEARN]) == 1

    assert "holds a model already; choose another folder, or pass --replace" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("rows", "header", "extra", "said"),
    [
        ([("a", "x")] * 10, ("text", "label"), [], r"only one class \(x\)|two or more different names"),
        ([], ("text", "label"), [], "no rows"),
        ([("a;x", "")], ("text;label", ""), [], "text;label"),
        ([("a", "x"), ("b", "y")], ("text", "label"), [], "2 rows are too few to hold some out; give --test"),
        (FINE, ("Text", "label"), [], "Text"),
        (FINE, ("text", "label"), ["--epochs", "0"], "epochs is 0"),
        (FINE, ("text", "label"), ["--model", "./nowhere"], "folder ./nowhere does not exist"),
        (FINE, ("text", "label"), ["--patience", "1"], "--patience 1 needs texts to judge by: give --dev"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    folder: Path,
    tmp_path: Path,
    rows: list[tuple[str, str]],
    header: tuple[str, ...],
    extra: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = write(tmp_path / "bad.csv", rows, header), tmp_path / "out"

    code = main(["finetune", "--train", str(path), "--model", str(folder), "--out", str(out), "--quiet", *extra])

    err = capsys.readouterr().err
    assert code == 1
    assert re.search(said, err)
    assert err.startswith("llmguide: ")
    assert err.count("\n") == 1
    assert not out.exists()


def test_predict_wants_texts_or_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", str(folder)]) == 1
    assert "give texts, or --file" in capsys.readouterr().err


def test_predict_refuses_an_encoder_without_a_head(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", str(folder), "--device", "cpu", "the film"]) == 1
    assert "has no head" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)

    with pytest.warns(UserWarning, match="no GPU is there: computing on the CPU"):
        assert commands._use_cpu("gpu")
    assert commands._use_cpu("auto")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not commands._use_cpu("auto")
    assert commands._use_cpu("cpu")


def test_a_fifth_of_each_class_is_held_out_and_nothing_is_lost() -> None:
    examples = [Example(f"text {number}", int(number % 4 == 0)) for number in range(40)]

    train, test = held_out(examples, seed=0)

    assert sorted(example.text for example in (*train, *test)) == sorted(example.text for example in examples)
    assert [sum(example.label == label for example in test) for label in (0, 1)] == [6, 2]
    assert held_out(examples, seed=0) == (train, test) != held_out(examples, seed=1)


def test_a_report_counts_what_was_taken_for_what() -> None:
    report = describe([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], ("ham", "spam", "other")).splitlines()

    assert report[0].startswith("Accuracy on 5 texts: 0.800, 95 % interval")
    assert report[1] == "(always answering the commonest class: 0.600)"
    assert report[4].split() == ["ham", "3", "0.800"]  # 2 * 2 / (3 + 2)
    assert report[5].split() == ["spam", "2", "0.800"]  # 2 * 2 / (2 + 3)
    assert report[6].split() == ["other", "0", "-"]
    assert [line.split() for line in report[-3:]] == [
        ["ham", "2", "1", "0"],
        ["spam", "0", "2", "0"],
        ["other", *"000"],
    ]


def test_the_command_is_installed_by_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["scripts"] == {"llmguide": "llmguide.commands:main"}


def test_two_processes_learn_what_one_learns(folder: Path, train: Path, tmp_path: Path) -> None:
    command = ["finetune", "--train", str(train), "--model", str(folder), *LEARN, "--quiet"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    launch += ["--num_cpu_threads_per_process", "1", "-m", "llmguide.commands"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LLMGUIDE_THREADS": "1", "ACCELERATE_USE_CPU": "true"}

    assert main([*command, "--out", str(alone)]) == 0
    ran = subprocess.run(
        [*launch, *command, "--out", str(shared)], env=environment, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    one, two = load_file(alone / WEIGHTS), load_file(shared / WEIGHTS)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-3, err_msg=name)
    accuracies = [(place / "report.txt").read_text(encoding="utf-8").splitlines()[0] for place in (alone, shared)]
    assert accuracies[0] == accuracies[1]
    assert ran.stdout.count("Accuracy") == 1
