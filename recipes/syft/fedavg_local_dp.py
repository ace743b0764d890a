# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "syft==0.10.0", "syft-rds==0.6.1", "traindeck"]
# [tool.traindeck]
# name = "syft-fedavg-local-dp"
# title = "Federated averaging with DP-SGD at each owner (PySyft, PyTorch)"
# description = "Each owner adds noise at home: what leaves it tells little of any one image."
# framework = "syft"
# task = "image classification"
# dataset = "mnist"
# privacy = "dp-sgd"
# devices = ["cpu"]
# tags = ["federated", "mlp", "private"]
# headline = "test/accuracy"
# [tool.traindeck.accounting]
# records = 60000
# unit = "example"
# sampler = "poisson"
# [tool.traindeck.params]
# epsilon = {type = "float", default = 2.93, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.1, min = 1e-9, help = "most that an image adds"}
# owners = {type = "int", default = 3, min = 3, max = 16, help = "each a process of its own"}
# rounds = {type = "int", default = 120, min = 1, max = 10000, help = "of federated averaging"}
# split = {type = "choice", default = "iid", choices = ["iid", "dirichlet", "label"]}
# alpha = {type = "float", default = 0.5, min = 0.001, max = 1000.0, help = "small: unequal"}
# local_steps = {type = "int", default = 5, min = 1, max = 1000, help = "of an owner, each round"}
# batch_size = {type = "int", default = 4096, min = 1, max = 60000, help = "of all owners, mean"}
# lr = {type = "float", default = 20.0, min = 1e-6, max = 1000.0, help = "the first; falls to 0"}
# server_lr = {type = "float", default = 1.0, min = 1e-6, max = 100.0, help = "of the mean"}
# server_momentum = {type = "float", default = 0.0, min = 0.0, max = 0.999, help = "FedAvgM"}
# threshold = {type = "int", default = 0, min = 0, max = 16, help = "answers needed; 0: > half"}
# approval = {type = "choice", default = "auto", choices = ["auto", "hand"], help = "by hash"}
# round_seconds = {type = "float", default = 120.0, min = 0.1, max = 86400.0}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "weights, split, order"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Train over data owners that each make their own updates private, image by image.

DP-SGD (M. Abadi et al., CCS 2016) at each owner: it draws a Poisson batch of its own images, clips
each one's gradient and adds the noise of the whole plan, some steps a round. Each image is one
owner's, so what one owner's steps cost is what the run costs (parallel composition). Unlike
central noise this asks for no trust in the sum, and it costs more accuracy: every owner adds all
of the noise. Masks hide the updates besides.
"""

from pathlib import Path

from traindeck.core import track
from traindeck.recipes.shared import needs


def main(run: track.Run) -> None:
    with needs.syft():
        from traindeck.recipes.shared.federated import fedavg

    script = Path(__file__).resolve().parent / "jobs" / "fedavg_local_dp.py"
    fedavg.learn(run, script, preload=("syft_rds", "torch"), dp="local")


if __name__ == "__main__":
    with track.start() as run:
        main(run)
