"""Every teaching implementation beside its reference: one registry for the tests and for the site's parity table."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from string import ascii_lowercase

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.distributions import Categorical
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)
from transformers.loss.loss_utils import ForQuestionAnsweringLoss, ForSequenceClassificationLoss
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from llmguide.adapters import add_lora
from llmguide.attention import MultiHeadAttention, attention, causal_mask, fused_attention
from llmguide.checkpoints import load_encoder, minilm_folder
from llmguide.control import Constrained, Mask
from llmguide.encoder_decoder import EncoderDecoder, to_bart
from llmguide.forms import Form
from llmguide.generation import greedy
from llmguide.hub import decoder_from_hub, masked_language_model_from_hub
from llmguide.layers import FeedForward, layer_norm, rms_norm, rotary
from llmguide.losses import IGNORE, class_loss, masked_token_loss, next_token_loss, sequence_log_probability
from llmguide.model import Block, ModelConfig
from llmguide.recurrence import LSTM
from llmguide.spans import SpanHead, span_loss

B, H, T, S, D, K, V, C = 2, 3, 5, 7, 12, 11, 29, 4  # no two alike that could be swapped unseen


@dataclass(frozen=True)
class Differences:
    """The largest absolute difference of the outputs, and of the gradients where there are any."""

    forward: float
    gradient: float | None


@dataclass(frozen=True)
class Check:
    """One of our functions (`name`), what it must equal, by how much at most, and the comparison itself."""

    name: str
    reference: str
    tolerance: float
    run: Callable[[], Differences]


def _largest(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(ours, theirs, strict=True))


def _compare(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    *inputs: Tensor,
    parameters: tuple[Iterable[Tensor], Iterable[Tensor]] = ((), ()),
) -> Differences:
    """Outputs on the same inputs, and the gradients of one random projection of them.

    Args:
        parameters: ours and theirs, in the same order; their gradients are compared beside those of the inputs.
    """
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    outputs = ours(*inputs), theirs(*inputs)
    direction = torch.randn(outputs[0].shape, generator=_seeded(), dtype=outputs[0].dtype)
    gradients = [
        torch.autograd.grad((y * direction).sum(), [*inputs, *learned])
        for y, learned in zip(outputs, parameters, strict=True)
    ]
    return Differences(_largest(outputs[:1], outputs[1:]), _largest(*gradients))


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=_seeded(seed), dtype=torch.float64)


def _ids(*shape: int, below: int = V) -> Tensor:
    return torch.randint(below, shape, generator=_seeded(2))


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _shaken(model: nn.Module) -> nn.Module:
    """Random numbers in every parameter: zero biases and unit norms would hide a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def _attention(*, causal: bool) -> Differences:
    q, k, v = _random(3, B, H, T, K)
    mask = causal_mask(T) if causal else None

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, mask=mask)[0]

    def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return _compare(ours, theirs, q, k, v)


def _fused() -> Differences:
    q, k, v = _random(B, H, T, K), _random(B, H, S, K, seed=3), _random(B, H, S, K, seed=4)
    mask = _random(T, S) > -0.5
    return _compare(partial(fused_attention, mask=mask), lambda q, k, v: attention(q, k, v, mask=mask)[0], q, k, v)


def _multi_head(*, cross: bool) -> Differences:
    theirs = nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.float64)
    ours = MultiHeadAttention(D, H).double()
    ours.load_state_dict(
        {
            "project_in.weight": theirs.in_proj_weight,
            "project_in.bias": _random(3 * D),
            "project_out.weight": theirs.out_proj.weight,
            "project_out.bias": _random(D),
        }
    )
    with torch.no_grad():
        theirs.in_proj_bias.copy_(ours.project_in.bias)
        theirs.out_proj.bias.copy_(ours.project_out.bias)
    x, context = _random(B, T, D), _random(B, S, D, seed=3)
    compare = partial(_compare, parameters=(ours.parameters(), theirs.parameters()))  # both: in, out; weight, bias
    if cross:
        return compare(lambda x, c: ours(x, context=c), lambda x, c: theirs(x, c, c, need_weights=False)[0], x, context)
    forbidden = ~causal_mask(T)
    return compare(partial(ours, causal=True), lambda x: theirs(x, x, x, attn_mask=forbidden, need_weights=False)[0], x)


