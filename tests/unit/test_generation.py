"""Generation: the same tokens with and without a cache, and clear limits. Parity with `generate` is in `parity`."""

import pytest
import torch
from torch import Tensor

from llmguide.batches import pad
from llmguide.generation import beam, greedy, sample
from llmguide.model import Decoder, ModelConfig
from llmguide.recurrence import LSTMLanguageModel, RecurrentConfig

B, T, V, NEW, CONTEXT = 2, 3, 31, 8, 11


@pytest.fixture
def prompt(generator: torch.Generator) -> Tensor:
    return torch.randint(V, (B, T), generator=generator)


def decoder(positions: str = "learned") -> Decoder:
    model = Decoder(ModelConfig(vocabulary=V, context=CONTEXT, width=12, layers=2, heads=3, positions=positions))
    for parameter in model.parameters():
        parameter.data *= 10  # so that it does not only repeat itself
    return model.eval()


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "none"])
def test_each_token_is_the_most_likely_after_all_before_it(positions: str, prompt: Tensor) -> None:
    model = decoder(positions)

    ids = greedy(model, prompt, max_new_tokens=NEW)

    best = model(ids[:, :-1]).argmax(-1)  # what the model says at each position, read in one go
    assert torch.equal(ids[:, :T], prompt)
    assert torch.equal(ids[:, T:], best[:, T - 1 :])


def test_with_a_cache_or_without_the_tokens_are_the_same(prompt: Tensor) -> None:
    model = decoder()

    with_cache, without = (greedy(model, prompt, max_new_tokens=NEW, use_cache=use) for use in (True, False))

    assert torch.equal(with_cache, without)


def test_with_a_cache_each_position_is_read_once(prompt: Tensor) -> None:
    model, lengths = decoder(), []
    model.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[1]))

    greedy(model, prompt, max_new_tokens=4)
    greedy(model, prompt, max_new_tokens=4, use_cache=False)

    assert lengths == [T, 1, 1, 1, T, T + 1, T + 2, T + 3]


def test_what_was_generated_can_be_learned_from(prompt: Tensor) -> None:
    model = decoder()

    ids = greedy(model, prompt, max_new_tokens=NEW)
    model(ids).sum().backward()  # torch refuses tensors made in inference mode here

    assert not ids.is_inference()


def test_no_graph_is_kept_while_generating(prompt: Tensor) -> None:
    model, with_graph = decoder(), []
    model.register_forward_pre_hook(lambda *_: with_graph.append(torch.is_grad_enabled()))

    greedy(model, prompt, max_new_tokens=3)

    assert with_graph == [False] * 3


def test_nothing_new_is_the_prompt(prompt: Tensor) -> None:
    assert torch.equal(greedy(decoder(), prompt, max_new_tokens=0), prompt)


def test_the_context_can_be_filled_to_the_last_position(prompt: Tensor) -> None:
    assert greedy(decoder(), prompt, max_new_tokens=CONTEXT - T).shape == (B, CONTEXT)


def test_past_the_context_is_refused_before_anything_is_computed(prompt: Tensor) -> None:
    with pytest.raises(ValueError, match="3 tokens and 9 new ones are more than the context of 11"):
        greedy(decoder(), prompt, max_new_tokens=9)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="the prompt has no tokens; give at least one"):
        greedy(decoder(), torch.zeros(B, 0, dtype=torch.long), max_new_tokens=1)


def test_fewer_than_no_new_tokens_are_refused(prompt: Tensor) -> None:
    with pytest.raises(ValueError, match="max_new_tokens is -1; it must be at least 0"):
        greedy(decoder(), prompt, max_new_tokens=-1)


# Prompts of unequal length, padded on the left

PROMPTS = [[5], [7, 3, 11], [2, 2], [30, 1, 4]]
PADDING = 9


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "none"])
def test_each_prompt_of_a_padded_batch_goes_on_as_it_would_alone(positions: str, *, use_cache: bool) -> None:
    model = decoder(positions).double()
    ids, keep = pad(PROMPTS, padding=PADDING, left=True)

    together = greedy(model, ids, keep=keep, max_new_tokens=NEW, use_cache=use_cache)

    alone = [greedy(model, torch.tensor([prompt]), max_new_tokens=NEW)[0, -NEW:].tolist() for prompt in PROMPTS]
    assert together[:, -NEW:].tolist() == alone
    assert torch.equal(together[:, :T], ids)  # padding and all


def test_padding_is_not_text_that_could_be_repeated() -> None:
    model = decoder().double()
    ids, keep = pad(PROMPTS, padding=PADDING, left=True)
    settings = {"max_new_tokens": NEW, "repetition_penalty": 1.7, "top_k": 1}

    together = sample(model, ids, keep=keep, **settings)

    alone = [sample(model, torch.tensor([prompt]), **settings)[0, -NEW:].tolist() for prompt in PROMPTS]
    assert together[:, -NEW:].tolist() == alone
    other = torch.where(keep, ids, together[:, -1:])  # padded with a token that was written
    assert torch.equal(sample(model, other, keep=keep, **settings)[:, -NEW:], together[:, -NEW:])


@pytest.mark.parametrize("wrong", [[True, True, False], [False, True, False], [False, False, False]])
def test_padding_elsewhere_is_named(wrong: list[bool], prompt: Tensor) -> None:
    with pytest.raises(ValueError, match="prompt 1 has padding after its tokens, or no token: pad on the left"):
        greedy(decoder(), prompt, keep=torch.tensor([[False, True, True], wrong]), max_new_tokens=1)


@pytest.mark.usefixtures("unchecked")
def test_a_mask_of_another_shape_is_named(prompt: Tensor) -> None:
    with pytest.raises(ValueError, match=r"keep has shape \(2, 4\), the prompt \(2, 3\)"):
        greedy(decoder(), prompt, keep=torch.ones(B, T + 1, dtype=torch.bool), max_new_tokens=1)


# A recurrent model


def test_an_lstm_goes_on_in_the_same_way_and_without_a_limit(prompt: Tensor) -> None:
    model = LSTMLanguageModel(RecurrentConfig(vocabulary=V, width=12, layers=2)).double()
    for parameter in model.parameters():
        parameter.data *= 3
    new = 5 * CONTEXT

    with_cache, without = (greedy(model, prompt, max_new_tokens=new, use_cache=use) for use in (True, False))
    found, again = (beam(model, prompt[:1], beams=3, max_new_tokens=NEW, use_cache=use) for use in (True, False))
    ids, keep = pad(PROMPTS, padding=PADDING, left=True)
    together = greedy(model, ids, keep=keep, max_new_tokens=NEW)
    alone = [greedy(model, torch.tensor([text]), max_new_tokens=NEW)[0, -NEW:].tolist() for text in PROMPTS]

    assert torch.equal(with_cache, without)
    assert [h.ids.tolist() for h in found] == [h.ids.tolist() for h in again]
    assert together[:, -NEW:].tolist() == alone
