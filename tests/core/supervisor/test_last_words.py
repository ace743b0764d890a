"""The reason of a failure is the exception, not what a launcher or framework prints after it."""
# ruff: noqa: E501 - logs, as they are printed

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import wait_for_state
from traindeck.core.run.folder import RunFolder
from traindeck.core.supervisor.words import last_line

WHY = "FileNotFoundError: no such data set: cifar-11"
TRACE = f"""Traceback (most recent call last):
  File "/home/me/app.py", line 6, in main
    raise FileNotFoundError("no such data set: cifar-11")
{WHY}
"""
CHILD = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/venv/torch/distributed/launcher/api.py", line 383, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError: 
============================================================
app.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-29_08:45:12
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : 1 (pid: 31243) 
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-29_08:45:12
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 31242) 
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""  # noqa: W291
FAILED = (
    "E1129 08:45:12.548000 31186 torch/distributed/elastic/multiprocessing/api.py:1002] failed"
    " (exitcode: 1) local_rank: 0 (pid: 31242) of binary: /venv/bin/python\n"
)
SENDING = (
    "W1129 08:45:12.540000 31186 torch/distributed/elastic/multiprocessing/api.py:900] Sending"
    " process 31243 closing signal SIGTERM\n"
)


def ranked(text: str, form: str) -> str:
    return "".join(f"{form}{line}\n" for line in text.splitlines())


LOGS = {
    "Python": TRACE,
    "Hydra": f"Error executing job with overrides: ['lr=0.1']\n{TRACE}\nSet the environment variable "
    "HYDRA_FULL_ERROR=1 for a complete stack trace.\n",
    "torchrun": f"rank 0\n{TRACE}rank 1\n{TRACE}{SENDING}{FAILED}{CHILD}",
    "torchrun, ranks named": ranked(TRACE, "[rank1]: ") + SENDING + FAILED + CHILD,
    "torchrun, many ranks": TRACE * 2 + FAILED + CHILD.replace("Root", "[1]:\n  rank : 1\n" * 40 + "Root"),
    "accelerate": f"{TRACE}Traceback (most recent call last):\n  File \"/venv/bin/accelerate\", line 8\n"
    "    sys.exit(main())\nsubprocess.CalledProcessError: Command '['/venv/bin/python', 'app.py']' "
    "returned non-zero exit status 1.\n",
    "spawn": 'Traceback (most recent call last):\n  File "app.py", line 9, in <module>\n    mp.spawn(f)\n'
    "torch.multiprocessing.spawn.ProcessRaisedException: \n\n-- Process 1 terminated with the "
    f"following error:\n{TRACE}\n",
    "Lightning": f"Epoch 0:  10%|█         | 3/30 [00:01<00:10]\n{TRACE}"
    "[rank: 1] Child process with PID 5011 terminated with code 1. Forcefully terminating all other "
    "processes to avoid zombies 🧟\n\rEpoch 0:  10%|█         | 3/30 [00:01<00:10, v_num=0]\n",
    "Ray": 'Traceback (most recent call last):\n  File "app.py", line 9, in <module>\n    ray.get(ref)\n'
    "ray.exceptions.RayTaskError(FileNotFoundError): ray::train() (pid=7011, ip=10.0.0.3)\n"
    f'  File "app.py", line 4, in train\n    raise FileNotFoundError("…")\n{WHY}\n',
    "Ray, its worker's": ranked(TRACE, "\x1b[36m(train pid=7011, ip=10.0.0.3)\x1b[0m ")
    + 'Traceback (most recent call last):\n  File "tune.py", line 9, in <module>\n'
    "ray.tune.error.TuneError: ('Trials did not complete', [train_0])\n",
    "Slurm": f"{TRACE}srun: error: node17: task 0: Exited with exit code 1\n"
    "srun: Terminating StepId=4242.0\nslurmstepd: error: *** STEP 4242.0 ON node17 CANCELLED ***\n",
    "Slurm, tasks named": ranked(TRACE, "3: ") + "srun: error: node17: task 3: Exited with exit code 1\n",
    "Open MPI": f"{TRACE}{'-' * 70}\nPrimary job  terminated normally, but 1 process returned\n"
    f"a non-zero exit code. Per user-direction, the job has been aborted.\n{'-' * 70}\n",
    "wandb": f"{TRACE}wandb: \nwandb: 🚀 View run sun-1 at: https://wandb.ai/me/p/runs/1\n"
    "wandb: Find logs at: ./wandb/run-1/logs\n",
    "chained": "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'\n\nDuring handling "
    f"of the above exception, another exception occurred:\n\n{TRACE}",
    "what came after it": f"{TRACE}closing the data base\nbye\n",
    "make": f"{TRACE}make: *** [Makefile:3: train] Error 1\n",
    "a process group": f"{TRACE}[rank0]:[W1129 ProcessGroupNCCL.cpp:1250] Warning: process group has NOT "
    "been destroyed before we destruct ProcessGroupNCCL\n",
}  # fmt: skip
OTHERS = {
    "a line": ("loading\nno such layer: 7\n", "no such layer: 7"),
    "a footer's line": ("out of disk\nsrun: error: node17: task 0: Exited with exit code 1\n", "out of disk"),
    "only footers": ("srun: error: task 0\n", "srun: error: task 0"),
    "an error survived": (TRACE + "epoch 1\n" * 60 + "the loss is NaN\n", "the loss is NaN"),
    "an error survived, another told": (TRACE + "retrying\nerror: disk quota\n", "error: disk quota"),
    "a shell's": (TRACE + "./job.sh: line 3: 411 Segmentation fault\nbye\n", WHY),
    "a message below": (
        "Traceback (most recent call last):\n  File \"a.py\", line 1\nmine.Broken:\n\n  the scale is 0\n",
        "mine.Broken: the scale is 0",
    ),
    "nothing": ("\n\n", ""),
    "a metric": ("step 2 loss 0.7\nstep 3 loss 0.6\n", ""),
    "a metric of an unknown name": ("foo=0.5\nfoo=0.1\nfoo=0.4\nfoo=0.7\n", ""),
    "a bar": (" 10%|#   | 10/100 [00:01<00:09, 9.0it/s]\n", ""),
    "a row": ("epoch  loss  acc\n1  0.5  0.6\n2  0.4  0.7\n", ""),
    "a loss that is none": ("step 3 loss 0.6\nstep 4 loss nan\n", "step 4 loss nan"),
    "a turn": ("step 3 loss 0.6\nloss became NaN, aborting\n", "loss became NaN, aborting"),
    "an error with a number": ("error: loss=0.5 is too low\n", "error: loss=0.5 is too low"),
    "a line with a number": ("step 3 loss 0.6\nno room for 3 files\n", "no room for 3 files"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOGS)
def test_the_exception_is_the_reason(kind: str) -> None:
    assert last_line(LOGS[kind].encode()) == WHY


@pytest.mark.parametrize("kind", OTHERS)
def test_without_an_exception_the_last_line_that_says_something_is(kind: str) -> None:
    log, reason = OTHERS[kind]
    assert last_line(log.encode()) == reason


def test_a_run_says_so(start: Callable[..., RunFolder]) -> None:
    text = LOGS["torchrun"].replace("'", "")
    doc = wait_for_state(start(shell=f"echo '{text}' >&2; exit 1"))
    assert doc["reason"] == f"exit code 1: {WHY}"


def test_how_the_training_went_is_no_reason(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="echo step 3 loss 0.6; exit 7"))
    assert doc["reason"] == "exit code 7"
