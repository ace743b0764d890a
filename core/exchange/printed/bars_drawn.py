"""Which of the bars that a command draws is its progress, and how far that is."""

from __future__ import annotations

import math

from traindeck.core.exchange.printed.plan import Plan
from traindeck.core.exchange.printed.steps import Counter, Steps

_BAR = ("bar",)


class Bars:
    """Follows all bars. The outermost is the first; one that begins again stays the first."""

    def __init__(self, expected: int | None = None) -> None:
        """`expected`: how many epochs there are to be, where the lines do not say so."""
        self.expected = expected
        self.progress: tuple[int, int] | None = None
        self.full = False
        """Whether the bar that was drawn last is full."""
        self.rows = False
        """Whether a table's rows say how far the command is."""
        self._last: dict[str, tuple[int, float]] = {}
        """Step and value of each series that bars show."""
        self._main: tuple[str, int] | None = None
        self._at = 0
        self._kept = False
        self._inner: set[tuple[str, int]] = set()
        """Bars that were drawn while the main one was not full: they never are the main one."""
        self._epochs: tuple[int, int] | None = None
        self._epoch_is_open = False
        """Whether an epoch was announced whose bar was not full yet."""
        self._counter = Counter()
        self._counters: dict[tuple[str, int], Counter] = {}
        self._first: int | None = None
        self._base = 1
        """The first epoch's number: 0 once there was such a one."""

    def draw(self, plan: Plan, numbers: list[str], steps: Steps) -> bool:
        """Take in a bar, or steps that say how many there are; whether it is the main bar."""
        epoch = next((step for step in plan.steps if step.word == "epoch"), None)
        if epoch is not None and plan.kind != "object":
            done = _whole(numbers[epoch.place])
            of = self.expected if epoch.total is None else _whole(numbers[epoch.total])
            if done is not None and of is not None:
                self._take_epoch(done, of, plan.bar is not None and plan.bar.style == "rich")
        if plan.bar is None:
            self._by_steps(plan, numbers)
            return False
        done = _whole(numbers[plan.bar.done], plan.bar.scale[0])
        of = plan.bar.total
        total = 100 if of is None else _whole(numbers[of], plan.bar.scale[1])
        self.full = done == total
        if done is None or not total or self.rows:
            return False
        bar = (plan.key, total)
        if self._main is None:
            self._main, self._counters[bar] = bar, self._counter
        elif bar != self._main:
            if self._at < self._main[1] or self._kept:
                self._inner.add(bar)
            if bar in self._inner:
                return False
            self._main, self._at = bar, 0
            self._counter = self._counters.setdefault(bar, Counter())
        if done < self._at:
            self._kept = True
        self._at = done
        self._epoch_is_open = self._epoch_is_open and not self.full
        bare = not plan.values or plan.kind == "object"
        if plan.bar.total is not None and (bare or steps.drawn is not None):
            steps.drawn = self._counter.count(_BAR, done, total)
        if self._epochs is not None:
            at, of = self._epochs
            self.progress = (max(at - self._base, 0) * total + done, of * total)
        else:
            self.progress = (done, total)
        return True

    def goes_on(self, key: str, done: int, total: int, steps: Steps) -> bool:
        """Take in the main bar as it is drawn on; False if it is another, or begins again."""
        if self._main != (key, total) or self.rows or done < self._at:
            return False
        self.full, self._at = done == total, done
        if steps.drawn is not None:
            steps.drawn = self._counter.count(_BAR, done, total)
        self._epoch_is_open = self._epoch_is_open and not self.full
        if self._epochs is not None:
            at, of = self._epochs
            self.progress = (max(at - self._base, 0) * total + done, of * total)
        else:
            self.progress = (done, total)
        return True

    def evaluates(self, plan: Plan, numbers: list[str]) -> bool:
        """Whether a bar is of Keras' `evaluate` after `fit`, whose bars have lines for epochs.

        It has another total, and no epoch was announced since the last one's bar was full.
        """
        if plan.bar is None or plan.bar.style != "keras" or plan.bar.total is None:
            return False
        if self._main is None or self._epochs is None or self._epoch_is_open:
            return False
        key, whole = self._main
        total = _whole(numbers[plan.bar.total])
        return key == plan.key and self._at == whole and total not in (None, whole)

    def tells(self, name: str, step: int, value: float) -> bool:
        """Whether a value is new, or the last: bars are redrawn, whether it has changed or not."""
        at, last = self._last.get(name, (step, math.nan))
        if last == value and (at == step or not self.full):
            return False
        self._last[name] = step, value
        return True

    def whole(self) -> tuple[int, int] | None:
        """The progress of a command that has ended well: all, if its last epoch had begun.

        Not where a bar was left before it was full.
        """
        if self.progress is None or self._epochs is None:
            return self.progress
        at, of = self._epochs
        left = self._main is not None and self._at < self._main[1]
        if left or at - self._base + 1 < of:
            return self.progress
        return self.progress[1], self.progress[1]

    def _take_epoch(self, done: int, of: int, to_the_last: bool) -> None:
        """`to_the_last`: `of` may be the last epoch's number, counted from 0, as of Lightning."""
        self._base = min(self._base, done)
        if to_the_last and (self._base == 0 or of + 1 == self.expected):
            self._base, of = 0, of + 1
        if of:
            self._epochs = (done, of)
            self._epoch_is_open = True

    def _by_steps(self, plan: Plan, numbers: list[str]) -> None:
        if self._main is not None or plan.part in ("val", "test", "eval", "dev"):
            return
        inner = next((s for s in plan.steps if s.word != "epoch" and s.total is not None), None)
        if inner is not None and inner.total is not None:
            done, total = _whole(numbers[inner.place]), _whole(numbers[inner.total])
            if done is not None and total and done <= total:
                if self._epochs is not None:
                    at, of = self._epochs
                    self.progress = (max(at - self._base, 0) * total + done, of * total)
                elif not any(s.word == "epoch" for s in plan.steps):
                    self.progress = (done, total)
        elif self._epochs is not None and self._epochs[0] <= self._epochs[1]:
            done, of = self._epochs
            self._first = done if self._first is None else self._first
            self.progress = (done if plan.values else max(done - min(self._first, 1), 0), of)


def _whole(number: str, scale: float = 1.0) -> int | None:
    value = round(float(number) * scale, 6)
    return int(value) if value.is_integer() and 0 <= value < 1 << 53 else None
