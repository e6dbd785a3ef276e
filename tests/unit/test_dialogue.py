"""Dialogue: the storyteller learns its turns, is kept for the next time, and talks line by line until the end."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from llmguide import dialogue, voices
from llmguide.chat import Chat, Message
from llmguide.commands import main
from llmguide.dialogue import KINDS, Asked, examine, lessons, lines, story_of, talk, teach, told
from llmguide.training import TrainingConfig


class Answering:
    room = 100

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return [0] * sum(len(message["content"]) for message in messages)

    def answers(self, prompts: Sequence[Sequence[int]]) -> list[tuple[str, float]]:
        return [("Ada had it.", 0.9) for _ in prompts]


class Recording(Answering):
    def __init__(self) -> None:
        self.seen: list[list[Message]] = []

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        self.seen.append([dict(message) for message in messages])
        return super().prompt(messages)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_conversation_is_about_its_story_and_users_and_assistants_take_turns() -> None:
    for seed in range(20):
        telling, messages = told(seed)
        assert messages[0] == {"role": "system", "content": telling.text}
        roles = [message["role"] for message in messages[1:]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert len(telling.story.cast) == 2


def test_lessons_are_the_same_again_and_differ_from_step_to_step_and_seed_to_seed() -> None:
    first = lessons(0, rows=3)

    assert first == lessons(0, rows=3)
    assert all(story not in lessons(1, rows=3) + lessons(0, seed=1, rows=3) for story in first)


def test_teaching_lowers_the_loss_and_gives_a_voice() -> None:
    losses: list[float] = []

    voice = teach(TrainingConfig(steps=4, warmup=1), after_step=lambda _, loss: losses.append(loss))

    assert losses[-1] < losses[0] - 1
    assert not voice.model.training
    assert "<|user|>" in voice.tokenizer.special


def test_what_is_published_opens_again_and_its_card_says_what_was_measured(tmp_path: Path) -> None:
    config = TrainingConfig(steps=1, warmup=1)

    dialogue.publish(teach(config), tmp_path, config, dialogues=2)

    asked = examine(voices.load(tmp_path), [told(seed)[1] for seed in range(2)])
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"| right answers | {sum(one.right for one in asked) / len(asked):.3f} of {len(asked)}," in card
    assert "| training | 1 steps of 8 dialogues" in card


def test_the_shipped_card_holds(tmp_path: Path) -> None:
    asked = examine(dialogue.load(), [told(seed)[1] for seed in range(48)])
    card = (dialogue.folder() / "README.md").read_text(encoding="utf-8")

    promised = float(re.search(r"right answers \| ([\d.]+) of", card)[1])  # type: ignore[index]
    assert sum(one.right for one in asked) / len(asked) == pytest.approx(promised, abs=0.03)


def test_the_shipped_voice_words_its_answers_and_knows_more_than_chance() -> None:
    voice = dialogue.load()

    asked = examine(voice, [told(seed)[1] for seed in range(12)])

    assert next(voice.model.parameters()).dtype == torch.float32
    assert sum(one.worded for one in asked) / len(asked) > 0.9
    who = [one.right for one in asked if one.kind == "who in the end"]
    assert sum(who) / len(who) > 0.5  # of two people, a place, and nobody


def test_an_examination_asks_every_question_with_the_right_answers_before_it() -> None:
    dialogues = [told(seed)[1] for seed in range(5)]
    voice = Recording()

    asked = examine(voice, dialogues)

    assert len(asked) == sum(len(messages) // 2 for messages in dialogues)
    assert {one.kind for one in asked} <= set(KINDS.values())
    for seen in voice.seen:
        assert seen in [messages[: len(seen)] for messages in dialogues]
    first = [one for one in asked if one.dialogue == 0]
    assert [one.turn for one in first] == list(range(1, len(first) + 1))
    assert [one.truth for one in first] == [message["content"] for message in dialogues[0][2::2]]


def test_its_own_answers_stand_in_its_memory_where_that_is_asked_for() -> None:
    dialogues = [told(3)[1]]
    before = [dict(message) for message in dialogues[0]]
    voice = Recording()

    examine(voice, dialogues, own=True)

    said = {message["content"] for seen in voice.seen for message in seen if message["role"] == "assistant"}
    assert said == {"Ada had it."}
    assert dialogues[0] == before


def test_a_memory_may_leave_messages_out() -> None:
    voice = Recording()

    examine(voice, [told(3)[1]], memory=lambda messages: messages[-1:])

    assert {len(seen) for seen in voice.seen} == {1}


@pytest.mark.parametrize(
    ("answer", "worded"),
    [
        ("Ada had it.", True),
        ("Nobody. It was by the well.", True),
        ("The story does not say. Max is not in it.", True),
        ("Ada had", False),
        ("Robert had it.", False),
    ],
)
def test_an_answer_is_worded_as_somebody_would_say_it(answer: str, worded: bool) -> None:
    assert Asked(0, 1, "", "", answer, 1.0).worded == worded
    assert not Asked(0, 1, "", "", answer, 1.0).right


def test_every_right_answer_is_worded() -> None:
    truths = {message["content"] for seed in range(300) for message in told(seed)[1][2::2]}

    assert [truth for truth in truths if not Asked(0, 1, "", truth, truth, 1.0).worded] == []


# Line by line


def said(chat: Chat, *given: str) -> list[str]:
    shown: list[str] = []
    talk(chat, given, shown.append)
    return shown


def test_each_line_gets_a_reply_until_a_line_is_empty() -> None:
    assert said(Chat(Answering()), "Who?\n", "And then?\n", "\n", "Nobody reads this\n") == ["Ada had it."] * 2


def test_what_is_too_long_is_said_in_words_and_the_dialogue_goes_on() -> None:
    shown = said(Chat(Answering()), "x" * 101, "Who?")

    assert "too long" in shown[0]
    assert shown[1] == "Ada had it."


def test_what_is_forgotten_is_said() -> None:
    shown = said(Chat(Answering()), "x" * 60, "y" * 60)

    assert shown[1] == "(forgotten, for want of room: the oldest 2 messages)"


def test_a_pipe_is_read_to_its_end() -> None:
    assert list(lines(io.StringIO("one\n\ntwo"))) == ["one\n", "\n", "two"]


def test_on_a_terminal_ctrl_d_and_ctrl_c_end_the_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    for end in (EOFError, KeyboardInterrupt):
        typed: Iterator[str] = iter(["Who?", ""])

        def ask(prompt: str, typed: Iterator[str] = typed, end: type[BaseException] = end) -> str:
            try:
                return next(typed)
            except StopIteration:
                raise end from None

        monkeypatch.setattr("builtins.input", ask)
        assert list(lines(Terminal())) == ["Who?\n", "\n"]


def test_a_story_comes_from_a_file_or_from_the_village(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(" Ada ran.\n", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("Zoë".encode("latin-1"))

    assert story_of(tmp_path / "mine.txt") == "Ada ran."
    assert story_of(None, seed=3) == told(3)[0].text
    with pytest.raises(ValueError, match="is empty; write a story"):
        story_of(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="is not UTF-8"):
        story_of(tmp_path / "latin.txt")


# The command


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "load", Answering)
    monkeypatch.setattr("warnings.showwarning", lambda *_, **__: None)


def test_the_command_shows_the_story_and_answers_a_pipe(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("Ada ran.", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("Who ran?\n" + "x" * 200 + "\n"))

    assert main(["chat", "--story", str(tmp_path / "mine.txt")]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "Ada ran."
    assert shown[2] == dialogue.HELP
    assert shown[3] == "Ada had it."
    assert "too long" in shown[4]


def test_the_command_does_not_know_below_its_threshold(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("Ada ran.", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("Who ran?\n"))

    assert main(["chat", "--story", str(tmp_path / "mine.txt"), "--threshold", "0.95"]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == "I do not know."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--story", "nowhere.txt"], "story file nowhere.txt does not exist; give a text file"),
        (["--threshold", "3", "--story", __file__], "threshold is 3.0"),
        (["--model", "nowhere"], "folder nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_one_line(
    quick: None, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", *arguments]) == 1

    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
