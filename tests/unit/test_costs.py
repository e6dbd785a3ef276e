"""Costs by formula against what torch counts."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from llmguide.attention import KeyValueCache, attention, fused_attention, recording
from llmguide.costs import (
    attention_bytes,
    block_activations,
    block_flops,
    block_parameters,
    cache_bytes,
    decoder_parameters,
    encoder_parameters,
    forward_flops,
    kept_for_backward,
    training_bytes,
)
from llmguide.losses import next_token_loss
from llmguide.model import Block, Decoder, Encoder, ModelConfig

B, T, D, H, F, V, L = 2, 7, 12, 3, 29, 31, 5
CONFIG = ModelConfig(vocabulary=V, context=11, width=D, layers=L, heads=H, hidden=F)


def numbers(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("cross", [False, True])
def test_block_parameters_are_the_blocks(cross: bool) -> None:
    assert block_parameters(width=D, hidden=F, cross=cross) == numbers(Block(CONFIG, causal=cross, cross=cross))


def test_decoder_parameters_are_the_decoders() -> None:
    assert decoder_parameters(vocabulary=V, context=11, width=D, layers=L, hidden=F) == numbers(Decoder(CONFIG))


def test_encoder_parameters_are_the_encoders() -> None:
    config = ModelConfig(vocabulary=V, context=11, width=D, layers=L, heads=H, hidden=F, norm_order="post", segments=3)

    ours = encoder_parameters(vocabulary=V, context=11, width=D, layers=L, hidden=F, segments=3)

    assert ours == numbers(Encoder(config))


def test_forward_flops_are_those_that_torch_counts() -> None:
    with torch.device("meta"):
        model, ids = Decoder(CONFIG), torch.zeros(B, T, dtype=torch.long)

    with recording(), FlopCounterMode(display=False) as forward:
        logits = model(ids)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()

    assert forward.get_total_flops() == B * forward_flops(vocabulary=V, length=T, width=D, layers=L, hidden=F)
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_scores_and_mixing_grow_with_the_square_of_the_length() -> None:
    short, long = (block_flops(length=length, width=D) for length in (T, 3 * T))

    assert long["scores"] == 9 * short["scores"] and long["mixing"] == 9 * short["mixing"]
    assert long["projections"] == 3 * short["projections"] and long["feed-forward"] == 3 * short["feed-forward"]


def test_a_block_keeps_the_activations_of_the_formula() -> None:
    x = torch.randn(B, T, D, requires_grad=True)
    block = Block(CONFIG, causal=True)

    with kept_for_backward(block.parameters()) as kept:
        y = block(x)

    assert kept.bytes == 4 * sum(block_activations(batch=B, length=T, width=D, heads=H, hidden=F).values())
    del y
    assert kept.bytes == 0


def test_explicit_attention_keeps_its_weights_and_the_fused_kernel_does_not() -> None:
    q, k, v = (torch.randn(B, H, T, D, requires_grad=True) for _ in range(3))

    with kept_for_backward([q, k, v]) as explicit:
        mixed, _ = attention(q, k, v)
    with kept_for_backward([q, k, v]) as fused:
        other = fused_attention(q, k, v)

    assert explicit.bytes == attention_bytes(batch=B, heads=H, length=T)
    assert fused.bytes == 4 * B * H * T * (D + 1)  # its output and one number a query
    torch.testing.assert_close(mixed, other)


def test_backward_lets_go_of_what_was_kept_even_when_the_loss_is_not() -> None:
    model, ids = (Decoder(CONFIG), torch.randint(V, (B, T), generator=torch.Generator().manual_seed(0)))

    with kept_for_backward(model.parameters()) as kept:
        loss = next_token_loss(model(ids), ids)
        held = kept.bytes
        loss.backward()

    assert held > 0 and kept.bytes == 0


def test_gradients_are_the_same_while_watched() -> None:
    x = torch.randn(B, T, D, requires_grad=True)
    block = Block(CONFIG, causal=True)
    (expected,) = torch.autograd.grad(block(x).square().sum(), x)

    with kept_for_backward():
        (found,) = torch.autograd.grad(block(x).square().sum(), x)

    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_cache_bytes_are_the_caches() -> None:
    model, ids = Decoder(CONFIG).eval(), torch.zeros(B, T, dtype=torch.long)
    cache = model.new_cache(T)
    assert KeyValueCache(T).bytes == 0

    with torch.inference_mode():
        model(ids, cache=cache)

    assert sum(layer.bytes for layer in cache) == cache_bytes(batch=B, length=T, width=D, layers=L, bytes_per_number=4)


def test_grouped_queries_divide_the_cache() -> None:
    size = {"batch": B, "length": T, "width": 16, "layers": L}

    assert 4 * cache_bytes(**size, groups=4) == cache_bytes(**size)


def test_training_bytes_are_those_of_adamw() -> None:
    model = Block(CONFIG, causal=True)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(B, T, D)).sum().backward()
    optimizer.step()
    moments = [m for state in optimizer.state.values() for name, m in state.items() if name != "step"]

    bill = training_bytes(parameters=numbers(model))

    assert bill["weights"] == sum(p.nbytes for p in model.parameters())
    assert bill["gradients"] == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert bill["first moments"] + bill["second moments"] == sum(m.nbytes for m in moments)
