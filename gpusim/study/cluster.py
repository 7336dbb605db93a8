"""Work on a Dask cluster, which repeats the tasks of workers that die (`CLUSTER.md`)."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from gpusim.errors import SpecError, plain

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

#: Seconds until a scheduler has to answer.
TIMEOUT_S = 30
#: Tasks handed out ahead for each thread of the workers, and at least in all: workers may join.
AHEAD, AT_LEAST = 4, 16
#: Seconds between looks at how many workers there are.
LOOK_S = 5.0


class Cluster:
    """The Dask scheduler at an address, until the end of the `with` block."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            SpecError: if no scheduler answers, or Dask is not installed.
        """
        try:
            from distributed import Client
            from distributed.comm.addressing import get_address_host_port
        except ImportError as error:
            raise SpecError(
                "--cluster: expected Dask, found none: pip install 'gpusim[cluster]'"
            ) from error
        try:
            # A client that could not read it would hold the process up for a minute at its end.
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # we say it
            read: Any = get_address_host_port
            read(address)
            connect: Any = Client
            self._client: Any = connect(address, timeout=TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise SpecError(
                f"--cluster: expected the address of a Dask scheduler, such as"
                f" tcp://127.0.0.1:8786, found none at {plain(address)}"
            ) from error
        self._address = address
        self._looked, self._threads = 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._client.close()  # forgets what is still in hand

    def map(self, work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in the order of the tasks.

        Raises:
            SpecError: if the cluster is lost, its workers lack gpusim, or they die again and again.
        """
        pending: deque[Any] = deque()
        source = iter(tasks)
        while True:
            for task in source:
                pending.append(self._client.submit(work, task, pure=False))
                if len(pending) >= max(AT_LEAST, AHEAD * self._thread_count()):
                    break
            if not pending:
                return
            outcome = self._outcome(pending[0])
            pending.popleft()
            yield outcome

    def _outcome(self, future: Any) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except SpecError:
            raise
        except ImportError as error:
            raise SpecError(f"--cluster: expected workers with gpusim, found: {error}") from error
        except KilledWorker as error:
            raise SpecError(
                f"--cluster: expected workers that live, found them killed again and again:"
                f" {str(error).splitlines()[0]}"
            ) from error
        except (CancelledError, OSError, TimeoutError) as error:
            raise SpecError(
                f"--cluster: expected the scheduler to stay, found {plain(self._address)} gone"
            ) from error

    def _thread_count(self) -> int:
        """Threads of all workers, looked up now and then."""
        now = time.monotonic()
        if now - self._looked > LOOK_S or not self._threads:
            self._looked, self._threads = now, sum(self._client.nthreads().values())
        return self._threads
