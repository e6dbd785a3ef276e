"""Summarisation: a text becomes shorter, by its first sentences, by its most central ones, or in new words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from torch import Tensor, nn

from llmguide import corpora, inspection, runtime
from llmguide.batches import pad
from llmguide.factuality import Journeys
from llmguide.generation import greedy
from llmguide.losses import IGNORE, next_token_score
from llmguide.prediction import encode, tensors
from llmguide.prediction import longest as limit_of
from llmguide.retrieval import cosine
from llmguide.storyteller import END, PADDING, START
from llmguide.tasks import journeys, summary
from llmguide.telling import sample
from llmguide.tokenizers import BytePairTokenizer
from llmguide.village import VILLAGE

Vectors = Callable[[Sequence[str]], Float[np.ndarray, "N D"]]

# A sentence ends at a stop before a space and what may begin one; not after these short forms, nor after an initial.
SHORT_FORMS = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "vs", "etc", "Fig", "approx", "e.g", "i.e")
ENDS = re.compile(
    r"""[.!?]["'\u2019\u201d)\]]*(?=\s+["'\u2018\u201c(\[]?[A-Z0-9])"""  # with the quotes of both kinds
    r"|[\u3002\uff01\uff1f][\u2019\u201d)\]]*|\n\s*\n"  # Chinese stops need no space; an empty line ends a sentence too
)
WORDS = r"(?u)[\u4e00-\u9fff]|[^\W_]+"  # a Chinese character is a word
FIRST_SEED = 2_000_000_000  # of the stories to summarise; above all others
SHORT = replace(VILLAGE, events=(1, 3))  # a third of the events the storyteller read, so that training is quick
NEWS = ("abisee/cnn_dailymail", "3.0.0")
LONGEST = 48  # tokens of a written summary, at most


@dataclass(frozen=True)
class Document:
    """A text, its summary by somebody who knows, and what happened in it, where that is known (else empty)."""

    text: str
    summary: str
    journeys: Journeys


@dataclass(frozen=True)
class Summary:
    """Sentences taken from a text, in its order, their places, and the score of every sentence of the text."""

    text: str
    rows: tuple[int, ...]
    scores: tuple[float, ...]


def stories(count: int, *, first: int = 0) -> tuple[Document, ...]:
    """Short stories of the miniature world, with exact summaries; two ranges of numbers share no story.

    Raises:
        ValueError: fewer than one, or from a number below 0.

    Taught in: applications/summarization
    """
    if count < 1 or first < 0:
        raise ValueError(f"{count} texts from number {first}: ask for at least 1, from 0 or later")
    told = (sample(SHORT, seed=FIRST_SEED + number)[0] for number in range(first, first + count))
    return tuple(Document(each.text, summary(each.story), journeys(each.story)) for each in told)


