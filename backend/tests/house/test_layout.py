"""Imports go down only, and importing does nothing: the shape of `backend/`, parsed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[2]
CHECKOUT = BACKEND.parent

FLOORS = (
    (
        "config",
        "settings",
        "models",
        "run_models",
        "personal",
        "errors",
        "chat_errors",
        "text_search",
        "time_zones",
        "columns",
        "visible",
        "telemetry",
        "fair_turns",
        "tls",
        "cursors",
        "version",
    ),
    ("database", "postgres", "schemas"),
    ("auth", "identity", "rate_limiter", "limits", "web"),
    ("conversations", "tasks"),
    ("journal",),
    ("agent",),
    ("turns", "upkeep"),
    ("routes", "mcp", "page"),
    ("main", "gauges", "demo", "erase", "__main__"),
    ("tests", "bench", "evals", "examples", "faults"),
)
"""From the ground up. A module imports from the floors below, and from its own without a circle."""

ROOMS = [room for room in BACKEND.iterdir() if room.is_dir() and room.name != "tests"]
MODULES = {
    ".".join(path.relative_to(BACKEND).with_suffix("").parts): path
    for path in sorted(chain(BACKEND.glob("*.py"), *(room.rglob("*.py") for room in ROOMS)))
    if path.name != "__init__.py"
}


def floor(module: str) -> int:
    """The floor, from 0, on which `module` lies."""
    room = module.partition(".")[0]
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"backend.{module} is on no floor of the list above"
    return found[0]


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it, without the `backend.`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("backend.")
                for alias in node.names
                if alias.name.startswith("backend.")
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield from _from_imports(node)


def packages(path: Path) -> Iterator[str]:
    """The modules that a file imports, ours and others'."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _from_imports(node: ast.ImportFrom) -> Iterator[str]:
    package, _, module = (node.module or "").partition(".")
    if package != "backend":
        return
    for alias in node.names:
        inner = f"{module}.{alias.name}".lstrip(".")
        file = BACKEND.joinpath(*inner.split("."))
        is_module = file.is_dir() or file.with_suffix(".py").exists()
        yield inner if is_module else module


@cache
def all_imports() -> dict[str, set[str]]:
    """What each module of ours imports of ours."""
    return {module: set(imports(path)) - {module} for module, path in MODULES.items()}


def test_imports_go_down_only() -> None:
    upwards = [
        f"backend.{module} imports backend.{imported}, which is above it"
        for module, all_imported in all_imports().items()
        for imported in all_imported
        if floor(imported) > floor(module)
    ]
    assert not upwards


def test_no_imports_go_in_a_circle() -> None:
    assert list(TopologicalSorter(all_imports()).static_order())


def room(module: str) -> str:
    """The folder of a module, be it in another's; a file beside the rooms is one by itself."""
    folder, _, _ = module.rpartition(".")
    return folder or module


def test_rooms_are_a_staircase() -> None:
    stairs: dict[str, set[str]] = {}
    for module, all_imported in all_imports().items():
        if floor(module) < floor("tests"):
            below = {room(each) if each in MODULES else each for each in all_imported}
            stairs.setdefault(room(module), set()).update(below - {room(module)})

    assert list(TopologicalSorter(stairs).static_order())


WEB = ("fastapi", "starlette", "slowapi")
HEART = [module for module in MODULES if floor("conversations") <= floor(module) <= floor("turns")]


def test_rules_journal_agent_and_turns_know_no_way_in() -> None:
    ours = {
        name for module in HEART for name in all_imports()[module] if name.startswith("schemas.")
    }
    others = {name.partition(".")[0] for module in HEART for name in packages(MODULES[module])}

    assert ours <= {"schemas.fields"}
    assert not others & set(WEB)


def test_every_room_is_there() -> None:
    for room in chain.from_iterable(FLOORS):
        place = BACKEND / room
        assert place.is_dir() or place.with_suffix(".py").exists(), f"{room} is gone"


def test_no_module_is_longer_than_300_lines() -> None:
    lines = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}

    assert not [module for module, count in lines.items() if count > 300]


def names(path: Path) -> Iterator[str]:
    """Every name, attribute and imported name in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name


def test_only_config_reads_the_environment() -> None:
    readers = {"environ", "environb", "getenv", "dotenv"}
    others = [module for module in MODULES if floor(module) < floor("tests") and module != "config"]

    assert not [module for module in others if readers & set(names(MODULES[module]))]


SHARED_AT_MOST = 2
"""Modules in which a private name may stand: it is searched for."""


def private_names(path: Path) -> Iterator[str]:
    """What a module has for itself, at its top."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_a_private_name_is_no_common_word() -> None:
    service = [module for module in MODULES if floor(module) < floor("tests")]
    found = Counter(
        name
        for module in service
        if ".versions." not in module
        for name in set(private_names(MODULES[module]))
        if name.startswith("_") and name != "_"
    )

    assert not [name for name, count in found.items() if count > SHARED_AT_MOST]


PYPROJECT = tomllib.loads(Path(CHECKOUT, "pyproject.toml").read_text())
WANTED = {
    "requirements": PYPROJECT["project"]["dependencies"],
    "requirements-dev": PYPROJECT["dependency-groups"]["dev"],
} | {
    f"requirements-{extra}": packages
    for extra, packages in PYPROJECT["project"]["optional-dependencies"].items()
}


@pytest.mark.parametrize("name", WANTED)
def test_packages_are_pinned_and_hashed_and_no_address_is_named(name: str) -> None:
    text = Path(CHECKOUT, f"{name}.txt").read_text()
    entries = re.findall(r"^([^#\s=]+)", text, re.MULTILINE)
    hashed = re.findall(r"^([a-z0-9-]+)==.+\n    --hash=sha256:", text, re.MULTILINE)

    assert {re.split(r"[^\w-]", package)[0] for package in WANTED[name]} <= set(entries)
    assert entries == hashed
    assert not re.search(r"://|^-| @ ", text, re.MULTILINE)


NOTHING_AT_IMPORT = """
import gc
import threading
import backend.main
from sqlalchemy import Engine
assert not [each for each in gc.get_objects() if issubclass(type(each), Engine)], "an engine"
assert threading.active_count() == 1, "a thread"
assert "app" not in vars(backend.main), "an app"
"""


@pytest.mark.e2e
def test_importing_the_app_reads_no_setting_and_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=impossible\n")
    impossible = {"DATABASE_URL": "mysql://nowhere", "PORT": "impossible", "HISTORY_LIMIT": "x"}

    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-c", NOTHING_AT_IMPORT],
        env=impossible | {"PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
