"""Where am I: scale, device, seeds, threads, the hub's answer, and files written whole."""

import errno
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from llmguide import runtime


@pytest.fixture(autouse=True)
def _style_as_before() -> Iterator[None]:
    with plt.rc_context():
        yield


# Start


def test_a_chapter_starts_the_same_each_time() -> None:
    draws = []
    for _ in range(2):
        runtime.start(seed=7)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))

    assert draws[0] == draws[1]


def test_another_seed_is_another_start() -> None:
    runtime.start(seed=7)
    first = torch.rand(1)
    runtime.start(seed=11)

    assert torch.rand(1) != first


def test_a_start_asks_for_reproducible_kernels_and_the_books_style() -> None:
    runtime.start()

    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert plt.rcParams["savefig.facecolor"] in ("white", "#ffffff", "#FFFFFF")


@pytest.mark.parametrize(("setting", "offline"), [("0", False), ("1", True)])
def test_a_start_leaves_what_the_reader_says_of_the_hub(
    setting: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", setting)

    runtime.start()

    assert runtime.offline() == offline


def test_one_thread_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.start()
    assert torch.get_num_threads() == 1

    monkeypatch.setenv("LLMGUIDE_THREADS", "2")
    runtime.start()
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_threads_that_cannot_be_are_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUIDE_THREADS", text)

    with pytest.raises(ValueError, match=f"LLMGUIDE_THREADS is '{text}'; it must be a whole number of at least 1"):
        runtime.start()


@pytest.mark.parametrize("text", ["Full", "tiny", ""])
def test_a_scale_that_cannot_be_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUIDE_SCALE", text)

    with pytest.raises(ValueError, match=f"LLMGUIDE_SCALE is '{text}'; it must be 'book' or 'full'"):
        runtime.start()


# Where am I


@pytest.mark.parametrize(
    ("scale", "cuda", "mps", "expected"),
    [
        ("book", True, True, "cpu"),
        ("full", True, True, "cuda"),
        ("full", False, True, "mps"),
        ("full", False, False, "cpu"),
    ],
)
def test_the_device_is_the_cpu_at_book_scale_and_the_best_at_full_scale(
    scale: str, cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMGUIDE_SCALE", scale)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    assert runtime.device() == torch.device(expected)


def test_colab_is_known_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not runtime.in_colab()

    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))

    assert runtime.in_colab()


def test_home_is_in_the_cache_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path))
    assert runtime.home() == tmp_path

    monkeypatch.setenv("LLMGUIDE_HOME", "")
    assert runtime.home() == Path.home() / ".cache" / "llmguide"

    monkeypatch.delenv("LLMGUIDE_HOME")
    assert runtime.home() == Path.home() / ".cache" / "llmguide"


# Does the hub answer


@contextmanager
def local_hub(answer: bytes | None) -> Iterator[str]:
    """An address on this machine that gives one answer, or is silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if answer is not None:
            thread = threading.Thread(target=_answer_once, args=(server, answer), daemon=True)
            thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "500 Internal Server Error"])
def test_a_hub_that_says_anything_answers(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with local_hub(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as address:
        monkeypatch.setenv("HF_ENDPOINT", address + "/")

        assert runtime.hub_endpoint() == address
        assert runtime.hub_answers()


def test_a_silent_hub_is_given_up_within_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with local_hub(None) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        start = time.monotonic()

        assert not runtime.hub_answers()

    assert time.monotonic() - start < 5


def test_a_name_server_that_thinks_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    found = threading.Event()
    monkeypatch.setattr(runtime.urllib.request, "urlopen", lambda *_, **__: nullcontext(found.wait(20)))
    start = time.monotonic()

    assert not runtime.hub_answers(seconds=0.2)
    assert time.monotonic() - start < 5
    found.set()


def test_a_closed_door_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with local_hub(None) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)

    assert not runtime.hub_answers()  # the server is gone


def test_offline_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked"))

    assert not runtime.hub_answers()


# Files written whole


def test_a_file_is_replaced_only_when_the_block_is_done(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"

    with runtime.replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()

    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()], ids=repr)
def test_an_error_keeps_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way() -> None:
        with runtime.replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail_half_way()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_not_taken_for_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    stale = tmp_path / f"file{runtime.TEMPORARY_SUFFIX}"
    stale.write_text("half")

    with runtime.replacing(path) as temporary:
        assert temporary == stale
        assert not temporary.exists()
        temporary.write_text("new")

    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_cannot_be_written_names_the_way_out(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(
            OSError, match=f"{tmp_path} cannot be written; choose a folder .* or set LLMGUIDE_HOME"
        ) as raised,
        runtime.replacing(tmp_path / "file"),
    ):
        raise OSError(number, os.strerror(number))

    assert raised.value.errno == number


def test_another_error_of_the_system_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), runtime.replacing(tmp_path / "file"):
        tmp_path.write_text("a folder is not a file")
