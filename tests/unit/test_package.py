"""The package as a whole: what imports what, how large it may grow, and what a wheel of it holds."""

import ast
import re
import socket
import subprocess
import sys
import zipfile
from email.parser import Parser
from itertools import chain
from pathlib import Path

import jaxtyping
import pytest
import pytest_socket
import torch

import llmguide
from llmguide.attention import attention
from tests.book.chapters import ROOT, chapters
from tests.repository.version import version

MODULES = {path.stem: path for path in sorted((ROOT / "llmguide").glob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
each_module = pytest.mark.parametrize("name", MODULES)

# The whole import graph: imports point down. A new arrow is a decision; draw it in ARCHITECTURE.md too.
ARROWS = {
    "__init__": set(),
    "adapters": {"runtime"},
    "answers": {"checkpoints", "overlap", "prediction", "pretrained", "questions", "spans"},
    "attention": {"layers"},
    "batches": {"losses"},
    "chance": set(),
    "chat": {"batches", "losses", "model", "tokenizers"},
    "checkpoints": {"hub", "model", "runtime"},
    "commands": {"checkpoints", "corpora", "dialogue", "inspection", "metrics", "prediction", "runtime"},
    "contamination": set(),
    "control": {"forms", "generation"},
    "corpora": {"runtime", "tables", "telling"},
    "costs": set(),
    "decisions": {"inspection"},
    "dialogue": {
        "chat",
        "losses",
        "optimizers",
        "pretrained",
        "runtime",
        "storyteller",
        "tasks",
        "telling",
        "training",
        "village",
        "voices",
    },
    "evaluation": {"metrics", "overlap"},
    "factuality": {"tasks"},
    "encoder_decoder": {"attention", "model"},
    "figures": set(),
    "finetuning": {"adapters", "corpora", "inspection", "prediction", "pretrained", "recipes", "trainer", "training"},
    "forms": set(),
    "generation": set(),
    "hub": {"model"},
    "inspection": {"losses"},
    "layers": set(),
    "losses": set(),
    "metrics": set(),
    "model": {"attention", "layers"},
    "ngrams": set(),
    "optimizers": set(),
    "overlap": set(),
    "phrases": {"world"},
    "prediction": {"batches", "inspection", "losses", "runtime"},
    "preference": {"metrics"},
    "pretrained": {"checkpoints", "runtime"},
    "quantisation": set(),
    "questions": {"corpora", "runtime", "tasks", "telling"},
    "reading": {"phrases", "village", "world"},
    "recipes": set(),
    "recurrence": set(),
    "retrieval": set(),
    "runtime": {"figures"},
    "spans": {"prediction", "questions"},
    "storyteller": {
        "batches",
        "checkpoints",
        "losses",
        "model",
        "optimizers",
        "runtime",
        "telling",
        "tokenizers",
        "training",
        "village",
        "world",
    },
    "summarisation": {
        "batches",
        "corpora",
        "factuality",
        "generation",
        "inspection",
        "losses",
        "prediction",
        "retrieval",
        "runtime",
        "storyteller",
        "tasks",
        "telling",
        "tokenizers",
        "village",
    },
    "tables": set(),
    "tasks": {"telling", "village", "world"},
    "telling": {"chance", "phrases", "village", "world"},
    "tokenizers": {"runtime"},
    "trainer": {"losses", "prediction", "pretrained", "recipes", "runtime", "training"},
    "training": {"runtime"},
    "translation": {
        "batches",
        "chance",
        "corpora",
        "encoder_decoder",
        "generation",
        "losses",
        "pretrained",
        "runtime",
        "telling",
        "village",
        "world",
    },
    "village": {"world"},
    "voices": {"batches", "chat", "checkpoints", "model", "runtime", "tokenizers"},
    "world": {"chance"},
    "writing": {"checkpoints", "control", "forms", "generation", "model", "runtime"},
}
MOST_MODULES, MOST_LINES = 58, 300
TOUCH_THE_DISK_OR_THE_NET = {
    "adapters",
    "answers",
    "checkpoints",
    "commands",
    "corpora",
    "dialogue",
    "finetuning",
    "prediction",
    "pretrained",
    "questions",
    "runtime",
    "storyteller",
    "tables",
    "tokenizers",
    "trainer",
    "training",
    "translation",
    "voices",
    "writing",
}
DISK_AND_NET = {"datasets", "huggingface_hub", "pathlib", "safetensors", "shutil", "socket", "tempfile", "urllib"}


def imports(name: str) -> set[str]:
    """Every name a module imports, wherever in it: `llmguide.layers`, `torch`, ..."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = node.module == "llmguide"
            found |= {f"llmguide.{alias.name}" for alias in node.names} if whole else {node.module or "."}
    return found


def docstrings(name: str) -> list[str]:
    places = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [text for text in map(ast.get_docstring, places) if text]


def test_modules_import_only_what_the_graph_allows() -> None:
    ours = {name: {full.split(".")[1] for full in imports(name) if full.startswith("llmguide.")} for name in MODULES}

    assert ours == ARROWS


def test_figures_never_import_torch() -> None:
    assert not {full for full in imports("figures") if full.split(".")[0] == "torch"}


def test_only_a_few_modules_touch_the_disk_or_the_net() -> None:
    touching = {name for name in MODULES if {full.split(".")[0] for full in imports(name)} & DISK_AND_NET}

    assert touching == TOUCH_THE_DISK_OR_THE_NET


def test_the_package_can_be_read_in_one_sitting() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}

    assert len(MODULES) <= MOST_MODULES
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_the_tests_mirror_the_package() -> None:
    assert {f"test_{name}.py" for name in MODULES if name != "__init__"} <= {
        p.name for p in Path(__file__).parent.iterdir()
    }


def test_init_holds_the_version_only() -> None:
    kinds = [type(node) for node in TREES["__init__"].body]

    assert kinds == [ast.Expr, ast.ImportFrom, ast.Assign]
    assert llmguide.__version__ == version()


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"commands"}))  # printing is its job; sorted for the workers
def test_nothing_prints(name: str) -> None:
    calls = [node.func for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]

    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@each_module
def test_what_is_public_explains_itself(name: str) -> None:
    tree = TREES[name]
    assert ast.get_docstring(tree)
    tops = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    methods = chain.from_iterable(node.body for node in tops if isinstance(node, ast.ClassDef))
    public = [
        node
        for node in [*tops, *methods]
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and node.name != "forward"
    ]

    assert [node.name for node in public if not ast.get_docstring(node)] == []


@each_module
def test_annotations_are_checked_and_not_put_off(name: str) -> None:
    assert "__future__" not in imports(name)  # as strings, jaxtyping and beartype could not read them


def test_shapes_are_checked_while_tests_run() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        attention(torch.zeros(5, 11), torch.zeros(7, 13), torch.zeros(7, 13))


def test_no_test_reaches_past_this_machine() -> None:
    with pytest.warns(UserWarning, match="A test tried"), pytest.raises(pytest_socket.SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address that belongs to nobody


# What a docstring points at is there


@each_module
def test_what_a_docstring_says_is_taught_is_a_chapter(name: str) -> None:
    slugs = re.findall(r"^Taught in: (.*)$", "\n".join(docstrings(name)), re.MULTILINE)

    assert set(slugs) <= {chapter.slug for chapter in chapters()}


@each_module
def test_what_a_docstring_cites_is_in_the_references(name: str) -> None:
    references = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    known = set(re.findall(r"^@\w+\{([^,]+),", references, re.MULTILINE))
    sources = re.findall(r"^Source: (.*)$", "\n".join(docstrings(name)), re.MULTILINE)

    cited = [re.findall(r"\b[a-z]+\d{4}[a-z0-9]+\b", source) for source in sources]

    assert all(cited)  # each line names at least one
    assert set(chain.from_iterable(cited)) <= known


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_a_wheel_holds_the_package_its_data_its_style_its_types_and_its_licences(wheel: zipfile.ZipFile) -> None:
    information = f"llmguide-{llmguide.__version__}.dist-info"
    folders = [ROOT / "llmguide" / "data", ROOT / "llmguide" / "weights"]
    data = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files = {file for file in wheel.namelist() if not file.startswith(information)}

    assert files == {path.relative_to(ROOT).as_posix() for path in [*MODULES.values(), *data]} | {
        "llmguide/llmguide.mplstyle",
        "llmguide/py.typed",
    }
    assert {f"{information}/licenses/{name}" for name in ("LICENSE", "LICENSE-text")} <= set(wheel.namelist())


def test_a_wheel_leaves_torch_and_numpy_as_they_are(wheel: zipfile.ZipFile) -> None:
    (path,) = (file for file in wheel.namelist() if file.endswith("METADATA"))
    metadata = Parser().parsestr(wheel.read(path).decode())

    needs = {need for need in metadata.get_all("Requires-Dist", []) if re.match("(torch|numpy)>=", need)}
    assert len(needs) == 2
    assert not any("<" in need or "==" in need for need in needs)  # Colab has imported its own before the first cell
