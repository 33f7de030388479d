"""The machines that can measure, listed in the background, and the choice of one."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import streamlit as st

from quantcore import wording
from quantcore.errors import QuantcoreError
from quantcore.jobs import Host
from quantcore.schema import current_environment
from ui.common import state
from ui.common.markdown import markdown, reason_and_remedy

CHOICE = "host"
# A request to a scheduler that does not answer takes long, so it is repeated less often.
STALE_S, STALE_AFTER_FAILURE_S = 5.0, 30.0
LOOK_AGAIN_S = 1.0
MEASURE_HERE = "You can measure on this machine."
HELP = (
    "Figures are true of one machine only, so a comparison is measured on one. "
    "Machines that are alike count as one with several workers."
)


@dataclass(frozen=True)
class HostList:
    """The hosts that the scheduler last reported.

    Attributes:
        hosts: the machines behind it that measure, then the one that serves the pages.
        problem: why the scheduler did not answer.
    """

    hosts: tuple[Host, ...]
    problem: QuantcoreError | None = None


class HostMonitor:
    """The list of hosts, refreshed by a thread, since a scheduler may take seconds to answer."""

    def __init__(self, ask: Callable[[], Sequence[Host]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._busy = False
        self._hosts: HostList | None = None
        self._looked_at = 0.0

    def seen(self) -> HostList | None:
        """Return the last list at once, and look again if it is old; None before the first."""
        with self._lock:
            begin = not self._busy and self._is_stale()
            self._busy |= begin
            hosts = self._hosts
        if begin:
            threading.Thread(target=self._look, name="quantcore-hosts", daemon=True).start()
        return hosts

    def _is_stale(self) -> bool:
        if self._hosts is None:
            return True
        stays_true = STALE_AFTER_FAILURE_S if self._hosts.problem else STALE_S
        return time.monotonic() - self._looked_at > stays_true

    def _look(self) -> None:
        try:
            hosts = HostList(tuple(self._ask()))
        except QuantcoreError as problem:
            hosts = HostList((here(),), problem)
        with self._lock:
            self._hosts, self._busy, self._looked_at = hosts, False, time.monotonic()


@cache
def host_monitor() -> HostMonitor:
    """Return the monitor that all visitors share."""
    return HostMonitor(lambda: state.service().hosts())


def here() -> Host:
    """Return the machine that serves the pages."""
    return Host(current_environment())


def choose() -> Host | None:
    """Draw the choice of a machine where a scheduler is set; return it, None until one is known."""
    if state.settings().scheduler is None:
        return here()
    host_list = host_monitor().seen()
    if host_list is None:
        st.caption(markdown(f"Asking the scheduler at {_address()} which machines it has …"))
        st.fragment(_wait, run_every=LOOK_AGAIN_S)()
        return None
    _say_problem(host_list)
    hosts = {f"{host.location} {host.digest}": host for host in host_list.hosts}
    # A machine may have left since it was chosen.
    if st.session_state.get(CHOICE) not in hosts:
        st.session_state[CHOICE] = next(iter(hosts))
    chosen = st.selectbox(
        "Measure on",
        list(hosts),
        key=CHOICE,
        format_func=lambda name: sentence(hosts[name]),
        help=HELP,
    )
    return hosts[str(chosen)]


def sentence(host: Host) -> str:
    """Return a machine in words, with its number of workers where it is one of the scheduler's."""
    if host.location == "here":
        return f"This machine: {host.environment.sentence()}"
    return f"{host.environment.sentence()} · {wording.count(host.workers, 'worker')}"


def _say_problem(host_list: HostList) -> None:
    if host_list.problem:
        st.warning(reason_and_remedy(host_list.problem.reason, MEASURE_HERE))
    elif all(host.location == "here" for host in host_list.hosts):
        st.warning(
            reason_and_remedy(f"The scheduler at {_address()} has no workers.", MEASURE_HERE)
        )


def _address() -> str:
    return state.settings().scheduler or ""


def _wait() -> None:
    if host_monitor().seen() is not None:
        st.rerun()