def documents(count: int, *, first: int = 0) -> tuple[Document, ...]:
    """Texts with summaries: at book scale `stories`, at full scale the test split of CNN/DailyMail with its highlights.

    Raises:
        FileNotFoundError: the data are not in the cache and cannot be fetched; the message says what to do.

    Taught in: applications/summarization
    Source: hermann2015teaching; see2017get
    """
    if runtime.scale() == "book":
        return stories(count, first=first)
    rows = islice(corpora.from_hub(*NEWS)["test"], first, first + count)
    return tuple(Document(row["article"], " ".join(row["highlights"].split()), {}) for row in rows)


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, English or Chinese, as they stand.

    A stop before a capital ends one, except after short forms (*Dr.*) and initials: a rule and no more.

    Raises:
        TypeError: it is no text.
        ValueError: it holds no word.

    Taught in: applications/summarization
    """
    if not isinstance(text, str):
        raise TypeError(f"a text is a str, this is {type(text).__name__}; for several texts call once for each")
    if not re.search(WORDS, text):
        raise ValueError(f"the text {text[:40]!r} holds no word; give at least one sentence")
    found, start = [], 0
    for end in ENDS.finditer(text):
        before = text[start : end.start()].split()
        last = before[-1].lstrip("(") if before else ""
        if end[0] != "." or not (last in SHORT_FORMS or re.fullmatch("[A-Z]", last)):
            found.append(text[start : end.end()])
            start = end.end()
    whole = [" ".join(each.split()) for each in (*found, text[start:])]
    return tuple(each for each in whole if re.search(WORDS, each))


def tfidf(sentences: Sequence[str]) -> Float[np.ndarray, "N D"]:
    """Each sentence as its counts of words, those in few sentences weighing more; rows of length 1.

    Taught in: applications/summarization
    """
    counted = TfidfVectorizer(token_pattern=WORDS, sublinear_tf=True).fit_transform(sentences)
    return np.asarray(counted.todense())


def centrality(vectors: Float[np.ndarray, "N D"], *, damping: float = 0.85) -> Float[np.ndarray, " N"]:
    r"""How central each sentence is: where a reader ends up who hops from sentence to similar sentence.

    $r_j = \frac{1 - d}{N} + d \sum_i r_i \frac{s_{ij}}{\sum_k s_{ik}}$, with $s_{ij}$ the cosine of two sentences, 0 on
    the diagonal and where it is negative; found by repeating it until nothing moves. A sentence like no other sends the
    reader anywhere.

    Args:
        damping: how often the reader follows a similarity instead of jumping anywhere, below 1.

    Returns:
        One number a sentence; they sum to 1.

    Raises:
        ValueError: the damping is not from 0 to below 1, or a vector is not finite.

    Taught in: applications/summarization
    Source: erkan2004lexrank
    """
    if not 0 <= damping < 1:
        raise ValueError(f"damping is {damping}; it must be at least 0 and below 1, or the repetition need not end")
    if not np.isfinite(vectors).all():
        raise ValueError("a sentence's vector holds NaN or infinity")
    count = len(vectors)
    vectors = vectors.astype(np.float64)
    similar = np.clip(cosine(vectors, vectors), 0.0, None)  # (N, N)
    np.fill_diagonal(similar, 0.0)
    total = similar.sum(axis=1, keepdims=True)
    hops = np.divide(similar, total, out=np.full_like(similar, 1 / count), where=total > 1e-12)
    ranks, change = np.full(count, 1 / count), 1.0
    while change > 1e-12:  # shrinks by the damping each time
        new = (1 - damping) / count + damping * ranks @ hops
        ranks, change = new, float(np.abs(new - ranks).sum())
    return ranks


def summarise(
    text: str, *, count: int = 3, by: Literal["centrality", "lead"] = "centrality", vectors: Vectors = tfidf
) -> Summary:
    """The most central sentences of a text, or its first ones, as they stand and in their order.

    Args:
        count: how many sentences.
        vectors: sentences to vectors: counted words, or what an encoder makes of them.

    Raises:
        TypeError: the text is no text.
        ValueError: it holds no word, or fewer sentences than asked for; another way than the two.

    Taught in: applications/summarization
    Source: erkan2004lexrank
    """
    if by not in ("centrality", "lead"):
        raise ValueError(f"by is {by!r}; it must be 'centrality' or 'lead'")
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least 1 sentence")
    found = sentences(text)
    if count > len(found):
        raise ValueError(f"{count} sentences asked of a text that has {len(found)}; ask for {len(found)} or fewer")
    scores = np.linspace(1, 0, len(found)) if by == "lead" else centrality(vectors(found))
    order = sorted(range(len(found)), key=lambda row: (-round(float(scores[row]), 9), row))  # of equals the first
    rows = tuple(sorted(order[:count]))
    return Summary(" ".join(found[row] for row in rows), rows, tuple(map(float, scores)))


# In new words


def pair(tokenizer: BytePairTokenizer, text: str, short: str) -> tuple[list[int], list[int]]:
    """A text and its summary as one row for a decoder, and its labels: the summary and its end, nothing of the text.

    `start text summary end`. A story's last sentence looks like no other, so nothing else need say that a summary
    begins; and after a space a name is the token that it is in the story.

    Taught in: applications/summarization
    """
    asked = [tokenizer.special[START], *tokenizer.encode(text)]
    answer = [*tokenizer.encode(f" {short}"), tokenizer.special[END]]
    return asked + answer, [IGNORE] * len(asked) + answer


def score(model: nn.Module, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[Float[Tensor, ""], int]:
    """The summed loss of pairs of ids and labels, and how many tokens it sums: what `training.fit` asks for.

    Taught in: applications/summarization
    """
    ids, _ = pad([ids for ids, _ in pairs], padding=0)  # on the right, where nothing that counts can see it
    labels, _ = pad([labels for _, labels in pairs], padding=IGNORE)
    return next_token_score(model, ids, labels=labels)


def write(
    model: Any, tokenizer: BytePairTokenizer, texts: Sequence[str], *, longest: int = LONGEST, batch: int = 50
) -> list[str]:
    """What a decoder that learnt from pairs writes after each text, its likeliest token at a time.

    Raises:
        TypeError: one text in place of a list.
        ValueError: a text holds no word, or is longer than the model's context leaves room for; which, and by how much.

    Taught in: applications/summarization
    """
    room = model.config.context - longest
    prompts = []
    for number, text in enumerate(_several(texts)):
        prompts.append([tokenizer.special[START], *tokenizer.encode(text)])
        if len(prompts[-1]) > room:
            raise ValueError(
                f"text {number} has {len(prompts[-1])} tokens, and beside a summary of {longest} there is room for "
                f"{room}; shorten it, or summarise it in parts"
            )
    written = []
    for start in range(0, len(prompts), batch):
        ids, keep = pad(prompts[start : start + batch], padding=tokenizer.special[PADDING], left=True)
        new = greedy(model, ids, max_new_tokens=longest, stop=tokenizer.special[END], keep=keep)[:, ids.shape[1] :]
        written += [tokenizer.decode(row).strip() for row in new.tolist()]
    return written


def _several(texts: Sequence[str]) -> list[str]:
    found = inspection.check_texts(texts)
    for number, text in enumerate(found):
        if not re.search(WORDS, text):
            raise ValueError(f"text {number} ({text[:40]!r}) holds no word; leave it out")
    return found


# At full scale: an encoder-decoder of the hub


@torch.no_grad()
def write_with(
    model: Any, tokenizer: Any, texts: Sequence[str], *, longest: int = 128, beams: int = 1, batch: int = 8
) -> list[str]:
    """What an encoder-decoder (see `pretrained`) writes of each text; T5 wants `summarize:` before it.

    Raises:
        TypeError: one text in place of a list. ValueError: a text holds no word; which.

    Warns:
        UserWarning: texts longer than the model takes were cut.

    Taught in: applications/summarization
    """
    rows = encode(tokenizer, _several(texts), limit=limit_of(model, tokenizer))
    written: list[str] = []
    for start in range(0, len(rows), batch):
        inputs = tensors(rows[start : start + batch], padding=tokenizer.pad_token_id)
        on_device = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        ids = model.generate(**on_device, max_new_tokens=longest, num_beams=beams)
        written += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return written
