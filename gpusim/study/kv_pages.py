"""Pages of the KV cache of one replica, and what the decodes of many steps will take of them.

All running decodes grow by one token a step, so that nothing has to be done per sequence and step:
a sequence needs a new page whenever the count of decode steps has one remainder by the page size.
"""

from gpusim.units import ceil_div


class KvPages:
    """Free pages of a replica; decodes are counted by the step at which they need the next one.

    Attributes:
        total, free: pages.
    """

    def __init__(self, total: int, page_size: int) -> None:
        self.total = self.free = total
        self._size = page_size
        self._growing = [0] * page_size
        self._sequences = 0

    def needed(self, tokens: int) -> int:
        """Pages that so many cached tokens take."""
        return ceil_div(tokens, self._size)

    def start_decode(self, cached: int, step: int) -> None:
        """From `step` on, a sequence that has `cached` tokens grows by one a step."""
        self._growing[(step - cached) % self._size] += 1
        self._sequences += 1

    def end_decode(self, cached: int, step: int) -> None:
        """Take a sequence out again that has `cached` tokens before `step`."""
        self._growing[(step - cached) % self._size] -= 1
        self._sequences -= 1

    def growth(self, step: int, steps: int) -> int:
        """New pages that the decodes need in so many steps from `step` on."""
        rounds, rest = divmod(steps, self._size)
        first = step % self._size
        part = sum(self._growing[first : first + rest])
        part += sum(self._growing[: max(0, first + rest - self._size)])
        return rounds * self._sequences + part

    def steps_left(self, step: int, most: int) -> int:
        """Decode steps, `most` at most, that the free pages allow from `step` on."""
        if self.growth(step, most) <= self.free:
            return most
        low, high = 0, most  # growth(low) fits, growth(high) does not
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.growth(step, middle) <= self.free
            low, high = (middle, high) if fits else (low, middle)
        return low
