"""Corpora: what each call returns at either scale, and what a hub that cannot be reached says."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from llmguide import corpora
from llmguide.corpora import (
    UNLABELLED,
    Example,
    Passage,
    PassageQuestion,
    Splits,
    TextCorpus,
    Translation,
    language_modelling,
    passages,
    read_csv,
    sentiment,
    topics,
    translations,
)
from llmguide.telling import sample
from tests.book.chapters import ROOT

# Stories of the world


def test_the_entropy_is_what_the_world_pays_for_the_test_stories() -> None:
    corpus = language_modelling(stories=30)

    told = (sample(seed=corpora.FIRST_SEED + number) for number in range(36))
    own = {telling.text: log_probability for telling, log_probability in told}
    assert corpus.entropy == pytest.approx(-sum(own[text] for text in corpus.test) / len(corpus.test))


def test_no_story_is_in_two_splits_or_in_two_corpora() -> None:
    both = [language_modelling(stories=200, seed=seed) for seed in (0, 1)]

    splits = [split for corpus in both for split in (corpus.train, corpus.dev, corpus.test)]
    texts = [text for split in splits for text in split]
    assert [len(split) for split in splits] == [200, 20, 20, 200, 20, 20]
    assert len(set(texts)) == len(texts)


def test_the_same_seed_tells_the_same_stories() -> None:
    assert language_modelling(stories=3, seed=5) == language_modelling(stories=3, seed=5)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"stories": 0}, "stories is 0; it must be between 1 and 5,000,000"),
        ({"stories": 5_000_001}, "stories is 5000001"),  # a corpus would run into the seeds of the next
        ({"seed": -1}, "seed is -1; it must be at least 0"),  # Python seeds alike by -1 and 1
    ],
)
def test_a_corpus_that_cannot_be_is_refused(wanted: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        language_modelling(**wanted)


# Bundled texts


def test_bundled_texts_become_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "reviews": [{"text": "Dull.", "label": 0, "tag": "plain", "split": "dev"}],
        "topics": [{"text": "Please pay.", "label": "bill", "tag": "plain", "split": "test"}],
        "passages": [{"title": "Sea", "text": "Salt water.", "questions": [{"question": "What?", "answer": "Salt"}]}],
        "translations": [{"english": "Good.", "chinese": "好。"}],
    }
    for name, lines in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(corpora, "DATA", tmp_path)

    assert sentiment() == Splits((), (Example("Dull.", 0, "plain"),), (), labels=("negative", "positive"))
    assert topics() == Splits((), (), (Example("Please pay.", 4, "plain"),), labels=corpora.TOPICS)
    assert passages() == (Passage("Sea", "Salt water.", (PassageQuestion("What?", "Salt"),)),)
    assert translations() == (Translation("Good.", "好。"),)


def test_the_reviews_are_balanced_by_label_in_each_split_and_tag() -> None:
    reviews = sentiment()

    splits = {"train": reviews.train, "dev": reviews.dev, "test": reviews.test}
    counts = Counter((split, each.tag, each.label) for split, rows in splits.items() for each in rows)
    assert counts.total() >= 600
    assert {tag for _, tag, _ in counts} == {"plain", "negation", "contrast", "irony", "mixed", "comparison"}
    assert {each.label for rows in splits.values() for each in rows} == {0, 1}
    assert all(abs(counts[split, tag, 0] - counts[split, tag, 1]) <= 1 for split, tag, _ in counts)
    assert all(counts[split, tag, 1] for split in splits for _, tag, _ in list(counts))


@pytest.mark.parametrize("labelled", [sentiment, topics])
def test_no_text_is_close_to_one_of_another_split(labelled: Callable[[], Splits]) -> None:
    found = labelled()
    splits = [[_trigrams(each.text) for each in split] for split in (found.train, found.dev, found.test)]

    near = [
        _jaccard(one, other)
        for index, split in enumerate(splits)
        for rest in splits[index + 1 :]
        for one in split
        for other in rest
        if one & other
    ]

    assert max(near, default=0) < 0.2


def test_the_topics_are_balanced_by_class_in_each_split_and_tag() -> None:
    found = topics()

    splits = {"train": found.train, "dev": found.dev, "test": found.test}
    counts = Counter((split, each.tag, each.label) for split, rows in splits.items() for each in rows)
    assert counts.total() == len({each.text for rows in splits.values() for each in rows}) >= 400
    assert len(found.labels) == len(set(found.labels)) == 8
    for split in splits:
        for tag in ("plain", "decoy"):
            assert len({counts[split, tag, number] for number in range(8)}) == 1
            assert counts[split, tag, 0] >= 4
    assert {tag for _, tag, _ in counts} == {"plain", "decoy"}


def test_the_texts_of_the_topics_are_short_and_of_one_line() -> None:
    found = topics()

    lengths = [len(each.text.split()) for each in (*found.train, *found.dev, *found.test)]
    assert (min(lengths) >= 8, max(lengths) <= 60) == (True, True)
    assert not any("\n" in each.text for each in found.train)


def test_each_passage_is_a_paragraph_and_holds_its_answers() -> None:
    texts = passages()

    assert len(texts) >= 60
    assert len({passage.text for passage in texts}) == len(texts)
    assert {passage.title for passage in texts if not 80 <= len(passage.text.split()) <= 150} == set()
    assert [
        (passage.title, asked.answer)
        for passage in texts
        for asked in passage.questions
        if not asked.answer or asked.answer not in passage.text
    ] == []
    assert all(passage.questions for passage in texts)


def test_each_translation_has_letters_on_one_side_and_characters_on_the_other() -> None:
    pairs = translations()

    assert len({pair.english for pair in pairs}) == len({pair.chinese for pair in pairs}) == len(pairs) >= 300
    assert [
        pair for pair in pairs if not pair.english.isascii() or not any("一" <= c <= "鿿" for c in pair.chinese)
    ] == []


def _trigrams(text: str) -> set[tuple[str, ...]]:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return set(zip(words, words[1:], words[2:], strict=False))


def _jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other)


# The hub


def _parquet(rows: dict[str, list[Any]]) -> bytes:
    file = BytesIO()
    pd.DataFrame(rows).to_parquet(file)
    return file.getvalue()


def _labelled(column: str, first: str, count: int, labels: list[int]) -> bytes:
    return _parquet({column: [f"{first} {number} " for number in range(count)], "label": labels})


WIKITEXT = [
    "",
    " = The Sea = \n",
    "",
    " It is salt . \n",
    " = = Tides = = \n",
    " They turn . \n",
    " = X = \n",
    " y = x \n",
]
CARD = "---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n" + "".join(
    f"  - split: {split}\n    path: data/{split}.parquet\n" for split in ("train", "validation", "test")
)
FILES = {
    "stanfordnlp/imdb": {
        "data/train.parquet": _labelled("text", "review", 40, [0] * 20 + [1] * 20),  # sorted by class, as on the hub
        "data/test.parquet": _labelled("text", "seen", 4, [0, 0, 1, 1]),
    },
    "stanfordnlp/sst2": {
        "data/train.parquet": _labelled("sentence", "phrase", 30, [0, 1, 1] * 10),
        "data/validation.parquet": _labelled("sentence", "phrase", 2, [0, 1]),  # both are in train too
        "data/test.parquet": _labelled("sentence", "secret", 5, [-1] * 5),
    },
    "fancyzhx/ag_news": {
        "data/train.parquet": _labelled("text", "news", 40, [0, 1, 2, 3] * 10),
        "data/test.parquet": _labelled("text", "later", 4, [3, 2, 1, 0]),
    },
    "Salesforce/wikitext": {
        "README.md": f"{CARD}---\n".encode(),
        "data/train.parquet": _parquet({"text": WIKITEXT}),
        "data/validation.parquet": _parquet({"text": [" = Dev = \n"]}),
        "data/test.parquet": _parquet({"text": [" = Test = \n"]}),
    },
}
COMMIT = "0123456789" * 4


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as `datasets` asks for."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if "hangs-up" in self.path:
            return self.connection.close()
        status, headers, body = self._found(self.path.partition("?")[0])
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for name, files in FILES.items():
            api, resolve = f"/api/datasets/{name}", f"/datasets/{name}/resolve/"
            if path == api or path.startswith(f"{api}/revision/"):
                files_there = [{"rfilename": file} for file in files]
                return 200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": files_there}).encode()
            if path.startswith(f"{api}/tree/{COMMIT}"):
                folder = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
                there = [_entry(file, "file") for file in files if file.rpartition("/")[0] == folder]
                return 200, {}, json.dumps([*there, *([] if folder else [_entry("data", "directory")])]).encode()
            file = path.removeprefix(resolve).partition("/")[2]
            if path.startswith(resolve) and file in files:
                tag = f"{name}/{file}".encode().hex()
                return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, files[file]
        return (200, {}, b"") if path == "/" else (404, {"X-Error-Code": "EntryNotFound"}, b"")


def _entry(path: str, kind: str) -> dict[str, Any]:
    return {"type": kind, "path": path, "oid": COMMIT, "size": 1}


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _at_full_scale(program: str, home: Path, endpoint: str) -> Any:
    """Run a program as a reader would who set these before Python started; what it assigns to `found` comes back."""
    program = (
        f"import json\nfrom dataclasses import asdict\nfrom llmguide import corpora\n{program}\n"
        "print(json.dumps(found))"
    )
    settings = {"LLMGUIDE_SCALE": "full", "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=settings, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


ALL = (
    "every = corpora.sentiment(), corpora.sentiment('sst2'), corpora.language_modelling(), corpora.topics()\n"
    "found = [asdict(each) for each in every]"
)


@pytest.fixture(scope="module")
def fetched(hub: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The cache of one who fetched everything, and what came."""
    home = tmp_path_factory.mktemp("hub")
    return home, _at_full_scale(ALL, home, hub)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """At full scale, with no network."""
    monkeypatch.setenv("LLMGUIDE_SCALE", "full")


