"""Imports go down only, and importing does nothing: the shape of `backend/`, parsed."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[1]
CHECKOUT = BACKEND.parent

RANKS = {
    "provider_settings": 0,
    "limit_settings": 0,
    "sign_in_settings": 0.25,
    "errors": 0,
    "logs": 0,
    "search": 0,
    "models": 0.25,
    "embedded": 0,
    "config": 0.5,
    "envelope": 0.5,
    "migrations": 0.5,
    "refusals": 0.5,
    "recurrence": 1,
    "schemas": 1,
    "conversation_schemas": 1.5,
    "database": 1,
    "middleware": 1,
    "protocol": 1.5,
    "openapi": 1,
    "counters": 1,
    "rate_limiter": 1.5,
    "identity": 1.5,
    "services": 2,
    "auth": 2,
    "agent": 3,
    "agent.chat_agent": 4,
    "leases": 3,
    "afterwork": 4,
    "turn": 4.5,
    "routes": 5,
    "main": 6,
    "demo": 6,
    "__main__": 7,
    "tests": 8,
    "bench": 9,
    "faults": 9,
}
"""A module imports from lower ranks; a part of a package from its other parts of that rank too.

A package stands for its modules, save those named themselves.
"""

MODULES = {
    ".".join(path.relative_to(BACKEND).with_suffix("").parts): path
    for path in sorted(BACKEND.rglob("*.py"))
    if path.name != "__init__.py" and "tests" not in path.parts
}


def rank(module: str) -> float:
    """The rank of the longest name in the table that `module` is or lies in."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    found = next((name for name in names if name in RANKS), None)
    assert found, f"backend.{module} has no rank in the table above"
    return RANKS[found]


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


def _from_imports(node: ast.ImportFrom) -> Iterator[str]:
    package, _, module = (node.module or "").partition(".")
    if package != "backend":
        return
    for alias in node.names:
        inner = f"{module}.{alias.name}".lstrip(".")
        file = BACKEND.joinpath(*inner.split("."))
        is_module = file.is_dir() or file.with_suffix(".py").exists()
        yield inner if is_module else module


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    package, _, inside = module.partition(".")
    for imported in imports(MODULES[module]):
        same_package = inside and imported.startswith(f"{package}.")
        assert rank(imported) < rank(module) or (same_package and rank(imported) == rank(module)), (
            f"backend.{module} imports backend.{imported}, which is not below it"
        )


def test_no_imports_go_in_a_circle() -> None:
    graph = {module: set(imports(path)) - {module} for module, path in MODULES.items()}

    assert list(TopologicalSorter(graph).static_order())


def test_every_rank_is_of_something_that_is_there() -> None:
    for name in RANKS:
        place = BACKEND.joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").exists(), f"{name} is gone"


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_longer_than_300_lines(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 300


def names(path: Path) -> Iterator[str]:
    """Every name, attribute and imported name in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name


@pytest.mark.parametrize("module", [name for name in MODULES if rank(name) < RANKS["tests"]])
def test_only_config_reads_the_environment(module: str) -> None:
    assert not {"environ", "environb", "getenv", "dotenv"} & set(names(MODULES[module]))


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "requirements-redis"])
def test_packages_are_pinned_and_hashed_and_no_address_is_named(name: str) -> None:
    wanted = re.findall(r"^[a-z][a-z0-9-]*", Path(CHECKOUT, f"{name}.in").read_text(), re.MULTILINE)
    text = Path(CHECKOUT, f"{name}.txt").read_text()
    entries = re.findall(r"^([^#\s=]+)", text, re.MULTILINE)
    hashed = re.findall(r"^([a-z0-9-]+)==.+\n    --hash=sha256:", text, re.MULTILINE)

    assert set(wanted) <= set(entries)
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
