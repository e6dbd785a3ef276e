"""Text and ids: byte-pair encoding learnt from scratch, as GPT-2 does it."""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import regex

from llmguide import runtime

Pair = tuple[int, int]

# GPT-2's pieces, inside which pairs may merge: contractions, words with their leading space, numbers, signs, spaces.
PIECES = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
TOKENIZER_FILE, SETTINGS_FILE = "tokenizer.json", "tokenizer_config.json"


class BytePairTokenizer:
    """Ids for byte strings: special tokens first, then the 256 bytes, then one id a merge, in the order learnt.

    Args:
        merges: which two ids each learnt id joins.
        special: names of tokens that no text contains: start, end, padding.

    Taught in: concepts/text-to-tokens
    Source: sennrich2015neural; radford2019language
    """

    def __init__(self, merges: Sequence[Pair], *, special: Sequence[str] = ()) -> None:
        if len(set(special)) < len(special):
            raise ValueError(f"special tokens must differ, got {', '.join(special)}")
        self.special = {name: index for index, name in enumerate(special)}
        self.merges = list(merges)
        self._bytes = [b""] * len(special) + [bytes([byte]) for byte in _byte_order()]
        self._first = {token[0]: index for index, token in enumerate(self._bytes) if token}  # a byte's id
        known = {token: index for index, token in enumerate(self._bytes) if token}
        self._ranks: dict[Pair, tuple[int, int]] = {}
        for rank, (left, right) in enumerate(self.merges):
            if max(left, right) >= len(self._bytes):
                raise ValueError(
                    f"merge {rank} joins ids {left} and {right}, but only {len(self._bytes)} exist by then"
                )
            joined = self._bytes[left] + self._bytes[right]
            index = known.setdefault(joined, len(self._bytes))
            if index == len(self._bytes):
                self._bytes.append(joined)
            self._ranks[left, right] = rank, index
        self._words: dict[str, list[int]] = {}  # each piece is worked out once

    def __len__(self) -> int:
        """V: how many ids there are."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Ids of a text; decoding them gives the text back, whatever it holds."""
        words, ids = self._words, list[int]()
        for piece in PIECES.findall(text):
            found = words.get(piece)
            if found is None:
                found = words[piece] = self._merge(
                    [self._first[byte] for byte in piece.encode("utf-8", "surrogatepass")]
                )
            ids += found
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens are left out, bytes that end mid-character become U+FFFD.

        Raises:
            ValueError: an id that is not in the vocabulary.
        """
        try:
            joined = b"".join(self._token(index) for index in ids)
        except IndexError:
            raise ValueError(f"an id is not one of 0 to {len(self) - 1}: {max(ids)}") from None
        try:
            return joined.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return joined.decode("utf-8", "replace")

    def tokens(self, text: str) -> list[str]:
        """The text cut into its tokens, for looking at; a token that is part of a character shows as U+FFFD."""
        return [self._token(index).decode("utf-8", "replace") for index in self.encode(text)]

    def save(self, folder: str | Path) -> Path:
        """Write the folder that `transformers.AutoTokenizer` opens.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        folder, letters = Path(folder), _byte_letters()
        names = {index: name for name, index in self.special.items()}
        spelled = [names.get(i) or "".join(letters[b] for b in token) for i, token in enumerate(self._bytes)]
        model = {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(spelled)},
            "merges": [[spelled[left], spelled[right]] for left, right in self.merges],
        }
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        document = {
            "version": "1.0",
            "added_tokens": [{"id": index, "content": name} | flags for name, index in self.special.items()],
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": model,
        }
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        for role, name in (("bos_token", "<|start|>"), ("eos_token", "<|end|>"), ("pad_token", "<|pad|>")):
            if name in self.special:
                settings[role] = name
        for name, content in ((TOKENIZER_FILE, document), (SETTINGS_FILE, settings)):
            with runtime.replacing(folder / name) as temporary:
                temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "BytePairTokenizer":
        """Read a folder that `save` wrote.

        Raises:
            FileNotFoundError: no tokenizer.json there.
            ValueError: it is not byte-level byte-pair encoding.
        """
        path = Path(folder) / TOKENIZER_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; give a folder that holds {TOKENIZER_FILE}")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["model"].get("type") != "BPE" or document["pre_tokenizer"].get("type") != "ByteLevel":
            raise ValueError(f"{path} is not byte-level byte-pair encoding")
        ids = document["model"]["vocab"]
        special = sorted((token["id"], token["content"]) for token in document["added_tokens"])
        merges = [(ids[left], ids[right]) for left, right in document["model"]["merges"]]
        return cls(merges, special=[name for _, name in special])

    def _token(self, index: int) -> bytes:
        if index < 0:
            raise IndexError(index)
        return self._bytes[index]

    def _merge(self, ids: list[int]) -> list[int]:
        """Join the pair that was learnt first, again and again, until none is left."""
        ranks, none = self._ranks, (len(self._ranks), -1)
        while len(ids) > 1:
            rank, joined = min(ranks.get(pair, none) for pair in pairwise(ids))
            if joined < 0:
                break
            ids = _join(ids, self.merges[rank], joined)
        return ids


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, special: Sequence[str] = ()) -> BytePairTokenizer:
    """Learn merges: join the most frequent pair of neighbours, count again, until there are `vocabulary` ids.

    Pairs are counted once a distinct piece, and after a merge only the pieces that held the pair are counted again.
    Of equally frequent pairs the one with the smaller ids is joined first.

    Raises:
        ValueError: a vocabulary too small for the special tokens and the 256 bytes.

    Taught in: concepts/text-to-tokens
    Source: sennrich2015neural
    """
    spelled = [b""] * len(special) + [bytes([byte]) for byte in _byte_order()]
    known = {token: index for index, token in enumerate(spelled) if token}
    if vocabulary < len(spelled):
        raise ValueError(f"a vocabulary of {vocabulary} is too small: special tokens and bytes need {len(spelled)}")
    pieces = Counter[str]()
    for text in texts:
        pieces.update(PIECES.findall(text))

    # A piece is a string with one letter an id, so that joining a pair is `replace`, at the speed of C.
    letters = {byte: chr(known[bytes([byte])]) for byte in range(256)}
    words = [piece.encode("utf-8", "surrogatepass").decode("latin-1").translate(letters) for piece in pieces]
    often = list(pieces.values())
    counts: dict[str, int] = defaultdict(int)
    places: dict[str, list[int]] = defaultdict(list)  # where a pair is, or was; some twice
    for place, (word, times) in enumerate(zip(words, often, strict=True)):
        for pair in map("".join, pairwise(word)):
            counts[pair] += times
            places[pair].append(place)
    queue = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(queue)
    merges: list[Pair] = []
    while len(spelled) < vocabulary and queue:
        count, pair = heapq.heappop(queue)
        if -count != counts[pair]:  # counted before other merges took some of them away
            if counts[pair] > 0:
                heapq.heappush(queue, (-counts[pair], pair))
            continue
        left, right = map(ord, pair)
        joined = spelled[left] + spelled[right]
        new = chr(known.setdefault(joined, len(spelled)))
        if ord(new) == len(spelled):
            spelled.append(joined)
        merges.append((left, right))
        fresh = set[str]()
        for place in places.pop(pair):
            word, times = words[place], often[place]
            before, found, after = word.partition(pair)
            if not found:  # a merge took it
                continue
            words[place] = word.replace(pair, new)
            if pair in after:
                changes = _changes(word, pair, new)
            else:  # once, as in nearly every piece: its two neighbours, if there are
                changes = [(before[-1] + pair[0], before[-1] + new)] if before else []
                if after:
                    changes.append((pair[1] + after[0], new + after[0]))
            for old, now in changes:
                counts[old] -= times
                counts[now] += times
                places[now].append(place)
                fresh.add(now)
        for now in fresh:
            if counts[now] > 0:  # a run of one letter makes pairs that end at once
                heapq.heappush(queue, (-counts[now], now))
    return BytePairTokenizer(merges, special=special)


def _changes(word: str, pair: str, new: str) -> list[tuple[str, str]]:
    """Pairs that end when a pair is joined in a word, each with the pair that takes its place."""
    changes, parts = [], word.split(pair)
    for place in range(len(parts) - 1):
        before = parts[place][-1:] or (new if place else "")
        after = parts[place + 1][:1] or (pair[0] if place + 2 < len(parts) else "")
        if before:
            changes.append((before + pair[0], before + new))
        if after:
            changes.append((pair[1] + after, new + after))
    return changes


def _join(ids: list[int], pair: Pair, joined: int) -> list[int]:
    """Every occurrence of a pair, from the left, replaced by one id."""
    left, right = pair
    merged, index, last = [], 0, len(ids) - 1
    while index <= last:
        if ids[index] == left and index < last and ids[index + 1] == right:
            merged.append(joined)
            index += 2
        else:
            merged.append(ids[index])
            index += 1
    return merged


@cache
def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte, as GPT-2's vocabulary files spell them: itself where it has one."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def _byte_order() -> list[int]:
    """Bytes in the order of their letters, which is the order of their ids."""
    letters = _byte_letters()
    return sorted(range(256), key=lambda byte: letters[byte])
