import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from llmguide.tokenizers import PIECES, BytePairTokenizer, train_tokenizer

SPECIAL = ("<|start|>", "<|end|>", "<|pad|>")
TEXT = "the lantern is at the mill, and Ada took the lantern home. 艾达把灯笼带回了家。 It's 42!\n\n"


def _reference(texts: list[str], vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _spelled_merges(reference: Tokenizer) -> list[tuple[int, int]]:
    ids = reference.get_vocab()
    return [(ids[left], ids[right]) for left, right in json.loads(reference.to_str())["model"]["merges"]]


def test_the_pair_that_is_most_frequent_is_joined_first() -> None:
    tokenizer = train_tokenizer(["aab aab aac"], vocabulary=256 + 1)
    assert tokenizer.decode([256]) == "aa"  # 3 times; "ab" twice
    assert tokenizer.tokens("aab") == ["aa", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="abc é ", max_size=60), max_size=6), st.integers(259, 300), st.text(max_size=40))
def test_merges_and_ids_equal_those_of_the_tokenizers_library(texts: list[str], vocabulary: int, other: str) -> None:
    ours, theirs = train_tokenizer(texts, vocabulary=vocabulary, special=SPECIAL), _reference(texts, vocabulary)

    assert ours.merges == _spelled_merges(theirs)
    for text in (*texts, other):
        assert ours.encode(text) == theirs.encode(text).ids


@given(st.text())
def test_decoding_gives_back_any_text(text: str) -> None:
    tokenizer = train_tokenizer([TEXT], vocabulary=300, special=SPECIAL)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text())
def test_the_pieces_of_a_text_are_the_whole_text(text: str) -> None:
    assert "".join(PIECES.findall(text)) == text


def test_transformers_opens_what_we_save_and_gives_the_same_ids(tmp_path: Path) -> None:
    ours = train_tokenizer([TEXT], vocabulary=320, special=SPECIAL)

    theirs = AutoTokenizer.from_pretrained(ours.save(tmp_path))
    again = BytePairTokenizer.load(tmp_path)

    assert theirs.encode(TEXT) == ours.encode(TEXT) == again.encode(TEXT)
    assert theirs.decode(ours.encode(TEXT)) == TEXT
    assert len(theirs) == len(ours) == len(again) == 320
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 1, 2)


def test_special_tokens_do_not_show_in_decoded_text() -> None:
    tokenizer = train_tokenizer([TEXT], vocabulary=300, special=SPECIAL)
    assert tokenizer.decode([0, *tokenizer.encode("the mill"), 1, 2, 2]) == "the mill"


def test_a_special_tokens_name_in_a_text_is_plain_text() -> None:
    tokenizer = train_tokenizer([TEXT], vocabulary=300, special=SPECIAL)
    assert tokenizer.special["<|end|>"] not in tokenizer.encode("<|end|>")


def test_errors_name_the_wrong_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocabulary of 200 is too small: special tokens and bytes need 256"):
        train_tokenizer([TEXT], vocabulary=200)
    with pytest.raises(ValueError, match="must differ, got a, a"):
        BytePairTokenizer([], special=("a", "a"))
    with pytest.raises(ValueError, match="merge 0 joins ids 5 and 900"):
        BytePairTokenizer([(5, 900)])
    with pytest.raises(ValueError, match="0 to 255: 300"):
        BytePairTokenizer([]).decode([300])
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json does not exist"):
        BytePairTokenizer.load(tmp_path)
