"""Chat: messages with roles become ids, what fits is remembered, and a model's turn becomes a reply or a refusal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from llmguide.batches import pad
from llmguide.losses import IGNORE
from llmguide.model import Decoder
from llmguide.tokenizers import BytePairTokenizer

Message = dict[str, str]  # {"role": ..., "content": ...}, as everywhere
MARKERS = {"system": "<|start|>", "user": "<|user|>", "assistant": "<|assistant|>"}
END, PADDING = "<|end|>", "<|pad|>"
UNSURE = "I do not know."

# What `encode` does, in the language in which checkpoints carry it; `generation` marks what is scored.
TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{{- '<|start|>' + message['content'] | trim + '<|end|>' -}}
{%- elif message['role'] == 'user' -%}
{{- '<|user|> ' + message['content'] | trim + '<|end|>' -}}
{%- elif message['role'] == 'assistant' -%}
{{- '<|assistant|>' -}}
{%- generation -%}{{- ' ' + message['content'] | trim + '<|end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- raise_exception('unknown role ' + message['role']) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


@dataclass(frozen=True)
class Reply:
    """What a chat answers: the text, how sure the model was, and what it had to forget.

    `confidence` is the probability of the least sure token of the model's answer, 0 to 1. `refused` is True where that
    was below the chat's threshold: then the text is `UNSURE`. `forgotten` counts the older messages that were dropped.
    """

    text: str
    confidence: float
    refused: bool = False
    forgotten: int = 0

    def __str__(self) -> str:
        return self.text


@runtime_checkable
class Voice(Protocol):
    """A model that takes its turn: what `Chat` needs to know of it."""

    room: int  # the most tokens of a prompt, so that an answer still fits

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The messages as ids, up to where the assistant begins to speak."""
        ...

    def answers(self, prompts: Sequence[Sequence[int]]) -> list[tuple[str, float]]:
        """For each prompt the answer, and the probability of its least sure token."""
        ...


def add_roles(model: Decoder, tokenizer: BytePairTokenizer, *, seed: int = 0) -> tuple[Decoder, BytePairTokenizer]:
    """A model and a tokenizer that know the roles: `<|user|>` and `<|assistant|>` as two more special tokens.

    They stand behind the special tokens there are, so the ids of all other tokens grow by two. Their rows of the tied
    embedding are copies of the start token's, with a little noise that tells them apart; all else is as it was.

    Raises:
        ValueError: the tokenizer knows them already.

    Taught in: applications/chatbot
    """
    new = [marker for marker in MARKERS.values() if marker not in tokenizer.special]
    if not new:
        raise ValueError(f"the tokenizer has {', '.join(MARKERS.values())} already; use it as it is")
    first, more = len(tokenizer.special), len(new)
    merges = [(left + more, right + more) for left, right in tokenizer.merges]
    words = BytePairTokenizer(merges, special=[*tokenizer.special, *new])
    grown = Decoder(replace(model.config, vocabulary=len(words)))
    state, table = model.state_dict(), "backbone.token_embedding.weight"
    noise = 0.02 * torch.randn(more, model.config.width, generator=torch.Generator().manual_seed(seed))
    start = state[table][tokenizer.special[MARKERS["system"]]]
    state[table] = torch.cat([state[table][:first], start + noise, state[table][first:]])
    grown.load_state_dict(state)
    return grown.eval(), words


def encode(
    tokenizer: BytePairTokenizer, messages: Sequence[Message], *, scored: Sequence[str] = ("assistant",)
) -> tuple[list[int], list[bool]]:
    """Messages as ids, and which of them are scored in training: the words and the end of the assistant's turns.

    Each message is its role's marker, its text and an end token. A text is encoded by itself, and no text encodes to a
    special token; so whatever a user writes, it is not a role.

    Args:
        scored: the roles whose words count.

    Raises:
        TypeError: a content is no text. ValueError: no messages, or a role that there is not.

    Taught in: applications/chatbot
    """
    ids: list[int] = []
    counts: list[bool] = []
    for message in check(messages):
        text = message["content"].strip()
        words = tokenizer.encode(text if message["role"] == "system" else f" {text}")  # as within a story: " Ada"
        ids += [tokenizer.special[MARKERS[message["role"]]], *words, tokenizer.special[END]]
        counts += [False] + [message["role"] in scored] * (len(words) + 1)
    return ids, counts


