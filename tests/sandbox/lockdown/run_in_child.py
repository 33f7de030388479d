"""Runs a function in a child of a process pool, inside the lock or, for control, outside it."""

import os
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import quantcore.sandbox.lockdown.libraries  # noqa: F401
from quantcore.errors import ChildDiedError
from quantcore.sandbox import ProcessPool
from quantcore.sandbox.lockdown import Lock, enter

TIMEOUT_S = 60.0


def run(
    connection: Connection,
    lock: dict[str, Any] | None,
    leak: tuple[str, int] | None,
    prepare: str | None,
    function: str,
    *arguments: Any,
) -> Any:
    """Enter the lock, if there is one, and answer what the function returns or raises.

    `prepare` is called before that, with all but the last argument; what it returns is the
    function's first one.
    """
    work = _named(function)
    if prepare is not None:
        arguments = (_named(prepare)(*arguments[:-1]), *arguments)
    if leak is not None:
        # A file that the process had open before, as careless code leaves it to its children.
        os.dup2(os.open(leak[0], os.O_RDONLY), leak[1])
    if lock is not None:
        enter(Lock.from_dict(lock), keep=[connection.fileno()])
    try:
        return {"value": work(*arguments)}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", None)}


def _named(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def ask(
    pool: ProcessPool,
    lock: Lock | None,
    function: str,
    *arguments: Any,
    leak: tuple[str, int] | None = None,
    prepare: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Return the function's `value`, or its `error`, or how its process `died`."""
    plain = None if lock is None else lock.to_dict()
    run_it = ("tests.sandbox.lockdown.run_in_child:run", plain, leak, prepare, function)
    with pool.spawn(*run_it, *arguments) as child:
        try:
            return child.receive(timeout_s=timeout_s)
        except ChildDiedError as error:
            return {"died": error.reason}
