"""What is said of mistakes: the words of each error, and which programs tracing refuses.

Written as `artifacts/mistakes.json`: {"mistakes": {name: {"raised", "error", "words"}}, "tracing":
{name: the same}}; as metrics `mistake/NAME/words`, 0 where nothing was said, and `tracing/refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from traindeck.core import track
from traindeck.core.base.files import write_json

Snippet = Callable[[], object]


def record(run: track.Run, wrong: Mapping[str, Snippet], traced: Mapping[str, Snippet]) -> None:
    """Run every snippet, and record what each raised."""
    found = {name: _raised(snippet) for name, snippet in wrong.items()}
    refused = {name: _raised(snippet) for name, snippet in traced.items()}
    for title, outcomes in (("mistake", found), ("traced", refused)):
        for name, said in outcomes.items():
            print(f"{title} {name}: {said['error'] or 'nothing was said'}", flush=True)
    write_json(run.artifacts / "mistakes.json", {"mistakes": found, "tracing": refused})
    run.artifact(run.artifacts / "mistakes.json", "measurement")
    words = {f"mistake/{name}/words": float(said["words"]) for name, said in found.items()}
    count = sum(said["raised"] for said in refused.values())
    run.log(1, {**words, "tracing/refused": float(count)})


def _raised(snippet: Snippet) -> dict[str, Any]:
    """What a snippet raises: its kind and message, and how many words that is."""
    try:
        snippet()
    except Exception as error:  # each framework has its own
        text = f"{type(error).__name__}: {error}"
        return {"raised": True, "error": text, "words": len(text.split())}
    return {"raised": False, "error": "", "words": 0}