def batch(
    tokenizer: BytePairTokenizer, dialogues: Sequence[Sequence[Message]], *, scored: Sequence[str] = ("assistant",)
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Dialogues as one batch: ids padded on the right, and labels that are `IGNORE` wherever nothing is scored.

    Taught in: applications/chatbot
    """
    rows = [encode(tokenizer, messages, scored=scored) for messages in dialogues]
    ids, _ = pad([row for row, _ in rows], padding=tokenizer.special[PADDING])
    labels, _ = pad([[i if count else IGNORE for i, count in zip(*row, strict=True)] for row in rows], padding=IGNORE)
    return ids, labels


def check(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages, if they are messages. Raises as `encode`."""
    if not messages:
        raise ValueError("no messages; give at least one user message")
    for number, message in enumerate(messages):
        if not {"role", "content"} <= message.keys():
            raise ValueError(f"message {number} has {', '.join(message) or 'nothing'}; it needs a role and a content")
        if message["role"] not in MARKERS:
            raise ValueError(f"message {number} has the role {message['role']!r}; there are {', '.join(MARKERS)}")
        if not isinstance(message["content"], str):
            raise TypeError(f"the content of message {number} is {type(message['content']).__name__}; give a text")
    return messages


def remember(voice: Voice, messages: Sequence[Message]) -> list[Message]:
    """The messages that fit: system message and last user message always, of the rest the newest whole exchanges.

    Raises:
        ValueError: the system message and the last one alone are too long.

    Taught in: applications/chatbot
    """
    head = [message for message in messages[:1] if message["role"] == "system"]
    rest = list(messages[len(head) :])
    while len(voice.prompt([*head, *rest])) > voice.room:
        later = [place for place, message in enumerate(rest) if place and message["role"] == "user"]
        if not later:
            tokens = len(voice.prompt([*head, *rest]))
            raise ValueError(f"the text is too long: with what must stay it has {tokens} tokens, {voice.room} fit")
        rest = rest[later[0] :]
    return [*head, *rest]


class Chat:
    """A dialogue: what was said so far, and a voice that answers.

    Args:
        system: what the whole dialogue is about; it is never forgotten. None for no system message.
        threshold: below this confidence the reply is `UNSURE`, and the exchange is not kept.

    Raises:
        ValueError: a threshold that is not between 0 and 1, or a system message that leaves no room to speak.

    Taught in: applications/chatbot
    """

    def __init__(self, voice: Voice, *, system: str | None = None, threshold: float = 0.0) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; a confidence lies between 0 and 1")
        self.voice, self.threshold = voice, threshold
        self.messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        remember(voice, [*self.messages, {"role": "user", "content": "?"}])

    def say(self, text: str) -> Reply:
        """The user says a text; the model's reply.

        Raises:
            TypeError: it is no text. ValueError: it is empty or too long. The dialogue is then as it was.
        """
        if not isinstance(text, str):
            raise TypeError(f"say a text, not {type(text).__name__}")
        if not text.strip():
            raise ValueError("nothing was said; write a question")
        said = [*self.messages, {"role": "user", "content": text}]
        kept = remember(self.voice, said)
        ((answer, confidence),) = self.voice.answers([self.voice.prompt(kept)])
        forgotten = len(said) - len(kept)
        if confidence < self.threshold:
            return Reply(UNSURE, confidence, refused=True, forgotten=forgotten)
        self.messages = [*kept, {"role": "assistant", "content": answer}]
        return Reply(answer, confidence, forgotten=forgotten)
