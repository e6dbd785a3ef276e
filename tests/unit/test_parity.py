"""Every teaching implementation equals its reference, forward and gradient."""

import pytest

from tests.unit.parity import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_ours_equals_the_reference(check: Check) -> None:
    differences = check.run()

    assert differences.forward <= check.tolerance
    assert differences.gradient is None or differences.gradient <= check.tolerance


def test_what_has_a_gradient_is_compared_by_it() -> None:
    without = [check.name for check in CHECKS if check.run().gradient is None]

    assert without[:1] == ["Encoder, MiniLM's real weights"]  # read only
    ids = ["greedy", "greedy, with a cache", "greedy, padded on the left", "Constrained, greedy under a mask"]
    assert without[1:] == ids


def test_the_table_names_each_thing_once() -> None:
    names = [check.name for check in CHECKS]

    assert len(names) == len(set(names))
