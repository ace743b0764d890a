"""Check a statement by itself: pip install dp-accounting cryptography; python … FILE [KEY]."""

import hashlib
import itertools
import json
import re
import sys

import dp_accounting as dp
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from dp_accounting import pld, rdp
from scipy.stats import binom


def epsilon(events, delta, order):
    """By RDP at that order; without one the least of RDP's and PLD's, on a grid fine enough."""
    releases, square = [], 0.0
    for one in (one for one in events if one["steps"]):
        noise, steps, bands = one["noise_multiplier"], one["steps"], one.get("bands", 1)
        rate = min(1.0, one["sampling_rate"] * bands)  # a cycle of bands is one release
        if one["sampler"] == "shuffle":  # a pass it touches is one Gaussian (zero-out)
            before, whole = one.get("after", 0), int(np.ceil(1 / rate - 1e-9))
            steps = -(-(before + steps) // whole) - before // whole
        if one["sampler"] == "truncated":  # batches that overflow are lost to delta
            delta -= steps * (1 + np.exp(20)) * binom.sf(one["max_batch"], one["records"], rate)
        steps, sampled = -(-steps // bands), one["sampler"] in ("poisson", "truncated") and rate < 1
        releases += [(noise, rate, steps) if sampled else (noise / steps**0.5, 1.0, 1)]
    for noise, q, n in releases:  # the mean square of the losses
        x = np.linspace(-12 * noise, 1 + 12 * noise, 4001)
        loss = np.logaddexp(np.log(max(1 - q, 1e-99)), np.log(q) + (x - 0.5) / noise**2)
        chance = np.exp(-((x / noise) ** 2) / 2)
        square += n * (chance * loss**2).sum() / chance.sum()
    if not releases or delta <= 0:
        return np.inf if releases else 0.0
    grid = np.sqrt(square / 80 / sum(n for _, _, n in releases))
    fine = pld.PLDAccountant(value_discretization_interval=grid)
    every = [rdp.RdpAccountant([order])] if order else [rdp.RdpAccountant(), fine]
    for one, (noise, q, n) in itertools.product(every, releases):
        one.compose(dp.PoissonSampledDpEvent(q, dp.GaussianDpEvent(noise)), n)
    return min(one.get_epsilon(delta) for one in every)


text = np.fromfile(sys.argv[1], "u1").tobytes()
body, signed = re.fullmatch(rb'(.*),\n "signature": "(.*)"\n}\n', text, re.S).groups()
key = bytes.fromhex((said := json.loads(body + b"}"))["key"])
Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signed.decode()), body + b"\n}\n")
signer, guarantee, budget = hashlib.sha256(key).hexdigest()[:32], said["guarantee"], said["budget"]
wrong = sys.argv[2:] not in ([], [signer])
print("signed by another key:" if wrong else "signed by key", signer)
rows = [(run["id"], run, [run["event"]], None) for run in said["runs"]]
for name, order in ("fixed_schedule", None), ("filter", (budget or {}).get("order")):
    rows.append((name, guarantee.get(name) or {}, [run["event"] for run in said["runs"]], order))
for name, claim, events, order in rows:
    if (stated := claim.get("epsilon")) is not None:
        computed = epsilon(events, claim["delta"], order)
        wrong |= (off := not abs(stated - computed) <= 0.01 * computed + 1e-6)
        print("WRONG" if off else "OK   ", name, f"{stated} at {claim['delta']}, {computed:.6g}")
print("epsilon is infinite for", guarantee["infinite_because"] or "no reason: it is finite")
sys.exit(bool(wrong))
