"""Models and tokenizers of a few hundred parameters, in the hub's layout, and texts that they learn in a second."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from llmguide.corpora import Example
from llmguide.pretrained import quiet

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
GOOD, BAD = ["fine", "lovely", "bright", "clever"], ["dull", "clumsy", "weak", "tired"]
NOUNS = ["film", "plot", "cast", "song", "ending", "story", "camera"]
WORDS = [*SPECIAL, "a", "the", "and", "is", *GOOD, *BAD, *NOUNS]
POSITIONS = 16
LABELS = ("negative", "positive")


def reviews(count: int, seed: int = 0) -> list[Example]:
    """Sentences of 3 to 9 words, of two classes in turn."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        words = GOOD if number % 2 else BAD
        parts = [f"the {chance.choice(NOUNS)} is {chance.choice(words)}" for _ in range(chance.randint(1, 2))]
        found.append(Example(" and ".join(parts), number % 2))
    return found


def tokenizer(*, decoder: bool = False) -> PreTrainedTokenizerFast:
    inner = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    if decoder:
        return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", eos_token="[SEP]")
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


def encoder_folder(folder: Path, *, dropout: float = 0.0) -> Path:
    """A BERT without a head, random, and its tokenizer."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        max_position_embeddings=POSITIONS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    with quiet():
        BertModel(config).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folder


def decoder_folder(folder: Path) -> Path:
    """A GPT-2, random, and its tokenizer, which has no padding token."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(WORDS),
        n_positions=POSITIONS,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=3,
        eos_token_id=3,
    )
    with quiet():
        GPT2LMHeadModel(config).save_pretrained(folder)
        tokenizer(decoder=True).save_pretrained(folder)
    return folder
