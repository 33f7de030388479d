"""The package as `pip install .` leaves it, in an environment that knows no checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SOURCES = (
    "LICENSE",
    "README.md",
    "bundled",
    "pyproject.toml",
    "quantcore",
    "requirements.txt",
    "setup.py",
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
COMPARE = (
    "compare",
    "bundled/mobilenet_v2",
    "--workflows=static",
    "--backends=x86",
    "--calibration-images=8",
    "--evaluation-images=50",
    "--image-size=64",
    "--json=-",
)
LOCKED = """
from pathlib import Path
from quantcore.models import bundled_file
from quantcore.sandbox import lockdown
for name in ("checkpoints/mobilenet_v2.safetensors", "photos/evaluation.zip"):
    path = bundled_file(name).resolve()
    assert any(folder in path.parents for folder in lockdown.runtime_paths()), path
print(lockdown.why_unavailable() or lockdown.prove().sentence)
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the package, and a folder to work in."""

    folder: Path

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        kept = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")}
        program, *arguments = command
        return subprocess.run(
            [self.folder / "venv" / "bin" / program, *arguments],
            cwd=self.folder / "elsewhere",
            env=kept | {"QUANTCORE_DATA": str(self.folder / "data")},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from links so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        (folder / name).symlink_to(PROJECT / name)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "-q")
    subprocess.run([*PIP, "wheel", *options, "-w", "out", "."], cwd=folder, check=True)
    (path,) = (folder / "out").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment of its own that takes everything but this package from the tests' own."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv").glob("lib/*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    options = ("--no-deps", "--no-index", "-q")
    subprocess.run([*PIP, "--python", python, "install", *options, wheel], check=True)
    (folder / "elsewhere").mkdir()
    # What children would import if they looked into the folder they were started in.
    (folder / "elsewhere" / "quantcore.py").write_text("raise SystemExit('the wrong module')")
    return Installed(folder)


def test_all_data_is_in_the_wheel_and_no_script_that_produces_it(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "quantcore", "bundled"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = {name for name in listed.stdout.splitlines() if (PROJECT / name).exists()}
    code = {name for name in files if name.startswith("quantcore/")}
    data = {f"quantcore/{name}" for name in files - code if not name.endswith(".py")}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == code | data


def test_the_command_compares_outside_the_checkout(installed: Installed) -> None:
    done = installed.run("quantcore", *COMPARE)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [row["workflow"] for row in results] == ["float32", "static"]
    assert all(row["accuracy"]["images"] == 50 for row in results)


def test_the_lock_reads_the_bundle_and_holds(installed: Installed) -> None:
    done = installed.run("python", "-P", "-c", LOCKED)
    assert done.returncode == 0, done.stderr
    assert done.stdout
