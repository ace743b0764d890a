"""One party's part in learning over two hospitals' patients. Read it before you approve it.

owner-1 and owner-2 are hospitals that know different things of partly the same patients; owner-2
has the labels as well. First they find the patients that both have, by private set intersection:
each learns which of its own patients the other one has too, nobody else learns which. Then a
logistic regression over both hospitals' measures of these patients is computed on shares by MPyC.
Of two parties Shamir's sharing has no honest majority: its threshold would be 0, a share the value
itself. So owner-3 takes part, without data, and learns neither rows nor how many there are.
The weights are opened to the hospitals, and by them to the data scientist, with that number.
"""

import time
from typing import Any

from traindeck.recipes.shared.federated.job import job
from traindeck.recipes.shared.federated.mpc import models, psi
from traindeck.recipes.shared.federated.mpc.party import Party, run

FIRST, SECOND = 0, 1  # the hospitals; the second has the labels

with job.session() as here:
    p = here.params
    role = here.owners.index(here.owner)
    hospital = role in (FIRST, SECOND)
    bound, (first, second) = p["bound"], p["features"]
    parties = p["parties"]
    x = y = real = None
    common, psi_bytes = [], 0
    began = time.monotonic()
    if hospital:
        data = here.data()
        link = psi.link(
            here.owners[1 - role],
            p["psi_port"],
            listen=role == SECOND,
            tls=here.tls,
            patience=parties["patience"],
            sent=here.sent,
        )
        with link.socket:
            ids = [str(name) for name in data["ids"]]
            common = psi.intersect(link, ids, bound, first=role == FIRST)
        psi_bytes = link.bytes_sent
        print(f"{len(common)} patients of {len(ids)} are the other hospital's too", flush=True)
        x = data["x"][common]
        if role == SECOND:
            x = models.with_intercept(x)
            real = models.padded(x[:, -1:], bound)
            y = models.padded(data["y"][common].reshape(-1, 1).astype(float), bound)
        x = models.padded(x, bound)
        here.log(rows=len(common), features=data["x"].shape[1], rounds=0, bytes_sent=psi_bytes)
    psi_seconds = time.monotonic() - began
    began = time.monotonic()

    async def compute(party: Party) -> tuple[Any, ...]:
        left = models.share_measures(party, FIRST, x if role == FIRST else None, (bound, first))
        right = models.share_measures(
            party, SECOND, x if role == SECOND else None, (bound, second + 1)
        )
        labels = models.share_labels(party, SECOND, y, real, bound)
        blocks = [(party.mpc.np_concatenate([left, right], axis=1), labels)]

        def say(done: int) -> None:
            sent = psi_bytes + sum(party.bytes_sent.values())
            here.log(rounds=done, bytes_sent=sent, seconds=time.monotonic() - began)
            print(f"round {done} of {p['rounds']}  {sent} bytes", flush=True)

        weights = await models.train_shared(
            party,
            blocks,
            p["rounds"],
            p["lr"],
            p["decay"],
            p["batch_size"],
            say,
            receivers=[FIRST, SECOND],
        )
        return weights, party.bytes_sent

    weights, sent = run(
        compute, owner=here.owner, owners=here.owners, tls=here.tls, sent=here.sent, **parties
    )
    result = {"seconds": time.monotonic() - began, "bytes_sent": sent}
    if hospital:
        result |= {
            "weights": weights.tolist(),
            "patients": len(common),
            "psi_bytes": psi_bytes,
            "psi_seconds": psi_seconds,
        }
    here.result(**result)
