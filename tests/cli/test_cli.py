"""`python -m quantcore`, as a person and as a script meet it."""

import csv
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from quantcore.backends import MADE_FOR, default_backends
from quantcore.cache import Store
from quantcore.jobs import JobQueue
from quantcore.models import find
from quantcore.sandbox import PROJECT
from quantcore.schema import (
    TARGETS,
    CompareRequest,
    Comparison,
    ModelSpec,
    Target,
    current_environment,
)
from quantcore.settings import Settings
from quantcore.workflows import WORKFLOWS
from tests.support.processes import PATIENCE_S, descendants, is_gone, soon

# What is ended by Ctrl-C ends long before it would have been done.
SOON_S = 45
MODEL = "torchvision/shufflenet_v2_x0_5@random"
SMALL = (
    "--workflows=dynamic,static,qat",
    "--backends=x86",
    "--image-size=64",
    "--evaluation-images=4",
    "--threads=1",
    "--calibration-images=4",
    "--set=static.observer=minmax",
    "--set=dynamic.layers=Linear",
)
SLOW = (
    "bundled/mobilenet_v2",
    "--workflows=static",
    "--backends=x86",
    "--image-size=32",
    "--calibration-images=512",
    "--evaluation-images=4",
)
SWEEP = f"""
models = "{MODEL}"
workflows = ["dynamic", "static"]
backends = "x86"
image_size = [48, 64]
evaluation_images = 8
threads = 1

[static]
calibration_images = 8
"""
# Runs the command line, then says on standard error which heavy libraries it has imported.
WATCHED = """
import sys
from quantcore.cli.main import main
sys.argv[0] = "quantcore"
try:
    main()
finally:
    heavy = [name for name in ("torch", "torchvision", "distributed") if name in sys.modules]
    print("imported:", *heavy, file=sys.stderr)
"""
# A test run started in the background ignores Ctrl-C, and hands that down.
INTERRUPTIBLE = """
import signal
from quantcore.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
# What the command line promises of every row.
RESULT_FIELDS = {
    "key": str,
    "model": str,
    "workflow": str,
    "backend": (str, type(None)),
    "settings": dict,
    "threads": int,
    "artifact": {"sha256": str, "size_bytes": int, "format": str},
    "state_dict_bytes": int,
    "latency_ms": {"p50": float, "p90": float, "low": float, "high": float, "starts": int},
    "speedup": {"ratio": float, "low": float, "high": float, "starts": int},
    "turns": list,
    "floats": dict,
    "accuracy": (dict, type(None)),
    "agreement": (float, type(None)),
    "sqnr_db": (float, type(None)),
    "int8_share": float,
    "peak_memory_bytes": int,
    "conversion_s": float,
    "cached": bool,
}
FAILURE_FIELDS = {
    "key": str,
    "model": str,
    "workflow": str,
    "backend": (str, type(None)),
    "settings": dict,
    "reason": str,
    "remedy": str,
}


@dataclass(frozen=True)
class CommandLine:
    """The command line with a data folder of its own."""

    data: Path

    def environment(self, **variables: str) -> dict[str, str]:
        mine = {key: text for key, text in os.environ.items() if key != "QUANTCORE_SCHEDULER"}
        return mine | {"QUANTCORE_DATA": str(self.data)} | variables

    def __call__(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", WATCHED, *arguments],
            cwd=PROJECT,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def first(command: CommandLine) -> "subprocess.CompletedProcess[str]":
    """A comparison measured now."""
    return command("compare", MODEL, *SMALL, "--json=-")


@pytest.fixture(scope="module")
def request_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "two sizes.toml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def swept(
    tmp_path_factory: pytest.TempPathFactory, request_file: Path
) -> tuple[CommandLine, "subprocess.CompletedProcess[str]"]:
    """A sweep measured now, interrupted by kill -9 in its middle, then asked for again."""
    command = CommandLine(tmp_path_factory.mktemp("sweep-data"))
    kill_in_the_middle(command, request_file)
    return command, command("sweep", str(request_file), "--json=-")


def kill_in_the_middle(command: CommandLine, request_file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "sweep", str(request_file)],
        cwd=PROJECT,
        env=command.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # Quick stages may pass between two looks.
        assert any("static on x86 (48 px): " in line for line in process.stderr)
        pids = [pid for found in descendants(process.pid).values() for pid in found]
        process.kill()
    assert soon(lambda: all(map(is_gone, pids)))


@pytest.fixture
def begun(settings: Settings, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A comparison that is converting right now, and would write `out.json`."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "compare", *SLOW, f"--json={tmp_path / 'out.json'}"],
        cwd=PROJECT,
        env=CommandLine(settings.data).environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert any("calibrating" in line for line in process.stderr)
        yield process
        process.kill()


def parsed(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def conforms(value: Any, kind: Any) -> bool:
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(conforms(value[key], kind[key]) for key in kind)
    return isinstance(value, kind)


# What a comparison prints


def test_json_on_standard_output_is_the_written_schema(
    first: "subprocess.CompletedProcess[str]",
) -> None:
    assert first.returncode == 0, first.stderr
    schema = json.loads((PROJECT / "docs" / "schema.json").read_text())
    jsonschema.validate(parsed(first), schema)
    assert Comparison.from_json(first.stdout).schema == parsed(first)["schema"] == 3


def test_json_has_the_promised_fields(first: "subprocess.CompletedProcess[str]") -> None:
    content = parsed(first)
    assert {"environment", "request", "results", "failures"} <= set(content)
    for row in content["results"]:
        wrong = [key for key, kind in RESULT_FIELDS.items() if not conforms(row[key], kind)]
        assert not wrong, f"{row['workflow']}: {wrong}"
    for row in content["failures"]:
        assert all(conforms(row[key], kind) for key, kind in FAILURE_FIELDS.items())
        assert row["reason"]
        assert row["remedy"]


def test_every_cell_asked_for_is_a_result_or_a_failure(
    first: "subprocess.CompletedProcess[str]",
) -> None:
    content = parsed(first)
    rows = [*content["results"], *content["failures"]]
    cells = [(row["workflow"], row["backend"]) for row in rows]
    assert len(cells) == len(set(cells)) == 4
    assert {cell for cell in cells if cell[0] == "qat"} == {
        (row["workflow"], row["backend"]) for row in content["failures"]
    }
    assert ("float32", None) in cells


def test_options_reach_the_cells(first: "subprocess.CompletedProcess[str]") -> None:
    rows = {row["workflow"]: row for row in parsed(first)["results"]}
    assert rows["static"]["settings"] == {
        "calibration_images": 4,
        "observer": "minmax",
        "per_channel": None,
        "equalize": None,
        "reduce_range": None,
        "bias_correction": None,
        "keep_float": 0,
        "max_loss_points": 0.5,
    }
    assert rows["dynamic"]["settings"]["layers"] == ["Linear"]
    assert {row["image_size"] for row in rows.values()} == {64}
    assert {row["threads"] for row in rows.values()} == {1}


def test_progress_goes_to_standard_error_line_by_line(
    first: "subprocess.CompletedProcess[str]",
) -> None:
    lines = [line for line in first.stderr.splitlines() if "%" in line]
    # It looks again and again: of a step that is over between two looks it tells nothing.
    assert all(re.match(r" *\d+%  [\w ]+", line) for line in lines)
    assert any("static on x86: " in line for line in lines)
    shares = [int(line.split("%")[0]) for line in lines]
    assert shares == sorted(shares)
    assert "\x1b" not in first.stderr


def test_again_it_is_fast_and_imports_nothing_heavy(
    command: CommandLine, first: "subprocess.CompletedProcess[str]"
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    again = command("compare", MODEL, *SMALL, "--json=-")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert again.returncode == 0
    assert all(row["cached"] for row in parsed(again)["results"])
    assert [row["latency_ms"] for row in parsed(again)["results"]] == [
        row["latency_ms"] for row in parsed(first)["results"]
    ]
    assert again.stderr.splitlines()[-1] == "imported:"
    # Processor time, interpreter and imports included: how crowded the machine is matters not.
    assert after.ru_utime - before.ru_utime < 3


def test_people_get_a_table_of_a_hundred_columns(
    command: CommandLine, first: "subprocess.CompletedProcess[str]"
) -> None:
    assert first.returncode == 0
    text = command("compare", MODEL, *SMALL).stdout
    assert max(map(len, text.splitlines())) <= 100
    for word in ("static", "dynamic", "x86", "Random weights", "MB", "ms"):
        assert word in text


def test_csv_has_a_line_for_every_cell(
    command: CommandLine, first: "subprocess.CompletedProcess[str]"
) -> None:
    assert first.returncode == 0
    rows = list(csv.DictReader(io.StringIO(command("compare", MODEL, *SMALL, "--csv=-").stdout)))
    assert len(rows) == 4
    assert {row["workflow"] for row in rows} == {"float32", "dynamic", "static", "qat"}


def test_files_are_written_and_the_table_is_printed(
    command: CommandLine, first: "subprocess.CompletedProcess[str]", tmp_path: Path
) -> None:
    assert first.returncode == 0
    targets = [tmp_path / "a.json", tmp_path / "a.csv"]
    options = [f"--json={targets[0]}", f"--csv={targets[1]}"]
    done = command("compare", MODEL, *SMALL, *options)
    assert Comparison.from_json(targets[0].read_text()).results
    assert len(targets[1].read_text().splitlines()) == 5
    assert "static" in done.stdout


# Sweeps


Swept = tuple[CommandLine, "subprocess.CompletedProcess[str]"]


def test_a_sweep_goes_on_after_a_kill_as_the_one_job_it_was(swept: Swept) -> None:
    command, done = swept
    assert done.returncode == 0, done.stderr
    with closing(JobQueue.open(Settings(data=command.data))) as queue:
        (summary,) = queue.listing.summaries()
        cells = queue.jobs.get(summary.id).cells
    assert (summary.name, summary.cells, summary.measured) == ("two sizes", 6, 6)
    # What was measured before the kill was begun once; what was under way, once more.
    assert [cell.attempts for cell in cells] == [1, 1, 2, 1, 1, 1]


def test_a_sweep_is_one_comparison_with_a_float32_for_each_size(swept: Swept) -> None:
    content = parsed(swept[1])
    jsonschema.validate(content, json.loads((PROJECT / "docs" / "schema.json").read_text()))
    comparison = Comparison.from_json(swept[1].stdout)
    assert [each.images.image_size for each in (comparison.request, *comparison.also)] == [48, 64]
    assert [(row.workflow, row.image_size) for row in comparison.results] == [
        (workflow, size) for size in (48, 64) for workflow in ("float32", "dynamic", "static")
    ]
    assert comparison.failures == ()


def test_progress_of_a_sweep_says_which_cell_it_is(swept: Swept) -> None:
    lines = [line for line in swept[1].stderr.splitlines() if "%" in line]
    assert any("static on x86 (64 px): " in line for line in lines)


def test_a_sweep_asked_for_again_is_fast_and_a_table_of_what_varies(
    swept: Swept, request_file: Path, tmp_path: Path
) -> None:
    command, _ = swept
    done = command("sweep", str(request_file), f"--csv={tmp_path / 'a.csv'}")
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["imported:"]
    heading = next(line.split() for line in done.stdout.splitlines() if "backend" in line)
    assert heading[:4] == ["px", "workflow", "backend", "size"]
    rows = [
        line.split() for line in done.stdout.splitlines() if line.split()[:1] in (["48"], ["64"])
    ]
    assert [row[:2] for row in rows] == [
        [size, workflow] for size in ("48", "64") for workflow in ("float32", "dynamic", "static")
    ]
    lines = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [line["image_size_px"] for line in lines] == ["48"] * 3 + ["64"] * 3
    assert {line["cached"] for line in lines} == {"True"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("models = [", "is not TOML"),
        ("modles = 1", "Did you mean 'models'"),
        ('models = "bundled/mobilnet_v2"', "Did you mean bundled/mobilenet_v2"),
        ("models = 'bundled/resnet18'\nimages = 'no such folder'", "no such folder"),
        (f'models = "{MODEL}"\nbatch = {list(range(1, 99))}', "variants, more than 500"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_one_sentence_and_exit_code_2(
    command: CommandLine, tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "request.toml"
    if text is not None:
        path.write_text(text)
    done = command("sweep", str(path))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# Exit codes and sentences


def test_where_nothing_could_be_measured_the_exit_code_is_1(command: CommandLine) -> None:
    # The environment variable is read, and nobody answers there.
    done = command(
        "compare",
        MODEL,
        "--workflows=dynamic",
        "--backends=x86",
        "--image-size=65",
        QUANTCORE_SCHEDULER="nonsense://here",
    )
    assert done.returncode == 1, done.stderr
    assert "No Dask scheduler answers at nonsense://here" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "bundled/mobilnet_v2"], r"Did you mean bundled/mobilenet_v2\?"),
        (["compare", "mobilenet_v2"], "does not name a model"),
        (["compare", MODEL, "--workflows=statc"], "Did you mean 'static'"),
        (["compare", MODEL, "--backends=x68"], "Did you mean 'x86'"),
        (["compare", MODEL, "--set", "static.observr=minmax"], "Did you mean 'observer'"),
        (["compare", MODEL, "--set", "static.observer=median"], "cannot be 'median'"),
        (["compare", MODEL, "--set", "observer"], "'observer' is not a setting"),
        (["compare", MODEL, "--set", "statc.observer=minmax"], "Did you mean 'static'"),
        (["compare", MODEL, "--calibration-images=0"], "Calibration needs pictures"),
        (["compare", MODEL, "--evaluation-images=0"], "measure nothing"),
        (["compare", MODEL, "--image-size=4"], "out of range"),
        (["compare", MODEL, "--threads=0"], "threads"),
        (["compare", MODEL, "--batch=0"], "batch"),
        (["compare", MODEL, "--target=phones"], "Did you mean 'phone'"),
        (["compare", MODEL, "--set", "static.keep_float=-1"], "cannot stay in float"),
        (["compare", MODEL, "--set", "static.keep_float=some"], "cannot be 'some'"),
        (["compare", MODEL, "--set", "static.max_loss_points=nan"], "cannot be nan"),
        (
            ["compare", MODEL, "--workflows=dynamic", "--set", "static.observer=minmax"],
            "static is not compared here",
        ),
        (["export", MODEL, "--all", "--format=onnx"], "Take one of the two"),
        (["compare", MODEL, "--qat-steps=0"], "cannot train 0 steps"),
        (["compare", MODEL, "--images=/no/such/folder"], "/no/such/folder"),
        (["compare", MODEL, "--json=/no/such/folder/out.json"], "/no/such/folder"),
        (["compare", MODEL, "--csv=/no/such/folder/out.csv"], "/no/such/folder"),
        (["compare"], "Missing argument"),
        (["compare", MODEL, "--batch=two"], "--batch"),
        (["no-such-command"], "No such command"),
    ],
    ids=lambda value: " ".join(value[1:]) or value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_read_is_one_sentence_and_exit_code_2(
    command: CommandLine, arguments: list[str], said: str
) -> None:
    done = command(*arguments)
    assert done.returncode == 2, done.stderr
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_target_stands_in_the_verdict_and_what_is_not_made_for_it_is_said(
    command: CommandLine, first: "subprocess.CompletedProcess[str]"
) -> None:
    assert first.returncode == 0
    done = command("compare", MODEL, *SMALL, "--target=browser")
    assert "x86 is made for servers and PCs, not for browsers." in done.stderr
    assert "Choose ONNX Runtime" in done.stderr
    assert "in the browser" in done.stdout


def test_an_export_for_another_place_is_said_before_anything_is_made(
    command: CommandLine,
) -> None:
    refused = ("--workflow=pretrained", "--backend=onednn", "--format=mobile", "--target=browser")
    done = command("export", "bundled/mobilenet_v2", *refused)
    warned, _, rest = done.stderr.partition("\n")
    assert warned == "TorchScript mobile files are for phones, not for browsers. Choose ONNX."
    assert "ready-quantized" in rest
    assert done.returncode == 1


def test_a_setting_of_the_machine_that_cannot_be_read_names_its_variable(
    command: CommandLine,
) -> None:
    done = command("compare", MODEL, QUANTCORE_THREADS="many")
    assert done.returncode == 2
    assert "QUANTCORE_THREADS is 'many'" in done.stderr


def test_a_data_folder_that_is_a_file_is_one_sentence(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("cache", "list", QUANTCORE_DATA=str(tmp_path / "file"))
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


# Stopping


def test_ctrl_c_leaves_no_process_and_no_half_file(
    begun: "subprocess.Popen[str]", settings: Settings, tmp_path: Path
) -> None:
    pids = [pid for found in descendants(begun.pid).values() for pid in found]
    assert len(pids) >= 4
    started = time.monotonic()
    begun.send_signal(signal.SIGINT)
    _, told = begun.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - started < SOON_S
    assert begun.returncode == 130
    assert "What was measured is kept" in told
    assert "Traceback" not in told
    assert soon(lambda: all(map(is_gone, pids)))
    assert not (tmp_path / "out.json").exists()
    with Store.open(settings) as store:
        found = store.maintenance.verify()
    assert (found.damaged, found.missing) == ((), ())
    assert not any(path.is_file() for path in (settings.data / "tmp").rglob("*"))


def test_a_killed_command_line_takes_its_workers_along(begun: "subprocess.Popen[str]") -> None:
    pids = [pid for found in descendants(begun.pid).values() for pid in found]
    begun.kill()
    assert soon(lambda: all(map(is_gone, pids))), [psutil.Process(pid) for pid in pids]


# The other commands


def test_models_are_listed_with_their_facts(command: CommandLine) -> None:
    done = command("models", "mobilenet_v2")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert {"3.5", "0.30", "224"} <= set(lines["torchvision/mobilenet_v2"].split())
    for name in ("bundled/mobilenet_v2", "torchvision/mobilenet_v2"):
        figures = find(ModelSpec(name)).figures
        assert figures is not None
        assert f"  {figures.size}  " in lines[name]
        assert f"  {figures.accuracy}  " in lines[name]
    assert done.stderr.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("target", TARGETS)
def test_models_for_a_target_say_what_a_first_comparison_is_of(
    command: CommandLine, target: Target
) -> None:
    *rows, said = command("models", "bundled", "--target", target).stdout.splitlines()[1:]
    lines = {row.split()[0]: row.rstrip() for row in rows}
    assert lines["bundled/mobilenet_v2"].endswith("  half, static, qat")
    assert lines["bundled/row_lstm"].endswith("  half, dynamic")
    assert MADE_FOR[target] in said
    assert all(name in said for name in default_backends(target, current_environment()))


def test_the_environment_is_json(command: CommandLine) -> None:
    content = json.loads(command("environment").stdout)
    assert {"cpu", "instruction_sets", "libraries", "engines"} <= set(content)


def test_the_cache_is_listed_verified_and_cleared(
    command: CommandLine, first: "subprocess.CompletedProcess[str]"
) -> None:
    kept = [row["artifact"]["sha256"] for row in parsed(first)["results"]]
    listed = command("cache", "list").stdout
    assert re.search(r"^\d+ entries, [\d.,]+ MB$", listed, re.M)
    assert MODEL in listed
    assert command("cache", "verify").returncode == 0
    broken = command.data / "artifacts" / kept[0][:2] / kept[0]
    broken.chmod(0o644)
    broken.write_bytes(b"broken")
    verified = command("cache", "verify")
    assert verified.returncode == 1
    assert "quarantine" in verified.stdout
    assert re.match(r"Removed \d+ files?, [\d.,]+ MB", command("cache", "clear").stdout)
    assert re.search(r"^0 entries", command("cache", "list").stdout, re.M)


def test_help_names_every_workflow(command: CommandLine) -> None:
    done = command("compare", "--help", COLUMNS="200")
    assert done.returncode == 0
    assert all(name in done.stdout for name in WORKFLOWS)


def test_the_request_in_the_json_is_the_one_that_was_asked(
    first: "subprocess.CompletedProcess[str]",
) -> None:
    request = CompareRequest.from_json(json.dumps(parsed(first)["request"]))
    assert (request.model.name, request.images.evaluation_images) == (MODEL, 4)
    assert len(request.variants) == 4
