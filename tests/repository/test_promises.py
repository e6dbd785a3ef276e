"""What the repository says of itself is true: commands exist, workflows are pinned, licences are there."""

import re
from pathlib import Path

import pytest
import yaml

from tests.repository.address import ROOT, texts

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
VERBS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", ".ci/run", "book/how-to-use.md"])
def test_every_make_verb_that_a_text_names_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make\s+([a-z0-9-]+)", text, re.M))
    assert named
    assert named <= VERBS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_pins_its_actions_and_grants_the_least(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            else:  # every command is written once, in the Makefile
                assert step["run"].startswith(("make ", "bash .ci/run", "gh release create"))


def test_the_two_licences_are_whole() -> None:
    assert "Permission is hereby granted, free of charge" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Attribution 4.0 International" in (ROOT / "LICENSE-text").read_text(encoding="utf-8")


def test_no_file_names_a_path_of_one_machine() -> None:
    own = re.compile(r"(?<![\w./])/(?:home|root|work|Users)/\w+")
    wrong = {path.relative_to(ROOT).as_posix() for path, text in texts() if own.search(text)}
    assert wrong <= {"tests/repository/test_promises.py", "tests/book/test_rules.py"}  # they name some to find them
