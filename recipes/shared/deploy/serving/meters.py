"""What a server counts: for Prometheus, and second by second for the run's own series."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

_MOST = 100_000
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FAULTS = ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED")

Key = tuple[str, int]
"""A model's name and version."""
_ASKED: ContextVar[list[Key] | None] = ContextVar("asked", default=None)


def begin() -> list[Key]:
    """To be called as a request begins: what it then asks for is added, by `asks`."""
    asked: list[Key] = []
    _ASKED.set(asked)
    return asked


def asks(name: str, number: int) -> None:
    """The request that is being answered asks for this version."""
    asked = _ASKED.get()
    if asked is not None:
        asked.append((name, number))


@dataclass(frozen=True, slots=True)
class Second:
    """What happened since the last look: milliseconds are None where nothing was answered."""

    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(slots=True)
class _Tally:
    """Times, requests and errors since they were last taken."""

    times: list[float] = field(default_factory=list)
    requests: int = 0
    errors: int = 0

    def add(self, took: float, wrong: bool) -> None:
        self.requests += 1
        self.errors += wrong
        if len(self.times) < _MOST:
            self.times.append(took)

    def second(self) -> Second:
        times = sorted(self.times)
        return Second(self.requests, self.errors, _at(times, 0.5), _at(times, 0.99))


@dataclass(slots=True)
class _Story:
    """What a version has answered since it serves: requests by code, and by how long they took.

    Plain numbers: prometheus_client's own would cost each request several microseconds more.
    """

    codes: dict[str, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, took: float, code: str) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1
        self.buckets[bisect_left(_BUCKETS, took)] += 1
        self.seconds += took


@dataclass(slots=True, eq=False)
class Meters:
    """Times of requests, and how each ended: a code of gRPC, `OK` for an answer."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    total: int = 0
    _all: _Tally = field(default_factory=_Tally)
    _each: dict[Key, _Tally] = field(default_factory=dict)
    _counter: Counter = field(init=False)
    _seconds: Histogram = field(init=False)
    _memory: Gauge = field(init=False)
    _states: Gauge = field(init=False)
    _model_memory: Gauge = field(init=False)
    _children: dict[tuple[str, str], Any] = field(default_factory=dict)
    _stories: dict[Key, _Story] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._counter = Counter(
            "traindeck_requests",
            "Requests by API and code",
            ["api", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "traindeck_request_seconds",
            "From a whole request to its answer",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._memory = Gauge(
            "traindeck_resident_bytes", "Memory of the server", registry=self.registry
        )
        self._states = Gauge(
            "traindeck_model_state",
            "10 start, 20 loading, 30 available, 40 unloading, 50 end",
            ["model", "version"],
            registry=self.registry,
        )
        self._model_memory = Gauge(
            "traindeck_model_bytes",
            "What loading it added to the server's memory, about",
            ["model", "version"],
            registry=self.registry,
        )
        self.registry.register(self)

    def count(self, api: str, code: str, began: float, asked: list[Key]) -> None:
        """A request that began at this reading of `time.perf_counter` has been answered.

        asked  what `begin` gave
        """
        took = time.perf_counter() - began
        self.total += 1
        wrong = code in _FAULTS
        self._all.add(took, wrong)
        child = self._children.get((api, code))
        if child is None:
            child = self._children[api, code] = self._counter.labels(api, code)
        child.inc()
        self._seconds.observe(took)
        for key in asked[-1:]:
            tally = self._each.get(key)
            if tally is None:
                tally = self._each[key] = _Tally()
            tally.add(took, wrong)
            story = self._stories.get(key)
            if story is None:
                story = self._stories[key] = _Story()
            story.add(took, code)

    def take(self) -> tuple[Second, dict[Key, Second]]:
        """What was counted since this was last asked: of all requests, and of each version."""
        made = self._all.second(), {key: one.second() for key, one in self._each.items()}
        self._all = _Tally()
        self._each.clear()
        return made

    def exposition(self, states: Mapping[Key, int], loaded: Mapping[Key, int]) -> bytes:
        """The page that Prometheus reads; figures of versions that are let go of leave it.

        states  of all versions; loaded: bytes of those that serve
        """
        self._memory.set(memory())
        self._states.clear()
        for key, state in states.items():
            self._states.labels(*key).set(state)
        self._model_memory.clear()
        for key, size in loaded.items():
            self._model_memory.labels(*key).set(size)
        self._stories = {key: one for key, one in self._stories.items() if key in loaded}
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' library asks its collectors."""
        requests = CounterMetricFamily(
            "traindeck_model_requests",
            "Requests of what serves, by code",
            labels=["model", "version", "code"],
        )
        times = HistogramMetricFamily(
            "traindeck_model_request_seconds",
            "From a whole request to its answer",
            labels=["model", "version"],
        )
        for (model, number), story in self._stories.items():
            of = [model, str(number)]
            for code, count in story.codes.items():
                requests.add_metric([*of, code], count)
            sums = list(accumulate(story.buckets))
            ends = [*map(str, map(float, _BUCKETS)), "+Inf"]
            times.add_metric(of, list(zip(ends, sums, strict=True)), story.seconds)
        yield requests
        yield times


def memory() -> int:
    """Resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)


def _at(times: list[float], share: float) -> float | None:
    return times[min(len(times) - 1, int(share * len(times)))] * 1000 if times else None
