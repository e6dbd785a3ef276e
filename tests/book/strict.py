"""A pytest plugin that makes `pytest --nbval` strict: every output of every cell is what its page shows.

What nbval lets pass fails here: outputs that were cleared, pictures that changed, a word on stderr, a cell tagged
`raises-exception` that raises nothing, comments that switch the comparison off. Cells tagged `rtol-0.03` are compared
number by number; cells tagged `nbval-ignore-output` are run and not compared.
"""

import base64
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from tests.book.chapters import EXEMPT_TAG, tags, tolerance
from tests.book.comparison import compare_outputs

RAISES_TAG = "raises-exception"


class WatchedKernel(RunningKernel):
    """A kernel whose death is noticed within a second, not at the cell's time limit."""

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        deadline = time.monotonic() + (timeout or float("inf"))
        while True:
            try:
                super().await_reply(msg_id, timeout=1.0)
                return
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died") from None
                if time.monotonic() > deadline:
                    raise


class StrictCell(IPyNbCell):
    """One code cell: run it, and compare all it prints and draws."""

    compared = False

    def setup(self) -> None:
        if self.parent.broken_by:
            pytest.skip(f"cell {self.parent.broken_by} did not run to its end")

    def runtest(self) -> None:
        if self.cell.execution_count is None:
            self.raise_cell_error("the page holds no outputs of this cell; run make execute")
        try:
            super().runtest()
        except Exception:
            if not self.compared:  # it raised, ran out of time, or took the kernel with it
                self.parent.broken_by = self.name
            raise
        warned = [output.text for output in self.test_outputs if output.get("name") == "stderr"]
        if warned:
            self.raise_cell_error("the cell writes to stderr", "".join(warned))
        raised = any(output.output_type == "error" for output in self.test_outputs)
        if self.options["check_exception"] and not raised:
            self.raise_cell_error(f"the cell is tagged {RAISES_TAG} and raises nothing")

    def compare_outputs(
        self, test: Sequence[Mapping[str, Any]], ref: Sequence[Mapping[str, Any]], skip_compare: Sequence[str] = ()
    ) -> bool:
        """True where the outputs of this run (`test`) are those of the page (`ref`)."""
        self.compared = True
        differences = compare_outputs(ref, test, rtol=tolerance(self.cell))
        if any("picture" in words for words in differences):
            differences.append(f"both are in {self._keep_pictures(page=ref, now=test)}")
        self.comparison_traceback = differences
        return not differences

    def _keep_pictures(self, **runs: Sequence[Mapping[str, Any]]) -> Path:
        folder = Path(self.config.rootpath, "_build", "differences", self.path.stem)
        folder.mkdir(parents=True, exist_ok=True)
        for run, outputs in runs.items():
            pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
            for number, picture in enumerate(pictures, start=1):
                (folder / f"{self.name}-{number}-{run}.png").write_bytes(base64.b64decode(picture))
        return folder

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        error = excinfo.value
        details = getattr(error, "inner_traceback", None) or ""
        lines = [f"{self.path.name}, cell {self.name}: {error}", details]
        if isinstance(error, NbCellError):
            lines += ["", "The cell:", *(f"    {line}" for line in self.cell.source.splitlines())]
        return "\n".join(lines)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.nodeid


class StrictNotebook(IPyNbFile):
    """One notebook, run from a fresh kernel of this environment in an empty folder."""

    broken_by: str | None = None  # the cell after which nothing more can be said

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.kernel = WatchedKernel(
            CURRENT_ENV_KERNEL_NAME,
            cwd=self.folder.name,
            startup_timeout=self.config.option.nbval_kernel_startup_timeout,
        )

    def teardown(self) -> None:
        if self.kernel is not None and hasattr(self.kernel, "km"):
            self.kernel.stop()
        self.folder.cleanup()

    def collect(self) -> Iterator[StrictCell]:
        for item in super().collect():
            names = tags(item.cell)
            options = {"check": EXEMPT_TAG not in names, "check_exception": RAISES_TAG in names, "skip": False}
            yield StrictCell.from_parent(
                self, name=item.cell.id, cell_num=item.cell_num, cell=item.cell, options=options
            )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Where nbval would check a notebook, check it strictly."""
    collectors = yield
    return [
        StrictNotebook.from_parent(parent, path=file_path) if isinstance(collector, IPyNbFile) else collector
        for collector in collectors
    ]
