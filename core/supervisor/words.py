"""The last words of a log: why a run failed, as it printed it.

An uncaught exception is told by a traceback; what launchers and frameworks print after it says only
that something has failed. Formats: traceback(3) of Python; torchrun and `torch.multiprocessing`
(PyTorch), accelerate, Hydra, Lightning, Ray, Slurm's srun and slurmstepd, Open MPI, wandb.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

MOST_LINES = 400
NEAR_LINES = 40
"""A traceback further from the end is taken for one of an error that the run has survived."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_BEFORE = re.compile(  # whose line it is: a rank's, a worker's, a task's
    r"^(?:\[(?:rank ?|default)\d+\]: ?|\([^()]*\bpid=\d+[^()]*\) ?|\d+: "
    r"|\[\d+,\d+\]<std(?:err|out)>: ?)"
)
_HEAD = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.<>]*(?:\([\w.]+\))?(?::|$)")
_TELLS_ONLY = re.compile(  # that another process has failed
    r"ChildFailedError|CalledProcessError|ProcessRaisedException|ProcessExitedException|RayTaskError"
    r"|TuneError|TrainingFailedError|JobFailedError|_RemoteTraceback|RemoteTraceback"
)
_FOOTER = re.compile(
    r"""^(?:\s*$
    |Set\ the\ environment\ variable\ HYDRA_FULL_ERROR
    |Error\ executing\ job\ with\ overrides
    |(?:E|W|I|ERROR|WARNING|INFO)\S*\ .*torch[./]distributed
    |.*(?:torch[./]distributed[./](?:elastic|run|launcher)|elastic_launch|SignalException)
    |(?:ERROR|WARNING|INFO):torch\.distributed
    |[=\-_*\#~]{4,}
    |.*\ FAILED$|Failures:|Root\ Cause\ \(first\ observed|\s*<NO_OTHER_FAILURES>
    |\s*\[\d+\]:$|\s+(?:time|host|rank|exitcode|error_file|traceback)\s*:
    |\[rank:?\ ?\d+\]\ (?:Child\ process|Received\ SIG)
    |Epoch\ \d+:.*\d+%\|
    |(?:srun|slurmstepd|sbatch|salloc):
    |(?:mpirun|prterun|orterun|mpiexec)\b
    |(?:Primary\ job|Per\ user-direction|Process\ name:|Exit\ code:|\s+Process\ name|\s+Exit\ code)
    |wandb:
    |make(?:\[\d+\])?:\ \*\*\*
    |.*(?:resource_tracker|UserWarning|DeprecationWarning|FutureWarning)
    |.*(?:destroy_process_group|ProcessGroupNCCL)
    |Exception\ ignored\ in
    |(?:Trial|Result)\ \S+\ (?:errored|failed)
    |Error\ in\ atexit
    )""",
    re.VERBOSE,
)
_TOLD = re.compile(  # by what has ended for another reason than an exception
    r"(?i)^(?:\S+: (?:line \d+: )?)*\[?"
    r"(?:error|fatal|panic|aborted|killed|segmentation fault|bus error)\b"
)


def last_line(log: bytes) -> str:
    """The line that says best why a run failed that printed this at its end; "" for nothing."""
    lines = [_plain(line) for line in log.decode("utf-8", "replace").splitlines()[-MOST_LINES:]]
    at = _uncaught(lines)
    if at is not None:
        after = [line for line in lines[at + 1 :] if not _FOOTER.match(line)]
        told = [line for line in _without_tracebacks(after) if _TOLD.match(line)]
        return told[-1].strip() if told else _whole(lines, at)
    said = [line for line in lines if line.strip()]
    own = [line for line in said if not _FOOTER.match(line)] or said[-1:]
    return own[-1] if own and not _is_of_metrics(own) else ""


def _is_of_metrics(lines: Sequence[str]) -> bool:
    """Whether the last line is one of those that say how the training goes: no reason to fail.

    One that tells of an error, or of a loss that is no number any more, is.
    """
    from traindeck.core.exchange.printed.reader import StdoutMetrics

    reader = StdoutMetrics()
    reader.seen = []
    reader.feed("".join(f"{line}\n" for line in lines).encode())
    if _TOLD.match(lines[-1]) or not reader.seen or reader.seen[-1].line != lines[-1]:
        return False
    last = reader.seen[-1]
    numbers = [value for _, _, value in last.metrics]
    return all(map(math.isfinite, numbers)) and (bool(numbers) or last.kind == "bar")


def _plain(line: str) -> str:
    line = _ANSI.sub("", line).rstrip("\r").split("\r")[-1]
    while found := _BEFORE.match(line):
        line = line[found.end() :]
    return line


def _uncaught(lines: Sequence[str]) -> int | None:
    """The line of the last exception that says more than that another process has failed."""
    heads = [at for at, line in enumerate(lines) if line.strip() == _HEAD]
    ends = [end for head in heads if (end := _end(lines, head)) is not None]
    near = [at for at in ends if len(lines) - at <= NEAR_LINES or _all_footers(lines[at + 1 :])]
    if not near:
        return None
    own = [at for at in ends if not _TELLS_ONLY.search(lines[at].split(":")[0])]
    said = [at for at in own if at in near or near[-1] not in own]
    return (said or near)[-1]


def _end(lines: Sequence[str], head: int) -> int | None:
    """Where the exception stands that a traceback ends with."""
    margin = len(lines[head]) - len(lines[head].lstrip())
    for at in range(head + 1, len(lines)):
        line = lines[at][margin:]
        if line.strip() == _HEAD:
            return None
        if line[:1] not in (" ", "\t", ""):
            if not _EXCEPTION.match(line):
                return None
            if not _goes_on(lines[at + 1 :]):  # as Ray's do, with the worker's own
                return at
    return None


def _goes_on(lines: Sequence[str]) -> bool:
    return bool(lines) and lines[0].lstrip().startswith("File ") and lines[0][:1] == " "


def _all_footers(lines: Sequence[str]) -> bool:
    return all(_FOOTER.match(line) for line in _without_tracebacks(lines))


def _without_tracebacks(lines: Sequence[str]) -> list[str]:
    """Lines outside of tracebacks and of the exceptions that these end with."""
    kept = []
    inside = False
    for line in lines:
        if line.strip() == _HEAD:
            inside = True
        elif inside:
            inside = line[:1] in (" ", "\t", "")
        elif line[:1] not in (" ", "\t"):
            kept.append(line)
    return kept


def _whole(lines: Sequence[str], at: int) -> str:
    """An exception; its next line too where its first says nothing."""
    first = lines[at].strip()
    more = (line.strip() for line in lines[at + 1 :] if line.strip())
    return f"{first} {next(more, '')}".strip() if first.endswith(":") else first
