import pytest
import torch

from llmguide.batches import blocks, draw, mask_tokens, pad
from llmguide.losses import IGNORE


@pytest.mark.parametrize("left", [False, True])
def test_padding_fills_the_gaps_and_says_where_the_text_is(left: bool) -> None:
    ids, keep = pad([[5, 6, 7], [8]], padding=0, left=left)
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8] if left else [8, 0, 0]]
    assert ids[keep].tolist() == [5, 6, 7, 8]


def test_no_texts_and_empty_texts_are_named(unchecked: None) -> None:
    with pytest.raises(ValueError, match="no texts"):
        pad([], padding=0)
    with pytest.raises(ValueError, match="text 1 has no tokens"):
        pad([[5], []], padding=0)


def test_blocks_are_the_text_in_order_without_its_rest() -> None:
    assert blocks(list(range(11)), length=3).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(ValueError, match="2 ids do not fill one block of 3"):
        blocks([1, 2], length=3)


def test_a_pass_visits_every_row_once_and_the_next_in_another_order() -> None:
    rows = torch.arange(12)[:, None]
    steps = [draw(rows, count=3, step=step, seed=0).flatten().tolist() for step in range(8)]
    passes = [steps[0] + steps[1] + steps[2] + steps[3], steps[4] + steps[5] + steps[6] + steps[7]]
    assert all(sorted(rows_seen) == list(range(12)) for rows_seen in passes)
    assert passes[0] != passes[1]
    assert draw(rows, count=3, step=5, seed=0).tolist() != draw(rows, count=3, step=5, seed=1).tolist()
    with pytest.raises(ValueError, match="cannot draw 13 rows of 12"):
        draw(rows, count=13, step=0, seed=0)


def test_masking_labels_what_it_hides_and_nothing_else(generator: torch.Generator) -> None:
    vocabulary, mask_id, special = 997, 1, (0, 2)
    ids = torch.randint(vocabulary, (83, 101), generator=generator)
    read, labels = mask_tokens(ids, mask_id=mask_id, vocabulary=vocabulary, generator=generator, special=special)

    chosen = labels != IGNORE
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(read[~chosen], ids[~chosen])
    assert not torch.isin(ids[chosen], torch.tensor(special)).any()
    n = int(chosen.sum())
    for found, share, of in (
        (n, 0.15, ids.numel()),
        (int((read[chosen] == mask_id).sum()), 0.8, n),
        (int((read[chosen] == ids[chosen]).sum()), 0.1, n),
    ):
        spread = (share * (1 - share) / of) ** 0.5
        assert found / of == pytest.approx(share, abs=4 * spread + 2e-3)  # 2e-3: ids that are special or met by chance


def test_a_share_of_everything_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"share is 1\.0"):
        mask_tokens(torch.ones(1, 1, dtype=torch.long), mask_id=0, vocabulary=2, generator=generator, share=1.0)
