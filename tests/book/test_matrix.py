"""`make matrix` asks for every setting this processor has, and fails when one fails."""

from collections.abc import Sequence

import pytest

from tests.book import matrix


def _pretend(
    monkeypatch: pytest.MonkeyPatch, *, widest: str, failing: tuple[int, str] | None = None
) -> list[tuple[int, str]]:
    """Record what would be run on a processor with those vectors."""
    asked: list[tuple[int, str]] = []

    def check(notebooks: Sequence[str], threads: int, width: str) -> tuple[bool, str]:
        asked.append((threads, width))
        return (threads, width) != failing, "9 passed"

    monkeypatch.setattr(matrix, "_check", check)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: widest)
    return asked


def test_every_width_is_checked_with_one_thread_and_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _pretend(monkeypatch, widest="AVX512")
    assert matrix.main([]) == 0
    assert asked == [(threads, width) for threads in (1, 2) for width in ("default", "avx2", "avx512")]


@pytest.mark.parametrize(
    ("widest", "widths"), [("AVX2", {"default", "avx2"}), ("DEFAULT", {"default"}), ("SVE256", {"default"})]
)
def test_a_width_the_processor_lacks_is_not_run_and_that_is_said(
    widest: str, widths: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _pretend(monkeypatch, widest=widest)
    assert matrix.main([]) == 0
    assert {width for _, width in asked} == widths
    assert "this processor lacks it" in capsys.readouterr().out


def test_one_failing_setting_fails_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, widest="AVX512", failing=(2, "avx2"))
    assert matrix.main([]) == 1