@pytest.fixture
def cache(fetched: tuple[Path, list[Any]], full: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """At full scale with no network and what was fetched before."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", fetched[0] / "datasets")
    return fetched[1]


def test_what_was_fetched_once_loads_without_a_network(cache: list[Any]) -> None:
    again = [sentiment(), sentiment("sst2"), language_modelling(), topics()]

    assert json.loads(json.dumps([asdict(each) for each in again])) == cache


def test_both_scales_return_the_same_types(cache: list[Any]) -> None:
    assert isinstance(sentiment(), Splits)
    assert isinstance(language_modelling(), TextCorpus)
    assert all(isinstance(each, Example) and each.tag == "" for each in sentiment().train)
    assert language_modelling().entropy is None


def test_the_dev_split_of_imdb_is_drawn_from_its_training_split(cache: list[Any]) -> None:
    reviews = sentiment()

    assert [len(split) for split in (reviews.train, reviews.dev, reviews.test)] == [36, 4, 4]
    assert {each.text for each in (*reviews.train, *reviews.dev)} == {f"review {number}" for number in range(40)}
    assert all(each.label == (int(each.text.split()[1]) >= 20) for each in (*reviews.train, *reviews.dev))
    labels = [each.label for each in reviews.train]
    assert labels != sorted(labels)


def test_sst2_reports_on_whole_sentences_that_are_not_trained_on(cache: list[Any]) -> None:
    reviews = sentiment("sst2")

    assert [(each.text, each.label) for each in reviews.test] == [("phrase 0", 0), ("phrase 1", 1)]
    texts = {each.text for each in reviews.train}
    assert texts.isdisjoint(each.text for each in (*reviews.dev, *reviews.test))
    assert {each.label for each in (*reviews.train, *reviews.dev, *reviews.test)} == {0, 1}


def test_ag_news_comes_with_the_names_of_its_classes(cache: list[Any]) -> None:
    found = topics()

    assert found.labels == ("world", "sport", "business", "science")
    assert [len(split) for split in (found.train, found.dev, found.test)] == [36, 4, 4]
    assert [(each.text, each.label) for each in found.test] == [(f"later {n}", 3 - n) for n in range(4)]
    assert all(each.label == int(each.text.split()[1]) % 4 for each in (*found.train, *found.dev))


def test_wikitext_comes_by_the_article(cache: list[Any]) -> None:
    corpus = language_modelling()

    assert corpus.train == ("= The Sea = \n It is salt . \n = = Tides = = \n They turn .", "= X = \n y = x")
    assert (corpus.dev, corpus.test) == (("= Dev =",), ("= Test =",))


def test_another_name_is_refused_at_any_scale(unchecked: None) -> None:
    with pytest.raises(ValueError, match="name is 'yelp'; it must be one of imdb, sst2"):
        sentiment("yelp")  # type: ignore[arg-type]


WAYS_OUT = "set LLMGUIDE_SCALE=book .* HF_ENDPOINT to a mirror before Python starts, or copy the cache"


@pytest.mark.parametrize("load", [sentiment, language_modelling, topics])
def test_a_hub_that_is_not_there_costs_less_than_five_seconds(
    load: Any, full: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the call and says nothing
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.perf_counter()
        with pytest.raises(FileNotFoundError, match=f"http://127.0.0.1:.* does not answer; {WAYS_OUT}"):
            load()

    assert time.perf_counter() - start < 5
    assert datasets.config.HF_HUB_OFFLINE is False  # as it was


def test_a_name_that_nobody_looks_up_costs_less_than_five_seconds(
    full: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late = threading.Event()

    def look_up(*_: Any, **__: Any) -> None:
        late.wait(60)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.perf_counter()

    with pytest.raises(FileNotFoundError, match=f"https://huggingface.co does not answer; {WAYS_OUT}"):
        sentiment()

    late.set()
    assert time.perf_counter() - start < 5


def test_a_hub_that_must_not_be_asked_is_not_asked(full: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)

    with pytest.raises(
        FileNotFoundError, match=f"stanfordnlp/imdb .* HF_HUB_OFFLINE forbids asking the hub; {WAYS_OUT}"
    ):
        sentiment()


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/hangs-up"])
def test_a_hub_that_answers_and_gives_nothing_is_named(name: str, hub: str, tmp_path: Path) -> None:
    program = (
        f"corpora.FILM_REVIEWS['imdb'] = ({name!r}, 'text', 'test')\n"
        "try:\n    corpora.sentiment()\nexcept FileNotFoundError as error:\n    found = str(error)\n"
    )

    message = _at_full_scale(program, tmp_path, hub)

    assert message.startswith(f"the dataset {name} is not in the local cache, and it could not be fetched from {hub} (")


def test_book_scale_does_not_import_datasets() -> None:
    program = (
        "import sys\nfrom llmguide import corpora\ncorpora.language_modelling(stories=1)\n"
        "assert 'datasets' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


# The reader's own


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("text,label\nfine,good\ndull,bad\nso so,good\n")
    return path


def test_labels_of_a_csv_are_numbered_in_the_order_of_their_names(file: Path) -> None:
    examples, names = read_csv(file)

    assert names == ("bad", "good")
    assert examples == (Example("fine", 1), Example("dull", 0), Example("so so", 1))


def test_labels_of_a_csv_are_numbered_as_they_are_given(file: Path) -> None:
    examples, names = read_csv(file, labels=["good", "bad", "ugly"])

    assert names == ("good", "bad", "ugly")
    assert [example.label for example in examples] == [0, 1, 0]


def test_labels_that_are_numbers_are_sorted_by_size(file: Path) -> None:
    file.write_text("text,label\na,10\nb,9\nc,-1\nd,2.5\ne,other\n")

    assert read_csv(file)[1] == ("-1", "2.5", "9", "10", "other")


def test_columns_of_a_csv_may_have_other_names(file: Path) -> None:
    file.write_text("stars,review\n5,fine\n")

    assert read_csv(file, text="review", label="stars") == ((Example("fine", 0),), ("5",))


def test_a_csv_to_predict_from_needs_no_labels(file: Path) -> None:
    file.write_text("text\nfine\n")

    assert read_csv(file, label=None) == ((Example("fine", UNLABELLED),), ())
    assert read_csv(file, label=None, labels=["bad", "good"])[1] == ("bad", "good")


def test_a_label_that_is_not_among_those_given_is_named_with_its_row(file: Path) -> None:
    with pytest.raises(ValueError, match="mine.csv, row 3: label 'bad' is none of good, ugly"):
        read_csv(file, labels=["good", "ugly"])


@pytest.mark.parametrize("label", ["", " ", "good ", " good"])
def test_a_label_that_is_empty_or_hides_a_space_is_named_with_its_row(label: str, file: Path) -> None:
    file.write_text(f"text,label\nfine,good\ndull,{label}\n")

    with pytest.raises(ValueError, match=f"mine.csv, row 3: label '{label}' is empty or has spaces around it"):
        read_csv(file)
