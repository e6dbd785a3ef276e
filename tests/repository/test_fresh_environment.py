"""What the README promises to somebody who has installed the wheel and nothing else."""

import csv
import subprocess
from pathlib import Path

import pytest

from llmguide import corpora
from tests.machine import build_wheel, required, strange_environment, strange_machine

PLAIN = """
import sys
from transformers import pipeline

classify = pipeline("text-classification", model=sys.argv[1])
assert "llmguide" not in sys.modules and "peft" not in sys.modules
print([answer["label"] for answer in classify(["A joy from the first minute to the last.", "A dull, lifeless mess."])])
"""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's file: 500 labelled texts."""
    path = tmp_path_factory.mktemp("reader") / "reviews.csv"
    splits = corpora.sentiment()
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows((row.text, splits.labels[row.label]) for row in (*splits.train, *splits.dev)[:500])
    return path


def test_the_wheel_and_its_encoder_turn_500_rows_into_a_model_that_plain_transformers_opens(
    reviews: Path, tmp_path: Path
) -> None:
    machine, home, wheels = (tmp_path / name for name in ("machine", "home", "wheels"))
    home.mkdir()
    python, site = strange_machine(machine, packages=required("minilm"))
    environment = strange_environment(home, build_wheel(wheels)) | {"LLMGUIDE_THREADS": "1"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert not (site / "peft").exists()  # what only developers have is not there
    run(python, "-m", "pip", "install", "--quiet", "llmguide[minilm]")
    command = machine / "bin" / "llmguide"
    out = home / "mine"
    said = run(command, "finetune", "--train", reviews, "--model", "minilm", "--out", out, "--epochs", "1", "--quiet")
    answers = run(python, "-c", PLAIN, out)

    assert "Accuracy on 99 texts" in said
    assert answers.strip() == "['positive', 'negative']"
