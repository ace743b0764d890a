"""Where requests are run: in the event loop when that is quickest, else in threads, or together."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.errors import Refused
from traindeck.recipes.shared.deploy.serving.kinds import Array
from traindeck.recipes.shared.deploy.serving.limits import Limits

Outputs = dict[str, Array]
Inputs = Mapping[str, Array]

_INLINE_BYTES = 16384
_INLINE_SECONDS = 0.0005


class Runner:
    """Each request by itself.

    A model that answers small requests within half a millisecond is run in the event loop: to hand
    it to a thread would cost as much again.
    """

    def __init__(self, limits: Limits, threads: int = 2) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._seconds: weakref.WeakKeyDictionary[Backend, float] = weakref.WeakKeyDictionary()
        self.running = 0
        """Requests that have come and still occupy a place, answered or given up."""

    async def run(
        self, backend: Backend, signature: str, inputs: Inputs, outputs: Sequence[str] = ()
    ) -> Outputs:
        """The outputs. Raises Refused, also when there are too many requests or time is up."""
        if self.running >= self._limits.queue:
            raise Refused(
                "UNAVAILABLE", f"{self.running} requests are waiting already: try again later"
            )
        if self._is_quick(backend, inputs):
            return self._timed(backend, signature, inputs, outputs)
        self.running += 1
        answer = self._elsewhere(backend, signature, inputs, outputs)
        answer.add_done_callback(self._free)
        done, _ = await asyncio.wait((answer,), timeout=self._limits.seconds)
        if not done:  # a thread cannot be stopped: its place is free when it is done
            raise Refused(
                "DEADLINE_EXCEEDED", f"not answered within {self._limits.seconds:g} seconds"
            )
        return answer.result()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_quick(self, backend: Backend, inputs: Inputs) -> bool:
        return (
            self._seconds.get(backend, 1.0) < _INLINE_SECONDS
            and sum(array.nbytes for array in inputs.values()) <= _INLINE_BYTES
        )

    def _elsewhere(
        self, backend: Backend, signature: str, inputs: Inputs, outputs: Sequence[str]
    ) -> asyncio.Future[Outputs]:
        return self._in_thread(backend, signature, inputs, outputs)

    def _in_thread(
        self, backend: Backend, signature: str, inputs: Inputs, outputs: Sequence[str]
    ) -> asyncio.Future[Outputs]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._timed, backend, signature, inputs, outputs)

    def _timed(
        self, backend: Backend, signature: str, inputs: Inputs, outputs: Sequence[str]
    ) -> Outputs:
        began = time.perf_counter()
        made = backend.run(signature, inputs, outputs)
        took = time.perf_counter() - began
        self._seconds[backend] = 0.8 * self._seconds.get(backend, took) + 0.2 * took
        return made

    def _free(self, answer: asyncio.Future[Outputs]) -> None:
        self.running -= 1
        if not answer.cancelled():
            answer.exception()  # it is heard, whether or not anybody still waits


@dataclass(slots=True)
class _Waiting:
    inputs: Inputs
    rows: int
    answer: asyncio.Future[Outputs]


@dataclass(slots=True)
class _Line:
    """Requests that may be run together."""

    waiting: list[_Waiting] = field(default_factory=list)
    work: asyncio.Task[None] | None = None


class Batcher(Runner):
    """Requests that wait while a thread is busy are run together, and handed out again.

    size     records of one batch at most
    seconds  that a request waits for company; 0: none waits
    """

    def __init__(self, limits: Limits, threads: int, size: int, seconds: float = 0.0) -> None:
        super().__init__(limits, threads)
        self._size, self._wait = size, seconds
        self._lines: dict[object, _Line] = {}

    def _is_quick(self, backend: Backend, inputs: Inputs) -> bool:
        return False

    def _elsewhere(
        self, backend: Backend, signature: str, inputs: Inputs, outputs: Sequence[str]
    ) -> asyncio.Future[Outputs]:
        rows = {len(array) if array.ndim else 0 for array in inputs.values()}
        if len(rows) != 1 or not 0 < max(rows) < self._size:
            return self._in_thread(backend, signature, inputs, outputs)
        shapes = tuple(sorted((name, a.shape[1:], a.dtype.str) for name, a in inputs.items()))
        key = (id(backend), signature, tuple(outputs), shapes)
        line = self._lines.setdefault(key, _Line())
        loop = asyncio.get_running_loop()
        one = _Waiting(inputs, rows.pop(), loop.create_future())
        line.waiting.append(one)
        if line.work is None:
            line.work = loop.create_task(self._work(key, line, backend, signature, outputs))
        return one.answer

    async def _work(
        self,
        key: object,
        line: _Line,
        backend: Backend,
        signature: str,
        outputs: Sequence[str],
    ) -> None:
        await asyncio.sleep(self._wait)  # 0: for what is readable on other connections
        while line.waiting:
            batch: list[_Waiting] = []
            total = 0
            while line.waiting and total + line.waiting[0].rows <= self._size:
                batch.append(line.waiting.pop(0))
                total += batch[-1].rows
            if not await self._together(batch, backend, signature, outputs):
                for one in batch:  # whose fault it is, is seen one by one
                    await self._alone(one, backend, signature, outputs)
        del self._lines[key]

    async def _together(
        self, batch: list[_Waiting], backend: Backend, signature: str, outputs: Sequence[str]
    ) -> bool:
        if len(batch) == 1:
            return False
        total = sum(one.rows for one in batch)
        joined = {
            name: np.concatenate([one.inputs[name] for one in batch]) for name in batch[0].inputs
        }
        try:
            made = await self._in_thread(backend, signature, joined, outputs)
        except Exception:
            return False
        if any(not array.ndim or len(array) != total for array in made.values()):
            return False
        at = 0
        for one in batch:
            if not one.answer.done():
                one.answer.set_result({name: a[at : at + one.rows] for name, a in made.items()})
            at += one.rows
        return True

    async def _alone(
        self, one: _Waiting, backend: Backend, signature: str, outputs: Sequence[str]
    ) -> None:
        try:
            answer = await self._in_thread(backend, signature, one.inputs, outputs)
        except Exception as error:
            if not one.answer.done():
                one.answer.set_exception(error)
        else:
            if not one.answer.done():
                one.answer.set_result(answer)
