"""Scripts that wait for a data owner: read them, see what changed, approve or refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from traindeck.core.base.sanitize import plain
from traindeck.core.federation.inbox import APPROVE, REFUSE, ScriptRequest, decide
from traindeck.core.federation.script import Script, read_script
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS, command, key_of
from traindeck.tui.widgets.code_view import CodeView, Line, diff_lines, plain_lines, python_lines
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.row_table import RowColumn, RowTable
from traindeck.tui.widgets.rows import Row, rows, shorten
from traindeck.tui.widgets.run_columns import age
from traindeck.tui.widgets.tab_bar import Tab, TabBar
from traindeck.tui.widgets.top_bar import TopBar

NOTHING = (
    "No script waits for a hand.\n\nScripts that were agreed on beforehand are approved by their"
    " SHA-256; others come here, from the federated runs that go on."
)
VIEWS = ("script", "difference", "parameters")


@dataclass(frozen=True, slots=True)
class _Read:
    """A script with its lines as they are shown; or why it cannot be read."""

    script: Script | None = None
    lines: tuple[Line, ...] = field(default=(), repr=False)
    problem: str = ""


def _read(request: ScriptRequest) -> _Read:
    """On a thread: a script of a million characters takes a while."""
    try:
        script = read_script(request)
    except OSError as error:
        return _Read(problem=f"it cannot be read: {plain(str(error.strerror or error))}")
    return _Read(script, tuple(python_lines(script.text)))


class InboxScreen(Screen[None], inherit_bindings=False):
    """What waits in all runs that go on; the one under the cursor is shown whole."""

    CSS_PATH = "inbox.tcss"
    AUTO_FOCUS = "#inbox-requests"
    BINDING_GROUP_TITLE = "Inbox"
    BINDINGS: ClassVar[list[BindingType]] = [
        command("inbox.approve", "A", "approve", "Approve", "Let the owner run it (asks first)"),
        command("inbox.refuse", "R", "refuse", "Refuse", "Refuse it; asks for the reason"),
        *(
            command(
                f"inbox.{view}",
                key,
                f"view('{view}')",
                view.capitalize(),
                f"Show {said}",
                show=False,
            )
            for key, view, said in zip(
                "456",
                VIEWS,
                ("the script", "what differs from the agreed script", "the script's parameters"),
                strict=True,
            )
        ),
        Binding(
            "enter",
            "read_on",
            "Read",
            id="inbox.read",
            tooltip="Go to the text, or back to the list",
        ),
        Binding(
            "f5", "anew", "Read anew", id="inbox.anew", tooltip="Read it again: it may be another"
        ),
        Binding("y", "copy", "Copy hash", id="inbox.copy", tooltip="Copy the script's SHA-256"),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)
    code = getters.query_one(CodeView)

    def __init__(self) -> None:
        super().__init__(name="inbox")
        self._read = _Read()
        self._of: ScriptRequest | None = None
        self._view = VIEWS[0]
        self._seen = 0

    def compose(self) -> ComposeResult:
        yield TopBar("inbox")
        yield Static(NOTHING, id="inbox-none", markup=False)
        with Vertical(id="inbox-body"):
            yield RowTable(self._columns(), _key, id="inbox-requests")
            yield Static(id="inbox-facts")
            yield TabBar()
            yield CodeView(id="inbox-code")
        yield KeyBar()

    def _columns(self) -> tuple[RowColumn, ...]:
        def name(request: ScriptRequest) -> str:
            snapshot = self.app.snapshot
            doc = snapshot.by_id.get(request.run) if snapshot else None
            return plain(doc["name"]) if doc else request.run

        def asked(request: ScriptRequest, width: int) -> list[tuple[str, str]]:
            return [("—" if request.at is None else age(self.app.clock() - request.at), "dim")]

        def since(request: ScriptRequest) -> float | None:
            return None if request.at is None else -request.at

        return (
            RowColumn("owner", "Owner", 10, 0, lambda r, _: [(plain(r.owner), "")], 1, 24),
            RowColumn("script", "Script", 18, 0, lambda r, _: [(plain(r.script), "")], 2, 40),
            RowColumn("job", "Job", 10, 2, lambda r, _: [(plain(r.job), "dim")], 1, 24),
            RowColumn("run", "Run", 12, 1, lambda r, _: [(name(r), "")], 1, 30),
            RowColumn("age", "Age", 4, 0, asked, right=True, sorts=since),
        )

    @property
    def table(self) -> RowTable:
        return self.query_one("#inbox-requests", RowTable)

    @property
    def current(self) -> ScriptRequest | None:
        """The request under the cursor."""
        current: ScriptRequest | None = self.table.current
        return current

    @property
    def _seen_now(self) -> int:
        """Lines of the script that have been on the screen since it was last turned to."""
        return self.code.seen if self._view == "script" else 0

    def on_mount(self) -> None:
        self.watch(self.app, "waiting", self._take)
        self.set_interval(1.0, self.table.refresh)

    def _take(self, waiting: tuple[ScriptRequest, ...]) -> None:
        self.query_one("#inbox-none").display = not waiting
        self.query_one("#inbox-body").display = bool(waiting)
        self.table.styles.height = len(waiting) + 1
        self.table.show(waiting)
        if waiting and self.focused is None:
            self.table.focus()
        self._follow()

    @on(RowTable.Moved)
    def _follow(self) -> None:
        """Read what is under the cursor, unless that is shown already."""
        now = self.current
        if now is None:
            self._of, self._read = None, _Read()
            self.refresh_bindings()
        elif self._of is None or _key(now) != _key(self._of):
            self._load(now)
        else:
            self._show_facts()  # it may have changed since: whoever reads it must be told

    def _load(self, request: ScriptRequest) -> None:
        self._of, self._read = request, _Read(problem="reading…")
        self._view, self._seen = VIEWS[0], 0
        self._show()

        def took(read: _Read) -> None:
            if self._of is request and self.is_attached:
                self._read = read
                self._show()

        self.app.in_background("The script cannot be shown", partial(_read, request), took)

    # Showing

    def _show(self) -> None:
        script = self._read.script
        tabs = [
            Tab(view, view.capitalize(), key_of(self.app, f"inbox.{view}", key))
            for view, key in zip(VIEWS, "456", strict=True)
        ]
        self.query_one(TabBar).show(tabs, self._view)
        if script is None:
            self.code.show(plain_lines([self._read.problem]), numbered=False)
        elif self._view == "script":
            self.code.show(self._read.lines)
        elif self._view == "parameters":
            self.code.show(plain_lines(script.params.split("\n")), numbered=False)
        else:
            lines = diff_lines(script.diff) if script.diff else plain_lines([_agreed(script)])
            self.code.show(lines, numbered=False)
        self._show_facts()
        self.refresh_bindings()

    def on_resize(self) -> None:
        self._show_facts()

    def _show_facts(self) -> None:
        request, script, width = self._of, self._read.script, self.app.size.width - 2
        if request is None or width <= 0:
            return
        lines: list[Content] = []
        now = self.current
        if script and now and _key(now) == _key(request) and now.stamps != script.request.stamps:
            key = key_of(self.app, "inbox.anew", "r")
            lines.append(
                Content.styled(
                    f"✗ it changed since it was shown: {key} reads it anew", "bold $text-error"
                )
            )
        if script:
            lines += [Content.styled(f"✗ {each}", "$text-error") for each in script.warnings]
        asked = "" if request.at is None else f", {age(self.app.clock() - request.at)} ago"
        pairs: list[Row] = [
            ("asks", f"{plain(request.submitted_by) or 'nobody told who'}{asked}"),
            ("owner", f"{plain(request.owner)}, job {plain(request.job)}"),
        ]
        if request.price:
            pairs += [("costs", request.price.cost), ("budget", request.price.paid or "none")]
        if script:
            pairs.append(("SHA-256", f"{script.sha256} (parameters: {script.params_sha256[:12]}…)"))
            pairs.append(("agreed", _agreed(script)))
            short = " ".join(script.params.split()) or "none"
            pairs.append(("parameters", shorten(short, max(10, width - 14))))
        lines.append(rows(pairs, width))
        self.query_one("#inbox-facts", Static).update(Content("\n").join(lines))

    def action_view(self, view: str) -> None:
        if self._view != view:
            self._seen = max(self._seen, self._seen_now)
            self._view = view
            self._show()

    @on(TabBar.Chosen)
    def _tab_clicked(self, event: TabBar.Chosen) -> None:
        self.action_view(event.tab)

    def action_read_on(self) -> None:
        (self.table if self.code.has_focus else self.code).focus()

    def action_anew(self) -> None:
        if self.current is not None:
            self._load(self.current)

    def action_copy(self) -> None:
        if self._read.script is not None:
            self.app.copy(self._read.script.sha256, "SHA-256")

    # Deciding

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "approve":
            return self._read.script is not None
        if action in ("refuse", "view", "read_on", "anew"):
            return self._of is not None
        return self._read.script is not None if action == "copy" else True

    def action_approve(self) -> None:
        from traindeck.tui.screens.dialogs import ConfirmDialog

        script = self._read.script
        if script is None:
            return
        request = script.request
        detail = [
            f"SHA-256 {script.sha256}, of the parameters {script.params_sha256}",
            f"{plain(request.owner)} then runs it on its private data, in every round and without"
            " asking again.",
            *([f"That costs {request.price.cost}."] if request.price else []),
            *(f"Mind: {each}." for each in script.warnings),
        ]
        unseen = len(self._read.lines) - max(self._seen, self._seen_now)
        if unseen > 0:
            lines = "line has" if unseen == 1 else f"{unseen:,} lines have"
            detail.append(f"Its last {lines} not been on the screen yet.")

        def answered(yes: bool | None) -> None:
            if yes:
                self._decide(script, APPROVE)

        question = f"Approve {plain(request.script, 60)} for {plain(request.owner, 40)}?"
        self.app.push_screen(ConfirmDialog(question, "\n".join(detail), "Approve"), answered)

    def action_refuse(self) -> None:
        from traindeck.tui.screens.dialogs import PromptDialog

        request, script = self._of, self._read.script
        if request is None:
            return

        def answered(reason: str | None) -> None:
            if reason is not None and reason.strip():
                self._decide(script or request, REFUSE, reason.strip())

        dialog = PromptDialog(
            f"Why does {plain(request.owner, 40)} refuse {plain(request.script, 60)}?",
            hint="the scientist reads it",
            check=lambda text: None if text.strip() else "a refusal needs its reason",
        )
        self.app.push_screen(dialog, answered)

    def _decide(self, of: Script | ScriptRequest, decision: str, reason: str = "") -> None:
        request = of.request if isinstance(of, Script) else of
        done = "approved" if decision == APPROVE else "refused"

        def decided(_: object) -> None:
            self.app.inbox.look_now()
            named = f"{plain(request.script)} {done} for {plain(request.owner)}"
            self.app.notify(named, markup=False)

        self.app.in_background(
            f"Not {done}",
            partial(
                decide,
                request,
                decision,
                sha256=of.sha256,
                params_sha256=of.params_sha256 if isinstance(of, Script) else None,
                reason=reason,
            ),
            decided,
        )


def _key(request: ScriptRequest) -> str:
    return "/".join((request.run, request.owner, request.job))


def _agreed(script: Script) -> str:
    """How the script stands to the agreed one."""
    if script.diff is None:
        return plain(script.note)
    if not script.diff:
        return "the same as the script that was agreed on"
    added = sum(line.startswith("+") for line in script.diff[2:])
    removed = sum(line.startswith("-") for line in script.diff[2:])
    return f"differs by +{added} −{removed} lines from {plain(script.request.agreed or '')}"