def _layer_norm() -> Differences:
    return _compare(
        layer_norm, lambda x, w, b: F.layer_norm(x, (D,), w, b), _random(B, T, D), _random(D), _random(D, seed=3)
    )


def _rms_norm() -> Differences:
    return _compare(rms_norm, lambda x, w: F.rms_norm(x, (D,), w, eps=1e-6), _random(B, T, D), _random(D))


def _feed_forward() -> Differences:
    ours = FeedForward(D, 4 * D, activation="relu").double()
    theirs = nn.Sequential(ours.expand, nn.ReLU(), ours.contract)
    return _compare(ours, theirs, _random(B, T, D))


def _rotary() -> Differences:
    width = 2 * K  # pairs
    angles = torch.arange(T)[:, None] * 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    turns = torch.cat([angles, angles], dim=-1)[None]  # (1, T, K)

    def theirs(x: Tensor) -> Tensor:
        return apply_rotary_pos_emb(x, x, turns.cos(), turns.sin())[0]

    return _compare(rotary, theirs, _random(B, H, T, width))


def _block(*, cross: bool) -> Differences:
    config = ModelConfig(
        vocabulary=V, context=T, width=D, layers=1, heads=H, positions="none", norm_order="post", activation="relu"
    )
    ours = Block(config, causal=cross, cross=cross).double()
    kind = nn.TransformerDecoderLayer if cross else nn.TransformerEncoderLayer
    theirs = kind(D, H, 4 * D, dropout=0.0, batch_first=True, dtype=torch.float64)
    parts = {
        "self_attn.in_proj_": "attention.project_in.",
        "self_attn.out_proj.": "attention.project_out.",
        "multihead_attn.in_proj_": "cross_attention.project_in.",
        "multihead_attn.out_proj.": "cross_attention.project_out.",
        "linear1.": "feed_forward.expand.",
        "linear2.": "feed_forward.contract.",
        "norm1.": "attention_norm.",
        "norm2.": "cross_attention_norm." if cross else "feed_forward_norm.",
        "norm3.": "feed_forward_norm.",
    }
    state = {}
    for name, parameter in _shaken(theirs).named_parameters():
        prefix = next(part for part in parts if name.startswith(part))
        state[name.replace(prefix, parts[prefix])] = parameter
    ours.load_state_dict(state)
    compare = partial(_compare, parameters=([ours.get_parameter(name) for name in state], state.values()))
    x, context = _random(B, T, D), _random(B, S, D, seed=3)
    if cross:
        forbidden = ~causal_mask(T)
        return compare(lambda x, c: ours(x, context=c), lambda x, c: theirs(x, c, tgt_mask=forbidden), x, context)
    return compare(ours, theirs, x)


def _lstm() -> Differences:
    width = H  # narrower than its state of D numbers
    theirs = _shaken(nn.LSTM(width, D, batch_first=True, dtype=torch.float64))
    ours = LSTM(width, D).double()
    with torch.no_grad():
        theirs.bias_hh_l0.zero_()  # torch has two biases that are only ever added
    learned = [theirs.weight_ih_l0, theirs.bias_ih_l0, theirs.weight_hh_l0]
    names = ["project_in.weight", "project_in.bias", "project_state.weight"]
    ours.load_state_dict(dict(zip(names, learned, strict=True)))

    def everything(outputs: Tensor, output: Tensor, memory: Tensor) -> Tensor:
        return torch.cat([outputs, output[:, None], memory[:, None]], dim=1)  # (B, T + 2, D)

    return _compare(
        lambda x, output, memory: everything((read := ours(x, state=(output, memory)))[0], *read[1]),
        lambda x, output, memory: everything(
            (read := theirs(x, (output[None], memory[None])))[0], *(part[0] for part in read[1])
        ),
        _random(B, T, width),
        _random(B, D, seed=3),
        _random(B, D, seed=4),
        parameters=([ours.get_parameter(name) for name in names], learned),
    )


def _compare_models(
    ours: nn.Module, theirs: nn.Module, logits: Tensor, reference: Tensor, from_hub: Callable[..., nn.Module]
) -> Differences:
    """Logits, and the gradient of every parameter, brought to our layout by the same function that loads weights."""
    direction = torch.randn(logits.shape, generator=_seeded(), dtype=logits.dtype)
    (logits * direction).sum().backward()
    (reference * direction).sum().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    expected = dict(from_hub(theirs.config.to_dict(), gradients).named_parameters())
    found = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    return Differences(_largest([logits], [reference]), _largest(found.values(), (expected[name] for name in found)))


