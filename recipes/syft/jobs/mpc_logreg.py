"""One owner's part in a logistic regression on shares. Read it before you approve it.

This job is one party of a computation by MPyC (Shamir's sharing; fewer than half of the owners,
even together, learn nothing from what they are sent). Of the owner's rows only random shares leave,
to the other owners' jobs; their number is hidden up to the bound that all agreed on. The weights
are opened at the end: to all owners, and by them to the data scientist.
"""

import time
from typing import Any

from traindeck.recipes.shared.federated.job import job
from traindeck.recipes.shared.federated.mpc import models
from traindeck.recipes.shared.federated.mpc.party import Party, run

with job.session() as here:
    p = here.params
    data = here.data()
    began = time.monotonic()
    x = models.padded(models.with_intercept(data["x"]), p["bound"])
    y = models.padded(data["y"].reshape(-1, 1).astype(float), p["bound"])
    rows, features = data["x"].shape
    here.log(rows=rows, features=features, rounds=0, bytes_sent=0)

    async def compute(party: Party) -> tuple[Any, ...]:
        blocks = []
        for owner in range(len(here.owners)):
            mine = owner == party.index
            measures = models.share_measures(party, owner, x if mine else None, x.shape)
            real = x[:, -1:]  # the intercept's column: 1 where a row is real
            labels = models.share_labels(
                party, owner, y if mine else None, real if mine else None, p["bound"]
            )
            blocks.append((measures, labels))

        def say(done: int) -> None:
            sent = sum(party.bytes_sent.values())
            seconds = time.monotonic() - began
            here.log(rows=rows, features=features, rounds=done, bytes_sent=sent, seconds=seconds)
            print(f"round {done} of {p['rounds']}  {seconds:.1f} s  {sent} bytes", flush=True)

        weights = await models.train_shared(
            party, blocks, p["rounds"], p["lr"], p["decay"], p["batch_size"], say
        )
        return weights, party.bytes_sent

    weights, sent = run(
        compute,
        owner=here.owner,
        owners=here.owners,
        tls=here.tls,
        sent=here.sent,
        **p["parties"],
    )
    here.result(
        weights=weights.tolist(),
        bytes_sent=sent,
        seconds=time.monotonic() - began,
    )
