"""How the tests are shared out among workers; what a test is given is in `support/fixtures.py`."""

import os
from functools import cache
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

CHECKOUT = Path(__file__).parents[2]
PAGE = "backend/tests/page/"


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Who only hands the tests out needs no fixtures, and all would wait until it had them.

    Others import them and with them the service once it is measured what is run.
    """
    if session.config.option.dist == "no":
        session.config.pluginmanager.register(import_module("backend.tests.support.fixtures"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long modules first, so that none of them is what all workers wait for at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: of three workers one waits for something."""
    return ceil((os.process_cpu_count() or 1) * 1.5)


@cache
def waits(scope: str) -> bool:
    """Whether a module is marked so; who hands the tests out does not import them."""
    module = CHECKOUT / scope
    return module.is_file() and "pytest.mark.waits" in module.read_text()


class ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """A module is one worker's, and so is the page, as each worker's browser would take seconds.

    Of those that mostly wait there is one at a time, so that the others have the cores.
    """

    def _split_scope(self, nodeid: str) -> str:
        module: str = super()._split_scope(nodeid)
        return PAGE if module.startswith(PAGE) else module

    def _assign_work_unit(self, node: Any) -> None:
        under_way = any(
            waits(scope) and not all(done.values())
            for assigned in self.assigned_work.values()
            for scope, done in assigned.items()
        )
        fitting = (scope for scope in self.workqueue if waits(scope) is not under_way)
        self.workqueue.move_to_end(next(fitting, next(iter(self.workqueue))), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule:
    return ByModule(config, log)
