"""Dialogue: the storyteller learns to talk about short stories, and a person talks with it line by line."""

import argparse
import copy
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import torch

from llmguide import pretrained, runtime, storyteller, voices
from llmguide.chat import MARKERS, Chat, Message, Voice, add_roles, batch, encode
from llmguide.losses import next_token_score
from llmguide.optimizers import Muon
from llmguide.tasks import conversation
from llmguide.telling import Telling, sample
from llmguide.training import TrainingConfig, fit
from llmguide.village import PLACES, VILLAGE
from llmguide.voices import HubVoice, StoryVoice

HAMLET = replace(VILLAGE, cast=(2,), events=(1, 3))  # short stories: two people, three events at most
FIRST_SEED = 30_000_000  # of the stories that are learnt from; those of tests have smaller ones
MORE = 1_000_003  # from one seed of a conversation to the next
ROWS = 8  # dialogues a step
RECIPE = TrainingConfig(steps=280, warmup=5, floor=0.05)
KINDS = {  # how a question begins, and what it asks
    "Who had": "who in the end",
    "And who": "who first",
    "Did anybody": "did anybody",
    "How did": "how they felt",
    "What did": "a stranger",
}
NAME, PLACE = "|".join(person.name for person in VILLAGE.people), "|".join(at for at, _, _ in PLACES.values())
WORDED = re.compile(  # the answers of `tasks.conversation`
    rf"(?:{NAME}) had it(?: first)?\.|Nobody\. It was (?:{PLACE})\.|No, nobody took it\.|S?[Hh]e felt \w+\."
    rf"|The story does not say\. (?:{NAME}) is not in it\."
)
HELP = "Ask about the story. An empty line or Ctrl-D ends the dialogue."


@dataclass(frozen=True)
class Asked:
    """A question of a conversation, what was answered, and what is right."""

    dialogue: int  # which conversation
    turn: int  # 1 for its first question
    kind: str
    truth: str
    answer: str
    confidence: float

    @property
    def right(self) -> bool:
        """The answer is the right one, to the letter."""
        return self.answer == self.truth

    @property
    def worded(self) -> bool:
        """It is an answer that somebody in the village could give, right or wrong."""
        return WORDED.fullmatch(self.answer) is not None


def told(seed: int) -> tuple[Telling, list[Message]]:
    """A short story and a conversation about both its things: the story as the system message, then the turns.

    Taught in: applications/chatbot
    """
    telling, _ = sample(HAMLET, seed=seed)
    first = conversation(telling, seed=seed)
    others = (conversation(telling, seed=seed + MORE * number) for number in count(1))
    second = next(turns for turns in others if turns[0].text != first[0].text)  # about the other thing
    turns = [{"role": turn.role, "content": turn.text} for turn in (*first[:-2], *second)]  # the stranger once
    return telling, [{"role": "system", "content": telling.text}, *turns]


