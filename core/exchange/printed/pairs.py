"""Names and values in running text: ``loss=0.5``, ``acc: 91.2%``, ``val loss 0.3 (0.4)``.

Each number of a shape is asked what stands before it (words, then ``=``, ``:`` or nothing) and what
right behind it (a unit, a total, another part of a date).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from traindeck.core.exchange.printed.names import (
    MAX_NAME,
    is_metric,
    is_noise,
    is_result,
    part_of,
    step_of,
    word_set,
    words_of,
)
from traindeck.core.exchange.printed.numbers import MARK
from traindeck.core.exchange.printed.plan import Step, Value

MAX_TEXT = 4096  # characters of a line that are looked at
MAX_NUMBERS = 200
_BEFORE = 100  # characters

_WORD = r"[^\W\d](?:[\w]|[-./@#'+%&](?=\w)|\.(?=\ ))*"
_KEY = re.compile(
    rf"(?P<key>(?:{_WORD}[ ]){{0,4}}{_WORD})(?P<note>[ ]?\([^()=:]{{1,24}}\))?"
    r"(?P<sep>[ \t]*(?::=|=>|->|==|[:=])|[ \t]*\||)(?P<gap>[\s\"'\[(<#$~]*)$"
)
_UNIT = re.compile(
    r"[ ]?(?:(?P<percent>%)(?!\|)|(?P<units>[^\W\d]+(?:/[^\W\d]+)*|/s\b)"
    r"|(?P<glued>[x\u00d7@]\w?))|(?P<close>[:.+_]\w?)"
)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6}
_TIMES_SIZES = word_set("""
    s ms us ns sec secs second seconds min mins minutes m h hr hrs hours hour d days day b kb
    mb gb tb kib mib gib tib bytes g mhz ghz hz w c px files examples samples images rows
    items epochs steps classes parameters params workers gpus devices tokens batches
