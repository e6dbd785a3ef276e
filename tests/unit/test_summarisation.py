"""Summarisation: centrality solved by hand and by algebra, texts as readers have them, and tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from llmguide import corpora, storyteller, summarisation
from llmguide.losses import IGNORE
from llmguide.model import Decoder, ModelConfig
from llmguide.overlap import rouge
from llmguide.pretrained import encoder_decoder, quiet
from llmguide.summarisation import (
    centrality,
    documents,
    pair,
    score,
    sentences,
    stories,
    summarise,
    tfidf,
    write,
)
from llmguide.tasks import journeys, stated, summary
from llmguide.telling import sample
from tests.unit import tiny

TEXT = 'Dr. J. Ames has 3.5 acres of hay, e.g. clover. "Is it dry?" she asks. It is! (Nobody heard.) The end'


def test_sentences_end_where_a_reader_ends_them() -> None:
    assert sentences(TEXT) == (
        "Dr. J. Ames has 3.5 acres of hay, e.g. clover.",
        '"Is it dry?" she asks.',
        "It is!",
        "(Nobody heard.)",
        "The end",
    )
    assert sentences("今天下雨。我们回家。好吗") == ("今天下雨。", "我们回家。", "好吗")
    assert sentences("A title\n\nA line\nbroken in two.") == ("A title", "A line broken in two.")
    assert sentences("One!? ... Two.") == ("One!? ...", "Two.")


def test_every_passage_keeps_its_words() -> None:
    for passage in corpora.passages():
        assert " ".join(sentences(passage.text)) == " ".join(passage.text.split())


@pytest.mark.parametrize("text", ["", "  ", "...", "!?"])
def test_a_text_without_a_word_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="holds no word"):
        sentences(text)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("text", [None, 3, ["a", "b"], b"a"])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(TypeError, match="a text is a str, this is"):
        summarise(text)


def test_a_hub_is_the_most_central() -> None:
    # sentence 0 is like 1 and like 2, which are not alike: r0 = (1 - d)/3 + d (r1 + r2), r1 = (1 - d)/3 + d r0 / 2
    d = 0.85
    hub = (1 - d) * (1 + 2 * d) / (3 * (1 - d * d))
    vectors = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])

    assert centrality(vectors, damping=d) == pytest.approx([hub, (1 - hub) / 2, (1 - hub) / 2])


def test_centrality_is_the_eigenvector_of_the_hops(generator: torch.Generator) -> None:
    vectors = torch.randn(7, 5, generator=generator).abs().numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = (unit @ unit.T) * (1 - np.eye(7))
    hops = 0.85 * similar / similar.sum(axis=1, keepdims=True) + 0.15 / 7
    values, lefts = np.linalg.eig(hops.T)
    expected = np.real(lefts[:, np.argmax(np.real(values))])

    assert centrality(vectors) == pytest.approx(expected / expected.sum(), abs=1e-6)


def test_without_jumps_a_sentence_counts_what_it_is_similar_to(generator: torch.Generator) -> None:
    vectors = torch.randn(7, 5, generator=generator).abs().numpy().astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    total = ((unit @ unit.T) * (1 - np.eye(7))).sum(axis=1)

    assert centrality(vectors, damping=1 - 1e-9) == pytest.approx(total / total.sum(), abs=1e-6)


def test_sentences_alike_or_unlike_are_equally_central() -> None:
    assert centrality(np.ones((4, 3))) == pytest.approx([1 / 4] * 4)
    assert centrality(np.eye(4)) == pytest.approx([1 / 4] * 4)
    assert centrality(np.zeros((3, 2))) == pytest.approx([1 / 3] * 3)
    assert centrality(np.ones((1, 3))) == pytest.approx([1])


@pytest.mark.parametrize("damping", [-0.1, 1.0])
def test_a_damping_that_never_ends_is_refused(damping: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        centrality(np.ones((2, 2)), damping=damping)


def test_a_vector_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        centrality(np.array([[1.0, np.nan], [0.0, 1.0]]))


def test_rare_words_weigh_more() -> None:
    rows = tfidf(["the cat", "the dog", "the cow"])

    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1])
    assert rows[0] @ rows[1] < 1 / 2  # half of the words are shared, and they are the frequent half


def test_a_summary_is_made_of_sentences_in_their_order() -> None:
    text = "Zebras run. The cat sat on the mat. Rain fell. The cat on the mat slept. The mat was where the cat sat."
    by_words = summarise(text, count=3)

    assert by_words.rows == (1, 3, 4)
    assert by_words.text == "The cat sat on the mat. The cat on the mat slept. The mat was where the cat sat."
    assert sum(by_words.scores) == pytest.approx(1)
    assert summarise(text, count=2, by="lead").rows == (0, 1)
    assert summarise(text, count=5).text == text


def test_of_equal_sentences_the_first_is_taken() -> None:
    assert summarise("A b c. A b c. A b c.", count=1).rows == (0,)


def test_other_vectors_may_be_given() -> None:
    def lengths(found: Any) -> np.ndarray:
        return np.array([[1.0, 0.0] if len(each) > 6 else [0.0, 1.0] for each in found])

    assert summarise("Long enough. No. Longer still. Longest of all.", count=3, vectors=lengths).rows == (0, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0; ask for at least 1 sentence"),
        ({"count": 3}, "3 sentences asked of a text that has 2; ask for 2 or fewer"),
        ({"by": "magic"}, "by is 'magic'; it must be 'centrality' or 'lead'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_summary_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarise("One cat. Two dogs.", **arguments)


# Documents


@pytest.mark.usefixtures("unchecked")
def test_stories_come_with_true_summaries_and_never_twice() -> None:
    first, second = stories(40), stories(40, first=40)

    assert len({each.text for each in first + second}) == 80
    assert stories(40, first=20)[:20] == first[20:] == documents(20, first=20)
    assert all(stated(each.summary) == each.journeys for each in first)


@pytest.mark.parametrize(("count", "first"), [(0, 0), (3, -1)])
def test_no_documents_are_refused(count: int, first: int) -> None:
    with pytest.raises(ValueError, match="ask for at least 1, from 0 or later"):
        stories(count, first=first)


def test_at_full_scale_documents_are_news(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"article": f"Text {n}.", "highlights": f"Short\n{n} .", "id": str(n)} for n in range(5)]
    asked = []

    def load(*names: str) -> dict[str, Any]:
        asked.append(names)
        return {"test": rows}

    monkeypatch.setenv("LLMGUIDE_SCALE", "full")
    monkeypatch.setattr(corpora, "from_hub", load)

    found = documents(2, first=1)

    assert asked == [("abisee/cnn_dailymail", "3.0.0")]
    assert [(each.text, each.summary, each.journeys) for each in found] == [
        ("Text 1.", "Short 1 .", {}),
        ("Text 2.", "Short 2 .", {}),
    ]


# In new words


def test_the_labels_of_a_pair_are_its_summary() -> None:
    words = storyteller.tokenizer()
    ids, labels = pair(words, "Ada had a hat.", "Ada kept the hat.")

    prompt = [words.special["<|start|>"], *words.encode("Ada had a hat.")]
    answer = [*words.encode(" Ada kept the hat."), words.special["<|end|>"]]
    assert ids == prompt + answer
    assert labels == [IGNORE] * len(prompt) + answer


def test_the_loss_is_that_of_the_summary_alone_and_the_same_in_a_batch() -> None:
    words, model = storyteller.tokenizer(), _small()
    pairs = [pair(words, "Ada had a hat.", "Ada kept the hat."), pair(words, "It rained on the hill.", "Rain.")]
    alone = [score(model, [each]) for each in pairs]
    together, count = score(model, pairs)

    assert count == sum(number for _, number in alone) == sum(_ != IGNORE for _, labels in pairs for _ in labels)
    torch.testing.assert_close(together, alone[0][0] + alone[1][0])
    ids, labels = pairs[0]
    log_probabilities = model(torch.tensor([ids])).log_softmax(dim=-1)[0]
    by_hand = -sum(log_probabilities[t - 1, token] for t, token in enumerate(labels) if token != IGNORE)
    torch.testing.assert_close(alone[0][0], by_hand)


def test_a_model_that_learns_one_summary_by_heart_writes_it() -> None:
    words, model = storyteller.tokenizer(), _small()
    pairs = [
        pair(words, text, short) for text, short in (("Ada ran.", "Tom kept the key."), ("It rained all day.", "Rain."))
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss, count = score(model, pairs)
        (loss / count).backward()
        optimizer.step()

    assert write(model.eval(), words, ["Ada ran.", "It rained all day."], longest=20) == ["Tom kept the key.", "Rain."]
    assert write(model, words, ["It rained all day."], longest=20) == ["Rain."]
    assert write(model, words, [], longest=20) == []


def test_a_text_that_leaves_no_room_is_refused() -> None:
    words, model = storyteller.tokenizer(), _small()
    with pytest.raises(ValueError, match=r"text 1 has \d+ tokens, and beside a summary of 20 there is room for 44"):
        write(model, words, ["Ada ran.", "Ada ran to the mill. " * 20], longest=20)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_list_of_texts_is_refused() -> None:
    words, model = storyteller.tokenizer(), _small()
    with pytest.raises(TypeError, match="texts is one text .* give a list of texts"):
        write(model, words, "Ada ran.")
    with pytest.raises(TypeError, match=r"texts\[0\] is of type int"):
        write(model, words, [3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="text 1 .* holds no word"):
        write(model, words, ["Ada ran.", "..."])


# At full scale


@pytest.fixture
def bart(tmp_path: Path) -> Path:
    """An encoder-decoder of a few thousand parameters, random, in the hub's layout."""
    config = BartConfig(
        vocab_size=len(tiny.WORDS),
        max_position_embeddings=tiny.POSITIONS,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
        forced_eos_token_id=3,
    )
    with quiet():
        BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
        tiny.tokenizer().save_pretrained(tmp_path / "bart")
    return tmp_path / "bart"


