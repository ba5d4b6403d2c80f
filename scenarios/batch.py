"""Many simulated runs: in this process, in several of this machine, or on a Dask cluster."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deployer.clusters.local.process import die_with_parent
from scenarios.errors import OutOfReach, Stop, UserMistake
from scenarios.interrupts import Interrupts
from scenarios.run import run_in_memory
from scenarios.spec import Spec

Run = tuple[Spec, str]
"""What one run needs: the spec with its seed, and the strategy."""
Summary = Mapping[str, Any]

MOST_RUNS = 1_000_000
AHEAD = 4
"""Runs of each process that are handed out before their turn, so that a long one keeps nobody waiting."""
DASK_ANSWERS_S = 5.0
"""A scheduler that is there answers within this time."""
DASK_WORKER_S = 60.0
"""A cluster that grows with its work has its first worker within this time."""


def check_count(runs: int) -> None:
    """Raises UserMistake for more runs than anybody waits for."""
    if runs > MOST_RUNS:
        raise UserMistake(f"{runs} runs must be at most {MOST_RUNS:,}; give fewer values or --seeds")


def simulate_all(
    runs: Sequence[Run], jobs: int, dask: str | None, title: str, quiet: bool
) -> Generator[Summary, None, None]:
    """The summaries of these runs in their order, with a progress bar on a terminal.

    In `jobs` processes of this machine (0: one a core), or on the Dask cluster at the address `dask`: the
    summaries are the same. Whoever stops asking for them ends the runs that are under way.

    Raises OutOfReach where there is no such cluster, UserMistake where it cannot run this program, and Stop
    when a process of this machine is killed.
    """
    with _bar(quiet) as bar:
        task = bar.add_task(title, total=len(runs))
        for summary in _summaries(runs, jobs, dask):
            bar.advance(task)
            yield summary


def simulate_until_interrupted(
    runs: Sequence[Run], jobs: int, dask: str | None, title: str, quiet: bool
) -> list[Summary]:
    """As `simulate_all`; Ctrl-C and SIGTERM end it with those before the first one that is not finished."""
    summaries: list[Summary] = []
    found = simulate_all(runs, jobs, dask, title, quiet)
    with Interrupts() as interrupts, suppress(KeyboardInterrupt), interrupts.raising(), closing(found):
        for summary in found:
            summaries.append(summary)
    return summaries


def _summaries(runs: Sequence[Run], jobs: int, dask: str | None) -> Iterator[Summary]:
    if not runs:
        return
    if dask is not None:
        yield from _on_dask(runs, dask)
        return
    # The first one here: it compiles what the other processes then find on disk.
    yield run_in_memory(*runs[0])
    rest = runs[1:]
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(rest))
    if jobs <= 1:
        yield from (run_in_memory(*run) for run in rest)
    else:
        yield from _in_processes(rest, jobs)


def _in_processes(runs: Sequence[Run], jobs: int) -> Iterator[Summary]:
    others = set(multiprocessing.active_children())
    # a fresh interpreter each: polars' threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=die_with_parent, initargs=(signal.SIGKILL,)
    )
    given = iter(runs)
    waiting: deque[Future[Summary]] = deque()
    with pool:
        try:
            while True:
                with _deaf_to_interrupts():
                    for run in itertools.islice(given, AHEAD * jobs - len(waiting)):
                        waiting.append(pool.submit(run_in_memory, *run))
                if not waiting:
                    return
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise Stop(
                "a process that simulated was killed; out of memory? --jobs 1 needs the least"
            ) from None
        except BaseException:
            # without this the pool would wait for the runs that are under way
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            raise


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started within it never hear Ctrl-C, which reaches the whole terminal's group."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _on_dask(runs: Sequence[Run], address: str) -> Iterator[Summary]:
    try:
        from distributed import CancelledError, Client, KilledWorker
    except ImportError:
        raise UserMistake("--dask needs Dask's scheduler: pip install 'drainbow[dask]'") from None
    try:
        client = Client(address, timeout=DASK_ANSWERS_S)
    except ValueError as error:
        raise UserMistake(
            f"--dask {address}: {error}; write it as HOST:PORT, such as 10.0.0.5:8786"
        ) from None
    except (OSError, TimeoutError) as error:
        raise OutOfReach(f"--dask {address}: no Dask scheduler answers there ({error})") from None
    with client:
        # after the runs are asked for: a cluster that grows with its work has no worker before
        futures = client.map(run_in_memory, *zip(*runs, strict=True), pure=False)
        try:
            client.wait_for_workers(1, timeout=DASK_WORKER_S)
        except TimeoutError:
            raise OutOfReach(f"--dask {address}: no worker has come to this scheduler") from None
        try:
            yield from (future.result() for future in futures)
        except ImportError as error:
            raise UserMistake(
                f"--dask {address}: a worker cannot import what runs here ({error}); "
                "install the same version of drainbow where the workers are"
            ) from None
        except KilledWorker:
            raise OutOfReach(
                f"--dask {address}: its workers died again and again over a run; out of memory?"
            ) from None
        except CancelledError as error:
            raise OutOfReach(f"--dask {address}: the scheduler has given up the runs ({error})") from None


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
    )