def examine(
    voice: Voice,
    dialogues: Sequence[Sequence[Message]],
    *,
    own: bool = False,
    memory: Callable[[list[Message]], list[Message]] = list,
) -> list[Asked]:
    """Ask a voice every question of the dialogues.

    Args:
        own: its own earlier answers stand in its memory, as in use; else the right ones.
        memory: what it gets to see of the messages so far, the question included.

    Taught in: applications/chatbot
    """
    found = []
    said = [[dict(message) for message in messages] for messages in dialogues]
    for place in range(1, max(map(len, said), default=0), 2):
        there = [number for number, messages in enumerate(said) if place < len(messages)]
        prompts = [voice.prompt(memory(said[number][: place + 1])) for number in there]
        for number, (answer, confidence) in zip(there, voice.answers(prompts), strict=True):
            question, truth = (dialogues[number][place + k]["content"] for k in (0, 1))
            kind = KINDS[" ".join(question.split()[:2])]
            found.append(Asked(number, (place + 1) // 2, kind, truth, answer, confidence))
            if own:
                said[number][place + 1]["content"] = answer
    return found


def lessons(step: int, *, seed: int = 0, rows: int = ROWS) -> list[list[Message]]:
    """The dialogues of a step of training; each is read once.

    Args:
        seed: another one gives other stories.
    """
    first = FIRST_SEED + 1_000_000 * seed + step * rows
    return [told(first + row)[1] for row in range(rows)]


def teach(
    config: TrainingConfig = RECIPE, *, seed: int = 0, scored: Sequence[str] = ("assistant",), **options: Any
) -> StoryVoice:
    """The storyteller fine-tuned on dialogues, with the loss on the assistant's turns only.

    Args:
        seed: of the stories, and of the new tokens' rows.
        scored: the roles whose words count in the loss.
        options: for `fit`: `after_step`, `progress`.

    Taught in: applications/chatbot
    """
    model, tokenizer = add_roles(*storyteller.load(), seed=seed)
    context = model.config.context  # one dialogue in a thousand is longer

    def score(model: torch.nn.Module, dialogues: Sequence[Sequence[Message]]) -> tuple[torch.Tensor, int]:
        fitting = [messages for messages in dialogues if len(encode(tokenizer, messages)[0]) <= context]
        ids, labels = batch(tokenizer, fitting, scored=scored)
        return next_token_score(model, ids, labels=labels)

    optimizer = Muon(model, learning_rate=0.02, adam_learning_rate=4e-3)
    fit(model, score, lambda step: [lessons(step, seed=seed)], config, optimizer=optimizer, **options)
    return StoryVoice(model.eval(), tokenizer)


def publish(voice: StoryVoice, folder: str | Path, config: TrainingConfig = RECIPE, *, dialogues: int = 48) -> None:
    """Write a voice in half precision, examine what was written, and put a card of it beside it.

    Args:
        config: how it was taught.
        dialogues: how many it is examined in; their stories are not those of `lessons`.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    voices.save(StoryVoice(copy.deepcopy(voice.model).half(), voice.tokenizer), folder)
    asked = examine(voices.load(folder), [told(seed)[1] for seed in range(dialogues)])
    with runtime.replacing(Path(folder) / "README.md") as temporary:
        temporary.write_text(_card(config, asked), encoding="utf-8")


def folder() -> Path:
    """The folder of the shipped voice, in the hub's layout, its numbers in half precision."""
    return Path(str(files("llmguide"))) / "weights" / "chat"


def load() -> StoryVoice:
    """The voice that ships with the book: `teach` with `RECIPE`.

    Raises:
        ValueError: the weights are not those that were shipped (their SHA-256 differs).

    Taught in: applications/chatbot
    """
    return voices.load(folder())


def start(model: str | Path | None, story: str | None, *, threshold: float = 0.0) -> Chat:
    """A dialogue with the storyteller, or with a chat model of the hub.

    Args:
        model: a folder or a hub name; None for the storyteller.
        story: the system message.

    Raises:
        FileNotFoundError: no such model. ValueError: it is no chat model, or the story is too long for it.
    """
    if model is None:
        return Chat(load(), system=story, threshold=threshold)
    return Chat(HubVoice(*pretrained.language_model(model)), system=story, threshold=threshold)


def lines(source: Any) -> Iterator[str]:
    """What a user writes: asked for on a terminal, read from a pipe; ends with the source, Ctrl-D or Ctrl-C."""
    try:
        while line := _ask() if source.isatty() else source.readline():
            yield line
    except (EOFError, KeyboardInterrupt):
        return


def talk(chat: Chat, lines: Iterable[str], say: Callable[[str], None]) -> None:
    """A dialogue line by line, until a line is empty or there are no more; what cannot be answered is said in words.

    Args:
        lines: what the user writes.
        say: shows a text to the user.
    """
    for line in lines:
        if not line.strip():
            return
        try:
            reply = chat.say(line)
        except ValueError as error:
            say(f"({error})")
            continue
        if reply.forgotten:
            say(f"(forgotten, for want of room: the oldest {reply.forgotten} messages)")
        say(reply.text)


def story_of(path: str | Path | None, *, seed: int = 0) -> str:
    """The text of a file, or a new short story.

    Raises:
        FileNotFoundError: no such file. ValueError: the file is empty or not UTF-8.
    """
    if path is None:
        return told(seed)[0].text
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise FileNotFoundError(f"story file {path} does not exist; give a text file, or leave the story out") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    if not text:
        raise ValueError(f"{path} is empty; write a story into it")
    return text


def _ask() -> str:
    return input("you: ") + "\n"


def _card(config: TrainingConfig, asked: Sequence[Asked]) -> str:
    right, worded = (sum(answers) / len(asked) for answers in ([a.right for a in asked], [a.worded for a in asked]))
    return f"""---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# storyteller, taught to talk

The storyteller of the book llmguide after supervised fine-tuning on dialogues about short stories of its village. It
answers five kinds of question, and often wrongly: it is there to be examined, not to be believed.

| | |
|---|---|
| base | storyteller, with two more tokens, `{MARKERS["user"]}` and `{MARKERS["assistant"]}` |
| data | {config.steps * ROWS:,} dialogues of the seeded generator `llmguide.tasks`, each read once |
| training | {config.steps:,} steps of {ROWS} dialogues, Muon beside AdamW, loss on the assistant's turns |
| numbers | in half precision |
| right answers | {right:.3f} of {len(asked)}, on other stories, the earlier answers being the right ones |
| answers that somebody could give | {worded:.3f} |

`chat_template.jinja` is the template it was taught with. `make teach` makes all of it again, seeded, in a few minutes.
"""


if __name__ == "__main__":  # make teach
    parser = argparse.ArgumentParser(description="Teach the storyteller to talk and write it as a folder.")
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder  # a missing folder is said before the minutes of teaching
    runtime.start(seed=0)
    publish(teach(progress=True), target)
