"""A local Dask cluster of real processes, as a deployment has them: a scheduler and workers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMANDS = {"scheduler": "distributed.cli.dask_scheduler", "worker": "distributed.cli.dask_worker"}


class LocalCluster:
    """A scheduler and its workers; `file` says where the scheduler is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        arguments = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file)]
        self.start("scheduler", *arguments)

    def start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process; a worker without a nanny, so that nobody replaces it when it dies."""
        command = [sys.executable, "-m", COMMANDS[kind], "--no-dashboard", *arguments]
        log = (self._folder / f"{kind}{len(self.processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker, of one thread."""
        return self.start(
            *("worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny"),
            *("--local-directory", str(self._folder)),
        )

    def address(self, workers: int) -> str:
        """The scheduler's address, once so many workers have come."""
        from distributed import Client

        make: Any = Client
        with make(scheduler_file=str(self.file), timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
            address: str = client.scheduler.address
            return address


@contextmanager
def local_cluster(folder: Path, workers: int) -> Iterator[LocalCluster]:
    """A cluster with so many workers; all of it ends with the block."""
    cluster = LocalCluster(folder)
    try:
        for _ in range(workers):
            cluster.worker()
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            process.kill()
            process.wait()
