"""After Lightning in 15 minutes: a LightningModule and a Trainer."""

import argparse
import json

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class LitDigits(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        )

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.model(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        output = self.model(x)
        self.log("val_loss", F.cross_entropy(output, y), prog_bar=True)
        self.log("val_acc", (output.argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-2)
    args = parser.parse_args()
    L.seed_everything(1)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    train = DataLoader(TensorDataset(x[:1437], y[:1437]), 64, shuffle=True)
    val = DataLoader(TensorDataset(x[1437:], y[1437:]), 360)
    trainer = L.Trainer(max_epochs=args.max_epochs, log_every_n_steps=10)
    trainer.fit(LitDigits(args.lr), train, val)
    with open("results.json", "w") as file:
        known = {name: float(value) for name, value in trainer.callback_metrics.items()}
        json.dump({**known, "global_step": trainer.global_step}, file)
