"""Reads what a command prints: lines to shapes, shapes to plans, plans to metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.printed import names, raised, tables
from traindeck.core.exchange.printed.bars_drawn import Bars
from traindeck.core.exchange.printed.lines import MAX_LINE, Lines, undrawn
from traindeck.core.exchange.printed.numbers import MARK, fast, marked, split
from traindeck.core.exchange.printed.patterns import Pattern
from traindeck.core.exchange.printed.plan import Metric, Plan, Seen, Value, named, valued
from traindeck.core.exchange.printed.ranks import MOST
from traindeck.core.exchange.printed.shape import likely, understood
from traindeck.core.exchange.printed.steps import Steps
from traindeck.core.exchange.printed.tabular import Tabular

MAX_SHAPES = 4096  # remembered
BARREN = 200  # new shapes without a metric: then only lines with a likely word are looked into

_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_NAN = re.compile(rb"(?<=[=: (])[-+]?(?:nan|NaN|inf|Infinity)(?=[\s,;)}\]]|$)")
_CLEARED = re.compile(rb"\n {10,}\n(?:\n|\x1b\[A)*$")
_ONE_A_STEP = frozenset(names.STEPS) - frozenset(
    ("epoch", "episode", "round", "boosting_round", "trial", "generation", "batch")
)
_ROW = re.compile(rf"[^{MARK}]*{MARK}[^{MARK}]+{MARK}")
_STATEFUL = frozenset(("box", "row", "drawn"))
_WORDED = frozenset(("pairs", "object"))
_NOTHING = Plan(why="lines of its kind held nothing so far")
_RAISED = Plan(why="code or words of a traceback or a warning")


class StdoutMetrics:
    """Finds the metrics in what a command prints, in whatever pieces that arrives."""

    def __init__(self, patterns: tuple[Pattern, ...] = (), epochs: int | None = None) -> None:
        """`epochs`: how many there are to be, by the command's own parameters."""
        self.progress: tuple[int, int] | None = None
        """How much is done of how much, by the bar that was drawn last."""
        self.lines = 0
        """How many lines with numbers were looked at."""
        self._patterns = patterns
        self._lines = Lines()
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._last_plan = _NOTHING
        self._before: re.Pattern[bytes] | None = None
        self._barren = 0
        self._steps: dict[int, Steps] = {0: Steps()}
        self._bars = Bars(epochs)
        self._line_at = b"", 0
        self._part = ""
        self._stepped: set[str] = set()
        self._tables = Tabular(self._steps[0])
        self._waiting: list[tuple[Plan, list[str]]] = []
        self.doubled: tuple[int, str] | None = None
        """The step and name that were first printed twice: the first is kept."""
        self.seen: list[Seen] | None = None

    def feed(self, chunk: bytes) -> list[Metric]:
        """The metrics of the lines that ``chunk`` ends, in order. Never raises."""
        data = self._lines.feed(chunk)
        return self._read(data) if data else []

    def finish(self, *, well: bool = False) -> list[Metric]:
        """The metrics of a last line that nothing ended; `well`: the command did all it was to."""
        metrics = self.feed(b"\n") + self._tables.close_box()
        self._release(metrics)
        for plan in self._plans.values():
            for rank, numbers in plan.labels.rest() if plan.labels is not None else ():
                self._add_of(plan, numbers, rank, metrics)
        if well and not self._bars.rows:
            self.progress = self._bars.whole()
        return metrics

    def _read(self, data: bytes) -> list[Metric]:
        metrics: list[Metric] = []
        digits = data.translate(_TO_ZERO)
        if any(word in data for word in (b"nan", b"NaN", b"inf", b"Infinity")):
            digits = _NAN.sub(_zeros, digits)
        end = 0
        self._tables.begin()
        before = self._before
        while True:
            if before is not None and (match := before.match(data, end)):
                self._take_fast(match, metrics)
                end = match.end()
                continue
            at = digits.find(b"0", end)
            if at < 0:
                break
            start = data.rfind(b"\n", end, at) + 1 or end
            if before is not None and start > end and (match := before.match(data, start)):
                self._take_fast(match, metrics)
                end = match.end()
                continue
            end = data.find(b"\n", at) + 1
            before = self._line(data, start, end, metrics)
        self._before = before
        return metrics + self._tables.end(data)

    def _line(
        self, data: bytes, start: int, end: int, metrics: list[Metric]
    ) -> re.Pattern[bytes] | None:
        """Take a line; returns what lines of its shape match, if that is known."""
        line = data[start : end - 1].decode("utf-8", "replace")
        self._line_at = data, start
        if self._patterns and self._by_patterns(line, metrics):
            return None
        pieces = split(line)
        shape = tuple(pieces[::2])
        plan = self._plans.get(shape)
        if plan is None:
            plan = self._plan(line, pieces)
        told = plan.kind in _WORDED and plan.bar is None
        if told and raised.is_told(line, partial(self._tables.above, data, start)):
            plan = _RAISED
        known = len(metrics)
        if plan.kind:
            self._take(plan, pieces[1::2], metrics, data, start, end)
        elif self._tables.open:
            metrics += self._tables.close_box()
        if self.seen is not None:
            by = self._cleared(line)[0] if plan.kind == "drawn" else plan
            self.seen.append(Seen.by(by, line, metrics[known:]))
            return None
        if plan.kind in _STATEFUL or not plan.sure or self._patterns or self._tables.open:
            return None
        self._last_plan = plan
        return plan.fast

    def _take_fast(self, match: re.Match[bytes], metrics: list[Metric]) -> None:
        plan = self._last_plan
        if not plan.kind:
            return
        numbers = match.groups()
        if plan.drawn is not None and self._take_bar(plan, numbers, metrics):
            return
        if plan.simple is None or plan.rank:
            self._line_at = match.string, match.start()
            self._add(plan, [number.decode() for number in numbers], metrics)
            return
        steps = self._steps[0]
        extra: list[tuple[int, str, float]] = []
        quick = plan.quick
        if quick is not None and (text := numbers[quick[1]]).isdigit() and len(text) < 16:
            step = steps.count(quick[0], plan.names, int(text))
        else:
            step, extra = steps.choose(plan, numbers, plan.names)
        if steps.rewound and self._told_again(match.string, match.start()):
            return
        if step == plan.at and self._is_doubled(plan, step, 0):
            return
        plan.at = step
        if extra:
            self._placed(plan, step, extra, numbers, metrics, "")
            return
        for name, index in plan.simple:
            metrics.append((step, name, float(numbers[index])))

    def _take_bar(self, plan: Plan, numbers: Sequence[bytes], metrics: list[Metric]) -> bool:
        """Take the run's bar as it is drawn on; False where it is not so simple."""
        assert plan.bar is not None and plan.bar.total is not None and plan.drawn is not None
        text, of = numbers[plan.bar.done], numbers[plan.bar.total]
        if not text.isdigit() or not of.isdigit() or len(of) > 15 or len(text) > 15:
            return False
        done, total = int(text), int(of)
        if not self._bars.goes_on(plan.key, done, total, self._steps[0]):
            return False
        self.progress = self._bars.progress
        step = self._steps[0].on_bar(plan.key, plan.names, done, total)
        for name, place in plan.drawn:
            value = float(numbers[place])
            if self._bars.tells(name, step, value):
                metrics.append((step, name, value))
        return True

    def _plan(self, line: str, pieces: list[str]) -> Plan:
        """What a line that is new means; its shape is remembered."""
        if len(line) > MAX_LINE or (self._barren > BARREN and not likely(line)):
            return _NOTHING
        if undrawn(line) != line:  # its codes hold numbers, too
            return Plan("drawn")
        shape = marked(pieces)
        named = tables.box(shape)
        if named is not None:
            plan = Plan("box", values=[Value(*named)], why="a box of names and values")
        elif len(pieces) > 3 and _ROW.match(shape) and "{" not in shape and tables.is_row(line):
            plan = Plan("row", why="a table's row")
        else:
            plan = understood(line, pieces) or Plan(why="no metric's name with a value")
        self._barren = 0 if plan.kind else self._barren + 1
        plan.prepare()
        if self._bars.expected and plan.steps and self._counts(plan):
            plan.simple = None
        if len(self._plans) >= MAX_SHAPES:
            self._plans.clear()
        plan.fast = fast(pieces)
        self._plans[tuple(pieces[::2])] = plan
        return plan

    def _take(
        self,
        plan: Plan,
        numbers: list[str],
        metrics: list[Metric],
        data: bytes,
        start: int,
        end: int,
    ) -> None:
        kind = plan.kind
        if kind == "drawn":
            self._undrawn(data[start : end - 1].decode("utf-8", "replace"), metrics)
            return
        if kind == "box":
            name, index = plan.values[0].name.strip(), plan.values[0].place
            metrics += self._tables.take_box(name, numbers[index], data, start, end)
            return
        if self._tables.open:
            metrics += self._tables.close_box()
        if kind == "row":
            metrics += self._tables.take_row(data, start, end)
            if self._tables.progress is not None:
                self.progress, self._bars.rows = self._tables.progress, True
            return
        if plan.sure:
            self._add(plan, numbers, metrics)
            return
        steps = self._steps[0]
        now = steps.drawn
        for line, steps.drawn in plan.recurred(numbers, now):
            self._add(plan, line, metrics)
        steps.drawn = now

    def _undrawn(self, line: str, metrics: list[Metric]) -> None:
        plan, clean, pieces = self._cleared(line)
        if plan.kind:
            data = clean.encode() + b"\n"
            self._take(plan, pieces[1::2], metrics, data, 0, len(data))

    def _cleared(self, line: str) -> tuple[Plan, str, list[str]]:
        """A line without the codes that it is drawn with: its plan, itself, and its pieces."""
        clean = undrawn(line)
        pieces = split(clean)
        return self._plans.get(tuple(pieces[::2])) or self._plan(clean, pieces), clean, pieces

    def _add(self, plan: Plan, numbers: list[str], metrics: list[Metric]) -> None:
        """Add a line, once it is known which rank printed it and which step it is of."""
        if plan.labels is not None:
            number = float(numbers[0])
            label = int(number) if 0 <= number < MOST else 0
            step = float(numbers[plan.steps[0].place])
            for rank, line in plan.labels.take(label, step, numbers):
                self._add_of(plan, line, rank, metrics)
            return
        if plan.kind == "object" and plan.bar is None and self._is_before_its_bar(plan):
            self._waiting.append((plan, numbers))
            return
        rank = plan.rank
        if plan.ranked:
            number = float(numbers[plan.rank])
            rank = int(number) if 0 <= number < MOST else 0
        self._add_of(plan, numbers, rank, metrics)

    def _counts(self, plan: Plan) -> bool:
        """Whether a plan's steps say how far the command is."""
        last = plan.steps[-1]
        return last.total is not None or (self._bars.expected is not None and last.word == "epoch")

    def _is_before_its_bar(self, plan: Plan) -> bool:
        """Whether a dict was written where a bar was, which is drawn again below it at its step."""
        if self._bars.progress is None or any(step.word != "epoch" for step in plan.steps):
            return False
        return _CLEARED.search(self._tables.above(*self._line_at, 400)) is not None

    def _release(self, metrics: list[Metric]) -> None:
        waiting, self._waiting = self._waiting, []
        for plan, numbers in waiting:
            self._add_of(plan, numbers, 0, metrics)

    def _add_of(self, plan: Plan, numbers: list[str], rank: int, metrics: list[Metric]) -> None:
        steps = self._steps.get(rank)
        if steps is None:
            steps = self._steps[rank] = Steps()
        if self._bars.evaluates(plan, numbers):
            self._evaluated(plan, numbers, steps, metrics)
            return
        if plan.bar is not None or (plan.steps and self._counts(plan)):
            if self._bars.draw(plan, numbers, steps):
                self._release(metrics)
            self.progress = self.progress if self._bars.rows else self._bars.progress
        if not plan.values:
            if plan.steps:
                self._announce(plan, numbers, steps)
            return
        values = [(named(v.name, numbers), valued(v, numbers)) for v in plan.values]
        chosen, extra = steps.choose(plan, numbers, tuple([name for name, _ in values]))
        if steps.rewound and self._told_again(*self._line_at):
            return
        if self._is_doubled(plan, chosen, rank):
            return
        prefix = f"rank{rank}/" if rank > 0 else ""
        if plan.kind == "pairs" and not plan.part:
            if plan.steps:
                self._stepped.update(plan.names)
                self._part = ""
            elif self._part and not self._stepped.isdisjoint(plan.names):
                prefix += f"{self._part}/"  # the sum of what was evaluated line by line
        elif plan.part:
            self._part = plan.part if plan.part not in ("train",) else ""
        if extra:
            self._placed(plan, chosen, extra, numbers, metrics, prefix)
            return
        for name, value in values:
            name = printable(prefix + name)
            if plan.bar is None or self._bars.tells(name, chosen, value):
                metrics.append((chosen, name, value))

    def _evaluated(
        self, plan: Plan, numbers: list[str], steps: Steps, metrics: list[Metric]
    ) -> None:
        """Add what an evaluation's bar says once it is full, of the last step before."""
        assert plan.bar is not None and plan.bar.total is not None
        if float(numbers[plan.bar.done]) == float(numbers[plan.bar.total]):
            for value in plan.values:
                name = printable(f"eval/{named(value.name, numbers)}")
                metrics.append((max(steps.next - 1, 0), name, valued(value, numbers)))

    def _is_doubled(self, plan: Plan, step: int, rank: int) -> bool:
        """Whether the line before has said what this one says, of the same step."""
        last, plan.at = plan.at, step
        if last != step or plan.kind == "bar" or plan.ranked or plan.labels is not None:
            return False
        if not plan.steps or plan.steps[0].word not in _ONE_A_STEP or plan.steps[0].total:
            return False
        self.doubled = self.doubled or (step, plan.names[0])
        return True

    def _placed(
        self,
        plan: Plan,
        step: int,
        extra: list[tuple[int, str, float]],
        numbers: Sequence[str | bytes],
        metrics: list[Metric],
        prefix: str,
    ) -> None:
        """Add a line's values together with its steps that are values, too, in their order."""
        if plan.simple is not None:
            values = [(place, name, float(numbers[place])) for name, place in plan.simple]
        else:
            values = [(v.place, named(v.name, numbers), valued(v, numbers)) for v in plan.values]
        for _, name, value in sorted([*values, *extra]):
            metrics.append((step, printable(prefix + name), value))

    def _announce(self, plan: Plan, numbers: list[str], steps: Steps) -> None:
        step = plan.steps[0]
        number = float(numbers[step.place])
        if number.is_integer() and plan.bar is None:
            steps.epoch = int(number)

    def _told_again(self, data: bytes, start: int) -> bool:
        """Whether the line before says that this one repeats the best so far."""
        above = self._tables.above(data, start, 200)
        return b"est iteration" in above.rstrip(b"\n").rpartition(b"\n")[2]

    def _by_patterns(self, said: str, metrics: list[Metric]) -> bool:
        line = undrawn(said)
        found = next((match for each in self._patterns if (match := each.find(line))), None)
        if found is None:
            return False
        plan, _, pieces = self._cleared(said)
        others = list[Metric]()
        took = found.took(pieces, line)
        if plan.kind not in ("", "drawn") and not (plan.kind == "box" and took):
            metrics += self._tables.close_box() if plan.kind != "box" else []
            plan.sure = True  # the user says that such lines count
            data, start = self._line_at if line == said else (line.encode() + b"\n", 0)
            self._take(plan, pieces[1::2], others, data, start, data.find(b"\n", start) + 1)
        left = plan.without(took, pieces[1::2], others)
        new = found.joined(others[-1][0] if others else self._steps[0].next, left)
        self._steps[0].next = new[0][0] + 1
        metrics += new
        if self.seen is not None:
            self.seen.append(Seen(said, "pattern", found.by, new))
        return True


def _zeros(match: re.Match[bytes]) -> bytes:
    return b"0" * len(match[0])
