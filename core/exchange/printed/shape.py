"""What a line is: an object, a bar, or running text; as the plan for all lines of its shape."""

from __future__ import annotations

import re
from typing import Any

from traindeck.core.exchange.printed import bars, names
from traindeck.core.exchange.printed.coco import coco
from traindeck.core.exchange.printed.numbers import MARK, marked
from traindeck.core.exchange.printed.objects import (
    MAX_LIST,
    Number,
    Object,
    Text,
    objects,
)
from traindeck.core.exchange.printed.pairs import MAX_TEXT, Found, pairs
from traindeck.core.exchange.printed.plan import Bar, Plan, Step, Value
from traindeck.core.exchange.printed.ranks import Labels, launcher, rank_of, rank_place

MAX_METRICS = 200  # of one line

# Dates, times and versions; where a line is from; how long it took.
_STAMPS = re.compile(
    rf"""{MARK}[-/.]\d\d?[-/.]\d\d?(?:[T\ ]+{MARK}(?::{MARK})+(?:[.,](?:{MARK}|\d+))?\w*)?
    | {MARK}/{MARK}(?:/{MARK})?\ +{MARK}(?::{MARK}){{2}}
    | {MARK}(?::{MARK}){{2}}(?:[.,](?:{MARK}|\d+))?
    | (?<![\w./-])[\w./-]{{1,200}}\.(?:py|cc|cpp|cu|h|go):{MARK}(?:\]|:)?
    | (?<![\w.<>])[\w.<>]{{1,100}}:[\w.<>]{{1,100}}:{MARK}(?=\s|\]|$)
    | \b(?:pid|ip|port|PID|Process|MainProcess|Thread)[-=: ]*{MARK}
    | https?://\S{{1,500}}""",
    re.VERBOSE,
)
# What a framework's number is printed as: tensor(0.5, grad_fn=<…>), tf.Tensor(0.5, shape=(), …),
# <tf.Tensor: shape=(), dtype=float32, numpy=0.5>, np.float32(0.5), array([0.5], dtype=float32).
_WRAPPED = re.compile(
    rf"""(?:<(?:tf\.)?Tensor:[^<>{MARK}]{{0,200}}\bnumpy=
      | (?<![\w.])(?:\w+\.){{0,3}}
        (?:[tT]ensor|Parameter|Variable|(?:Device)?[aA]rray|b?float\d*|int\d*)\()
    (?:\[\s*)*{MARK}(?:\s*\])*
    (?P<rest>(?:\s*,\s*\w+=(?:<[^<>]{{0,100}}>|\([^()]{{0,100}}\)|[^,()<>]){{0,100}}){{0,8}})
    ,?\s*[)>]""",
    re.VERBOSE,
)
_OF_CV = re.compile(r"^\[CV.{1,40}?\] END .*?;,")  # scikit-learn's: [CV 1/5] END C=0.1;, score=0.9
_LABEL = re.compile(rf"{MARK}:\s|\[{MARK}\]")
_SHARE = re.compile(rf":\s+{MARK}%\s\({MARK}/{MARK}\)")
_LEVEL = re.compile(r"\b(?:INFO|DEBUG|WARNING|WARN|ERROR|CRITICAL|TRACE|NOTICE)\b[\s:|\])-]*")
_PLACE = re.compile(r"[A-Z]{4,8}:|__\w+__:")
_PREFIX = 160  # characters
_SETTINGS = re.compile(
    r"(?i)(?:param\w*|hparams?|config\w*|args|arguments|settings|options|using)\W{0,4}$"
)


_LIKELY = re.compile(
    r"(?i)loss|acc|epoch|step|iter|score|error|\blr\b|auc|rmse|mae|f1|reward|%\||[{\u2501]|=\s?[-\d.]|"
    r"^[\s|\d.,:+-]+$|metric|perplexity|episode|round"
)


def likely(line: str) -> bool:
    """Whether a line has a word or sign that most lines with metrics have."""
    return _LIKELY.search(line) is not None


