"""After Hugging Face's quick tour: a Trainer with its arguments from the command line."""

import json

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)


class Sentences(torch.utils.data.Dataset):
    def __init__(self, count, seed):
        random = np.random.default_rng(seed)
        self.tokens = random.integers(2, 100, (count, 12))
        self.labels = (self.tokens < 50).sum(1) > 6

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, place):
        return {"input_ids": self.tokens[place], "labels": int(self.labels[place])}


def compute_metrics(prediction):
    guesses = prediction.predictions.argmax(-1)
    return {"accuracy": float((guesses == prediction.label_ids).mean())}


parser = HfArgumentParser(TrainingArguments)
(args,) = parser.parse_args_into_dataclasses()
set_seed(args.seed)
config = BertConfig(
    vocab_size=100,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    num_labels=2,
)
trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=args,
    train_dataset=Sentences(400, 1),
    eval_dataset=Sentences(200, 2),
    compute_metrics=compute_metrics,
)
trainer.train()
print(trainer.evaluate())
with open("results.json", "w") as file:
    json.dump(trainer.state.log_history, file)
