# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "syft==0.10.0", "syft-rds==0.6.1", "traindeck"]
# [tool.traindeck]
# name = "syft-fedavg"
# title = "Federated averaging over PySyft owners (PyTorch)"
# description = "Owners keep their images at home; only masked updates leave them."
# framework = "syft"
# task = "image classification"
# dataset = "mnist"
# privacy = "secure-aggregation"
# devices = ["cpu"]
# tags = ["federated", "mlp"]
# headline = "test/accuracy"
# pair = "fedavg"
# [tool.traindeck.params]
# dp = {type = "choice", default = "none", choices = ["none", "central", "local"], help = """\
#   central: epsilon for what an owner holds (who the owners are is public), by noise in the sum;
#   local: for an image, by each owner's DP-SGD"""}
# aggregation = {type = "choice", default = "secagg", choices = [
#   "transport", "secagg", "ckks",
# ], help = "what the aggregator sees: each update, their sum alone, or ciphertexts"}
# dataset = {type = "choice", default = "mnist", choices = ["mnist", "digits"], help = "whose"}
# owners = {type = "int", default = 3, min = 1, max = 16, help = "each a process of its own"}
# rounds = {type = "int", default = 60, min = 1, max = 10000, help = "of federated averaging"}
# split = {type = "choice", default = "dirichlet", choices = ["iid", "dirichlet", "label"]}
# alpha = {type = "float", default = 0.5, min = 0.001, max = 1000.0, help = "small: unequal"}
# examples = {type = "int", default = 12000, min = 0, max = 60000, help = "in all; 0: all"}
# local_epochs = {type = "int", default = 1, min = 1, max = 100, help = "an owner's, each round"}
# batch_size = {type = "int", default = 32, min = 1, max = 60000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 1000.0, help = "the first; falls to 0"}
# weight_decay = {type = "float", default = 0.001, min = 0.0, max = 1.0, help = "of the owners"}
# mu = {type = "float", default = 0.0, min = 0.0, max = 100.0, help = "FedProx: pull back"}
# server_lr = {type = "float", default = 1.0, min = 1e-6, max = 100.0, help = "of the mean"}
# server_momentum = {type = "float", default = 0.0, min = 0.0, max = 0.999, help = "FedAvgM"}
# clipping_norm = {type = "float", default = 10.0, min = 1e-9, max = 1e6, help = "of an update"}
# clipping = {type = "choice", default = "fixed", help = """\
#   adaptive: with dp=central, follows a quantile of the updates' norms""", choices = [
#   "fixed", "adaptive",
# ]}
# clipping_quantile = {type = "float", default = 0.5, min = 0.0, max = 1.0, help = "left unclipped"}
# clipping_lr = {type = "float", default = 0.2, min = 1e-6, max = 10.0, help = "how fast it moves"}
# count_noise = {type = "float", default = 0.0, min = 0.0, max = 1e3, help = "0: 3 times its least"}
# local_steps = {type = "int", default = 1, min = 1, max = 1000, help = "dp=local: a round's"}
# epsilon = {type = "float", default = inf, min = 0.0, help = "of the whole run, with dp"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# threshold = {type = "int", default = 0, min = 0, max = 16, help = "answers needed; 0: > half"}
# approval = {type = "choice", default = "auto", choices = ["auto", "hand"], help = "by hash"}
# round_seconds = {type = "float", default = 120.0, min = 0.1, max = 86400.0}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "weights, split, order"}
# encrypt = {type = "bool", default = true, help = "off only to see what could then be read"}
# keep_messages = {type = "bool", default = false, help = "keep all that crossed, to search it"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# [tool.traindeck.when.dp.central]
# dataset = "{dataset}-owners"
# privacy = "dp-fedavg"
# accounting = {records = 16, unit = "owner", sampler = "none"}
# [tool.traindeck.when.dp.central.defaults]
# epsilon = 20.0
# clipping_norm = 0.5
# owners = 16
# rounds = 20
# split = "iid"
# examples = 0
# [tool.traindeck.when.dp.local]
# privacy = "dp-sgd"
# accounting = {records = 60000, of = "mnist", unit = "example", sampler = "poisson"}
# [tool.traindeck.when.dp.local.defaults]
# epsilon = 2.93
# clipping_norm = 0.1
# rounds = 120
# local_steps = 5
# batch_size = 4096
# lr = 20.0
# split = "iid"
# examples = 0
# ///
"""Train over data owners that keep their data: federated averaging over PySyft, PyTorch inside.

Each owner is a process with its own home, keys and private images. It approves the script in `jobs`
by its hash, or by hand, and runs it in a sandbox; what leaves it is clipped, masked and sealed.
With `dp` the model tells little of what any one owner holds, or of any one image, but not who took
part: see recipes/shared/federated/scientist/fedavg.py.
"""

from pathlib import Path

from traindeck.core import track


def main(run: track.Run) -> None:
    from traindeck.recipes.shared.federated.scientist import fedavg

    name = "fedavg_dp_torch.py" if run.params.dp == "local" else "fedavg_torch.py"
    script = Path(__file__).resolve().parent / "jobs" / name
    fedavg.learn(run, script, preload=("syft_rds", "torch"))


if __name__ == "__main__":
    with track.start() as run:
        main(run)
