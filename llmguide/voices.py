"""Voices: models that take their turn in a chat, the book's own and those of the hub, and how they lie on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmguide import checkpoints, runtime
from llmguide.batches import pad
from llmguide.chat import END, MARKERS, PADDING, TEMPLATE, Message, check, encode
from llmguide.model import Decoder
from llmguide.tokenizers import BytePairTokenizer

TEMPLATE_FILE = "chat_template.jinja"
MOST = 24  # tokens of a reply of the storyteller: its longest has 16
INSTRUCTED = "HuggingFaceTB/SmolLM2-135M-Instruct"  # at `full` scale
TOGETHER = 32  # prompts that are answered at once


class StoryVoice:
    """A decoder of this book that has learnt to take its turn; it answers greedily, many prompts at once.

    Taught in: applications/chatbot
    """

    def __init__(self, model: Decoder, tokenizer: BytePairTokenizer, *, most: int = MOST) -> None:
        missing = [marker for marker in MARKERS.values() if marker not in tokenizer.special]
        if missing:
            raise ValueError(f"the tokenizer has no {' and no '.join(missing)}; call add_roles first")
        self.model, self.tokenizer, self.most = model, tokenizer, most
        self.room = model.config.context - most

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The messages as ids, up to where the assistant begins to speak."""
        return [*encode(self.tokenizer, messages)[0], self.tokenizer.special[MARKERS["assistant"]]]

    def answers(self, prompts: Sequence[Sequence[int]]) -> list[tuple[str, float]]:
        """For each prompt the answer, and the probability of its least sure token; a ValueError if one is too long."""
        longest = max(map(len, prompts), default=0)
        if longest > self.room:
            raise ValueError(
                f"a prompt has {longest} tokens; {self.room} fit beside an answer (remember makes them fit)"
            )
        found = [("", 0.0)] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        for begin in range(0, len(order), TOGETHER):  # those of similar length together
            places = order[begin : begin + TOGETHER]
            for place, answer in zip(places, self._together([prompts[place] for place in places]), strict=True):
                found[place] = answer
        return found

    @torch.no_grad()
    def _together(self, prompts: Sequence[Sequence[int]]) -> list[tuple[str, float]]:
        """Greedy decoding, and on the way how probable each token was."""
        end, (fresh, keep) = (
            self.tokenizer.special[END],
            pad(prompts, padding=self.tokenizer.special[PADDING], left=True),
        )
        cache = self.model.new_cache(fresh.shape[1] + self.most)
        said = [torch.zeros(len(prompts), 0, dtype=torch.long), torch.zeros(len(prompts), 0)]
        for _ in range(self.most):
            sure, new = self.model(fresh, keep=keep, cache=cache)[:, -1].softmax(dim=-1).max(dim=-1)
            fresh, keep = new[:, None], torch.nn.functional.pad(keep, (0, 1), value=True)
            said = [torch.cat([said[0], fresh], dim=1), torch.cat([said[1], sure[:, None]], dim=1)]
            if bool((said[0] == end).any(dim=1).all()):
                break
        found = []
        for tokens, sure in zip(said[0].tolist(), said[1], strict=True):
            length = tokens.index(end) + 1 if end in tokens else len(tokens)
            found.append((self.tokenizer.decode(tokens[:length]).strip(), float(sure[:length].min())))
        return found


class HubVoice:
    """A chat model of the hub with its own template, through `transformers`.

    Raises:
        ValueError: the tokenizer has no chat template: then it is no chat model.

    Taught in: applications/chatbot
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, most: int = 200) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                f"{tokenizer.name_or_path} has no chat template; choose a model whose name ends in Instruct"
            )
        self.model, self.tokenizer, self.most = model, tokenizer, most
        context = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
        self.room = int(context) - most
        if self.room < 1:
            raise ValueError(f"most is {most}; the model's context of {context} leaves no room for a question")

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The messages as ids by the checkpoint's template; a text with one of its markers is a ValueError."""
        markers = [token for token in self.tokenizer.get_added_vocab() if token.strip()]
        for message in check(messages):  # the library reads a marker in a text as the marker itself
            written = message["role"] != "assistant"  # what the model said itself may hold one, such as <think>
            forged = [token for token in markers if written and token in message["content"]]
            if forged:
                raise ValueError(f"a text holds {forged[0]}, which the model reads as a marker; leave it out")
        return list(self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False))

    @torch.no_grad()
    def answers(self, prompts: Sequence[Sequence[int]]) -> list[tuple[str, float]]:
        """For each prompt the greedy answer, and the probability of its least sure token."""
        return [self._answer(torch.tensor([list(prompt)], device=self.model.device)) for prompt in prompts]

    def _answer(self, ids: Tensor) -> tuple[str, float]:
        made: Any = self.model.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=self.most,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        new = made.sequences[0, ids.shape[1] :]
        claims = torch.stack(made.logits)[:, 0].float().softmax(dim=-1)  # (new, V)
        sure = claims.gather(-1, new[:, None]).min()
        return str(self.tokenizer.decode(new, skip_special_tokens=True)).strip(), float(sure)


def save(voice: StoryVoice, folder: str | Path) -> Path:
    """Write model, tokenizer and chat template as a folder that `transformers` opens. Raises as `checkpoints.save`.

    Taught in: applications/chatbot
    """
    folder = voice.tokenizer.save(folder)
    ends = {"eos_token_id": voice.tokenizer.special[END], "pad_token_id": voice.tokenizer.special[PADDING]}
    for name, content in ((TEMPLATE_FILE, TEMPLATE), ("generation_config.json", json.dumps(ends, indent=2) + "\n")):
        with runtime.replacing(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return checkpoints.save(voice.model, folder)


def load(folder: str | Path) -> StoryVoice:
    """A chat model that `save` wrote. Raises as `checkpoints.load_decoder`."""
    return StoryVoice(checkpoints.load_decoder(folder), BytePairTokenizer.load(folder))


def instructed(ours: str | Path) -> Path:
    """The folder of a chat model to open with `transformers`: `ours` at `book` scale, SmolLM2 at `full` scale.

    Raises:
        FileNotFoundError: the hub does not answer and the model was not fetched before.

    Taught in: applications/chatbot
    """
    return Path(ours) if runtime.scale() == "book" else checkpoints.find(INSTRUCTED)
