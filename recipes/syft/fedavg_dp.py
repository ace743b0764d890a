# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "syft==0.10.0", "syft-rds==0.6.1", "traindeck"]
# [tool.traindeck]
# name = "syft-fedavg-dp"
# title = "Federated averaging with central differential privacy (PySyft, PyTorch)"
# description = "What the model tells of any one owner's whole data set is bounded by epsilon."
# framework = "syft"
# task = "image classification"
# dataset = "mnist-owners"
# privacy = "dp-sgd"
# devices = ["cpu"]
# tags = ["federated", "mlp", "private"]
# headline = "test/accuracy"
# [tool.traindeck.accounting]
# records = 16
# unit = "owner"
# sampler = "none"
# [tool.traindeck.params]
# epsilon = {type = "float", default = 20.0, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.5, min = 1e-9, help = "most that an owner adds"}
# owners = {type = "int", default = 16, min = 3, max = 16, help = "each a process of its own"}
# rounds = {type = "int", default = 20, min = 1, max = 10000, help = "of federated averaging"}
# split = {type = "choice", default = "iid", choices = ["iid", "dirichlet", "label"]}
# alpha = {type = "float", default = 0.5, min = 0.001, max = 1000.0, help = "small: unequal"}
# examples = {type = "int", default = 60000, min = 0, max = 60000, help = "in all; 0: all"}
# local_epochs = {type = "int", default = 1, min = 1, max = 100, help = "an owner's, each round"}
# batch_size = {type = "int", default = 32, min = 1, max = 10000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 100.0, help = "the first; falls to 0"}
# weight_decay = {type = "float", default = 0.001, min = 0.0, max = 1.0, help = "of the owners"}
# mu = {type = "float", default = 0.0, min = 0.0, max = 100.0, help = "FedProx: pull back"}
# server_lr = {type = "float", default = 1.0, min = 1e-6, max = 100.0, help = "of the mean"}
# server_momentum = {type = "float", default = 0.0, min = 0.0, max = 0.999, help = "FedAvgM"}
# threshold = {type = "int", default = 0, min = 0, max = 16, help = "answers needed; 0: 2/3 of all"}
# approval = {type = "choice", default = "auto", choices = ["auto", "hand"], help = "by hash"}
# round_seconds = {type = "float", default = 120.0, min = 0.1, max = 86400.0}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "weights, split, order"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Train over data owners so that the model tells little of whether one of them took part.

DP-FedAvg (B. McMahan et al., ICLR 2018) with the noise made by the owners (P. Kairouz, Z. Liu, T.
Steinke, ICML 2021, but with rounded continuous Gaussians): each clips its update, adds its share of
the noise, and masks the result, so that the aggregator sees a sum that is private already: also of
the fewest owners whose sum it can open by lying to them about who answered, for the shares are made
for these, and two thirds must answer. Owners know their own shares, and what they tell the
aggregator of them is not in the sum's noise any more. All owners take part in each round: there is
no amplification by sampling. The unit is an owner with all its data. Few owners make this
expensive: that is what it costs, shown honestly.
"""

from pathlib import Path

from traindeck.core import track
from traindeck.recipes.shared import needs


def main(run: track.Run) -> None:
    with needs.syft():
        from traindeck.recipes.shared.federated import fedavg

    script = Path(__file__).resolve().parent / "jobs" / "fedavg_torch.py"
    fedavg.learn(run, script, preload=("syft_rds", "torch"), dp="central")


if __name__ == "__main__":
    with track.start() as run:
        main(run)
