"""Pretrained: a checkpoint becomes a plain `transformers` model for a task, and back; no weight is made up silently."""

import contextlib
import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmguide import checkpoints, runtime
from llmguide.checkpoints import CONFIG, WEIGHTS, WEIGHTS_HASH

HEADS = ("classifier", "pre_classifier", "score")  # what `transformers` calls the layers above a body
UNNAMED = "LABEL_"  # the names of classes where a checkpoint gives none
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
WORTH_A_WARNING = (
    0.01  # the share of embedding rows without a token; a vocabulary filled up to a round number has fewer
)

Pretrained = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def classifier(name: str | Path, labels: Sequence[str], *, new_head: bool = False) -> Pretrained:
    """A model that will tell classes apart, and its tokenizer: a pretrained body under a head that is to be trained.

    The head of a checkpoint that already tells the same classes apart is kept; there is none on an encoder, and a new
    one, random (`torch.manual_seed` fixes it), answers by chance until it is trained. In evaluation mode.

    Args:
        name: a folder in the hub's layout, or a hub name.
        labels: the names of the classes, in the order of their numbers.
        new_head: replace a head that was trained for other classes.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: fewer than two classes or a name twice; a damaged file; weights of another kind of model; a
            tokenizer that does not belong to them; a head for other classes.

    Taught in: finetuning/sentiment
    """
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(f"labels are {list(labels)}; give two or more different names of classes")
    folder = _verified(name)
    settings = _config(folder)
    had_head = any("Classification" in kind for kind in settings.architectures or ())
    trained = list(settings.id2label.values())
    if had_head and not new_head and len(trained) != len(labels):
        raise ValueError(
            f"{folder} has a head for {len(trained)} classes ({', '.join(trained)}), asked for {len(labels)} "
            f"({', '.join(labels)}); pass new_head=True to replace it"
        )
    if had_head and not new_head and trained != list(labels) and not trained[0].startswith(UNNAMED):
        raise ValueError(
            f"{folder} has a head for {', '.join(trained)}, asked for {', '.join(labels)}; name the classes as there, "
            "or pass new_head=True to replace it"
        )
    model = _open(transformers.AutoModelForSequenceClassification, folder, head_may_be_new=True, **_names(labels))
    if had_head and new_head:
        _renew(model)
    return model, _tokenizer(folder, model)


def load_classifier(folder: str | Path) -> Pretrained:
    """A classifier that was trained and saved, and its tokenizer. In evaluation mode; raises as `classifier`.

    A checkpoint without a head is refused: the new one would answer by chance.
    """
    folder = _verified(folder)
    model = _open(transformers.AutoModelForSequenceClassification, folder)
    return model, _tokenizer(folder, model)


def language_model(name: str | Path) -> Pretrained:
    """A model that predicts the next token, and its tokenizer. In evaluation mode; raises as `classifier`.

    Taught in: finetuning/causal-lm
    """
    folder = _verified(name)
    model = _open(transformers.AutoModelForCausalLM, folder)
    return model, _tokenizer(folder, model)


def encoder(name: str | Path) -> Pretrained:
    """A body without a head, for features of texts, and its tokenizer. In evaluation mode; raises as `classifier`."""
    folder = _verified(name)
    model = _open(transformers.AutoModel, folder)
    return model, _tokenizer(folder, model)


