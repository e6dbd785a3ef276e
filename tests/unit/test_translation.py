"""Translation: pairs that say the same, a tool that answers bad input in words, a folder that the hub's code opens."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MarianConfig, MarianMTModel

from llmguide import runtime, translation
from llmguide.batches import pad
from llmguide.encoder_decoder import EncoderDecoder
from llmguide.losses import sequence_log_probability
from llmguide.model import ModelConfig
from llmguide.translation import OPUS, Translator, Vocabulary, load, of_this_scale, save, score, words, world_pairs
from llmguide.village import NAMES, THINGS

PAIRS = world_pairs(first=0, stories=8)
TEXTS = [pair.english for pair in PAIRS[:9]]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(text for pair in PAIRS for text in (pair.english, pair.chinese))


@pytest.fixture
def model(vocabulary: Vocabulary) -> EncoderDecoder:
    torch.manual_seed(0)
    settings = {"context": 40, "width": 16, "layers": 2, "heads": 2, "norm_order": "post", "activation": "gelu"}
    return EncoderDecoder(ModelConfig(vocabulary=len(vocabulary), **settings))  # type: ignore[arg-type]


def test_each_pair_names_the_same_people_and_things() -> None:
    for pair in PAIRS:
        for name, chinese in NAMES.items():
            assert (name in pair.english) == (chinese in pair.chinese)
        for thing, (_, noun) in THINGS.items():
            if len(noun) > 1:
                assert (thing in words(pair.english)) == (noun in pair.chinese)


def test_one_english_sentence_has_one_translation_and_back() -> None:
    pairs = set(world_pairs(first=100, stories=200))

    assert len({pair.english for pair in pairs}) == len({pair.chinese for pair in pairs}) == len(pairs)


def test_words_are_lower_case_and_chinese_characters_stand_alone() -> None:
    assert words('Ada asked, "Where?" 他问：“在哪里？”') == [
        *["ada", "asked", ",", '"', "where", "?", '"', "他", "问", "：", "“", "在", "哪", "里", "？", "”"]
    ]
    assert words("it's 9") == ["it's", "9"]


def test_a_vocabulary_goes_there_and_back_and_names_what_it_lacks(vocabulary: Vocabulary) -> None:
    for pair in PAIRS:
        assert vocabulary.decode(vocabulary.encode(pair.chinese)) == pair.chinese
        assert vocabulary.unknown(pair.english) == ()
    source, target = vocabulary.encode_pair(PAIRS[0])
    assert (source[-1], target[0], target[-1]) == (2, 1, 2)
    assert vocabulary.encode("the spaceship")[1:] == [3, 2]
    assert vocabulary.unknown("Spaceship, the spaceship and zebra") == ("spaceship", "zebra")


def test_the_score_is_the_log_probability_of_the_targets(model: EncoderDecoder, vocabulary: Vocabulary) -> None:
    batch = [vocabulary.encode_pair(pair) for pair in PAIRS[:6]]

    total, count = score(model, batch)

    expected = 0.0
    for x, y in batch:  # one by one: no padding at all
        source, target = torch.tensor([x]), torch.tensor([y])
        expected -= float(sequence_log_probability(model(source, target), target).detach())
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert count == sum(len(y) - 1 for _, y in batch)


def test_a_translation_does_not_depend_on_its_batch(model: EncoderDecoder, vocabulary: Vocabulary) -> None:
    translator = Translator(model, vocabulary)

    assert translator.texts(TEXTS) == [translator(text).text for text in TEXTS]


def test_words_never_met_are_named(model: EncoderDecoder, vocabulary: Vocabulary) -> None:
    assert Translator(model, vocabulary)("The Zebra was on the spaceship.").unknown == ("zebra", "spaceship")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("hub", [False, True])
@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("  \n", ValueError, "there is nothing to translate: the text is empty"),
        ("Ada 在学校。", ValueError, "the text is Chinese already .'在' is.; this translator reads English only"),
        ("very " * 60, ValueError, "the text has 61 tokens, the model reads 40; give it sentence by sentence"),
        (["Ada"], TypeError, "a text is a string, got list; translate a list by `texts`"),
        (None, TypeError, "a text is a string, got NoneType"),
    ],
)
def test_bad_input_is_answered_in_words(
    text: Any,
    kind: type[Exception],
    message: str,
    hub: bool,
    model: EncoderDecoder,
    vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:
    translator = load(save(model, vocabulary, tmp_path)) if hub else Translator(model, vocabulary)

    with pytest.raises(kind, match=message):
        translator(text)


def test_a_vocabulary_of_another_model_is_refused(model: EncoderDecoder) -> None:
    with pytest.raises(ValueError, match=r"the vocabulary has 6 entries, the model \d+"):
        Translator(model, Vocabulary(["two words"]))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_saved_model_opens_in_plain_transformers_and_writes_the_same(
    beams: int, model: EncoderDecoder, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    folder = save(model, vocabulary, tmp_path)

    tokenizer, theirs = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)

    assert type(theirs).__name__ == "BartForConditionalGeneration"
    assert tokenizer(TEXTS).input_ids == [vocabulary.encode(text) for text in TEXTS]
    ids, keep = pad([vocabulary.encode(text) for text in TEXTS], padding=0)
    start = torch.ones(len(TEXTS), 1, dtype=torch.long)
    logits = theirs(input_ids=ids, attention_mask=keep.long(), decoder_input_ids=start).logits
    torch.testing.assert_close(model.eval()(ids, start, keep=keep), logits)
    greedy_only = TEXTS if beams == 1 else TEXTS[:0]  # the hub's beams are ranked by mean, not by sum
    assert Translator(model, vocabulary).texts(greedy_only) == load(folder).texts(greedy_only)
    assert len(load(folder, beams=beams).texts(TEXTS)) == len(TEXTS)


def test_the_hubs_tool_names_unknown_words(model: EncoderDecoder, vocabulary: Vocabulary, tmp_path: Path) -> None:
    assert load(save(model, vocabulary, tmp_path))("The zebra.").unknown == ("zebra.",)


def test_a_marian_model_in_a_folder_is_opened_as_on_the_hub(
    model: EncoderDecoder, vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full scale takes this way: Marian, a language token before the source."""
    folder = save(model, vocabulary, tmp_path / "bart")
    roles = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    sizes |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "max_position_embeddings": 40}
    settings: dict[str, Any] = sizes | roles | {"vocab_size": len(vocabulary), "forced_eos_token_id": 2}
    marian = tmp_path / "marian"
    shutil.copytree(folder, marian)
    MarianMTModel(MarianConfig(**settings)).save_pretrained(marian)
    monkeypatch.setenv("LLMGUIDE_SCALE", "full")
    monkeypatch.setattr(translation, "OPUS", str(marian))
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cpu"))

    translator = of_this_scale(folder)

    assert type(translator.model).__name__ == "MarianMTModel"
    assert translator.prefix == ">>cmn_Hans<< "
    assert len(translator.texts(TEXTS[:2])) == 2
    monkeypatch.setenv("LLMGUIDE_SCALE", "book")
    assert type(of_this_scale(folder).model).__name__ == "BartForConditionalGeneration"


def test_a_model_that_cannot_be_had_is_answered_with_the_way_out() -> None:
    with pytest.raises(
        FileNotFoundError, match="Helsinki-NLP/opus-mt-en-zh is no folder .* or set HF_ENDPOINT to a mi"
    ):
        load(OPUS)


def test_a_tokenizer_that_needs_a_package_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ImportError("MarianTokenizer requires the SentencePiece library")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lacking)

    with pytest.raises(ImportError, match="needs a package: pip install sentencepiece"):
        load(tmp_path)
