"""Which step a line's values are of."""

from __future__ import annotations

from collections.abc import Sequence

from traindeck.core.exchange.printed.numbers import joined
from traindeck.core.exchange.printed.plan import Plan

WHOLE = 1 << 53
FARTHEST = 1 << 62


class Counter:
    """Turns steps that may begin again in each epoch into steps that go on."""

    def __init__(self) -> None:
        self.rewound = False
        """Whether the last step was lower than one before, and no new epoch."""
        self._epoch = 0
        self._offset = 0
        self._highest = 0
        self._cells: dict[tuple[str, ...], list[list[int]]] = {}
        self._named: float | None = None
        self._announced: int | None = None
        self._cell_of: dict[str, list[int]] = {}
        """Of each series: its first step, its last step and stride, and in which epoch that was.

        Series that first came on one line share theirs.
        """

    def count(
        self,
        names: tuple[str, ...],
        step: int,
        total: int = 0,
        epoch: float | None = None,
        announced: int | None = None,
    ) -> int:
        """The step counted on.

        `total` is how many an epoch has, `epoch` which one it is said to be, if that is known;
        `announced` which one a line of its own said, which begins one only where one was whole.
        """
        new = epoch is not None and self._named is not None and epoch > self._named
        if epoch is not None:
            self._named = epoch
        begun = (
            announced is not None and self._announced is not None and announced > self._announced
        )
        self._announced = announced
        cells = self._cells.get(names)
        if cells is None:
            cells = self._learn(names, step)
        self.rewound = False
        for cell in cells:
            first, last, stride, of = cell
            again = step < last and step <= first
            again = again or (step <= last and (new or (begun and 0 < total <= last)))
            if of == self._epoch and again:
                self._epoch += 1
                on = self._highest + stride - first
                self._offset = self._offset + total if total >= last else on
            elif step < last:
                self.rewound = True
            if step > last:
                cell[2] = step - last
            cell[1] = step
            cell[3] = self._epoch
        going_on = step + self._offset
        if going_on > self._highest:
            self._highest = going_on
        return going_on

    def _learn(self, names: tuple[str, ...], step: int) -> list[list[int]]:
        new = [step, step - 1, 1, self._epoch]
        of = [self._cell_of.setdefault(name, new) for name in names]
        cells = self._cells[names] = list({id(cell): cell for cell in of}.values())
        return cells


class Steps:
    """Chooses steps for one writer's lines, one after the other.

    - The step is the first of a plan's that is a whole number, counted on where it begins again.
    - Where it is fractional it is kept as a metric of its own name, and the step is the next one.
    - `epoch` counts as the step only while all of the writer's are whole.
    - Lines without any step are of the bar that is drawn, else of the epoch that was announced,
      else of the step after the last; once some names recur, only
      their lines take it up, so that a `val_loss` now and then leaves no gap in `loss`.
    """

    def __init__(self) -> None:
        self.next = 0
        self.epoch: int | None = None
        """The epoch that was announced by a line of its own."""
        self.drawn: int | None = None
        """How far the run's bar is."""
        self.rewound = False
        self._epochs_are_steps = True
        self._counters: dict[str, Counter] = {}
        self._announced: dict[str, int] = {}
        self._counted: set[str] = set()
        self._leading: tuple[str, ...] = ()
        """The names whose lines count the steps of lines that have none."""
        self._at: dict[str, int] = {}
        """The counted step that each name was last seen at."""

    def count(self, word: str, names: tuple[str, ...], step: int) -> int:
        """The step of a line whose step is this whole number, counted on."""
        counter = self._counters.get(word)
        if counter is None:
            counter = self._counters[word] = Counter()
        step = counter.count(names, step)
        self.rewound = counter.rewound
        self.next = step + 1
        return step

    def on_bar(self, key: str, names: tuple[str, ...], done: int, total: int) -> int:
        """The step of what is written at the bar `key`, `done` of `total`."""
        counter = self._counters.get(f"batch {key}")
        if counter is None:
            counter = self._counters[f"batch {key}"] = Counter()
        step = counter.count(names, done, total)
        self.rewound = counter.rewound
        self.next = step + 1
        return step

    def choose(
        self, plan: Plan, numbers: Sequence[str | bytes], names: tuple[str, ...]
    ) -> tuple[int, list[tuple[int, str, float]]]:
        """The step of a line, and the steps of it that are metrics instead, with their places."""
        extra: list[tuple[int, str, float]] = []
        self.rewound = False
        chosen = None
        epoch = None
        if len(plan.steps) > 1 and not plan.strict:
            named = next((step.place for step in plan.steps if step.word == "epoch"), None)
            epoch = None if named is None else float(numbers[named])
        for step_at in plan.steps:
            word, index, total = step_at[:3]
            number = float(numbers[index])
            if step_at.groups:
                number = joined(numbers[index : index + step_at.groups + 1], whole=True)
            if step_at.scale[0] != 1.0:
                number = round(number * step_at.scale[0], 6)
            whole = number.is_integer() and -WHOLE < number < WHOLE
            if word == "epoch":
                if not whole:
                    self._epochs_are_steps = False
                whole = whole and self._epochs_are_steps
            if word == "epoch" and self.drawn is not None and not self._epochs_are_steps:
                whole = False
            if chosen is None and whole:
                count = int(float(numbers[total]) * step_at.scale[1]) if total is not None else 0
                chosen = word
                key = word if plan.kind != "bar" else f"{word} {plan.key}"
                counter = self._counters.get(key)
                if counter is None:
                    counter = self._counters[key] = Counter()
                of = epoch if word != "epoch" else None
                announced = self.epoch if plan.bar is not None else None
                step = counter.count(names, int(number), count, of, announced)
                self.rewound = counter.rewound
            elif (word == "epoch" and (plan.strict or chosen is None)) or (
                chosen is None and number - number == 0 and abs(number) < WHOLE
            ):
                extra.append((index, word, number))
        if chosen is None:
            return self._without(plan, names), extra
        self.next = step + 1
        return step, extra

    def _without(self, plan: Plan, names: tuple[str, ...]) -> int:
        if self.drawn is not None:
            self.next = self.drawn + 1
            return self.drawn
        if self.epoch is not None and plan.kind != "object":
            epoch = self.epoch
            again = any(self._announced.get(name) == epoch for name in names)
            for name in names:
                self._announced[name] = epoch
            if again:
                self._counted.update(names)
            if not self._counted.intersection(names) and epoch + 1 >= self.next:
                self.next = epoch + 1
                return epoch
        if plan.steps:
            self.next += 1
            return self.next - 1
        step = self.next + any(self._at.get(name) == self.next for name in names)
        if not self._leading and not self._at.keys().isdisjoint(names):
            self._leading = names
        self._at.update(dict.fromkeys(names, step))
        takes_it_up = not self._leading or not set(names).isdisjoint(self._leading)
        self.next = step + takes_it_up
        return step
