"""What a printed name stands for: a step, a metric, a setting, or a fact of the process."""

from __future__ import annotations

import re
from collections.abc import Mapping


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


MAX_NAME = 2000  # characters: longer ones are no names

STEPS = (
    "step", "global_step", "_step", "train_step", "trainer/global_step", "steps", "iteration",
    "iter", "it", "i", "num_updates", "update", "updates", "batch", "episode", "round",
    "boosting_round", "trial", "total_timesteps", "num_timesteps", "env_steps", "num_env_steps",
    "training_iteration", "timestep", "timesteps", "generation", "epoch",
)  # fmt: skip
"""Best first."""
STEP_RANK = {name: rank for rank, name in enumerate(STEPS)}
_WEAK_STEPS = frozenset(("i", "it", "update", "updates", "steps", "batch", "trial", "generation"))
"""Steps in running text; in an object they may be anything, and are metrics."""

NOT_METRICS = frozenset((
    "time", "timestamp", "ts", "date", "datetime", "wall_time", "created", "pid", "tid", "process",
    "thread", "rank", "local_rank", "world_size", "seed", "version", "port", "line", "lineno", "id",
    "shape", "device", "gpu", "eta", "eta_seconds", "elapsed", "v_num", "asctime", "msecs",
    "_timestamp", "_runtime", "at", "wall", "train_wall", "bsz", "wpb", "total_time", "num_gpus",
    "duration", "elapsed_time", "time_elapsed", "start_time", "end_time", "epoch_time", "step_time",
))  # fmt: skip
LOG_RECORD = frozenset(("level", "levelname", "severity", "msg", "message", "logger"))

_NOISE = word_set("""
    time times eta elapsed remaining duration runtime timestamp date datetime wall walltime
    clock secs second seconds sec minute minutes min hour hours hrs ms mem memory ram vram rss
    cuda gpu gpus cpu cpus device devices tpu host node nodes pid tid port line lineno version
    ver seed rank ranks world worker workers thread threads process size sizes shape dim dims
    width height channels resolution imgsz num number total count counts n max maximum limit
    capacity patience param params parameter parameters weights layers layer heads samples
    examples instances images classes class features rows columns records files bytes kb mb gb
    tokens vocab id ids index idx build release commit revision job fold exit code status
    errno signal attempt retry retries v_num bsz wpb wps ups dataloader data saved saving
    loading loaded downloading download reading writing found using warning batches every
    interval support bin bins numbers seq block nnzs skipped iterations steps epochs gain fps
    batchsize minibatch bs sps ips tps qps reader assert ts
""")
_QUALIFIES = word_set("""
    total max min num class classes head heads layer layers box image images token tokens sample
    samples worker rank device batch seq block maximum epochs steps data features n
""")
"""Noise that behind a metric only says which: loss_total, acc_max, loss per token."""
"""Words of names that are no metrics in running text."""

_METRIC = word_set("""
    loss losses acc accuracy auc auroc auprc roc f1 lr ppl perplexity bleu rouge meteor reward
    rewards return returns mse mae rmse rmsle mape smape r2 error err precision recall map iou
    miou dice psnr ssim lpips fid norm gnorm grad_norm bpb bpc bpd wer cer score elbo kl kld
    entropy inertia logloss mlogloss merror ndcg nll ce bce mfu top1 top5 cost objective
    energy likelihood kappa mcc ap hits mrr fitness regret epsilon logprob prec val_loss
    accuracy_score brier sensitivity specificity hinge rel_l2 residual divergence momentum
    temperature beta rew balanced_accuracy f1_score avg_loss jaccard tpr fpr mean_iou
    silhouette lm l2 l1 binary_logloss error_rate
""")
"""Words of names that are metrics even where nothing but a space parts them from their value."""