def _decoder() -> Differences:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=V, n_positions=S, n_embd=D, n_layer=2, n_head=H, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    with _float64():
        theirs = _shaken(GPT2LMHeadModel(config))
        ours = decoder_from_hub(config.to_dict(), theirs.state_dict())
        ids = _ids(B, T)
        return _compare_models(ours, theirs, ours(ids), theirs(ids).logits, decoder_from_hub)


def _encoder() -> Differences:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=V,
        max_position_embeddings=S,
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=H,
        intermediate_size=4 * D,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with _float64():
        theirs = _shaken(BertForMaskedLM(config))
        ours = masked_language_model_from_hub(config.to_dict(), theirs.state_dict())
        ids, segments, keep = _ids(B, T), _ids(B, T, below=2), torch.arange(T) < torch.tensor([[T], [T - 2]])
        reference = theirs(ids, token_type_ids=segments, attention_mask=keep.long()).logits
        logits = ours(ids, segments=segments, keep=keep)
        return _compare_models(ours, theirs, logits[keep], reference[keep], masked_language_model_from_hub)


def _encoder_decoder() -> Differences:
    torch.manual_seed(0)
    config = ModelConfig(
        vocabulary=V, context=S, width=D, layers=2, heads=H, norm_order="post", activation="gelu", hidden=5
    )
    with _float64():
        ours = EncoderDecoder(config)
        _shaken(ours)
        settings, tensors = to_bart(ours)
        theirs = BartForConditionalGeneration(BartConfig(**settings, pad_token_id=0)).eval()
        theirs.load_state_dict(tensors)
    source, target = (
        1 + _ids(B, S, below=V - 1),
        1 + _ids(B, T, below=V - 1),
    )  # BART lets its padding token learn nothing
    keep = torch.arange(S) < torch.tensor([[S], [S - 3]])
    logits = ours(source, target, keep=keep)
    reference = theirs(input_ids=source, attention_mask=keep.long(), decoder_input_ids=target).logits
    direction = torch.randn(logits.shape, generator=_seeded(), dtype=logits.dtype)
    (logits * direction).sum().backward()
    (reference * direction).sum().backward()
    with torch.no_grad():  # our gradients under BART's names, by the function that names our weights
        for parameter in ours.parameters():
            parameter.copy_(torch.zeros(()) if parameter.grad is None else parameter.grad)
    found = to_bart(ours)[1]
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    return Differences(_largest([logits], [reference]), _largest((found[name] for name in expected), expected.values()))


def _minilm() -> Differences:
    folder = minilm_folder()
    ours, theirs = load_encoder(folder), BertModel.from_pretrained(folder).eval()
    ids, keep = _ids(B, S, below=30_000), torch.arange(S) < torch.tensor([[S], [S - 3]])
    with torch.no_grad():
        reference = theirs(ids, attention_mask=keep.long()).last_hidden_state
        return Differences(_largest([ours(ids, keep=keep)[keep]], [reference[keep]]), None)


def _next_token() -> Differences:
    torch.manual_seed(0)
    theirs = (
        GPT2LMHeadModel(
            GPT2Config(vocab_size=V, n_positions=S, n_embd=D, n_layer=1, n_head=H, bos_token_id=0, eos_token_id=0)
        )
        .double()
        .eval()
    )
    ids = _ids(B, T)
    return _compare(
        lambda logits: next_token_loss(logits, ids),
        lambda logits: theirs.loss_function(logits, labels=ids, vocab_size=V),
        theirs(ids).logits.detach(),
    )


def _masked_token() -> Differences:
    labels = _ids(B, T).masked_fill(_random(B, T) > 0, IGNORE)

    def theirs(logits: Tensor) -> Tensor:
        chosen = logits.log_softmax(-1)[labels != IGNORE]
        return -chosen.gather(-1, labels[labels != IGNORE][:, None]).mean()

    return _compare(lambda logits: masked_token_loss(logits, labels), theirs, _random(B, T, V))


def _sequence() -> Differences:
    ids = _ids(B, T)
    scored = ids.masked_fill(torch.arange(T) < torch.tensor([[2], [0]]), IGNORE)  # the first text has a prompt

    def theirs(logits: Tensor) -> Tensor:
        chosen = Categorical(logits=logits[:, :-1]).log_prob(ids[:, 1:])
        return torch.stack([chosen[0, 1:].sum(), chosen[1].sum()])

    return _compare(lambda logits: sequence_log_probability(logits, scored), theirs, _random(B, T, V))


