"""What fine-tuning buys on real reviews, and what it costs: SST-2, four methods, in processor seconds.

Run with `make bench-sst2 DATA=folder`, where the folder holds train.tsv and dev.tsv (`sentence<TAB>label`). The data
are not ours to ship; the table of a past run is in README.md beside this file.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from llmguide import metrics, runtime
from llmguide.checkpoints import minilm_folder
from llmguide.corpora import Example, read_csv
from llmguide.finetuning import add_low_rank, train_classifier
from llmguide.prediction import features, linear_head, predict
from llmguide.pretrained import classifier, encoder
from llmguide.recipes import recipe_for

NAMES = ("negative", "positive")
Answer = Callable[[Sequence[str]], Sequence[int]]  # texts to classes


def tf_idf(train: Sequence[Example], seed: int) -> Answer:
    """Logistic regression on weighted counts of words and pairs of words."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    model.fit([example.text for example in train], [example.label for example in train])
    return lambda texts: [int(label) for label in model.predict(list(texts))]


def frozen(train: Sequence[Example], seed: int) -> Answer:
    """Logistic regression on MiniLM's mean-pooled features."""
    model, tokenizer = encoder(minilm_folder())
    head = linear_head(features(model, tokenizer, [e.text for e in train]), [e.label for e in train], strength=10.0)
    return lambda texts: [int(label) for label in head.predict(features(model, tokenizer, texts, keep=True))]


def low_rank(train: Sequence[Example], seed: int) -> Answer:
    """LoRA on all maps of the blocks, beside a head that trains whole."""
    return _tuned(train, seed, lora=True)


def full(train: Sequence[Example], seed: int) -> Answer:
    """All weights."""
    return _tuned(train, seed, lora=False)


METHODS = {"TF-IDF": tf_idf, "frozen features": frozen, "LoRA": low_rank, "full fine-tuning": full}


def _tuned(train: Sequence[Example], seed: int, *, lora: bool) -> Answer:
    torch.manual_seed(seed)
    model, tokenizer = classifier(minilm_folder(), NAMES)
    if lora:
        add_low_rank(model, seed=seed)
    train_classifier(model, tokenizer, train, recipe_for(len(train), lora=lora, seed=seed))
    return lambda texts: predict(model, tokenizer, texts).labels.tolist()


def read(folder: Path, name: str) -> tuple[Example, ...]:
    """The rows of one file, spaces around a text removed."""
    rows, _ = read_csv(folder / name, text="sentence", label="label", labels=("0", "1"))
    return tuple(Example(row.text.strip(), row.label) for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of train.tsv and dev.tsv")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the rows drawn and of training")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--dev", type=int, help="report on so many rows of dev only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(runtime.threads())
    train, dev = read(options.data, "train.tsv"), read(options.data, "dev.tsv")
    dev = tuple(random.Random(0).sample(dev, options.dev)) if options.dev else dev
    texts, labels = [example.text for example in dev], [example.label for example in dev]
    print(f"{len(dev)} dev texts, threads: {torch.get_num_threads()}; accuracy with its 95 % interval, a line a seed")
    for size in options.sizes:
        for name in options.methods:
            accuracies, seconds = [], []
            for seed in options.seeds:
                some = random.Random(seed).sample(train, size)
                started = time.process_time()
                answer = METHODS[name](some, seed)
                seconds.append(time.process_time() - started)
                found = metrics.bootstrap(metrics.accuracy, labels, answer(texts))
                accuracies.append(found.value)
                print(f"  {name}, {size} examples, seed {seed}: {found}, {seconds[-1]:.1f} s", flush=True)
            mean, spread = statistics.mean(accuracies), max(accuracies) - min(accuracies)
            print(f"| {name} | {size} | {mean:.3f} | {spread:.3f} | {statistics.mean(seconds):.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