def test_an_encoder_decoder_of_a_folder_writes_and_learns(bart: Path) -> None:
    model, words = encoder_decoder(bart)

    first = summarisation.write_with(
        model, words, ["the film is fine", "the plot is dull and the cast is weak"], longest=5
    )
    assert len(first) == 2
    assert first[0] == summarisation.write_with(model, words, ["the film is fine"], longest=5)[0]

    batch = words(["the film is fine"] * 2, text_target=["lovely film"] * 2, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
        ).loss.backward()
        optimizer.step()
    assert rouge(summarisation.write_with(model, words, ["the film is fine"], longest=6)[0], "lovely film") == 1


def test_a_text_too_long_for_an_encoder_is_said(bart: Path) -> None:
    model, words = encoder_decoder(bart)
    with pytest.warns(UserWarning, match="text 0 has 42 tokens, the model takes 16; 26 cut"):
        summarisation.write_with(model, words, ["the film " * 20], longest=5)


def _small() -> Decoder:
    torch.manual_seed(0)
    return Decoder(ModelConfig(vocabulary=len(storyteller.tokenizer()), context=64, width=32, layers=1, heads=2))


@pytest.mark.usefixtures("unchecked")
def test_lead_and_centrality_work_on_stories() -> None:
    story = sample(seed=3)[0]
    assert set(journeys(story.story)) <= set(summary(story.story).replace(".", "").split())
    assert summarise(story.text, count=2, by="lead").text == " ".join(story.sentences[:2])
