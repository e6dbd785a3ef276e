"""`make execute`: run chapters from a fresh kernel and save what they print. Nothing else writes outputs.

    python -m tests.book.execute                          every chapter
    python -m tests.book.execute position the-block       these chapters (a slug, its last part, or a path)
    python -m tests.book.execute --check                  save nothing, fail where a file would change
    python -m tests.book.execute --no-run                 only the set-up cell and the clean form, no kernel

A chapter that raises, writes to stderr or takes too long fails, and its file stays as it was.
"""

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from llmguide import runtime
from tests.book.chapters import SETUP_ID, Chapter, canonical, chapters, setup_source

SECONDS = 120  # processor time of a chapter
CELL_TIMEOUT = 600  # wall time of a cell, in seconds

_MEASURE = """
import json as _json, resource as _resource, sys as _sys
_spent = [_resource.getrusage(who) for who in (_resource.RUSAGE_SELF, _resource.RUSAGE_CHILDREN)]
_unit = 1 if _sys.platform == "darwin" else 1024
print(_json.dumps([sum(u.ru_utime + u.ru_stime for u in _spent), max(u.ru_maxrss for u in _spent) * _unit / 2**20]))
"""


class ChapterError(Exception):
    """A chapter that cannot be saved, and why."""


def run(
    notebook: NotebookNode, *, cwd: Path, python: str = sys.executable, env: Mapping[str, str] = os.environ
) -> NotebookNode:
    """A copy of the notebook with the outputs of a fresh kernel of that Python, started in that folder.

    Raises:
        CellExecutionError: a cell raised, and carries no `raises-exception` tag.
    """
    executed = copy.deepcopy(notebook)
    with tempfile.TemporaryDirectory() as scratch:
        spec = Path(scratch, "kernels", "python3", "kernel.json")
        spec.parent.mkdir(parents=True)
        argv = [python, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
        specs = KernelSpecManager(kernel_dirs=[str(spec.parents[1])], ensure_native_kernel=False)
        kernel = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=specs, transport="ipc", ip=str(Path(scratch, "socket"))
        )
        client = NotebookClient(
            executed,
            km=kernel,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            coalesce_streams=True,
            store_widget_state=False,
        )
        private = {"IPYTHONDIR": scratch}  # nobody's start-up files
        client.execute(cwd=str(cwd), env=dict(env) | private, cleanup_kc=True)
    return executed


def execute(chapter: Chapter) -> tuple[str, float, float]:
    """The text of the chapter's file after a fresh run, its processor seconds and its peak memory in MiB."""
    fresh = with_setup(chapter.notebook)
    fresh.cells.append(nbformat.v4.new_code_cell(_MEASURE))
    with tempfile.TemporaryDirectory() as empty:
        try:
            fresh = run(fresh, cwd=Path(empty))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise ChapterError(str(error)) from error
    seconds, peak = json.loads(fresh.cells.pop().outputs[0].text)
    for cell in fresh.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ChapterError(f"cell {cell.id} writes to stderr:\n{output.text}")
    if seconds > SECONDS:
        raise ChapterError(f"{seconds:.0f} s of processor time, a chapter has {SECONDS}")
    return canonical(fresh), seconds, peak


def with_setup(notebook: NotebookNode) -> NotebookNode:
    """A copy of the notebook whose set-up cell is the one that pyproject.toml asks for."""
    copied = copy.deepcopy(notebook)
    for cell in copied.cells:
        if cell.id == SETUP_ID:
            cell.source = setup_source()
    return copied


def find(name: str) -> Chapter:
    """The chapter of that slug, last part of a slug, or path."""
    if name.endswith(".ipynb"):
        return Chapter(Path(name).resolve())
    found = [chapter for chapter in chapters() if name in (chapter.slug, chapter.name)]
    if len(found) != 1:
        raise SystemExit(f"no chapter {name!r}; there are: {', '.join(map(str, chapters()))}")
    return found[0]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make execute", description="Run chapters and save what they print.")
    parser.add_argument("names", nargs="*", metavar="chapter")
    parser.add_argument("--check", action="store_true", help="save nothing, fail where a file would change")
    parser.add_argument("--no-run", action="store_true", help="only the set-up cell and the clean form")
    options = parser.parse_args(arguments)
    chosen = [find(name) for name in options.names] or chapters()
    failed = 0
    for chapter in chosen:
        start = time.perf_counter()
        before = chapter.path.read_text(encoding="utf-8")
        try:
            if options.no_run:
                after, note = canonical(with_setup(chapter.notebook)), "not run"
            else:
                after, seconds, peak = execute(chapter)
                wall = time.perf_counter() - start
                note = f"{seconds:5.1f} s of processor time, {wall:5.1f} s of wall time, peak {peak:5.0f} MiB"
            if options.check and after != before:
                raise ChapterError(f"the file would change: make execute CHAPTERS={chapter.name}")
        except ChapterError as error:
            failed += 1
            print(f"FAILED   {chapter}: {error}", flush=True)
            continue
        if not options.check and after != before:
            with runtime.replacing(chapter.path) as path:
                path.write_text(after, encoding="utf-8")
        print(f"{'same' if after == before else 'changed':8} {chapter}: {note}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
