"""Tells one notice by Apprise, in a process of its own: what it loads is nothing for the app.

On stdin is an object with `url`, `title` and `text`. An address can hold a token: it stands on no
command line, and in nothing that is printed.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import apprise

    told = json.load(sys.stdin)
    way = apprise.Apprise()
    if not way.add(told["url"]):
        sys.exit("apprise knows no service of this address")
    if not way.notify(title=told["title"], body=told["text"] or told["title"]):
        sys.exit("the service did not take it")


if __name__ == "__main__":
    main()
