"""What every unit test starts from: fixed random numbers, one thread, and an environment that says nothing."""

import os
from collections.abc import Iterator

import pytest
import torch

THREADS = 1  # sums split over threads round differently


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("LLMGUIDE_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
