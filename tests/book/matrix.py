"""`make matrix`: the strict check with one and two threads, and as on processors with narrower vectors.

Every chapter prints the same on all of them. A number that does not needs calmer training, fewer decimals or a band.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import torch

THREADS = (1, 2)

# How each library that multiplies matrices is told to pretend, from the narrowest vectors to the widest.
WIDTHS: dict[str, Mapping[str, str]] = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
}


def main(arguments: Sequence[str]) -> int:
    """Run the strict check over the notebooks named (the whole book by default) in every setting; 1 where one fails."""
    notebooks = list(arguments) or ["book"]
    rows, failed = [], False
    for threads, width in itertools.product(THREADS, WIDTHS):
        verdict, seconds = "not run: this processor lacks it", 0.0
        if _has(width):
            start = time.perf_counter()
            passed, closing = _check(notebooks, threads, width)
            seconds = time.perf_counter() - start
            failed = failed or not passed
            verdict = f"{'passed' if passed else 'FAILED'}: {closing}"
        rows.append(f"{threads:>7}  {width:<7}  {seconds:>7.0f}  {verdict}")
        print(rows[-1], flush=True)
    print("\n".join(["", "threads  vectors  seconds  verdict", *rows]))
    return 1 if failed else 0


def _check(notebooks: Sequence[str], threads: int, width: str) -> tuple[bool, str]:
    counts = {"LLMGUIDE_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    calm = {"OMP_WAIT_POLICY": "passive"}  # two threads that spin while they wait stop a busy machine
    env = {**os.environ, **WIDTHS[width], **counts, **calm}
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=300"]
    command += ["--quiet", "-n", str(2 // threads), "--dist", "loadfile", *notebooks]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if ran.returncode:
        print(ran.stdout, ran.stderr, sep="\n")
    return ran.returncode == 0, ran.stdout.strip().splitlines()[-1].strip("= ")


def _has(width: str) -> bool:
    """Whether this processor has vectors of that width; asked where nobody pretends."""
    widths = list(WIDTHS)
    widest = torch.backends.cpu.get_cpu_capability().lower()
    return widths.index(width) <= (widths.index(widest) if widest in widths else 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
