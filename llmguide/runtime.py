"""Where am I: scale, device, seeds, threads, Colab, and files that are written whole or not at all."""

import contextlib
import errno
import os
import random
import sys
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from llmguide import figures

Scale = Literal["book", "full"]

TEMPORARY_SUFFIX = ".llmguide-tmp"


def start(*, seed: int = 0) -> None:
    """Begin a chapter: fix seeds and threads, ask for reproducible kernels, set the look of figures.

    One thread by default, because sums split over threads round differently; `LLMGUIDE_THREADS` changes it.

    Raises:
        ValueError: `LLMGUIDE_SCALE` or `LLMGUIDE_THREADS` holds a value that means nothing.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a progress bar is not an output to compare
    warnings.filterwarnings("ignore", message="IProgress not found")  # nor is tqdm's wish for widgets to draw it with
    if scale() == "book":
        torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms(True), a second sooner
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads())
    figures.use_style()


def scale() -> Scale:
    """`book` (2 cores, offline, minutes) or `full` (a GPU, the model hub), from `LLMGUIDE_SCALE`."""
    match os.environ.get("LLMGUIDE_SCALE", "book"):
        case "book" | "full" as name:
            return name
        case name:
            raise ValueError(f"LLMGUIDE_SCALE is {name!r}; it must be 'book' or 'full'")


def threads() -> int:
    """How many threads torch may use, from `LLMGUIDE_THREADS` (1 where it is not set)."""
    text = os.environ.get("LLMGUIDE_THREADS", "1")
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"LLMGUIDE_THREADS is {text!r}; it must be a whole number of at least 1")
    return int(text)


def device() -> torch.device:
    """The device chapters compute on: the CPU at `book` scale, the best there is at `full` scale."""
    if scale() == "full" and torch.cuda.is_available():
        return torch.device("cuda")
    if scale() == "full" and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def in_colab() -> bool:
    """True in a Google Colab kernel."""
    return "google.colab" in sys.modules


def home() -> Path:
    """The folder for what llmguide keeps between runs: `LLMGUIDE_HOME`, else `~/.cache/llmguide`."""
    return Path(os.environ.get("LLMGUIDE_HOME") or Path.home() / ".cache" / "llmguide")


def hub_endpoint() -> str:
    """The model hub's address, or a mirror's: `HF_ENDPOINT` where it is set."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def offline() -> bool:
    """True where the hub is not to be asked at all: `HF_HUB_OFFLINE`."""
    return os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on")


def hub_answers(*, seconds: float = 2.0) -> bool:
    """Ask the hub once, briefly: False when it is not to be asked or nothing answers in time."""
    if offline():
        return False
    answers: list[bool] = []  # asked in a thread: to look up a name has no time limit of its own
    asking = threading.Thread(target=lambda: answers.append(_hub_answers(seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers == [True]


def _hub_answers(seconds: float) -> bool:
    request = urllib.request.Request(hub_endpoint(), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=seconds):
            return True
    except urllib.error.HTTPError:
        return True  # it answered, if only to refuse a HEAD
    except OSError:
        return False


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary path beside `path`, renamed over it at the end.

    An error, a full disk or Ctrl-C inside the block leaves the old file as it was and removes the temporary one; what a
    killed process left behind is removed by the next write.

    Raises:
        OSError: the disk is full or the folder cannot be written; the message names the folder and the way out.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            kept = "the previous file is kept" if path.exists() else "nothing was saved"
            raise OSError(errno.ENOSPC, f"the disk of {path.parent} is full; {kept}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "choose a folder you may write to, or set LLMGUIDE_HOME"
            raise OSError(error.errno, f"{path.parent} cannot be written; {hint}") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
