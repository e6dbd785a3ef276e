"""What `runtime` promises a chapter."""

import warnings
from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest
import torch

from llmguide import runtime


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test starts is put back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with plt.rc_context(), warnings.catch_warnings():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def test_a_chapter_without_widgets_starts_without_a_warning(as_before: None) -> None:
    warnings.simplefilter("error")

    runtime.start()

    warnings.warn("IProgress not found. Please update jupyter and ipywidgets.", stacklevel=1)  # what tqdm says
