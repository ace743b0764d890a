"""What a statement says in words, in the terms of NIST SP 800-226 (2025).

Guidelines for Evaluating Differential Privacy Guarantees: unit of privacy, neighbouring relation,
epsilon and delta, mechanism, trust model, adaptivity, and what a guarantee does not cover.
"""

from __future__ import annotations

ADAPTIVE = (
    "`filter`: holds though each run is chosen after seeing what the last ones released (Rényi"
    " filter of one order, fixed when the budget was made: Feldman & Zrnic 2021, Lécuyer 2021)."
    " `fixed_schedule` and `naive_sum`: had all runs been fixed in advance"
)
FIXED = (
    "epsilon is that of a schedule fixed in advance; of a run that was stopped early because of"
    " what it showed, strictly only `whole_plan` holds"
)
NONE = "no epsilon holds, adaptively or not"
CENTRAL = (
    "central: the machine that trains, whoever runs it, the recipe and the ledger's file are"
    " trusted with the data; the guarantee is against whoever gets what is released"
)
OWNERS = (
    "owners: each holds its data; it clips its update, adds its share of the noise and masks it,"
    " and the guarantee is against the data scientist and against every other owner alone, for the"
    " sum of updates. Owners that tell each other of their shares or keys see less noise"
)
LOCAL = (
    "local to each owner: it holds its data, and its update has all of its noise before it"
    " leaves; its own gate counts what the approved script says that it does, which is trusted"
)
PART = (
    "an owner's own budget in a federation: it bounds what the others learn of this owner's data,"
    " and trusts the owner's machine and the script that the owner approved"
)
TUNED_HERE = (
    "every run that this budget admitted is charged, whether its result was used or not. Choices"
    " made before the budget, in another home or on published benchmarks are not"
)
NOT_TUNED = (
    "not charged: this is one run alone; others on the same data, by which its hyperparameters"
    " may have been chosen, add to it"
)
KEYS = (
    "the home of who signed: statement.key signs, secret.key keys the names of data; neither is"
    " exported"
)
SAMPLING = {
    "poisson": "each record is in each batch with the sampling rate's chance, independently",
    "poisson in bands": "each record is in one of so many parts, by a coin of its own, and in each"
    " batch of its part's turn with bands times the sampling rate's chance; the noise of later"
    " steps takes back part of the last ones' (Choquette-Choo et al. 2023)",
    "truncated": "each record is in each batch with the sampling rate's chance, independently; of a"
    " batch of more than max_batch some at random are left out, for which epsilon is at a smaller"
    " delta",
    "shuffle": "each record is in one batch of each pass; a pass is accounted for as one release,"
    " without amplification",
    "none": "all records are in each batch; no amplification",
}
MECHANISM = (
    "DP-SGD (Abadi et al. 2016): sums of gradients clipped to a norm, each with Gaussian noise of"
    " noise_multiplier times that norm. Where the norm follows a noisy count of the gradients that"
    " are not clipped, sum and count together are one release of that noise_multiplier, and the"
    " sum's own noise is larger (Andrew et al. 2021)"
)
NOT_COVERED = (
    "what was learnt before the budget was made, in other homes, or by commands without a data set",
    "hyperparameters chosen on public benchmarks, and constants published with the data",
    "telemetry under private/, logs, and how long steps take",
    "test data: metrics on it are told without noise",
    "groups: two records of one person are two units",
    "low-order bits of floating-point noise; epsilon is that of the real-valued Gaussian",
    "a recipe that does not do what it says: self-test and audits look for that, and prove nothing",
    "whether an imported run did what its file says",
    "whether the ledger is the only one: who may write a home can begin another",
)


def trust(unit: str, federated: bool, part: bool = False) -> str:
    """Who is trusted with the data."""
    if part:
        return PART
    if unit == "owner":
        return OWNERS
    return LOCAL if federated else CENTRAL