""")
_TOTAL = re.compile(rf"\s*(?:/|of\b)\s*{MARK}")
_GROUPS = re.compile(rf"(?:,{MARK})+(?![\w.,])")
_OF_A_BAR = re.compile(r"%(?:\|\||\s?\u2501)")
_VECTOR = re.compile(rf"(?:\ {MARK}){{2,}}(?![\w%])")
_CLOSES = re.compile(rf"\s*/\s*{MARK}\s*(?:[\])(]|$)")
_PERCENT = re.compile(rf"\s*[(\[]\s*{MARK}\s*%")
_AVERAGE = re.compile(rf"\s*\(\s*{MARK}\s*%?\s*\)")
_HEAD = re.compile(
    r"^[\W_]*(?P<part>train(?:ing)?|val(?:id(?:ation)?|idating)?|eval(?:uation|uating)?|test(?:ing)?"
    r"|dev)\b(?:\s+(?:set|results?|error|metrics?|phase|stats|summary|net output #\x00))?"
    r"(?P<mark>\s*[\]:|>)\-\u2014]|)",
    re.IGNORECASE,
)
_IN_EPOCH = re.compile(rf"\s*\[\s*{MARK}\s*/")
_COUNTS = frozenset(("num", "number", "total", "per"))
_LEADING = re.compile(rf"^\s*(?:\[\s*{MARK}\s*\]|{MARK}:(?=\s)|#{MARK}\b)")
_TAG = re.compile(
    r"(?<![\w/=.-])(?P<part>train(?:ing)?|val(?:id(?:ation)?|idating)?|eval(?:uation)?|test(?:ing)?|dev)"
    rf"(?:\s*[\])>|]|\s*:(?!\s*{MARK})|\s+[-\u2013]\s|\((?=\w+\s?[=:]))",
    re.IGNORECASE,
)
_PAIR_AT_HEAD = re.compile(rf"^\s*\[\s*{MARK},\s*{MARK}\]")
_OF_IMAGES = re.compile(
    r"(?i)\b(?P<key>(?:\w+ )?(?:accuracy|acc|error|loss))\s(?:of|on|for)\b[^=:]*$"
)
_DOTS = re.compile(rf"(?<={MARK})\.\.+(?=\s|$)")  # Training Loss: 0.523.. Test Loss: 0.412..
_AFTER = re.compile(
    r"(?P<key>(?:\w+ ){0,2}\w+) (?:after|at|in|for) (?:the )?(?P<step>\w+)"
    rf"\s?#?{MARK}\s*[:=]\s*$"
)
_FIRST = re.compile(r"(?:^|[,;|(])\s*$")
_BEHIND = re.compile(
    r"%?[ ](?P<key>(?:(?:avg|average|mean|train|val|test)[ ])?"
    r"(?:loss|acc|accuracy|perplexity|ppl|auc|f1|reward|score|mfu))(?=\s*(?:[,;|)]|$))",
    re.IGNORECASE,
)
_BEST = re.compile(r"(?i)\bbest\b")
_NOTE_PART = re.compile(r"^\s*[^\W\d]+\((?P<part>[a-z]+)\)", re.IGNORECASE)


@dataclass(slots=True)
class Found:
    """What running text says."""

    steps: list[Step] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    part: str = ""
    keys: list[str] = field(default_factory=list)
    known: bool = False
    """Whether one of the names is of a metric everywhere."""


def pairs(shape: str, *, first: int = 0, leading: bool = True) -> Found:
    """The steps and values in a shape whose first number is the line's `first`."""
    found = Found()
    shape = _DOTS.sub(";", shape[:MAX_TEXT])
    marks = [match.start() for match in re.finditer(MARK, shape)][:MAX_NUMBERS]
    found.part = _part(shape)
    tags = [(tag.start(), part_of(tag["part"]) or "") for tag in _TAG.finditer(shape)]
    if _PAIR_AT_HEAD.match(shape) and leading:  # PyTorch's tutorial: [epoch, batch]
        found.steps += [Step("batch", first + 1), Step("epoch", first)]
    skip = 0
    end = 0
    for place, at in enumerate(marks):
        index = first + place
        before, behind = shape[max(end, at - _BEFORE) : at], shape[at + 1 : at + 40]
        end = at + 1
        if place < skip:
            continue
        total = index + 1 if _TOTAL.match(behind) else None
        more = _GROUPS.match(behind)
        groups = more[0].count(MARK) if more else 0
        if place == 0 and leading and total is None and _LEADING.match(shape):
            found.steps.append(Step("round", index))
            continue
        if total is not None:
            skip = place + 2
        elif groups:
            skip = place + 1 + groups
        match = _KEY.search(before)
        if match is None and total is None and _FIRST.search(before):
            named = _BEHIND.match(behind)
            if named is not None:  # 0.91 avg loss, 36.5% MFU
                found.values.append(Value(named["key"].replace(" ", "_"), index))
                found.known = True
                continue
        if match is None:
            of_step = _AFTER.search(shape[max(0, at - _BEFORE) : at])
            if of_step and step_of(of_step["step"]) and is_metric(of_step["key"]):
                name = _name(of_step["key"], None)[0]  # Cost after iteration 100: 0.612
                found.values.append(Value(name, index))
                found.known = True
                continue
            if total is not None and re.search(r"[\[(]\s*$", before) and _CLOSES.match(behind):
                if found.steps and found.steps[-1] == Step("batch", index - 2, index - 1):
                    found.steps[-1] = Step("epoch", index - 2, index - 1)  # [0/5][10/1583]
                found.steps.append(Step("batch", index, total))
            continue
        count, steps = len(found.values), len(found.steps)
        tag = next((part for start, part in reversed(tags) if start < at), "")
        if more:
            behind = shape[at + 1 + more.end() : at + 40 + more.end()]
        _take(found, match, behind, index, total, tag, groups)
        if len(found.steps) > steps and (aside := _best_aside(shape, at)) is not None:
            outside = first + shape.count(MARK, 0, aside)
            if any(value.place < outside for value in found.values):
                del found.steps[steps:]  # accuracy 91.8% (best 92.1% at epoch 3)
        if len(found.values) == count and place and match["sep"].strip():
            above = _OF_IMAGES.search(shape[max(0, marks[place - 1] - _BEFORE) : marks[place - 1]])
            if above is not None:  # Accuracy of the network on the 10000 test images: 55 %
                found.values.append(Value(_name(above["key"], None)[0], index))
                found.known = True
    if found.part in ("val", "test", "eval", "dev"):  # how far an evaluation is, is no step
        found.steps = [step for step in found.steps if step.word != "batch"]
    words = [step.word for step in found.steps]
    found.steps = [step for n, step in enumerate(found.steps) if step.word not in words[:n]]
    found.steps.sort(key=lambda step: _order(step.word))
    _tell_parts(found, shape)
    return found


