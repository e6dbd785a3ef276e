"""Writing: what is asked of a text holds, and what cannot be is said in words."""

import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from llmguide import storyteller
from llmguide.forms import Form
from llmguide.pretrained import quiet
from llmguide.writing import Writer
from tests.unit import tiny

PROMPT = "It was a sunny morning in the village. Ada was at the mill. Tom was at the mill. Ada had a red lantern."


@pytest.fixture(scope="module")
def teller() -> Writer:
    return Writer.load(storyteller.folder())


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """As GPT-2 on the hub: its one special token comes last, and there are more rows than tokens."""
    folder = tmp_path_factory.mktemp("gpt2")
    inner = Tokenizer(BPE())
    inner.pre_tokenizer, inner.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.train_from_iterator(
        ["the hat of Ada and the hut of Tom: naïve"] * 9,
        BpeTrainer(vocab_size=300, initial_alphabet=ByteLevel.alphabet(), show_progress=False),
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|endoftext|>", eos_token="<|endoftext|>", clean_up_tokenization_spaces=True
    )
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(words) + 3, n_positions=48, n_embd=12, n_layer=1, n_head=2, bos_token_id=299, eos_token_id=299
    )
    with quiet():
        GPT2LMHeadModel(config).save_pretrained(folder)
        words.save_pretrained(folder)
    return Writer.load(folder)


def test_every_kept_text_holds_what_must_and_nothing_that_never(teller: Writer) -> None:
    for seed in range(2):
        found = teller.write(
            PROMPT, must=["Tom"], never=["had", "mill"], form=r"( [^.]*\.){1,3}", seed=seed, max_new_tokens=60
        )
        assert found.kept
        assert re.search(r"\bTom\b", found.text)
        assert not re.search(r"\bhad|\bmill", found.text)
        assert found.nats > 0
        assert found.taken > 0


def test_a_form_is_that_of_what_follows_the_prompt(teller: Writer) -> None:
    pattern = r" In the end, (Ada|Tom) had the (kite|drum)\."
    found = teller.write(PROMPT, form=pattern)

    assert re.fullmatch(pattern, found.text)
    assert found.kept


def test_the_first_text_that_the_checker_accepts_is_returned(teller: Writer) -> None:
    one = r" [^.]*\."
    drawn = teller.draw(PROMPT, texts=3, seed=3, form=Form.matching(one))
    wanted = drawn.texts[2]

    found = teller.write(PROMPT, form=one, tries=3, seed=3, check=lambda story: story == PROMPT + wanted)
    none = teller.write(PROMPT, form=one, tries=3, seed=3, check=lambda story: False)

    assert (found.text, found.kept, found.accepted) == (wanted, True, 1)
    assert (none.text, none.kept, none.accepted) == (drawn.texts[0], False, 0)


def test_a_text_that_is_cut_off_is_not_kept(teller: Writer) -> None:
    found = teller.write(PROMPT, max_new_tokens=5)
    assert not found.kept
    assert found.nats > 0


def test_the_same_seed_writes_the_same_text(teller: Writer) -> None:
    first, again, other = (teller.write(PROMPT, seed=seed, max_new_tokens=30) for seed in (5, 5, 6))
    assert first == again != other


def test_a_model_of_the_hubs_layout_with_another_tokenizer_obeys_too(stranger: Writer) -> None:
    form = Form.matching(r"(the|a) (hat|hut)[.!] ?") & ~Form.containing("hut")
    drawn = stranger.draw("of Tom: naïve", form=form, texts=20, max_new_tokens=20)

    assert all(drawn.complete)
    assert all(form.accepts(text) for text in drawn.texts)
    assert len(set(drawn.texts)) > 1


def test_a_tokenizer_that_cannot_end_a_text_is_refused(tmp_path: Path) -> None:
    folder = tiny.decoder_folder(tmp_path)  # it has an end and no start
    with pytest.raises(ValueError, match="no start or no end token"):
        Writer.load(folder)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"must": "lantern"}, TypeError, r"must is a list of words; for the one word write must=\['lantern'\]"),
        ({"never": "sad"}, TypeError, "never is a list"),
        ({"must": ["sad"], "never": ["sad"]}, ValueError, "'sad' is asked for and forbidden"),
        ({"must": ["a hat"], "never": ["hat"]}, ValueError, "contradicts itself"),
        ({"must": [""]}, ValueError, "empty word"),
        ({"form": "(a"}, ValueError, "place 2"),
        ({"form": 3}, TypeError, "a pattern is a string"),
        ({"tries": 0}, ValueError, "tries is 0"),
        ({"prompt": 3}, TypeError, "the prompt is a string, got int"),
        ({"prompt": "the mill " * 200}, ValueError, "this model reads 256: shorten the prompt .* by"),
        ({"temperature": 0.0}, ValueError, "temperature is 0.0"),
        ({"form": "ß"}, ValueError, "no token of its own"),
    ],
)
def test_what_cannot_be_is_said_in_words(
    teller: Writer, asked: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        teller.write(**asked)  # type: ignore[arg-type]
