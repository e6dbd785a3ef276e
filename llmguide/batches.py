"""Batches: ids become padded, masked, shifted tensors."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from llmguide.losses import IGNORE


def pad(
    texts: Sequence[Sequence[int]], *, padding: int, left: bool = False
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Texts of unequal length as one tensor, and where its real tokens are.

    Args:
        padding: the id that fills the gaps.
        left: fill on the left (for generation) in place of the right.

    Raises:
        ValueError: no texts, or a text without tokens; the message gives its row.

    Taught in: concepts/text-to-tokens
    """
    if not texts:
        raise ValueError("no texts to pad")
    empty = [row for row, text in enumerate(texts) if not text]
    if empty:
        raise ValueError(f"text {empty[0]} has no tokens; leave it out or give it a start token")
    longest = max(len(text) for text in texts)
    ids = torch.full((len(texts), longest), padding)
    keep = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, text in enumerate(texts):
        place = slice(longest - len(text), None) if left else slice(len(text))
        ids[row, place] = torch.tensor(text)
        keep[row, place] = True
    return ids, keep


def blocks(ids: Sequence[int], *, length: int) -> Int[Tensor, "N T"]:
    """A long run of ids cut into rows of equal length; what is left over at the end is dropped.

    Raises:
        ValueError: fewer ids than one row needs.

    Taught in: objective/pretraining
    """
    rows = len(ids) // length
    if rows == 0:
        raise ValueError(f"{len(ids)} ids do not fill one block of {length}; choose a shorter block or more text")
    return torch.tensor(ids[: rows * length]).reshape(rows, length)


def draw(rows: Int[Tensor, "N T"], *, count: int, step: int, seed: int) -> Int[Tensor, "B T"]:
    """Rows for one step of training, by chance; the same seed and step draw the same rows.

    Each pass over the data visits every row once, in a new order; a run that goes on in the middle sees the rest.

    Taught in: objective/pretraining
    """
    if not 1 <= count <= len(rows):
        raise ValueError(f"cannot draw {count} rows of {len(rows)}")
    per_pass = len(rows) // count
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step // per_pass)
    order = torch.randperm(len(rows), generator=generator)
    start = step % per_pass * count
    return rows[order[start : start + count]]


def mask_tokens(
    ids: Int[Tensor, "B T"],
    *,
    mask_id: int,
    vocabulary: int,
    generator: torch.Generator,
    share: float = 0.15,
    special: Sequence[int] = (),
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """BERT's exercise: hide some tokens, and label just those.

    Of the chosen tokens 80 % become the mask, 10 % a random token, 10 % stay; all of them are labelled.

    Args:
        share: how many tokens are chosen.
        special: ids that are never chosen (start, end, padding).

    Returns:
        The ids to read, and the labels: the true id where a token was chosen, `IGNORE` elsewhere.

    Taught in: objective/maximum-likelihood
    Source: devlin2018bert, section 3.1
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it must lie between 0 and 1")
    allowed = ~torch.isin(ids, torch.tensor(list(special), dtype=ids.dtype))
    chosen = (torch.rand(ids.shape, generator=generator) < share) & allowed
    fate = torch.rand(ids.shape, generator=generator)
    anything = torch.randint(vocabulary, ids.shape, generator=generator)
    hidden = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, anything, ids))
    return torch.where(chosen, hidden, ids), torch.where(chosen, ids, IGNORE)