def understood(line: str, pieces: list[str]) -> Plan | None:
    """The plan for lines of one shape; None for lines that say nothing."""
    shape = marked(pieces)
    plan = _understood(shape)
    if plan is None:
        return None
    if not plan.ranked:
        place = rank_place(shape)
        plan.ranked = place is not None
        plan.rank = (rank_of(line) or 0) if place is None else place
    if not plan.values and plan.bar is None and not plan.steps:
        return None
    return plan


def _understood(shape: str) -> Plan | None:
    prefix = launcher(shape)
    if prefix:
        shape = _marks(shape[:prefix]) + "; " + shape[prefix:]
    found = objects(shape) if "{" in shape else []
    found = [
        item for item in found if not _SETTINGS.search(shape[max(0, item.start - 40) : item.start])
    ]
    if found:
        plan = _of_objects(shape, found)
        if plan is not None:
            return plan
    shape = _OF_CV.sub(lambda match: _marks(match[0]), shape)
    if "(" in shape:
        shape = _WRAPPED.sub(_unwrapped, shape)
    drawn = bars.bar(shape)
    if drawn is not None:
        return _of_bar(drawn)
    return _of_text(_without_stamps(shape))


def _unwrapped(match: re.Match[str]) -> str:
    """The number alone; the others in its wrapping keep their places."""
    return MARK + _marks(match["rest"])


def _without_stamps(shape: str) -> str:
    """A shape without its dates, times and places in code; of a prefix only the marks stay."""
    end = 0

    def cleared(match: re.Match[str]) -> str:
        nonlocal end
        between = shape[end : match.start()]
        named = between.rstrip().endswith(("=", ":")) and not _PLACE.search(between)
        if match.start() < _PREFIX and not named and "=" not in between and MARK not in between:
            end = match.end()
        return _marks(match[0])

    shape = shape[:MAX_TEXT]
    bare = _STAMPS.sub(cleared, shape)
    level = _LEVEL.search(shape[:_PREFIX])
    end = max(end, level.end() if level else 0)
    if not end:
        return bare
    head, body = shape[:end], _STAMPS.sub(lambda match: _marks(match[0]), shape[end:])
    said = re.sub(r"^[^\w\x00]*?[\]:|>-]+\s", " ", body) if body[:1] in "]:|>- " else body
    return _marks(head) + _marks(body[: len(body) - len(said)]) + "; " + said


def _marks(text: str) -> str:
    return "; " * text.count(MARK) and "; ".join(["", *(MARK * text.count(MARK)), ""])


def _of_text(shape: str) -> Plan | None:
    prefix = re.match(rf"(?:[;\s]|{MARK}(?=\s?;))*", shape)
    assert prefix is not None
    skipped = prefix[0].count(MARK)
    text = shape[prefix.end() :]
    detected = coco(text, skipped) if "IoU=" in text else None
    if detected is not None:
        return Plan("pairs", [], [detected], why="what pycocotools found")
    found = pairs(text, first=skipped)
    if not found.values and not found.steps:
        return None
    if not found.known and bars.loads(shape) and _SHARE.search(shape):
        return None
    if not found.steps and (not found.values or names.is_config(found.keys)):
        return None
    sure = bool(found.known or found.steps)
    why = "names and values" if found.values else "a step without values"
    plan = Plan("pairs", found.steps, _named(found), found.part, sure=sure, why=why)
    head = Step("round", skipped)
    if len(found.steps) > 1 and head in found.steps and _LABEL.match(text):
        plan.steps.remove(head)
        plan.labels = Labels()
    return plan


def _named(found: Found) -> list[Value]:
    if not found.part:
        return found.values[:MAX_METRICS]
    return [
        value
        if names.part_of(re.split(r"[_/\-. ]", value.name)[0])
        else value._replace(name=f"{found.part}/{value.name}")
        for value in found.values[:MAX_METRICS]
    ]