def _best_aside(shape: str, at: int) -> int | None:
    """Where the parenthesis around a place begins, if it has told of the best so far."""
    start = shape.rfind("(", 0, at)
    if start < 0 or ")" in shape[start:at] or not _BEST.search(shape, start, at):
        return None
    return start


def _order(word: str) -> int:
    from traindeck.core.exchange.printed.names import STEP_RANK

    return STEP_RANK[word]


def _take(
    found: Found,
    match: re.Match[str],
    behind: str,
    index: int,
    total: int | None,
    tag: str,
    groups: int,
) -> None:
    key, sep, gap = match["key"], match["sep"].strip(), match["gap"]
    words = key.split(" ")
    word = step_of(words[-1]) or (step_of(" ".join(words[-2:])) if len(words) > 1 else None)
    bracketed = "[" in gap or "(" in gap
    if total is None and sep == ":" and (part := part_of(key)) and _IN_EPOCH.match(behind):
        found.steps.append(Step("epoch", index))  # timm's "Train: 3 [ 50/1251 (4%)]"
        found.part = found.part or part
        return
    if part_of(words[-1]) and bracketed and total is not None:
        found.steps.append(Step("batch", index, total))
        return
    if word is not None and words[0].lower() not in ("total", "num", "number", "max", "per"):
        if _ends_well(behind, total) and not any(w.lower() in ("per", "every") for w in words):
            found.steps.append(Step(word, index, total, groups=groups))
        return
    if groups and (not is_metric(key) or bracketed):
        return
    unit = _UNIT.match(behind)
    if total is None and unit and (unit["glued"] or unit["close"]) and not _sentence_end(behind):
        return
    if total is None and (_OF_A_BAR.match(behind) or (sep == ":" and _VECTOR.match(behind))):
        return
    scale = 1.0
    if total is None and unit and unit["units"]:
        units = unit["units"]
        spaced = behind.startswith(" ")
        if units in _SCALES and not spaced:
            scale = _SCALES[units]
        elif not spaced or units.lower() in _TIMES_SIZES or "/" in units:
            return
    if total is None and re.match(r"[-,/](?=[\d\x00\w])|-[A-Za-z]", behind):
        return  # a date, a range, a path, thousands
    found.keys.append(words[-1])
    name, cut = _name(key, match["note"])
    counted = not _COUNTS.isdisjoint(word.lower() for word in words[:-1])
    if counted and not is_metric(key):
        return
    if not name or len(name) > MAX_NAME or is_noise(name):
        return
    known = is_metric(name)
    if not sep and (not known or (cut and not found.steps)):
        return
    if not sep and (
        bracketed or (not is_metric(words[-1]) and not is_metric(" ".join(words[-2:])))
    ):
        return
    if sep == "|" and not known:
        return
    if bracketed and total is None and not known:
        return
    known_as = name
    if tag and tag != found.part and not part_of(re.split(r"[_/\-.]", name)[0]):
        known_as = f"{tag}/{name}"
    value = Value(known_as, index, scale, total, groups)
    if total is not None:
        rest = behind[_TOTAL.match(behind).end() :]  # type: ignore[union-attr]
        if _PERCENT.match(rest):
            value = Value(known_as, index + 2)
        elif not known:
            return
    if words[0] == "assert" or words[-1].lower() in _TURNS:  # loss became NaN
        return
    if all(value.name != other.name for other in found.values):
        found.values.append(value)
    found.known = found.known or is_result(name)


