"""After fastai's tabular and vision beginnings: DataLoaders, a Learner, fit_one_cycle."""

import json

import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.metrics import accuracy, error_rate
from fastai.callback.schedule import *
from fastai.torch_core import set_seed
from sklearn.datasets import load_digits

set_seed(1)
digits = load_digits()
x = torch.tensor(digits.data / 16, dtype=torch.float32)
y = torch.tensor(digits.target)
items = list(zip(x, y))
dls = DataLoaders(
    DataLoader(items[:1437], bs=64, shuffle=True), DataLoader(items[1437:], bs=64)
)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
learn = Learner(dls, model, torch.nn.CrossEntropyLoss(), metrics=[accuracy, error_rate])
learn.fit_one_cycle(4, 1e-2)
with open("results.json", "w") as file:
    json.dump([list(row) for row in learn.recorder.values], file)
