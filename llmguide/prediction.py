"""Prediction: what a trained model says of new texts, the same alone and in any batch."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmguide import inspection, runtime
from llmguide.batches import pad
from llmguide.losses import IGNORE

BATCH = 64  # texts a step without gradients
KEPT_FEATURES = "features"  # their folder in runtime.home()


@dataclass(frozen=True)
class Predictions:
    """What a classifier says: the number of the class and its name for each text, and the probability of every class.

    `empty` lists the rows without a word in them, of which the answer means nothing.
    """

    labels: NDArray[np.int64]  # (texts,)
    names: tuple[str, ...]
    probabilities: NDArray[np.float32]  # (texts, classes)
    empty: tuple[int, ...]


def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    batch: int = BATCH,
    on_long: str = "cut",
) -> Predictions:
    """The class of each text. Dropout is off, whatever mode the model is in; that mode is left as it was.

    Texts of one length are read together, padding is masked, and the answers come back in the order of the texts: they
    depend neither on the batch nor on the neighbours.

    Raises:
        TypeError: a text is no text. ValueError: a text is too long, and `on_long` is "error".

    Warns:
        UserWarning: empty texts, texts that were cut, texts in a script that the tokenizer does not know.

    Taught in: finetuning/sentiment
    """
    texts = inspection.check_texts(texts)
    names = class_names(model)
    rows = encode(tokenizer, texts, limit=longest(model, tokenizer), on_long=on_long)
    logits = torch.zeros(len(rows), len(names))
    with judging(model):
        for places, inputs in _batches(rows, tokenizer, batch, model.device):
            logits[places] = model(**inputs).logits.float().cpu()
    labels = logits.argmax(dim=-1)
    return Predictions(
        labels.numpy(),
        tuple(names[number] for number in labels),
        logits.softmax(dim=-1).numpy(),
        inspection.empty_rows(texts),
    )


def features(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    batch: int = BATCH,
    keep: bool = False,
) -> Float[np.ndarray, "N D"]:
    r"""Each text as one vector: the mean of the encoder's last states over the text's tokens, padding left out.

    Args:
        keep: write the vectors into `runtime.home()` and read them there the next time, for the same weights and texts.

    Taught in: concepts/embeddings
    Source: reimers2019sentence, section 3
    """
    texts = inspection.check_texts(texts)
    body = model.base_model
    path = runtime.home() / KEPT_FEATURES / f"{_name_of(body, tokenizer, texts)}.safetensors" if keep else None
    if path is not None and path.exists():
        return load_file(path)["features"]
    rows = encode(tokenizer, texts, limit=longest(model, tokenizer))
    found = torch.zeros(len(rows), model.config.hidden_size)
    with judging(model):
        for places, inputs in _batches(rows, tokenizer, batch, model.device):
            states = body(**inputs).last_hidden_state  # (B, T, D)
            real = inputs["attention_mask"][..., None].to(states.dtype)
            found[places] = ((states * real).sum(dim=1) / real.sum(dim=1)).float().cpu()
    if path is not None:
        with runtime.replacing(path) as temporary:
            save_file({"features": found.numpy()}, temporary)
    return found.numpy()


def linear_head(
    features: Float[np.ndarray, "N D"], labels: Sequence[int] | Int[np.ndarray, " N"], *, strength: float = 1.0
) -> LogisticRegression:
    """Logistic regression on features that stay as they are: the cheapest fine-tuning there is.

    Args:
        strength: how freely the weights may grow; scikit-learn's C, the inverse of the L2 penalty.

    Taught in: finetuning/sentiment
    """
    if strength <= 0:
        raise ValueError(f"strength is {strength}; it must be greater than 0")
    return LogisticRegression(C=strength, max_iter=1000).fit(features, np.asarray(labels))


def nats(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, batch: int = 16
) -> tuple[float, int]:
    """How surprised a language model is by texts: summed -ln p of their tokens, and how many it sums.

    The end of each text counts; its first token does not, nor that of a later piece of a long one.
    `metrics.perplexity` takes both numbers.

    Raises:
        TypeError: a text is no text. ValueError: no text has anything to predict.

    Taught in: finetuning/causal-lm
    """
    rows = pieces(tokenizer, inspection.check_texts(texts), length=longest(model, tokenizer))
    total, count = 0.0, 0
    with judging(model):
        for places, inputs in _batches(rows, tokenizer, batch, model.device):
            labels = labelled([rows[place] for place in places]).to(model.device)
            logits = model(**inputs).logits[:, :-1].float()
            total += float(nn.functional.cross_entropy(logits.mT, labels[:, 1:], ignore_index=IGNORE, reduction="sum"))
            count += int((labels[:, 1:] != IGNORE).sum())
    if count == 0:
        raise ValueError(f"{len(rows)} texts, and no token to predict in them; give at least one word")
    return total, count


# Texts as a model reads them


def class_names(model: PreTrainedModel) -> list[str]:
    """What a classifier calls its classes, in the order of their numbers."""
    names: Any = model.config.id2label
    return [str(names[number]) for number in range(len(names))]


def longest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The tokens a model takes: as many as it has positions, or as it was fine-tuned with."""
    return int(min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 10**9))


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, limit: int, on_long: str = "cut"
) -> list[list[int]]:
    """Texts as ids, with the special tokens of their model, none of them longer than it takes."""
    if not texts:
        return []
    rows = tokenizer(list(texts), verbose=False)["input_ids"]
    unknown = tokenizer.unk_token_id if tokenizer.unk_token != tokenizer.eos_token else None  # GPT-2 has no unknown
    special = [number for number in tokenizer.all_special_ids if number != unknown]
    rows = inspection.check_tokens(rows, limit=limit, unknown=unknown, on_long=on_long, special=special)
    return [row or [tokenizer.pad_token_id] for row in rows]  # an empty text without special tokens


def pieces(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, length: int) -> list[list[int]]:
    """Texts as a language model learns them: a start where it knows one, the text, its end; long ones in pieces."""
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id not in (None, tokenizer.eos_token_id) else []
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    found = []
    for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []:
        whole = [*start, *ids, *end]
        found += [whole[first : first + length] for first in range(0, len(whole), length)]
    return [piece for piece in found if len(piece) > 1]  # one token alone predicts nothing


def labelled(rows: Sequence[Sequence[int]]) -> Int[Tensor, "B T"]:
    """Rows as labels of a language model: padding is ignored by its place (an end token that pads too still counts)."""
    ids, real = pad(rows, padding=IGNORE)
    ids[:, 0] = IGNORE  # nothing precedes it
    return ids.masked_fill(~real, IGNORE)


def tensors(rows: Sequence[Sequence[int]], *, padding: int) -> dict[str, Int[Tensor, "B T"]]:
    """Rows padded to the longest, by the names that `transformers` gives its inputs."""
    ids, real = pad(rows, padding=padding)
    return {"input_ids": ids, "attention_mask": real.long()}


@contextlib.contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _batches(
    rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, batch: int, device: torch.device
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Places of rows of similar length, and those rows as tensors."""
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be at least 1")
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        inputs = tensors([rows[place] for place in places], padding=tokenizer.pad_token_id)
        yield places, {name: tensor.to(device) for name, tensor in inputs.items()}


def _name_of(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> str:
    """A name that another model, tokenizer, length or text would not have."""
    digest = hashlib.sha256(f"{Path(tokenizer.name_or_path).name} {tokenizer.model_max_length}".encode())
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:32]
