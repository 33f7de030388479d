"""Bad files end in two sentences, good ones do not."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from quantcore.errors import QuantcoreError
from quantcore.untrusted import inspect
from quantcore.untrusted.examine import examine
from tests.untrusted import files, good, malformed

PROJECT = Path(__file__).parents[2]
MODULE = "tests.untrusted.inspect_files"
SAMPLE = 2 * len(malformed.FAMILIES)
GOOD_SAMPLE = 24


def outcomes_of(numbers: Iterable[int], folder: Path) -> list[dict[str, Any]]:
    """Return the outcome of each malformed file, in a process with a limit on memory."""
    arguments = [str(number) for number in numbers]
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.untrusted.inspect_files",
            str(folder),
            *arguments,
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == len(arguments), f"died after {outcomes[-1:]}: {done.stderr[-2_000:]}"
    return outcomes


def assert_all_refused(outcomes: list[dict[str, Any]], folder: Path) -> None:
    wrong = [
        case
        for case in outcomes
        if case["outcome"] != "refused"
        or not case["remedy"]
        or not re.search(case["about"], case["reason"])
    ]
    assert not wrong, wrong[:3]
    assert not (folder / malformed.MARK).exists(), "a pickle was obeyed"


def test_bad_files_of_every_family_are_refused_for_their_own_reason(tmp_path: Path) -> None:
    outcomes = outcomes_of(range(SAMPLE), tmp_path)
    assert {case["family"] for case in outcomes} == {
        make.__name__ for make, _ in malformed.FAMILIES
    }
    assert_all_refused(outcomes, tmp_path)


@pytest.mark.soak
def test_five_hundred_bad_files_are_refused(tmp_path: Path) -> None:
    outcomes = outcomes_of(range(malformed.COUNT), tmp_path)
    assert_all_refused(outcomes, tmp_path)
    print(Counter(case["family"] for case in outcomes), max(case["seconds"] for case in outcomes))  # noqa: T201


def test_a_pickle_that_is_obeyed_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The malicious files of the generator do what they are there to do."""
    monkeypatch.setenv("INTAKE_MARK", str(tmp_path))
    pickle.loads(files.pickled(files.Call(os.system, f"touch {malformed._mark()}")))
    assert (tmp_path / malformed.MARK).exists()


def assert_recognised(case: good.Good, folder: Path) -> None:
    inspect(case.path)
    examined = examine(case.path, folder)
    assert [(c.architecture, c.classes) for c in examined.candidates] == [
        (case.architecture, case.classes)
    ]
    assert examined.labels == case.labels
    written = load_file(folder / examined.file)
    first = next(name for name, tensor in written.items() if tensor.dim() == 4)
    assert written[first].equal(case.first)


def refused(numbers: Iterable[int], folder: Path) -> list[tuple[int, str]]:
    refusals = []
    for number in numbers:
        case = good.make(number, folder)
        try:
            assert_recognised(case, folder)
        except QuantcoreError as error:
            refusals.append((number, str(error)))
        case.path.unlink()
    return refusals


def test_good_files_are_recognised(tmp_path: Path) -> None:
    assert refused(range(GOOD_SAMPLE), tmp_path) == []


@pytest.mark.soak
def test_of_two_hundred_good_files_one_in_a_hundred_may_be_refused(tmp_path: Path) -> None:
    refusals = refused(range(good.COUNT), tmp_path)
    assert len(refusals) <= good.COUNT // 100, refusals
