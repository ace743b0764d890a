"""Owners that compute on shares among themselves, as a recipe asks them to: one job, one result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.federated.errors import Failed, FederationOverBudget, Stopped
from traindeck.recipes.shared.federated.mpc.party import credentials
from traindeck.recipes.shared.federated.scientist.founding import Arrays, Founding
from traindeck.recipes.shared.federated.scientist.options import Options


def compute(
    run: track.Run,
    script: Path,
    *,
    dataset: str,
    shards: Mapping[str, Arrays],
    mock: Arrays,
    params: Mapping[str, Any],
    ports: list[int],
    more_ports: tuple[int, ...] = (),
) -> dict[str, dict[str, Any]] | None:
    """What each owner's job gives, by owner; None when the run was asked to stop.

    params: of the job, to which its parties' ports and limits are added; ports: one an owner, for
    MPyC; more_ports: others that jobs may use. Of the recipe's parameters approval and minutes say
    how long all may take. Ends the program (1) when the owners cannot go on, and (5) when an
    owner's privacy budget does not admit the job.
    """
    seconds = run.params.minutes * 60
    parties = {"ports": ports, "patience": seconds, "limit": seconds}
    options = Options(
        aggregation="mpc",
        tls=credentials(),
        approval=run.params.approval,
        round_seconds=seconds,
        ports=[*ports, *more_ports],
    )
    try:
        with Founding(
            run,
            script,
            dataset=dataset,
            shards=shards,
            mock=mock,
            params={**params, "parties": parties},
            options=options,
        ) as federation:
            return federation.results(seconds)
    except Stopped:
        print("stopped on request", flush=True)
        return None
    except FederationOverBudget as error:
        run.over_budget(str(error))
    except Failed as error:
        track.abort(str(error), 1)
