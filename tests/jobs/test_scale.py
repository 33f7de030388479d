"""What the documents about several machines say, held against commands and settings."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from quantcore.cli import main
from quantcore.settings import Settings

PROJECT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COMMANDS = typer.main.get_command(main.app).commands  # type: ignore[attr-defined]
IMAGE = (PROJECT / "Dockerfile").read_text()
TEXTS = ("docs/command-line.md", "docs/jobs.md", "docs/settings.md", "compose.yaml", "README.md")


def read(arguments: list[str]) -> dict[str, Any]:
    """Return what one of the project's commands makes of its arguments, without running it."""
    command, *rest = arguments
    return dict(COMMANDS[command].make_context(command, rest).params)


def test_every_service_runs_the_image_and_a_command_it_has() -> None:
    assert {name for name in SERVICES if "command" not in SERVICES[name]} == {"web"}
    for service in SERVICES.values():
        assert service["build"] == "."
        if "command" in service:
            *python, module = service["command"][:3]
            assert (python, module) == ([".venv/bin/python", "-m"], "quantcore")
            assert read(service["command"][3:])


def test_worker_and_pages_look_for_the_scheduler_where_it_listens() -> None:
    scheduler = read(SERVICES["scheduler"]["command"][3:])
    # A container is reached from others only on an address that is not its own alone.
    assert scheduler["host"] == "0.0.0.0"
    address = f"tcp://scheduler:{scheduler['port']}"
    assert read(SERVICES["worker"]["command"][3:])["address"] == address
    assert Settings.from_env(SERVICES["web"]["environment"]).scheduler == address


def test_all_services_share_one_data_folder_and_one_lock_for_measurements() -> None:
    data = re.search(r"QUANTCORE_DATA=(\S+)", IMAGE)
    assert data
    for service in SERVICES.values():
        assert str(Settings.from_env(service["environment"]).data) == data[1]
        mounted = dict(volume.split(":") for volume in service["volumes"])
        assert {mounted["data"], mounted["machine"]} == {data[1], "/tmp"}
        assert set(mounted) == set(COMPOSE["volumes"])


def test_only_what_serves_pages_is_asked_for_them_and_only_from_this_machine() -> None:
    checked = {name for name in SERVICES if not SERVICES[name].get("healthcheck")}
    assert checked == {"web"}
    assert "HEALTHCHECK" in IMAGE
    assert {name for name in SERVICES if "ports" in SERVICES[name]} == {"web"}
    assert SERVICES["web"]["ports"] == ["127.0.0.1:8501:8501"]


@pytest.mark.parametrize("name", TEXTS)
def test_the_documents_name_commands_and_settings_that_exist(name: str) -> None:
    text = (PROJECT / name).read_text()
    commands = set(re.findall(r"(?:-m |^ +)quantcore ([a-z]+)", text, re.M))
    assert commands - set(COMMANDS) == set()
    source = (PROJECT / "quantcore" / "settings.py").read_text()
    named = set(re.findall(r"\bQUANTCORE_[A-Z_]+", text))
    assert commands or named
    assert {setting for setting in named if f'"{setting}"' not in source} == set()


def test_the_documents_lines_start_what_they_say() -> None:
    section = (PROJECT / "docs" / "jobs.md").read_text().partition("## More machines")[2]
    scheduler, worker, pages = re.findall(r"^    (.+)$", section, re.M)[:3]
    port = read(scheduler.split()[3:])["port"]
    address = read(worker.split()[3:])["address"]
    assert address == f"tcp://127.0.0.1:{port}"
    assert pages == f"QUANTCORE_SCHEDULER={address} make run"
