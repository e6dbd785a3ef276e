"""The benchmark on SST-2 runs, small: every method answers, and prints a row of the table."""

from pathlib import Path

import pytest

from tests.benchmarks import sst2
from tests.unit import tiny


def test_every_method_learns_from_a_folder_like_sst2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("train.tsv", 0), ("dev.tsv", 1)):
        rows = "".join(f"{example.text} \t{example.label}\n" for example in tiny.reviews(80, seed=seed))
        (tmp_path / name).write_text(f"sentence\tlabel\n{rows}", encoding="utf-8")
    folder = tiny.encoder_folder(tmp_path / "encoder")
    monkeypatch.setattr(sst2, "minilm_folder", lambda: folder)
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path / "home"))

    assert sst2.main(["--data", str(tmp_path), "--sizes", "40", "--seeds", "0", "1", "--dev", "60"]) == 0

    table = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[1].strip() for row in table] == list(sst2.METHODS)
    assert all(0 <= float(row[3]) <= 1 for row in table)
    assert float(table[0][3]) > 0.9  # words alone tell these texts apart