def _ends_well(behind: str, total: int | None) -> bool:
    """Whether a step is not part of a time, a version or a size."""
    if total is not None:
        return True
    unit = _UNIT.match(behind)
    if unit is None or unit["percent"]:
        return unit is None
    if unit["glued"] or unit["close"]:
        return _sentence_end(behind)
    return behind.startswith(" ") and not behind[1:].lower().startswith(("it/s", "steps/"))


def _sentence_end(behind: str) -> bool:
    return re.match(r"[:.](?:\s|$)", behind) is not None


def _name(key: str, note: str | None) -> tuple[str, bool]:
    """A name in one piece, and whether words of a sentence were cut off before it."""
    said = key.split(" ")
    for place in range(len(said) - 1, 0, -1):
        if _ends_sentence(said[place - 1]):
            del said[:place]
            break
    words = [word.strip(".-'") for word in said]
    count = len(words)
    if len(words) > 2 and [word.lower() for word in words[-2:]] == ["so", "far"]:
        del words[-2:]
        count -= 2
    if len(words) > 1 and words[-1].lower() in ("is", "was"):
        del words[-1]  # accuracy is 0.91
        count -= 1
    if len(words) > 1 and part_of(words[0]) and "/" in words[-1]:
        del words[0]  # Train loss/train/total
    while len(words) > 1 and _is_filler(words, 0):
        del words[0]
    for place in range(len(words) - 1, 0, -1):
        if _is_filler(words, place - 1):
            words = words[place:]
            break
    if len(words) > 1 and words[-1].lower() == "value":
        del words[-1]
    name = "_".join(word for word in words if word)
    name = name.replace("'s_", "/").removesuffix("'s")
    inside = (note or "").strip(" ()")
    if part_of(inside):
        name = f"{name}/{inside}"
    elif inside and words_of(inside) and is_noise(inside) and len(inside) > 1:
        name = f"{name}_{inside}"
    elif inside and note and not note.startswith(" "):
        name += note
    return name, len(words) < count


def _ends_sentence(word: str) -> bool:
    """Whether it is `Done.` or `training.`, rather than short for something, as `Avg.` is."""
    bare = word.rstrip(".").lower()
    if not word.endswith(".") or (part_of(bare) and bare not in _PART_NOUNS):
        return False
    return len(bare) > 4 or bare in _LAST_WORDS


_PART_NOUNS = frozenset(("training", "validation", "testing", "evaluation"))
_LAST_WORDS = frozenset(("done", "end", "ok", "yes"))

_FILLERS = word_set("""
    the a an is was are of at in on with and or for to from by this that new best_so_far
    current so far got has have info debug warning error root main got now then after improved
    achieved reached
""")

_TURNS = word_set("became becomes turned turns went goes got diverged diverges exploded explodes")


def _is_filler(words: list[str], place: int) -> bool:
    lower = words[place].lower()
    return lower in _FILLERS and not (lower == "error" and words[place + 1].lower() == "rate")


def _part(shape: str) -> str:
    """The part of a run that a line begins with, if it names one as such."""
    note = _NOTE_PART.match(shape)
    if note and part_of(note["part"]):
        return part_of(note["part"]) or ""
    head = _HEAD.match(shape)
    if head is None:
        return ""
    part = part_of(head["part"]) or ""
    if head["mark"].strip():
        return part
    rest = shape[head.end() :].lstrip().split(" ")[0].strip(":=[(").lower()
    return part if step_of(rest) else ""


def _tell_parts(found: Found, shape: str) -> None:
    """`train Loss: 0.5 Acc: 0.8` is train's loss and train's accuracy."""
    named = [part_of(re.split(r"[_/\-.]", value.name)[0]) for value in found.values]
    if not found.part and len(named) > 1 and named[0] and not any(named[1:]):
        first = found.values[0]
        inner = re.sub(r"^[A-Za-z]+[_/\-.]?", "", first.name)
        if inner and not re.match(r"^\s*\w+[_/]", shape):
            found.part = named[0]
            found.values[0] = first._replace(name=inner)
