"""What every unit test starts from: fixed random numbers, one thread, and an environment that says nothing."""

import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import settings

THREADS = 1  # sums split over threads round differently

# The same examples in every run, and as long as it takes on a busy machine.
settings.register_profile("llmguide", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("llmguide")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As readers run the package: without the tests' own checks of types and shapes, which would speak first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("LLMGUIDE_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    yield
    torch.set_deterministic_debug_mode(deterministic)
    torch.set_num_threads(threads)