_CONFIG = word_set("""
    batch_size epochs num_epochs n_epochs max_epochs max_steps seed num_workers workers
    hidden_size hidden hidden_dim dropout num_layers n_layers layers vocab_size
    learning_rate_init warmup warmup_steps weight_decay momentum optimizer n_estimators
    max_depth world_size image_size embed_dim d_model heads num_heads patience log_interval
    save_every eval_every context_length block_size max_iters gamma test_batch_size dry_run
    no_cuda model output_dir data_dir device per_device_train_batch_size
    gradient_accumulation_steps train_batch_size
""")
"""Names of settings: a dict with some of them and no step is what the run was started with."""
_RESULTS = re.compile(r"(?i)(?:^|[_/.])(?:loss|acc|accuracy|f1|auc|reward|score|ppl|perplexity)\b")

_SETTINGS_TOO = frozenset(
    ("lr", "learning_rate", "learning rate", "momentum", "beta", "temperature", "epsilon")
)

_PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "validate": "val", "eval": "eval", "evaluation": "eval", "evaluating": "eval",
    "test": "test", "testing": "test", "dev": "dev", "validating": "val",
}  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:'s)?")


def words_of(name: str) -> list[str]:
    """The lower-case words of a name: ``valLoss/top-1`` has val, loss, top and 1."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [word.lower() for word in _WORD.findall(parted)]


def part_of(word: str) -> str | None:
    """The part of a run (train, val, eval, test, dev) that a word names."""
    return _PARTS.get(word.lower())


def step_of(name: str, *, strict: bool = False) -> str | None:
    """The step that a name is, by its name in STEPS; `strict` for names in an object."""
    lower = name.lower().strip("_#") if name != "_step" else name
    lower = {"ep": "epoch"}.get(lower, lower.replace(" ", "_"))
    if lower not in STEP_RANK and lower.endswith(("_epoch", "_step", "_iteration", "_iter")):
        head, _, tail = lower.rpartition("_")
        if not strict and (part_of(head) or head in ("global", "current", "end_of")):
            lower = tail
    if lower not in STEP_RANK or (strict and lower in _WEAK_STEPS):
        return None
    return lower


def is_metric(name: str) -> bool:
    """Whether a name is of a metric wherever it stands."""
    lower = name.lower()
    if lower in _METRIC or lower.replace(" ", "_") == "learning_rate":
        return True
    words = words_of(name)
    return any(word.rstrip("0123456789") in _METRIC or word in _METRIC for word in words) or (
        "learning" in words and "rate" in words
    )


def is_noise(name: str) -> bool:
    """Whether a name in running text is no metric: a time, a size, a count, a setting."""
    words = words_of(name)
    if not words or name.lower() in _CONFIG - {"momentum", "gamma"}:
        return True
    if words[0] in ("num", "number", "total", "max", "n") and not is_metric(name):
        return True
    if len(name) == 1:
        return True
    if words[-1] == "cost":
        return any(word in _NOISE for word in words)
    if words[-1] in _METRIC:
        return words[0] in ("num", "number", "count", "patience") or "count" in words
    if words[0] in _METRIC or (len(words) > 1 and part_of(words[0]) and words[1] in _METRIC):
        return any(word in _NOISE - _QUALIFIES for word in words)
    return any(word in _NOISE for word in words)


def epochs(params: Mapping[str, object]) -> int | None:
    """How many epochs a command is to run by its parameters, if one of them says so."""
    for name, value in params.items():
        if name.rpartition(".")[2].lower() in _EPOCHS and isinstance(value, int | float):
            return int(value) if 0 < value < 1 << 31 and value is not True else None
    return None


_EPOCHS = word_set("""
    epochs num_epochs n_epochs nepochs max_epochs num_train_epochs total_epochs nb_epochs
""")


def is_result(name: str) -> bool:
    """Whether a metric cannot be a setting just as well, as a learning rate can."""
    return name.lower() not in _SETTINGS_TOO and is_metric(name)


def is_config(names: list[str]) -> bool:
    """Whether what has these names, and no step, is a run's settings."""
    settings = sum(name.lower().replace("-", "_") in _CONFIG for name in names)
    return settings > 0 and not any(_RESULTS.search(name) for name in names)