def _classes(*, weighted: bool) -> Differences:
    logits, labels = _random(K, C), _ids(K, below=C)
    if weighted:
        weights = _random(C).exp()
        reference = nn.CrossEntropyLoss(weights)
        return _compare(partial(class_loss, labels=labels, weights=weights), lambda x: reference(x, labels), logits)
    config = BertConfig(num_labels=C, problem_type="single_label_classification")
    theirs = partial(ForSequenceClassificationLoss, labels, config=config)
    return _compare(partial(class_loss, labels=labels), theirs, logits)


def _greedy(*, use_cache: bool, padded: bool = False) -> Differences:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=V, n_positions=S + T, n_embd=D, n_layer=2, n_head=H, bos_token_id=None, eos_token_id=None
    )
    theirs = _shaken(GPT2LMHeadModel(config))
    ours = decoder_from_hub(config.to_dict(), theirs.state_dict())
    prompt, keep = _ids(B, T), torch.ones(B, T, dtype=torch.bool)
    keep[0, :2] = not padded
    reference = theirs.generate(prompt, attention_mask=keep.long(), max_new_tokens=S, do_sample=False, pad_token_id=0)
    found = greedy(ours, prompt, max_new_tokens=S, use_cache=use_cache, keep=keep if padded else None)
    return Differences(_largest([found], [reference]), None)


def _constrained() -> Differences:
    """Greedy texts of a form of letters: ids 0 and 1 are start and end, then a to z and a space."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=V, n_positions=S + T, n_embd=D, n_layer=2, n_head=H, bos_token_id=None, eos_token_id=None
    )
    theirs = _shaken(GPT2LMHeadModel(config))
    ours = decoder_from_hub(config.to_dict(), theirs.state_dict())
    mask = Mask(
        Form.matching("([a-m]+ )*[n-z]+") & ~Form.matching(".*(.e|q).*"), [None, None, *ascii_lowercase, " "], end=1
    )

    def allowed(_: int, ids: Tensor) -> list[int]:
        state = reduce(mask.step, ids[T:].tolist(), mask.start)
        return mask.allowed(state).nonzero().flatten().tolist()  # type: ignore[no-any-return]

    prompt = _ids(B, T)
    settings = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 0}
    reference = theirs.generate(prompt, max_new_tokens=S, prefix_allowed_tokens_fn=allowed, **settings)
    found = greedy(Constrained(ours, mask, prompt=T), prompt, max_new_tokens=S)
    return Differences(_largest([found], [reference]), None)


def _lora(kind: type[nn.Module], *targets: str) -> Differences:
    """Logits of hidden states given to a model, and the gradients of these states and of every A and B."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=V, hidden_size=D, num_hidden_layers=2, num_attention_heads=H, intermediate_size=S)
    if kind is GPT2LMHeadModel:
        config = GPT2Config(vocab_size=V, n_embd=D, n_layer=2, n_head=H, bos_token_id=None, eos_token_id=None)
    with _float64(), warnings.catch_warnings():
        # peft reads a name that transformers has renamed.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        ours = _shaken(kind(config))
        settings = LoraConfig(r=3, lora_alpha=5, target_modules=list(targets), fan_in_fan_out=kind is GPT2LMHeadModel)
        theirs = _shaken(get_peft_model(copy.deepcopy(ours), settings))
        add_lora(ours, targets=targets, rank=3, alpha=5)
    state = {}
    for name, parameter in theirs.get_base_model().named_parameters():
        for part, our_part in (
            (".base_layer", ".base"),
            (".lora_A.default.weight", ".A"),
            (".lora_B.default.weight", ".B"),
        ):
            name = name.replace(part, our_part)
        state[name] = parameter
    ours.load_state_dict(state, strict=False)  # the rest is a tied head
    learnt = [name for name, parameter in state.items() if parameter.requires_grad]
    return _compare(
        lambda x: ours(inputs_embeds=x).logits,
        lambda x: theirs(inputs_embeds=x).logits,
        _random(B, T, D),
        parameters=([ours.get_parameter(name) for name in learnt], [state[name] for name in learnt]),
    )


