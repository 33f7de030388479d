"""The process's settings, read once from the environment, at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import environ
from pathlib import Path

import platformdirs
import psutil

from quantcore.errors import RequestError

DEFAULT_QUOTA_GB = 10.0
DEFAULT_TIME_BUDGET_S = 20.0
DEFAULT_TIMEOUT_S = 3_600.0
DEFAULT_SMALLEST_PERCENT = 2.0
DEFAULT_SMALLEST_POINTS = 0.1
MEMORY_SHARE = 0.8
DEFAULT_UPLOAD_MB = 1_000.0
DEFAULT_UPLOAD_DAYS = 7.0
SHARED_JOBS = ("read-only", "open")


def physical_cores() -> int:
    """Return the number of physical cores, at least 1."""
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def default_threads() -> int:
    """Return the threads a measurement uses by default: physical cores less one, at least 1."""
    return max(1, physical_cores() - 1)


def default_memory_gb() -> float:
    """Return the gigabytes a variant may use by default: four fifths of the machine's memory."""
    return round(MEMORY_SHARE * psutil.virtual_memory().total / 1e9, 1)


@dataclass(frozen=True)
class Settings:
    """Where data lives, how much of it, and where work runs.

    Attributes:
        data: folder of the cache (`QUANTCORE_DATA`).
        quota_gb: gigabytes (10^9 bytes) of artifacts kept (`QUANTCORE_QUOTA_GB`).
        threads: threads a measurement uses (`QUANTCORE_THREADS`); one fewer than the physical
            cores by default, so that a stray process does not sit on a measuring core.
        time_budget_s: seconds that timing one variant may take before it ends unsettled
            (`QUANTCORE_TIME_BUDGET_S`).
        scheduler: address of a Dask scheduler (`QUANTCORE_SCHEDULER`); None starts one here.
        memory_gb: gigabytes (10^9 bytes) a variant may use while it is converted and measured
            (`QUANTCORE_MEMORY_GB`); four fifths of the machine's by default.
        timeout_s: seconds one step of a variant may take (`QUANTCORE_TIMEOUT_S`).
        artifacts: where files travel when machines share no folder (`QUANTCORE_ARTIFACTS`): an
            address fsspec knows, `s3://bucket/folder`; None where they do.
        shared_jobs: what somebody else's comparison allows who has its link
            (`QUANTCORE_SHARED_JOBS`): `read-only` or `open`.
        smallest_percent: percent by which size or time must differ to count
            (`QUANTCORE_SMALLEST_PERCENT`).
        smallest_points: percentage points by which accuracy must differ to count
            (`QUANTCORE_SMALLEST_POINTS`).
        upload_mb: megabytes (10^6 bytes) one upload may have (`QUANTCORE_UPLOAD_MB`).
        upload_days: days after which an upload goes, with all it produced
            (`QUANTCORE_UPLOAD_DAYS`).
    """

    data: Path
    quota_gb: float = DEFAULT_QUOTA_GB
    threads: int = 1
    time_budget_s: float = DEFAULT_TIME_BUDGET_S
    scheduler: str | None = None
    memory_gb: float = field(default_factory=default_memory_gb)
    timeout_s: float = DEFAULT_TIMEOUT_S
    artifacts: str | None = None
    shared_jobs: str = SHARED_JOBS[0]
    smallest_percent: float = DEFAULT_SMALLEST_PERCENT
    smallest_points: float = DEFAULT_SMALLEST_POINTS
    upload_mb: float = DEFAULT_UPLOAD_MB
    upload_days: float = DEFAULT_UPLOAD_DAYS

    @property
    def memory_limit_bytes(self) -> int:
        """Return the memory a variant may use, in bytes."""
        return int(self.memory_gb * 1e9)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = environ) -> "Settings":
        """Return the settings of this process.

        Raises:
            RequestError: a variable holds something that cannot be read; the sentence names it.
        """
        return cls(
            data=Path(env.get("QUANTCORE_DATA") or platformdirs.user_cache_path("quantcore")),
            quota_gb=_positive_number(env, "QUANTCORE_QUOTA_GB", DEFAULT_QUOTA_GB),
            threads=_positive_integer(env, "QUANTCORE_THREADS", default_threads()),
            time_budget_s=_positive_number(env, "QUANTCORE_TIME_BUDGET_S", DEFAULT_TIME_BUDGET_S),
            scheduler=env.get("QUANTCORE_SCHEDULER") or None,
            memory_gb=_positive_number(env, "QUANTCORE_MEMORY_GB", default_memory_gb()),
            timeout_s=_positive_number(env, "QUANTCORE_TIMEOUT_S", DEFAULT_TIMEOUT_S),
            artifacts=env.get("QUANTCORE_ARTIFACTS") or None,
            shared_jobs=_one_of(env, "QUANTCORE_SHARED_JOBS", SHARED_JOBS),
            smallest_percent=_positive_number(
                env, "QUANTCORE_SMALLEST_PERCENT", DEFAULT_SMALLEST_PERCENT
            ),
            smallest_points=_positive_number(
                env, "QUANTCORE_SMALLEST_POINTS", DEFAULT_SMALLEST_POINTS
            ),
            upload_mb=_positive_number(env, "QUANTCORE_UPLOAD_MB", DEFAULT_UPLOAD_MB),
            upload_days=_positive_number(env, "QUANTCORE_UPLOAD_DAYS", DEFAULT_UPLOAD_DAYS),
        )


def _one_of(env: Mapping[str, str], key: str, options: tuple[str, ...]) -> str:
    text = env.get(key) or options[0]
    if text not in options:
        raise RequestError(
            f"{key} is {text!r}, which is none of {', '.join(options)}.", f"Try {key}={options[0]}."
        )
    return text


def _positive_number(env: Mapping[str, str], key: str, default: float) -> float:
    text = env.get(key)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise RequestError(f"{key} is {text!r}, which is not a positive number.", f"Try {key}=10.")
    return value


def _positive_integer(env: Mapping[str, str], key: str, default: int) -> int:
    value = _positive_number(env, key, default)
    if value != int(value):
        raise RequestError(f"{key} is {env[key]!r}, which is not a whole number.", f"Try {key}=2.")
    return int(value)
