# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "scikit-learn>=1.5", "traindeck"]
# [tool.traindeck]
# name = "torch-cancer-dp"
# title = "Breast cancer with DP-SGD (PyTorch)"
# description = "Privacy with 427 training patients costs points of accuracy, give or take five."
# framework = "torch"
# task = "tabular classification"
# dataset = "cancer"
# privacy = "dp-sgd"
# devices = ["cpu", "gpu"]
# tags = ["tabular", "private", "quick"]
# headline = "test/accuracy"
# pair = "cancer-dp"
# accounting = {records = 569, unit = "example", sampler = "poisson"}
# [tool.traindeck.params]
# epsilon = {type = "float", default = 3.0, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.5, min = 1e-9, help = "most that a patient adds"}
# batch_size = {type = "int", default = 128, min = 1, max = 569, help = "over 569: a step's share"}
# steps = {type = "int", default = 100, min = 1, max = 1000000, help = "each sees another sample"}
# lr = {type = "float", default = 1.0, min = 1e-6, max = 1000.0, help = "learning rate"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the first weights"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "check gradients, noise and sampling first"}
# audit = {type = "bool", default = false, help = "add canaries, for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Tell malignant from benign tumours by logistic regression with differential privacy, in PyTorch.

DP-SGD on few records: the noise that hides one patient among 60,000 is the same that hides one
among the 427 that train here (the other 142 test), whose sum of gradients it drowns much sooner.
Runs differ by their noise as much as they would by other test patients. Both must be seen: the 95 %
interval of one run's test is logged beside its accuracy, and only several runs show the noise. The
test patients' privacy is not covered: what is told of the test is told of them.
"""

from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import cancer, datasets
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.loop import announce, check_records, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Tested

MOMENTUM = 0.9
AVERAGING = 0.95


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    data = needs.data(cancer.load)
    records = len(data.train_x)
    check_records(run, records, "patients")
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import binary_cross_entropy_with_logits

        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.dp.torch_state import Training

    device = needs.torch_device(run.device)
    run.use(datasets.fingerprint(data.train_x, data.train_y))

    train_x = torch.from_numpy(data.train_x).to(device)
    train_y = torch.from_numpy(data.train_y).to(device).float()
    test_x = torch.from_numpy(data.test_x).to(device)
    test_y = torch.from_numpy(data.test_y).to(device).float()

    def examples(chosen: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Measures (n, 30) and labels of training patients by their indices."""
        indices = torch.as_tensor(chosen, dtype=torch.long, device=device)
        return train_x[indices], train_y[indices]

    def losses(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(outputs.squeeze(1), y, reduction="none")

    torch.set_num_threads(1)  # batches this small gain nothing from a second core
    torch.manual_seed(p.seed)
    model = nn.Linear(train_x.shape[1], 1)
    model.to(device)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)

    @torch.no_grad()
    def evaluate() -> Tested:
        """The average of the weights on the test patients."""
        outputs = training.average(test_x)
        loss = losses(outputs, test_y).mean().item()
        right = int(((outputs.squeeze(1) > 0) == (test_y > 0.5)).sum())
        return Tested(loss, right / len(test_x), cancer.interval(right, len(test_x)))

    clipped = dp_torch.ClippedGradients(model, plan.clipping_norm, losses)
    test = dp_torch.self_test(clipped, records, examples) if p.self_test else None
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT if p.audit else 0
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    announce(run, randomness, device, "patients")
    for step in private_steps(run, training, randomness, evaluate, test, planted):
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, torch.from_numpy(planted.sum(clipped.weights)).to(device)]
        gradients = dp_torch.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop().cpu())
        training.update(gradients)
        step.gave(result)

    low, high = (torch.from_numpy(end).float() for end in cancer.ends())
    training.leave(lambda x: (2 * (x - low) / (high - low) - 1).clamp(-1, 1), cancer.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