def _spans() -> Differences:
    first, last = torch.randint(T, (2, B), generator=_seeded())
    return _compare(
        lambda starts, ends: span_loss(starts, ends, first, last),
        lambda starts, ends: ForQuestionAnsweringLoss(starts, ends, first, last),
        _random(B, T),
        _random(B, T, seed=2),
    )


def _span_head() -> Differences:
    config = BertConfig(vocab_size=V, hidden_size=D, num_hidden_layers=2, num_attention_heads=H, intermediate_size=S)
    with _float64():
        theirs, ours = _shaken(BertForQuestionAnswering(config)).eval(), SpanHead(D)
        ours.project.load_state_dict(theirs.qa_outputs.state_dict())
    return _compare(
        lambda x: torch.stack(ours(theirs.bert(inputs_embeds=x).last_hidden_state)),
        lambda x: torch.stack([(output := theirs(inputs_embeds=x)).start_logits, output.end_logits]),
        _random(B, T, D),
        parameters=(ours.parameters(), theirs.qa_outputs.parameters()),
    )


CHECKS: list[Check] = [
    Check("attention", "torch F.scaled_dot_product_attention", 1e-12, partial(_attention, causal=False)),
    Check("attention, causal mask", "torch F.scaled_dot_product_attention", 1e-12, partial(_attention, causal=True)),
    Check("fused_attention, any mask", "our explicit attention", 1e-12, _fused),
    Check("MultiHeadAttention, causal", "torch nn.MultiheadAttention", 1e-12, partial(_multi_head, cross=False)),
    Check("MultiHeadAttention, cross", "torch nn.MultiheadAttention", 1e-12, partial(_multi_head, cross=True)),
    Check("layer_norm", "torch F.layer_norm", 1e-12, _layer_norm),
    Check("rms_norm", "torch F.rms_norm", 1e-12, _rms_norm),
    Check("FeedForward", "torch nn.Linear, nn.ReLU, nn.Linear", 1e-12, _feed_forward),
    Check("rotary", "transformers Llama apply_rotary_pos_emb", 1e-12, _rotary),
    Check("Block, post-norm", "torch nn.TransformerEncoderLayer", 1e-9, partial(_block, cross=False)),
    Check("Block, cross-attention", "torch nn.TransformerDecoderLayer", 1e-9, partial(_block, cross=True)),
    Check("LSTM, outputs and state", "torch nn.LSTM", 1e-12, _lstm),
    Check("Decoder", "transformers GPT2LMHeadModel", 1e-9, _decoder),
    Check("MaskedLanguageModel (Encoder)", "transformers BertForMaskedLM", 1e-9, _encoder),
    Check("Encoder, MiniLM's real weights", "transformers BertModel, float32", 1e-5, _minilm),
    Check("EncoderDecoder", "transformers BartForConditionalGeneration", 1e-9, _encoder_decoder),
    Check("LoRA in BERT", "peft, each A and B", 1e-9, partial(_lora, BertForMaskedLM, "query", "value", "dense")),
    Check("LoRA in GPT-2 (Conv1D)", "peft, each A and B", 1e-9, partial(_lora, GPT2LMHeadModel, "c_attn", "c_fc")),
    Check("next_token_loss", "transformers GPT2LMHeadModel's loss, float32", 1e-6, _next_token),
    Check("masked_token_loss", "mean of -log_softmax at the labels", 1e-12, _masked_token),
    Check("sequence_log_probability", "torch Categorical.log_prob, summed", 1e-12, _sequence),
    Check("class_loss", "transformers ForSequenceClassificationLoss", 1e-12, partial(_classes, weighted=False)),
    Check("class_loss, weighted", "torch nn.CrossEntropyLoss", 1e-12, partial(_classes, weighted=True)),
    Check("span_loss", "transformers ForQuestionAnsweringLoss", 1e-12, _spans),
    Check("SpanHead", "transformers BertForQuestionAnswering", 1e-12, _span_head),
    Check("greedy", "transformers generate, the same ids", 0.0, partial(_greedy, use_cache=False)),
    Check("greedy, with a cache", "transformers generate, the same ids", 0.0, partial(_greedy, use_cache=True)),
    Check(
        "greedy, padded on the left",
        "transformers generate, the same ids",
        0.0,
        partial(_greedy, use_cache=True, padded=True),
    ),
    Check("Constrained, greedy under a mask", "transformers generate, prefix_allowed_tokens_fn", 0.0, _constrained),
]