def _of_bar(drawn: bars.Drawn) -> Plan:
    before = pairs(_without_stamps(drawn.before), leading=False)
    behind = pairs(drawn.behind, first=drawn.first, leading=False)
    values = [*_named(before), *_named(behind)]
    part = before.part or names.part_of(drawn.before.strip(" :[]")) or ""
    if (part != "train" or before.part) and part and values:
        values = [
            value
            if "/" in value.name or names.part_of(value.name.split("_")[0])
            else value._replace(name=f"{part}/{value.name}")
            for value in values
        ]
    if drawn.loads:
        return Plan("bar", why="a progress bar that fetches or prepares")
    steps = [*behind.steps]
    position = Step("batch", drawn.done, drawn.total, drawn.scale)
    epochs = [step for step in before.steps if step.word == "epoch"]
    if drawn.kind == "epochs":
        steps = epochs
    elif drawn.total is not None:
        steps = [step for step in steps if step.word != "epoch"] or [position]
        steps += epochs
    else:
        steps += [position, *epochs]
    key = re.sub(r"[^A-Za-z ]+", "", drawn.before).strip()
    return Plan(
        "bar",
        steps,
        values[:MAX_METRICS],
        bar=Bar(drawn.done, drawn.total, drawn.scale, drawn.kind),
        key=key,
        why=f"a progress bar ({drawn.kind})",
    )


def _of_objects(shape: str, found: list[Object]) -> Plan | None:
    values: list[Value] = []
    steps: list[Step] = []
    rank: int | None = None
    record = False
    messages: list[Text] = []
    keys: list[str] = []
    for item in found:
        for key, value in item.value.items():
            keys.append(key)
            lower = key.lower()
            record = record or lower in names.LOG_RECORD
            if isinstance(value, Text) and lower in ("msg", "message", "event"):
                messages.append(value)
            if isinstance(value, Number):
                word = names.step_of(key, strict=True)
                if word is not None:
                    steps.append(Step(word, value.place))
                    continue
                if lower in ("rank", "local_rank", "global_rank", "process_index", "worker"):
                    rank = value.place
                    if lower != "worker":
                        continue
            _flatten(key, value, values, 0)
    steps.sort(key=lambda step: names.STEP_RANK[step.word])
    plan = Plan("object", steps, values[:MAX_METRICS], strict=True, why="an object with numbers")
    if rank is not None:
        plan.rank, plan.ranked = rank, True
    rest = "".join(_outside(shape, found))
    drawn = bars.bar(rest) if "%||" in rest else None
    if all(step.word == "epoch" for step in steps):
        around = pairs(_without_stamps(rest), leading=False) if MARK in rest else Found()
        if drawn is not None:
            plan.bar = Bar(drawn.done, drawn.total, drawn.scale)
            plan.key = re.sub(r"[^A-Za-z ]+", "", drawn.before).strip()
        elif around.steps and not steps:
            plan.steps = around.steps
            plan.strict = False
        if plan.values and len(rest.strip(" \t" + MARK)) > 1:
            part = around.part or pairs(rest, leading=False).part
            if part:
                plan.values = _named(Found(values=plan.values, part=part))
    if not plan.steps and record:
        for message in messages:
            said = pairs(str(message), first=message.first, leading=False)
            if said.values and (said.known or said.steps):
                return Plan("pairs", said.steps, _named(said), said.part, why="a log's message")
        return None
    if not plan.values:
        return None
    if not plan.steps and names.is_config(keys):
        return None
    return plan


def _outside(shape: str, found: list[Object]) -> list[str]:
    """What is around the objects, with a mark for each number of theirs."""
    parts, end = [], 0
    for item in found:
        parts += [
            shape[end : item.start],
            " " + "; ".join(MARK * shape.count(MARK, item.start, item.end)) + " ",
        ]
        end = item.end
    return [*parts, shape[end:]]


def _flatten(name: str, value: Any, values: list[Value], depth: int) -> None:
    last = name.rpartition("/")[2].lower()
    if last in names.NOT_METRICS or not name or len(name) > names.MAX_NAME:
        return
    if isinstance(value, Number):
        values.append(Value(name, value.place))
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key:
                _flatten(f"{name}/{key}", inner, values, depth + 1)
            else:
                _flatten(name, inner, values, depth + 1)
    elif isinstance(value, list):
        numbers = [item for item in value if isinstance(item, Number | dict | list)]
        if len(value) == 1:
            _flatten(name, value[0], values, depth + 1)
        elif numbers and len(value) <= MAX_LIST:
            for place, item in enumerate(value):
                _flatten(f"{name}/{place}", item, values, depth + 1)
