"""`make bench`: our speed beside that of torch, `transformers` and `tokenizers`, in one run."""

import argparse
import os
import sys

import tokenizers
import torch
import transformers

from tests.benchmarks import contests, race


def main() -> int:
    """Print one line a contest; 1 where a goal was missed and `--strict` asks for it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    parser.add_argument("--turns", type=int, default=21, help="how often each side is timed (21)")
    parser.add_argument("--seconds", type=float, default=0.1, help="the least time of one timing (0.1)")
    parser.add_argument(
        "--only", default="", help="contests whose function's name holds this: fused, training, generation, encoding"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    asked = parser.parse_args()

    torch.set_num_threads(asked.threads)
    transformers.logging.set_verbosity_error()
    busy = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    peers = ", ".join(f"{peer.__name__} {peer.__version__}" for peer in (torch, transformers, tokenizers))
    print(f"{peers}, {asked.threads} threads{busy}")
    print("ratio: how many times as fast as the peer, the median turn and the middle half of the turns\n")
    print(f"{'ours':<56}{'peer':<38}{'ours':>9}{'peer':>9}{'ratio':>7}  {'middle half':<13}{'goal':>5}")
    missed = 0
    for make in contests.CONTESTS:
        if asked.only not in make.func.__name__:
            continue
        result = race.run(make(), turns=asked.turns, seconds=asked.seconds)
        missed += not result.reached
        print(line(result), flush=True)
    print(f"\n{missed or 'No'} goal{'s' * (missed > 1)} missed.")
    return int(asked.strict and missed > 0)


def line(result: race.Result) -> str:
    """One contest as a line of the table, times in milliseconds."""
    contest, (low, high) = result.contest, result.spread
    ours, theirs = (1000 * race.median(seconds) for seconds in (result.ours, result.theirs))
    verdict = "" if contest.goal is None else f"{contest.goal:5.2f} {'ok' if result.reached else 'MISSED'}"
    times = f"{ours:9.2f}{theirs:9.2f}{result.ratio:7.2f}  {f'{low:.2f} - {high:.2f}':<13}"
    return f"{contest.name:<56}{contest.peer:<38}{times}{verdict}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
