"""One party's part in reading images by a secret model. Read it before you approve it.

Three parties compute by MPyC (Shamir's sharing, honest majority: of two there would be no secrecy).
owner-1 holds the model: weights, or images to train them from in this job. owner-2, the client,
holds the images. owner-3 holds nothing and helps. Model and images leave as random shares. Only the
labels are opened, never the logits, and to the client alone, which tells them to the data
scientist so that they can be compared with those of the model in the clear.
"""

import time
from typing import Any

import numpy as np

from traindeck.recipes.shared.federated.job import job
from traindeck.recipes.shared.federated.mpc import models
from traindeck.recipes.shared.federated.mpc.party import Party, run

HOLDER, CLIENT = 0, 1

with job.session() as here:
    p = here.params
    role = here.owners.index(here.owner)
    data = here.data()
    model = images = None
    if role == HOLDER and "w1" in data:
        model = {name: data[name].astype(float) for name in models.MLP}
    elif role == HOLDER:
        model = models.train_network(
            data["x"].astype(float),
            data["y"],
            hidden=p["sizes"][2],
            epochs=p["epochs"],
            seed=p["seed"],
        )
    elif role == CLIENT:
        images = data["x"].astype(float)
    began = time.monotonic()

    async def compute(party: Party) -> tuple[Any, ...]:
        def say(done: int) -> None:
            seconds = time.monotonic() - began
            sent = sum(party.bytes_sent.values())
            here.log(images=done, bytes_sent=sent, seconds=seconds)
            print(f"image {done} of {p['sizes'][0]}  {seconds:.1f} s", flush=True)

        labels = await models.predict_shared(
            party, model, images, tuple(p["sizes"]), say, holder=HOLDER, client=CLIENT
        )
        return labels, party.bytes_sent, time.monotonic() - began

    labels, sent, seconds = run(
        compute,
        owner=here.owner,
        owners=here.owners,
        tls=here.tls,
        sent=here.sent,
        **p["parties"],
    )
    read = {}
    if labels is not None:
        read = {"labels": labels.tolist(), "right": int(np.sum(labels == data["y"]))}
    here.result(bytes_sent=sent, seconds=seconds, **read)
