"""Who is free, who merges and who waits, worked by hand."""

from gpusim.sim.waits import Waits, go_on


def _waits(peers: list[int]) -> Waits:
    """A worker a batch, worker w on slot w, each with so many peers."""
    n = len(peers)
    return Waits(list(range(n)), peers, [False] * n, [-1] * n, [-1] * n)


def _end(waits: Waits, *slots: int) -> tuple[list[int], list[int]]:
    """Let the batches on these slots end; slots that are free, and that merge."""
    free: list[int] = []
    merging: list[int] = []
    batch = [worker + 1 for worker in waits.worker]
    go_on(waits, list(slots), batch, free, merging)
    return free, merging


def test_who_has_no_peers_is_free() -> None:
    assert _end(_waits([0, 0, 0]), 2, 0) == ([2, 0], [])


def test_a_host_waits_until_all_of_its_peers_have_results() -> None:
    waits = _waits([3, 0, 0, 0])
    assert _end(waits, 0) == ([], [])
    assert _end(waits, 2) == ([2], [])
    assert _end(waits, 1) == ([1], [])
    assert _end(waits, 3) == ([3], [0])


def test_a_host_whose_peers_were_first_merges_at_once() -> None:
    waits = _waits([1, 0])
    assert _end(waits, 1) == ([1], [])
    assert _end(waits, 0) == ([], [0])


def test_of_those_that_end_together_the_woken_come_last() -> None:
    # Slot 0 is looked at before its peer on slot 1; slot 2 finds the result of slot 3.
    assert _end(_waits([1, 0, 1, 0]), 0, 1, 3, 2) == ([1, 3], [2, 0])


def test_a_result_that_two_wait_for_wakes_both() -> None:
    waits = _waits([2, 1, 0])
    assert _end(waits, 0) == _end(waits, 1) == ([], [])
    free, merging = _end(waits, 2)
    assert (free, sorted(merging)) == ([2], [0, 1])
    assert waits.announced == [True] * 3
