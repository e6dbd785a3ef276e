"""Translation: the village's stories in two languages, a tool that translates the reader's sentence, and the hub's."""

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from jaxtyping import Float
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerBase

from llmguide import pretrained, runtime, telling
from llmguide.batches import pad
from llmguide.chance import Chance
from llmguide.corpora import Translation
from llmguide.encoder_decoder import EncoderDecoder, to_bart
from llmguide.generation import beam, greedy
from llmguide.losses import IGNORE, masked_token_loss
from llmguide.village import VILLAGE
from llmguide.world import World, write

PADDING, START, END, UNKNOWN = SPECIAL = "<pad>", "<start>", "<end>", "<unk>"
WORDS = r"[a-z]+(?:'[a-z]+)?|[一-鿿]|[^\sa-z一-鿿]"  # an English word, a Chinese character, or any other sign
CHINESE = re.compile("[一-鿿]")
OPUS = "Helsinki-NLP/opus-mt-en-zh"  # reads English, writes several kinds of Chinese; `OPUS_TARGET` names the one
OPUS_TARGET = ">>cmn_Hans<< "
ROWS = 64  # sentences translated at once

Encoded = tuple[list[int], list[int]]  # a source with its end; a target with its start and end


class Translated(NamedTuple):
    """A translation, and the words of the source that the model has never met (it read a hole in their place)."""

    text: str
    unknown: tuple[str, ...]


def world_pairs(*, first: int, stories: int, world: World = VILLAGE) -> list[Translation]:
    """Sentences of the miniature world in two languages, each the exact translation of the other.

    Each story is told twice with the same dice: where English picks its second wording, so does Chinese.

    Args:
        first: the seed of the first story; the others follow it.

    Taught in: applications/translation
    """
    pairs = []
    for seed in range(first, first + stories):
        story = write(world, Chance(random.Random(seed)))
        english, chinese = (
            telling.tell(story, Chance(random.Random(seed)), language="en"),
            telling.tell(story, Chance(random.Random(seed)), language="zh"),
        )
        pairs += [Translation(*pair) for pair in zip(english.sentences, chinese.sentences, strict=True)]
    return pairs


def words(text: str) -> list[str]:
    """English words in lower case, Chinese characters one by one, and other signs.

    >>> words("Ada's key! 钥匙")
    ["ada's", 'key', '!', '钥', '匙']

    Taught in: applications/translation
    """
    return re.findall(WORDS, text.lower())


class Vocabulary:
    """Words and characters of both languages under one numbering: special tokens, then all words of the texts, sorted.

    Taught in: applications/translation
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.entries = (*SPECIAL, *sorted({word for text in texts for word in words(text)}))
        self.ids = {entry: number for number, entry in enumerate(self.entries)}

    def __len__(self) -> int:
        return len(self.entries)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, then the end token; a word that is not in the vocabulary becomes `UNKNOWN`."""
        return [self.ids.get(word, self.ids[UNKNOWN]) for word in words(text)] + [self.ids[END]]

    def encode_pair(self, pair: Translation) -> Encoded:
        """What an encoder-decoder reads and writes: a source, and a target that begins with the start token."""
        return self.encode(pair.english), [self.ids[START], *self.encode(pair.chinese)]

    def decode(self, ids: Iterable[int]) -> str:
        """Chinese text, without special tokens."""
        return "".join(self.entries[i] for i in ids if i >= len(SPECIAL))

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a text that the vocabulary lacks, each once, in the order of the text."""
        return tuple(dict.fromkeys(word for word in words(text) if word not in self.ids))


def score(model: EncoderDecoder, batch: Sequence[Encoded]) -> tuple[Float[Tensor, ""], int]:
    """Summed loss of a batch's targets given their sources, in nats, and how many tokens it sums.

    The decoder reads a target without its last token and is scored on the target without its first: a shift by one.

    Taught in: applications/translation
    """
    source, keep = pad([source for source, _ in batch], padding=0)
    target, real = pad([target for _, target in batch], padding=0)
    labels = target.masked_fill(~real, IGNORE)[:, 1:]
    count = int(real[:, 1:].sum())
    return masked_token_loss(model(source, target[:, :-1], keep=keep), labels) * count, count


class Translator:
    """Translates the reader's English with an encoder-decoder and its vocabulary.

    Args:
        beams: 1 takes the likeliest token at each step, more search (`generation.beam`).

    Taught in: applications/translation
    """

    def __init__(self, model: EncoderDecoder, vocabulary: Vocabulary, *, beams: int = 1) -> None:
        if len(vocabulary) != model.config.vocabulary:
            raise ValueError(
                f"the vocabulary has {len(vocabulary)} entries, the model {model.config.vocabulary}; "
                "give the vocabulary that the model was trained with"
            )
        self.model, self.vocabulary, self.beams = model.eval(), vocabulary, beams
        self.longest = model.config.context  # tokens of a source

    def __call__(self, text: str) -> Translated:
        """Translate one text.

        Raises:
            TypeError: not a string.
            ValueError: nothing to translate, too long, or Chinese already; the message says what to do.
        """
        _check(text, length=len(words(text)) + 1 if isinstance(text, str) else 0, longest=self.longest)
        return Translated(self.texts([text])[0], self.vocabulary.unknown(text))

    def texts(self, texts: Sequence[str]) -> list[str]:
        """Translate many texts, `ROWS` at a time, unchecked."""
        found = []
        ids = self.vocabulary.ids
        rows = 1 if self.beams > 1 else ROWS
        for start in range(0, len(texts), rows):
            source, keep = pad([self.vocabulary.encode(text) for text in texts[start : start + rows]], padding=0)
            reading = self.model.reading(source, keep=keep)
            prompt = torch.full((len(source), 1), ids[START])
            if self.beams > 1:
                best = beam(reading, prompt, beams=self.beams, max_new_tokens=self.longest - 1, stop=ids[END])
                found.append(self.vocabulary.decode(best[0].ids.tolist()))
            else:
                written = greedy(reading, prompt, max_new_tokens=self.longest - 1, stop=ids[END])
                found += [self.vocabulary.decode(row) for row in written.tolist()]
        return found


class HubTranslator:
    """The same tool over a sequence-to-sequence model of the hub: Marian, BART, T5, ...

    Args:
        prefix: what stands before every source: a language token (Marian), a task ("translate English to ...: ", T5).
        beams: how many beginnings the search keeps.

    Taught in: applications/translation
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, prefix: str = "", beams: int = 1
    ) -> None:
        self.model, self.tokenizer, self.prefix, self.beams = model.train(False), tokenizer, prefix, beams
        self.longest: int = model.config.max_position_embeddings

    def __call__(self, text: str) -> Translated:
        """Translate one text; raises as `Translator`."""
        ids = self.tokenizer(self.prefix + text).input_ids if isinstance(text, str) else []
        _check(text, length=len(ids), longest=self.longest)
        lacking = [word for word in text.split() if self.tokenizer.unk_token_id in self.tokenizer(word).input_ids]
        return Translated(self.texts([text])[0], tuple(dict.fromkeys(lacking)))

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> list[str]:
        """Translate many texts, `ROWS` at a time, unchecked."""
        found: list[str] = []
        for start in range(0, len(texts), ROWS):
            given = [self.prefix + text for text in texts[start : start + ROWS]]
            batch = self.tokenizer(given, padding=True, return_tensors="pt").to(self.model.device)
            written = self.model.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                num_beams=self.beams,
                do_sample=False,
                max_new_tokens=self.longest - 1,
            )
            found += self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return found


