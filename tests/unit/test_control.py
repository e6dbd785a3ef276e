"""Control: masks hold on every text, equal those of `transformers`, and cost what they say."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import NoBadWordsLogitsProcessor, PrefixConstrainedLogitsProcessor

from llmguide.control import Blended, Constrained, DeadEnd, Mask, price
from llmguide.forms import Form
from llmguide.generation import beam, greedy, sample
from llmguide.hub import decoder_from_hub
from llmguide.model import Decoder

SPELLINGS = [None, None, "a", "b", "c", "ab", "ba ", " ", "cab", None, "é", "."]  # start, end, ..., half a character
V, END, NEW, T = len(SPELLINGS), 1, 9, 4
FORMS = {
    "no c": ~Form.matching(".*c.*"),
    "a word": Form.containing("ab"),
    "a shape": Form.matching(r"(a|b)+ c*"),
    "both": Form.containing("cab") & ~Form.matching(".*ba.*"),
}


def _pair(seed: int = 0) -> tuple[Decoder, GPT2LMHeadModel]:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=V, n_positions=31, n_embd=12, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=END, pad_token_id=END
    )
    theirs = GPT2LMHeadModel(config).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # far from the start, so that continuations differ
            parameter.add_(0.3 * torch.randn_like(parameter))
    return decoder_from_hub(config.to_dict(), theirs.state_dict()).double().eval(), theirs


def _prompt(rows: int = 1) -> Tensor:
    return torch.tensor([[0, 4, 7, 2]]).expand(rows, -1)


def _mask(form: Form) -> Mask:
    return Mask(form, SPELLINGS, end=END)


def _text(ids: list[int]) -> str:
    return "".join(SPELLINGS[token] or "" for token in ids)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("temperature", [2.0, 4.0])
def test_every_text_that_ends_has_the_form(name: str, temperature: float, generator: torch.Generator) -> None:
    model = Constrained(_pair()[0], _mask(FORMS[name]), prompt=T)
    drawn = sample(model, _prompt(64), max_new_tokens=25, stop=END, temperature=temperature, generator=generator)[
        :, T:
    ].tolist()

    ended = [_text(row) for row in drawn if END in row]
    assert len(ended) > 5
    assert all(FORMS[name].accepts(text) for text in ended)
    live = FORMS[name].automaton.live()
    assert all(FORMS[name].automaton.step(0, _text(row)) in live for row in drawn)  # nor is one of the others lost


@pytest.mark.parametrize("name", FORMS)
def test_with_and_without_cache_the_same_texts(name: str) -> None:
    model = Constrained(_pair()[0], _mask(FORMS[name]), prompt=T)
    runs = [
        sample(
            model,
            _prompt(8),
            max_new_tokens=NEW,
            stop=END,
            use_cache=cached,
            generator=torch.Generator().manual_seed(1),
        )
        for cached in (True, False)
    ]
    assert torch.equal(*runs)


@pytest.mark.parametrize("name", FORMS)
def test_generate_with_the_same_allowed_tokens_writes_the_same_texts(name: str) -> None:
    ours, theirs = _pair(2)
    mask = _mask(FORMS[name])

    def allowed(_: int, ids: Tensor) -> list[int]:
        state = mask.start
        for token in ids[T:].tolist():
            state = mask.step(state, token)
        return mask.allowed(state).nonzero().flatten().tolist()  # type: ignore[no-any-return]

    model = Constrained(ours, mask, prompt=T)
    found = greedy(model, _prompt(), max_new_tokens=NEW, stop=END)
    expected = theirs.generate(
        _prompt(),
        attention_mask=torch.ones_like(_prompt()),
        max_new_tokens=NEW,
        do_sample=False,
        prefix_allowed_tokens_fn=allowed,
    )
    assert found.tolist() == expected.tolist()

    with torch.no_grad():
        logits = model(found)[:, -1]
        theirs_scores = PrefixConstrainedLogitsProcessor(allowed, 1)(found, ours(found)[:, -1])
    torch.testing.assert_close(logits, theirs_scores)


def test_where_each_letter_is_one_token_a_forbidden_word_is_that_of_transformers(generator: torch.Generator) -> None:
    letters = [None, None, "a", "b", "c"]
    mask = Mask(~Form.matching(".*bca.*"), letters, end=END)
    theirs = NoBadWordsLogitsProcessor([[3, 4, 2]], eos_token_id=END)

    for written in itertools.product((2, 3, 4), repeat=4):
        ids = torch.tensor([[0, *written]])
        state = mask.start
        for token in written:
            state = mask.step(state, token)
        if state != -2 and bool(mask.allowed(state).any()):
            banned = theirs(ids, torch.zeros(1, len(letters)))[0].isneginf()
            assert (~mask.allowed(state))[1:].tolist() == banned[1:].tolist() or "bca" in "".join(
                letters[t] or "" for t in written
            )


def test_a_word_is_banned_in_every_spelling_where_transformers_bans_one() -> None:
    mask = _mask(~Form.containing("ab", open_ended=True))
    theirs = NoBadWordsLogitsProcessor([[5]], eos_token_id=END)  # the token "ab"

    after_a = mask.allowed(mask.step(mask.start, 2))
    scores = theirs(torch.tensor([[0, 2]]), torch.zeros(1, V))[0]

    assert not after_a[3]  # a, then b
    assert scores[3] == 0


def test_beam_search_under_a_mask_finds_the_likeliest_text_that_has_the_form() -> None:
    model, mask = _pair(3)[0], _mask(FORMS["a shape"])
    texts = [t for n in (1, 2, 3) for t in itertools.product(range(2, V), repeat=n)]
    texts = [
        (*t, END) for t in texts if None not in [SPELLINGS[i] for i in t] and FORMS["a shape"].accepts(_text([*t]))
    ]
    scores = {}
    for t in texts:
        ids = torch.tensor([[*_prompt()[0].tolist(), *t]])
        with torch.no_grad():
            log_p = Constrained(model, mask, prompt=T)(ids)[:, T - 1 : -1].log_softmax(-1)
        scores[t] = float(log_p.gather(-1, ids[:, T:, None]).sum())

    best = beam(Constrained(model, mask, prompt=T), _prompt(), beams=V, max_new_tokens=4, stop=END)
    short = next(h for h in best if END in h.ids.tolist() and len(h.ids) <= T + 4)

    assert max(scores, key=scores.__getitem__) == tuple(short.ids[T:].tolist())
    assert short.log_probability == pytest.approx(max(scores.values()))


def test_masked_draws_times_what_was_taken_are_the_model_itself() -> None:
    """Over all texts of a form with at most three letters: weights turn masked probabilities into conditioned ones."""
    form = Form.matching("(a|b|c){1,3}") & ~Form.matching(".*ba.*")
    model, mask = _pair(4)[0], _mask(form)
    words = [t for n in (1, 2, 3) for t in itertools.product((2, 3, 4, 5, 8), repeat=n) if form.accepts(_text([*t]))]
    rows = torch.tensor([[*_prompt()[0].tolist(), *t, *[END] * (4 - len(t))] for t in words])

    surprise, taken = price(model, mask, rows, prompt=T)

    p, drawn = (-surprise).exp(), (taken - surprise).exp()
    assert float(drawn.sum()) == pytest.approx(1)  # the masked sampler writes these and nothing else
    assert float((drawn * (-taken).exp()).sum()) == pytest.approx(
        float(p.sum())
    )  # how often the free model keeps to it
    torch.testing.assert_close(drawn * (-taken).exp() / p.sum(), p / p.sum())
    for row, expected in zip(rows.tolist()[:20], drawn.tolist(), strict=False):
        ids = torch.tensor([row[: row.index(END) + 1]])
        with torch.no_grad():
            log_q = Constrained(model, mask, prompt=T)(ids)[:, T - 1 : -1].log_softmax(-1)
        assert math.exp(float(log_q.gather(-1, ids[:, T:, None]).sum())) == pytest.approx(expected)


def test_a_text_that_the_mask_forbids_has_no_price() -> None:
    rows = torch.tensor([[*_prompt()[0].tolist(), 4, END]])  # a "c"
    _, taken = price(_pair()[0], _mask(FORMS["no c"]), rows, prompt=T)
    assert float(taken) == math.inf


def test_what_cannot_be_written_is_refused_before_the_first_token() -> None:
    hat = Form.containing("ab")
    with pytest.raises(ValueError, match="contradicts itself"):
        _mask(hat & ~hat)
    with pytest.raises(ValueError, match="no token of its own"):
        _mask(Form.matching("aß"))
    assert bool(_mask(Form.matching("aé")).allowed(0)[2])  # é has one


def test_a_rule_without_a_way_on_is_a_dead_end_and_is_named() -> None:
    class OnlyAThenNothing:
        start = 0

        def step(self, state: int, token: int) -> int:
            return state + 1

        def allowed(self, state: int) -> Tensor:
            return torch.arange(V) == (2 if state < 3 else -1)

    with pytest.raises(DeadEnd, match="no token may follow 3 tokens after the prompt"):
        greedy(Constrained(_pair()[0], OnlyAThenNothing(), prompt=T), _prompt(2), max_new_tokens=NEW)


@pytest.mark.usefixtures("unchecked")
def test_a_prompt_has_at_least_the_start_token() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Constrained(_pair()[0], _mask(FORMS["no c"]), prompt=0)


def test_a_blend_is_the_base_at_zero_and_the_expert_at_one(generator: torch.Generator) -> None:
    (base, _), (expert, _) = _pair(0), _pair(1)
    ids = torch.randint(2, V, (3, T), generator=generator)
    with torch.no_grad():
        for strength, expected in ((0.0, base), (1.0, expert)):
            found = Blended([base, expert, base], [1.0, strength, -strength])(ids)
            torch.testing.assert_close(found.log_softmax(-1), expected(ids).log_softmax(-1))
        half = Blended([base, expert], [0.5, 0.5])(ids).softmax(-1)
        product = (base(ids).softmax(-1) * expert(ids).softmax(-1)).sqrt()
        torch.testing.assert_close(half, product / product.sum(-1, keepdim=True))


def test_a_blend_writes_the_same_with_and_without_its_caches_and_under_a_mask() -> None:
    models = [_pair(seed)[0] for seed in range(2)]
    model = Constrained(Blended(models, [1.0, 0.7]), _mask(FORMS["a word"]), prompt=T)
    found = [
        beam(model, _prompt(), beams=3, max_new_tokens=NEW, stop=END, use_cache=cached) for cached in (True, False)
    ]

    assert [h.ids.tolist() for h in found[0]] == [h.ids.tolist() for h in found[1]]


@pytest.mark.usefixtures("unchecked")
def test_a_blend_needs_one_weight_a_model() -> None:
    with pytest.raises(ValueError, match="got 1 models and weights"):
        Blended([_pair()[0]], [1.0, 2.0])
