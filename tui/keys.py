"""One `Binding` with an id is one command: its key, its footer hint, its line in the help screen
and its entry in the command palette all come from it.

Ids read `place.action`, as `runs.stop`; settings.toml gives them other keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen

PLACES = (
    ("runs", "Runs"),
    ("recipes", "Recipes"),
    ("devices", "Devices"),
    ("privacy", "Privacy"),
    ("models", "Models"),
)
"""Where one can be at any time, with the word for it; runs are opened on top of these."""
ON_TOP = (("sweeps", "Sweeps"), ("versus", "Versus"))
"""What is opened on top of any place, with the word for it."""


def command(
    id: str,
    key: str,
    action: str,
    title: str,
    help: str,
    *,
    show: bool = True,
    priority: bool = False,
) -> Binding:
    """A binding in the order people think of it; `show` is whether the key bar hints at it."""
    return Binding(key, action, title, show, id=id, tooltip=help, priority=priority)


EVERYWHERE: list[BindingType] = [
    command("app.runs", "1", "place('runs')", "Runs", "Go to the runs", show=False),
    command("app.recipes", "2", "place('recipes')", "Recipes", "Go to the recipes", show=False),
    command("app.devices", "3", "place('devices')", "Devices", "Go to the devices", show=False),
    command("app.privacy", "p", "place('privacy')", "Privacy", "Go to the budgets", show=False),
    command("app.models", "T", "place('models')", "Models", "Go to the models", show=False),
    command("app.back", "escape", "step_out", "Back", "Step out of what is on top"),
    command(
        "app.inbox",
        "i",
        "inbox",
        "Inbox",
        "Scripts that wait for a data owner to approve or refuse them",
        show=False,
    ),
    command("app.sweeps", "S", "sweeps", "Sweeps", "Searches over parameters", show=False),
    command(
        "app.versus",
        "ampersand",
        "versus",
        "Versus",
        "Two frameworks by what was measured",
        show=False,
    ),
    command(
        "app.theme",
        "ctrl+t",
        "next_theme",
        "Next theme",
        "Dark, light, or as the terminal",
        show=False,
    ),
    command(
        "app.help",
        "question_mark,f1",
        "help",
        "Help",
        "Every key of this screen, with the id that settings.toml knows it by",
    ),
    command(
        "app.palette", "ctrl+p", "command_palette", "Palette", "Find any command", priority=True
    ),
    command("app.quit", "q", "quit", "Quit", "Leave; runs go on without the screen"),
    command(
        "app.quit-anywhere",
        "ctrl+q",
        "quit",
        "Quit from anywhere",
        "Leave, even out of a text field or a dialog",
        show=False,
        priority=True,
    ),
    Binding(
        "ctrl+c",
        "help_quit",
        show=False,
        system=True,
        id="app.how-to-quit",
        tooltip="Say which key leaves",
    ),
]
"""What works on every screen."""


def _move(id: str, key: str, action: str, help: str) -> Binding:
    """Without a title: in the palette it would only be in the way."""
    return Binding(key, action, show=False, id=id, tooltip=help)


SCREEN_KEYS: list[BindingType] = [
    _move("screen.next", "tab", "app.focus_next", "To the next part or field"),
    _move("screen.previous", "shift+tab", "app.focus_previous", "To the part or field before"),
    _move("screen.copy", "ctrl+c,super+c", "screen.copy_text", "Copy the text that is selected"),
]
"""For every screen instead of Textual's, which have no ids and so could get no other keys. So are
those below; with them goes `inherit_bindings=False`."""

SCROLL_KEYS: list[BindingType] = [
    _move("scroll.up", "up,k", "scroll_up", "Scroll up"),
    _move("scroll.down", "down,j", "scroll_down", "Scroll down"),
    _move("scroll.top", "home,g", "scroll_home", "Scroll to the top"),
    _move("scroll.end", "end,G", "scroll_end", "Scroll to the end"),
    _move("scroll.left", "left", "scroll_left", "Scroll left"),
    _move("scroll.right", "right", "scroll_right", "Scroll right"),
    _move("scroll.page-up", "pageup", "page_up", "Scroll up by a page"),
    _move("scroll.page-down", "pagedown", "page_down", "Scroll down by a page"),
    _move("scroll.page-left", "ctrl+pageup", "page_left", "Scroll left by a page"),
    _move("scroll.page-right", "ctrl+pagedown", "page_right", "Scroll right by a page"),
]
"""For what scrolls."""

LIST_KEYS: list[BindingType] = [
    _move("list.up", "up,k", "cursor_up", "Up in a list"),
    _move("list.down", "down,j", "cursor_down", "Down in a list"),
    _move("list.first", "home,g", "first", "To the first of a list"),
    _move("list.last", "end,G", "last", "To the last of a list"),
    _move("list.page-up", "pageup", "page_up", "Up by a page in a list"),
    _move("list.page-down", "pagedown", "page_down", "Down by a page in a list"),
]
"""For every list, of whatever kind."""


def list_select(action: str) -> Binding:
    """For a list whose items can be taken; `action` is its own word for that."""
    return _move("list.select", "enter", action, "Take what the cursor is on")


def sort_keys(*, show: bool) -> list[BindingType]:
    """For a list that can be sorted; `show` is whether the key bar hints at it."""
    return [
        command("sort.next", "o", "sort_next", "Sort", "Sort by the next column", show=show),
        command(
            "sort.reverse", "O", "sort_reverse", "Reverse", "Sort the other way round", show=False
        ),
    ]


_MOVING = ("screen.", "scroll.", "list.")


@dataclass(frozen=True, slots=True)
class Command:
    """Something a key does on some part of the screen."""

    node: DOMNode
    binding: Binding
    keys: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.binding.id or ""

    @property
    def title(self) -> str:
        return self.binding.description or self.id

    @property
    def help(self) -> str:
        return self.binding.tooltip or self.binding.description


@dataclass(frozen=True, slots=True)
class Group:
    """The commands of one part of the screen."""

    title: str
    commands: tuple[Command, ...]


def groups(screen: Screen[object], keymap: Mapping[str, str]) -> list[Group]:
    """Every command of a screen: its own first, then its parts', then those that move about and
    those that work anywhere.

    A part counts though it has no focus, for help and palette are to show all that can be done.
    What a part names in `absent` does not: ids of commands for what is not on the screen.
    """
    parts: dict[type, DOMNode] = {}
    for node in (*screen.query("*"), screen.focused):
        if node is not None and type(node) not in parts:
            parts[type(node)] = node
    all_groups = [_group(screen, keymap)]
    all_groups += [_group(node, keymap) for node in parts.values()]
    all_groups = [*_moving_apart(_joined(all_groups)), _group(screen.app, keymap, "Everywhere")]
    return [group for group in all_groups if group.commands]


def key_of(app: App[Any], id: str, otherwise: str) -> str:
    """The key of a command as people know it; `otherwise` is what it is unless remapped."""
    key = app._keymap.get(id, otherwise).split(",")[0]
    return app.get_key_display(Binding(key, "")) if key else ""


def _joined(groups: Iterable[Group]) -> list[Group]:
    """With parts of one name told together."""
    by_title: dict[str, tuple[Command, ...]] = {}
    for group in groups:
        by_title[group.title] = by_title.get(group.title, ()) + group.commands
    return [Group(title, commands) for title, commands in by_title.items()]


def _moving_apart(groups: Iterable[Group]) -> list[Group]:
    """With the keys that many parts share told once, at the end."""
    moving: dict[str, Command] = {}
    rest = []
    for group in groups:
        own = []
        for each in group.commands:
            if each.id.startswith(_MOVING):
                moving.setdefault(each.id, each)
            else:
                own.append(each)
        rest.append(Group(group.title, tuple(own)))
    return [*rest, Group("Moving about", tuple(moving.values()))]


def _group(node: DOMNode, keymap: Mapping[str, str], title: str = "") -> Group:
    by_id: dict[str, tuple[Binding, list[str]]] = {}
    absent: Set[str] = getattr(node, "absent", frozenset())
    for key, binding in node._bindings:
        if binding.id is not None and binding.id not in absent:
            by_id.setdefault(binding.id, (binding, []))[1].append(key)
    commands = []
    for binding_id, (binding, own_keys) in by_id.items():
        keys = keymap[binding_id].split(",") if binding_id in keymap else own_keys
        commands.append(Command(node, binding, tuple(keys)))
    # A part without a name is told with what it is a part of.
    named = (each.BINDING_GROUP_TITLE for each in node.ancestors_with_self)
    return Group(title or next(filter(None, named), "Screen"), tuple(commands))


def key_names(command: Command) -> str:
    """The keys as people know them: `ctrl+s`, `?`, `↑`."""
    app = command.node.app
    return " ".join(app.get_key_display(Binding(key, "")) for key in command.keys)


class CommandsProvider(Provider):
    """The command palette's entries: the commands of the screen below it."""

    def _commands(self) -> Iterator[Command]:
        for group in groups(self.screen, self.app._keymap):
            for command in group.commands:
                if command.id == "app.palette":
                    continue
                state = self.app._check_action_state(command.binding.action, command.node)
                if command.binding.description and state is not False:
                    yield command

    async def discover(self) -> Hits:
        for command in self._commands():
            yield DiscoveryHit(_label(command), self._runner(command), command.title, command.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self._commands():
            text = f"{command.title} {command.help}"
            if (score := matcher.match(text)) > 0:
                label = Content.assemble(
                    matcher.highlight(command.title), (f"  {key_names(command)}", "dim")
                )
                yield Hit(score, label, self._runner(command), command.title, command.help)

    def _runner(self, command: Command) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await self.app.run_action(command.binding.action, command.node)

        return run


def _label(command: Command) -> Content:
    return Content.assemble(command.title, (f"  {key_names(command)}", "dim"))
