"""Writing: a model and its tokenizer write texts under conditions, and say what became of the conditions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from llmguide import checkpoints, runtime
from llmguide.control import Constrained, Mask, price
from llmguide.forms import Form
from llmguide.generation import LanguageModel, sample
from llmguide.model import Decoder

HALF = "\ufffd"  # how a token shows that is only part of a character
ANYTHING = Form.matching(".*")


class Drawn(NamedTuple):
    """Texts drawn from one prompt."""

    ids: Int[Tensor, "B T"]  # prompt, text, and end tokens to the width of the longest
    prompt: int  # how many of the tokens are the prompt
    texts: list[str]  # what follows the prompt
    complete: list[bool]  # whether the model ended the text itself


class Written(NamedTuple):
    """One text, and whether it is what was asked for."""

    text: str  # what follows the prompt
    kept: bool  # ended in time, has the form, and the checker accepts it
    accepted: int  # how many of the tries would have been kept
    nats: float  # surprise of the free model, a token
    taken: float  # what the mask took away along the text, in nats


class Writer:
    """A model and its tokenizer, ready to write under conditions.

    Args:
        tokenizer: one of `transformers`, with a token that starts a text and one that ends it.

    Taught in: applications/text-generation
    """

    def __init__(self, model: Decoder, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
            raise ValueError(f"{type(tokenizer).__name__} has no start or no end token; set bos_token and eos_token")
        self.model, self.tokenizer, self.end = model, tokenizer, int(tokenizer.eos_token_id)
        special, width = set(tokenizer.all_special_ids), model.config.vocabulary
        texts = [str(tokenizer.decode([n], clean_up_tokenization_spaces=False)) for n in range(len(tokenizer))]
        known = [None if n in special or HALF in text else text for n, text in enumerate(texts)]
        self.spellings = (known + [None] * width)[:width]  # a model may have more rows than its tokenizer has tokens
        self._masks: dict[Form, Mask] = {}

    @classmethod
    def load(cls, name: str | Path) -> "Writer":
        """The writer of a GPT-2 in the hub's layout: a folder, or a name on the hub."""
        folder = checkpoints.find(name)
        model = checkpoints.load_decoder(folder).to(runtime.device())
        return cls(model, AutoTokenizer.from_pretrained(folder))

    def begin(self, prompt: str = "") -> Int[Tensor, "1 T"]:
        """The start token and the prompt's, as ids.

        Raises:
            TypeError: not a string.
        """
        if not isinstance(prompt, str):
            raise TypeError(f"the prompt is a string, got {type(prompt).__name__}")
        ids = self.tokenizer.encode(prompt, add_special_tokens=False)
        return torch.tensor([[self.tokenizer.bos_token_id, *ids]], device=runtime.device())

    def mask(self, form: Form = ANYTHING) -> Mask:
        """The form in this tokenizer's tokens. Raises as `Mask`."""
        if form not in self._masks:
            self._masks[form] = Mask(form, self.spellings, end=self.end)
        return self._masks[form]

    def draw(
        self,
        prompt: str = "",
        *,
        form: Form = ANYTHING,
        texts: int = 1,
        model: LanguageModel | None = None,
        max_new_tokens: int = 160,
        seed: int = 0,
        **choice: Any,
    ) -> Drawn:
        """Several texts under a form, drawn together; `choice` goes to `generation.sample`.

        Args:
            model: who writes, with the same tokens; None for the writer's own.

        Raises:
            ValueError: prompt and new tokens do not fit the model, or as `Mask` and `sample`.
        """
        ids, context = self.begin(prompt), self.model.config.context
        if ids.shape[1] + max_new_tokens > context:
            raise ValueError(
                f"the prompt has {ids.shape[1]} tokens and {max_new_tokens} new ones are asked for; this model reads "
                f"{context}: shorten the prompt or max_new_tokens by {ids.shape[1] + max_new_tokens - context}"
            )
        who = Constrained(model or self.model, self.mask(form), prompt=ids.shape[1])
        draws = torch.Generator(ids.device).manual_seed(seed)
        rows = ids.expand(texts, -1)
        drawn = sample(who, rows, max_new_tokens=max_new_tokens, stop=self.end, generator=draws, **choice)
        written = drawn[:, ids.shape[1] :].tolist()
        found = [str(self.tokenizer.decode(row, skip_special_tokens=True)) for row in written]
        return Drawn(drawn, ids.shape[1], found, [self.end in row for row in written])

    def write(
        self,
        prompt: str = "",
        *,
        must: Sequence[str] = (),
        never: Sequence[str] = (),
        form: str = ".*",
        check: Callable[[str], bool] | None = None,
        tries: int = 1,
        **choice: Any,
    ) -> Written:
        """One text that goes on from a prompt, keeps to what is asked, and is the first that a checker accepts.

        Args:
            must: words or phrases that have to stand in what is written. All a mask can do is to forbid the end before.
            never: words or phrases that it may not contain, nor longer words that begin with them.
            form: a pattern (`Form.matching`) that all of it has to match.
            check: asked about prompt and text together, once the text has ended.
            tries: how many texts are drawn; where none is accepted, the first one is returned and not `kept`.

        Raises:
            TypeError: words given as one string, a prompt or pattern that is no string.
            ValueError: what is asked contradicts itself; or as `draw`.
        """
        for name, words in (("must", must), ("never", never)):
            if isinstance(words, str):
                raise TypeError(f"{name} is a list of words; for the one word write {name}=[{words!r}]")
        if tries < 1:
            raise ValueError(f"tries is {tries}; it must be at least 1")
        both = [word for word in must if word in never]
        if both:
            raise ValueError(f"{both[0]!r} is asked for and forbidden; take it out of must or of never")
        whole = Form.matching(form)
        for word in must:
            whole &= Form.containing(word)
        for word in never:
            whole &= ~Form.containing(word, open_ended=True)
        drawn = self.draw(prompt, form=whole, texts=tries, **choice)
        good = [
            done and (check is None or check(prompt + text))
            for text, done in zip(drawn.texts, drawn.complete, strict=True)
        ]
        best = good.index(True) if True in good else 0
        surprise, taken = price(self.model, self.mask(whole), drawn.ids[best : best + 1], prompt=drawn.prompt)
        length = int((drawn.ids[best, drawn.prompt :] != self.end).sum()) + drawn.complete[best]
        return Written(drawn.texts[best], good[best], sum(good), float(surprise) / max(length, 1), float(taken))
