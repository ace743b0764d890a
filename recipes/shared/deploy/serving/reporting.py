"""What a serving run says of itself: where it listens, and second by second how it fares."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from traindeck.core import track
from traindeck.core.serving import FAILED, IS_LOADING, SERVING, Served
from traindeck.recipes.shared.deploy.serving.meters import Key, Meters, Second, memory
from traindeck.recipes.shared.deploy.serving.store import AVAILABLE, LOADING, START, Store

if TYPE_CHECKING:
    from traindeck.recipes.shared.deploy.serving.server import Options, Serving

_EACH = 1.0
_IDLE = 10.0
"""Seconds between points while nothing is asked."""
_MEGABYTE = 1 << 20


class Reporter:
    """`look` is called several times a second by the server's loop."""

    def __init__(
        self,
        run: track.Run,
        options: Options,
        token_file: str,
        listening: Callable[[dict[str, object]], None],
    ) -> None:
        self._run, self._options, self._token_file = run, options, token_file
        self._listening = listening
        self._began = time.monotonic()
        self._last = self._logged = self._began
        self._told: object = None
        self._meters: Meters | None = None
        self._was_ready = False
        self._together = False  # whether several versions served at the last look
        self._asked: set[Key] = set()

    @property
    def answered(self) -> int:
        """Requests, however they were answered."""
        return self._meters.total if self._meters else 0

    def look(self, serving: Serving) -> bool:
        """Log what is due; whether a stop was asked for."""
        self._meters = serving.meters
        now = time.monotonic()
        store = serving.store
        state = list(store.models), store.ready(), store.problems(), _versions(store)
        if state != self._told:
            self._tell(serving, *state)
            self._told = state
        if store.ready() and not self._was_ready:  # that moment is how long its start took
            self._was_ready = True
            self._run.log(0, {"serve/memory_mb": memory() / _MEGABYTE})
        if now - self._last >= _EACH:
            self._log(serving, now)
        return self._run.should_stop()

    def _tell(
        self,
        serving: Serving,
        names: list[str],
        ready: bool,
        problems: dict[str, str],
        versions: list[Served],
    ) -> None:
        scheme = "https" if self._options.tls else "http"
        host = self._options.host
        host = f"[{host}]" if ":" in host else host
        http, grpc = f"{scheme}://{host}:{serving.port}", f"{host}:{serving.grpc_port}"
        self._listening(
            {
                "http": http,
                "grpc": grpc if serving.grpc_port else "",
                "models": names,
                "token_file": self._token_file,
                "ca": str(self._options.tls.certificate.absolute()) if self._options.tls else "",
                "private": names if self._options.private else [],
                "ready": ready,
                "problems": problems,
                "versions": versions,
            }
        )
        if self._told is None:
            print(
                f"listening: {http}" + (f", gRPC {grpc}" if serving.grpc_port else ""), flush=True
            )
            if self._token_file:
                print(f"clients need the token in {self._token_file}", flush=True)
                if not self._options.tls:
                    print("without TLS the token can be read on its way", flush=True)

    def _log(self, serving: Serving, now: float) -> None:
        second, each = serving.meters.take()
        seconds, self._last = now - self._last, now
        versions = serving.store.serving()
        # Two for a moment, as while a new version takes over, are not worth series of their own.
        together, self._together = self._together, len(versions) > 1
        due = bool(second.requests or self._asked) or now - self._logged >= _IDLE
        if not due:
            return
        values = _values("serve", second, seconds) | {"serve/memory_mb": memory() / _MEGABYTE}
        if together and self._together:
            idle = now - self._logged >= _IDLE
            for model, number in versions:
                key = model, number
                if key in each or key in self._asked or idle:
                    one = each.get(key, Second(0, 0, None, None))
                    values |= _values(f"serve/{model}/{number}", one, seconds)
        self._asked = set(each)
        self._logged = now
        self._run.log(int(now - self._began), values)


def _values(series: str, second: Second, seconds: float) -> dict[str, float]:
    values = {
        f"{series}/requests_per_second": second.requests / seconds,
        f"{series}/errors": float(second.errors),
    }
    if second.p50_ms is not None and second.p99_ms is not None:
        values |= {f"{series}/p50_ms": second.p50_ms, f"{series}/p99_ms": second.p99_ms}
    return values


def _versions(store: Store) -> list[Served]:
    """What is served, loaded, or failed to load: not what was let go of."""
    told = []
    for model in list(store.models.values()):
        for version in list(model.versions.values()):
            backend = version.backend
            if version.state == AVAILABLE and backend is not None:
                state = SERVING
            elif version.state in (START, LOADING):
                state = IS_LOADING
            elif version.error is not None:
                state = FAILED
            else:
                continue
            told.append(
                Served(
                    model=model.name,
                    version=version.number,
                    folder=str(version.folder.absolute()),
                    state=state,
                    format=backend.kind if backend is not None else "",
                    error=str(version.error or ""),
                    memory=backend.memory if backend is not None else 0,
                )
            )
    return told