def save(model: EncoderDecoder, vocabulary: Vocabulary, folder: str | Path) -> Path:
    """Write a model and its vocabulary as a BART with its tokenizer, in the hub's layout.

    Raises:
        ValueError: BART has no such model.
        OSError: the disk is full or the folder cannot be written.

    Taught in: applications/translation
    """
    settings, tensors = to_bart(model)
    roles: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    with pretrained.quiet():
        bart = BartForConditionalGeneration(BartConfig(**settings, **roles, forced_eos_token_id=None))
        bart.load_state_dict(tensors)
    return pretrained.save(bart, _hub_tokenizer(vocabulary), folder)


def load(name: str | Path, *, prefix: str = "", beams: int = 1) -> HubTranslator:
    """A translator from a folder in the hub's layout, or from the hub; raises as `pretrained.encoder_decoder`.

    Taught in: applications/translation
    """
    model, tokenizer = pretrained.encoder_decoder(name)
    model.to(runtime.device())  # type: ignore[arg-type]  # a stub of transformers
    return HubTranslator(model, tokenizer, prefix=prefix, beams=beams)


def of_this_scale(folder: str | Path, *, beams: int = 1) -> HubTranslator:
    """The translator in `folder` at book scale; at full scale the hub's opus-mt-en-zh. Raises as `load`.

    Taught in: applications/translation
    Source: tiedemann2020opus
    """
    return load(folder, beams=beams) if runtime.scale() == "book" else load(OPUS, prefix=OPUS_TARGET, beams=beams)


def _check(text: object, *, length: int, longest: int) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a text is a string, got {type(text).__name__}; translate a list by `texts`")
    if not text.strip():
        raise ValueError("there is nothing to translate: the text is empty")
    found = CHINESE.search(text)
    if found:
        raise ValueError(f"the text is Chinese already ({found[0]!r} is); this translator reads English only")
    if length > longest:
        raise ValueError(f"the text has {length} tokens, the model reads {longest}; give it sentence by sentence")


def _hub_tokenizer(vocabulary: Vocabulary) -> transformers.PreTrainedTokenizerFast:
    inner = Tokenizer(WordLevel(vocabulary.ids, unk_token=UNKNOWN))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    inner.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary.ids[END])]
    )
    inner.decoder = decoders.Fuse()  # Chinese has no spaces between its characters
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, pad_token=PADDING, bos_token=START, eos_token=END, unk_token=UNKNOWN
    )
