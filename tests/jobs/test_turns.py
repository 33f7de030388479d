"""When a waiting comparison's turn comes."""

from quantcore.jobs import Forecast
from quantcore.jobs.records import OpenCell
from quantcore.jobs.turns import forecasts


def test_what_runs_comes_first_and_owners_take_turns() -> None:
    cells = [
        OpenCell("mine", "me", 4.0, 0.5, "running"),
        OpenCell("yours", "you", 1.0, 0.0, "waiting"),
        OpenCell("yours", "you", 1.0, 0.0, "waiting"),
        OpenCell("mine", "me", 2.0, 0.0, "waiting"),
        OpenCell("also mine", "me", 3.0, 0.0, "waiting"),
    ]
    # In turn: mine (2 left), yours 1, mine 2, yours 1, also mine 3.
    assert forecasts(cells, pace_s=10.0) == {
        "mine": Forecast(0, 0.0, 50.0),
        "yours": Forecast(1, 20.0, 60.0),
        "also mine": Forecast(4, 60.0, 90.0),
    }


def test_without_a_pace_only_cells_ahead_are_counted() -> None:
    cells = [OpenCell("a", "me", 1.0, 0.0, "running"), OpenCell("b", "you", 1.0, 0.0, "waiting")]
    assert forecasts(cells, None) == {"a": Forecast(0), "b": Forecast(1)}


def test_nothing_open_is_nothing_to_say() -> None:
    assert forecasts([], 1.0) == {}