def encoder_decoder(name: str | Path) -> Pretrained:
    """A model that reads one text and writes another (BART, T5, Marian, ...), and its tokenizer. In evaluation mode.

    Raises:
        FileNotFoundError: no such folder, and the hub does not give it.
        ImportError: the tokenizer needs a package that is not installed; the message names it.
        ValueError: a model of another kind.

    Taught in: applications/translation
    Source: lewis2019bart; raffel2019exploring
    """
    local = Path(name).expanduser().is_dir() or not runtime.hub_answers()
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=local)
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(name, local_files_only=local)
    except OSError as error:
        raise FileNotFoundError(
            f"{name} is no folder with a sequence-to-sequence model, and the hub did not give it; give a folder in the "
            "hub's layout, or set HF_ENDPOINT to a mirror before Python starts (book: How to use it)"
        ) from error
    except (ImportError, ValueError) as error:
        if "sentencepiece" in str(error).lower():
            raise ImportError(f"the tokenizer of {name} needs a package: pip install sentencepiece") from error
        if "Unrecognized configuration class" in str(error):
            raise ValueError(f"{name} holds no encoder-decoder; give a BART, a T5 or another of that kind") from error
        raise
    return model.eval(), tokenizer


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> Path:
    """Write model, tokenizer and the SHA-256 of the weights in the hub's layout; plain `transformers` opens it.

    Everything is written beside what it replaces and then put in place: an error, a full disk or Ctrl-C on the way
    leaves a model that was there as it was.

    Raises:
        ValueError: a weight is NaN or infinite.
        OSError: the disk is full or the folder cannot be written; the message names it and the way out.

    Taught in: finetuning/sentiment
    """
    folder = Path(folder)
    broken = [key for key, value in model.state_dict().items() if value.is_floating_point() and not _finite(value)]
    if broken:
        raise ValueError(f"{broken[0]} holds NaN or infinity; the model is not saved, and {folder} is as it was")
    new = folder / f"new{runtime.TEMPORARY_SUFFIX}"
    with runtime.replacing(folder / WEIGHTS_HASH) as new_hash:  # translates what a disk says; put in place last
        shutil.rmtree(new, ignore_errors=True)  # left by a killed process
        try:
            with quiet():
                model.save_pretrained(new)
                tokenizer.save_pretrained(new)
            with (new / WEIGHTS).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            new_hash.write_text(f"{sha256}  {WEIGHTS}\n", encoding="utf-8")
            (folder / WEIGHTS_HASH).unlink(missing_ok=True)  # a hash of other weights would condemn the new ones
            for path in sorted(new.iterdir(), key=lambda path: path.name == WEIGHTS):  # the weights last
                os.replace(path, folder / path.name)
        except SafetensorError as error:
            number = 28 if "space" in str(error) else None  # ENOSPC
            raise OSError(number, f"{folder} cannot be written: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder


def head_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a classifier above its body."""
    return [module for name, module in model.named_children() if name in HEADS]


def _verified(name: str | Path) -> Path:
    """The folder of a checkpoint whose files are whole, of one piece and finite."""
    folder = checkpoints.find(name)
    checkpoints.read(folder)
    return folder


def _config(folder: Path) -> Any:
    try:
        with quiet():
            return transformers.AutoConfig.from_pretrained(folder)
    except ValueError as error:
        raise ValueError(
            f"{folder / CONFIG} describes no model that transformers {transformers.__version__} knows "
            f"({str(error).splitlines()[0]})"
        ) from error


def _open(kind: Any, folder: Path, *, head_may_be_new: bool = False, **settings: Any) -> PreTrainedModel:
    """Load, and compare what was loaded with what the model needs: `transformers` would fill the gaps at random."""
    _config(folder)
    try:
        with quiet():
            model, report = kind.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, **settings
            )
    except ValueError as error:
        raise ValueError(f"{folder} cannot become a {kind.__name__}: {str(error).splitlines()[0]}") from error
    body, name = f"{model.base_model_prefix}.", type(model).__name__
    missing = sorted(report["missing_keys"])
    wrong = sorted((key, tuple(there), tuple(here)) for key, there, here in report["mismatched_keys"])
    heads = {key for key in missing if key.split(".")[0] in HEADS}
    lost = [key for key in missing if key not in heads and ".pooler." not in f".{key}"]
    of_body = [key for key in model.state_dict() if key.startswith(body) or model.base_model is model]
    if lost and len(lost) >= len([key for key in of_body if ".pooler." not in f".{key}"]):
        raise ValueError(f"no tensor of this checkpoint fits a {name}: {folder} holds another kind of model")
    if lost:
        raise ValueError(
            f"{folder} lacks {len(lost)} tensors of a {name} (the first is {lost[0]}), which would be random; "
            "choose a checkpoint of this kind"
        )
    for key, there, here in wrong:
        if not (head_may_be_new and key.split(".")[0] in HEADS):
            raise ValueError(f"tensor {key} of {folder} has shape {there}, its {CONFIG} says {here}")
    if heads and not head_may_be_new:
        raise ValueError(
            f"{folder} has no head for a {name}: a new head would answer by chance, train before use "
            "(llmguide.pretrained.classifier)"
        )
    return model.eval()


def _tokenizer(folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, held to the model's vocabulary, with something to pad with."""
    if not any((folder / file).is_file() for file in TOKENIZERS):
        raise FileNotFoundError(f"{folder} has no tokenizer: none of {', '.join(TOKENIZERS)}; copy that of the model")
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} has no tokenizer that can be read ({str(error).splitlines()[0]})") from error
    rows, highest = model.get_input_embeddings().get_parameter("weight").shape[0], max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ValueError(
            f"tokenizer has {highest + 1} entries, model {rows}: they are not of one checkpoint, or tokens were added "
            "without model.resize_token_embeddings"
        )
    if rows - highest - 1 > rows * WORTH_A_WARNING:
        warnings.warn(
            f"tokenizer has {highest + 1} entries, model {rows}: is it the tokenizer of this model?", stacklevel=3
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(f"the tokenizer of {folder} has neither a padding token nor an end token; add one of them")
        tokenizer.pad_token = tokenizer.eos_token  # losses leave out padding by its place, never by its id
        warnings.warn(f"no padding token: {tokenizer.eos_token!r}, the end token, pads", stacklevel=3)
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.padding_side = "right"
    return tokenizer


def _names(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: number for number, name in enumerate(labels)}}


def _renew(model: PreTrainedModel) -> None:
    for module in head_of(model):
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=getattr(model.config, "initializer_range", 0.02))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _finite(value: Any) -> bool:
    return bool(value.isfinite().all())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What `transformers` reports while it loads and saves is checked here, and said in exceptions and warnings."""
    log: Any = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
