"""`make evals`: play the cases against the provider that is set, and say how it did."""

import argparse
import asyncio
import hashlib
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr
from pydantic_evals import Case, Dataset

from backend.config import Settings, load_settings
from backend.evals.case import EvalCase
from backend.evals.cases import all_cases
from backend.evals.judge import Numbers, Rows, Truth
from backend.evals.report import Report, lines, load, played, save, table
from backend.evals.run import Outcome, Stage
from backend.postgres.embedded import start_embedded
from backend.tests.support import better_auth

FOLDER = Path(".evals")


def is_held(case: EvalCase) -> bool:
    """Whether it is of the half that is not looked at while prompt or schemas are changed."""
    return hashlib.sha256(case.name.encode()).digest()[0] % 2 == 1


def chosen(arguments: argparse.Namespace) -> list[EvalCase]:
    """The cases that the arguments name."""
    return [
        each
        for each in all_cases()
        if (arguments.group is None or each.group == arguments.group)
        and (arguments.half is None or is_held(each) == (arguments.half == "held"))
        and (each.offline or not arguments.offline)
    ]


async def evaluate(
    settings: Settings, url: str, cases: list[EvalCase], *, repeat: int = 1, at_once: int = 1
) -> Report:
    """Play each case `repeat` times on the database at `url`, which has Better Auth's tables."""
    limits = dict.fromkeys(
        ("rate_limit_chat", "rate_limit_history", "rate_limit_tasks"), "9999/minute"
    )
    given = settings.model_copy(
        update={"database_url": SecretStr(url), "chat_concurrency": 100, **limits}
    )

    dataset = Dataset[EvalCase, Outcome, None](
        name="to-do assistant",
        cases=[Case(name=each.name, inputs=each) for each in cases],
        evaluators=[Rows(), Truth(), Numbers()],
    )
    async with Stage(given, url).open(cases) as stage:
        return await dataset.evaluate(
            stage.play, name="evals", repeat=repeat, max_concurrency=at_once, progress=False
        )


async def _run(arguments: argparse.Namespace) -> int:
    settings = load_settings()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="todo-evals-"))
        url = stack.enter_context(start_embedded(Path(folder, "postgres"))).url
        await better_auth.execute(url, better_auth.TABLES)
        report = await evaluate(
            settings, url, chosen(arguments), repeat=arguments.repeat, at_once=arguments.at_once
        )
    cases = played(report)
    found = lines(cases)
    for each in cases:
        if not (each.rows and each.truth):
            sys.stdout.write(f"{each.group}, {each.name}: {each.why}\n")
    sys.stdout.write(f"\n{table(found, load(arguments.compare))}\n")
    save(FOLDER, settings.openai_model, cases, found)
    return 0 if all(each.rows and each.truth for each in cases) else 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="backend.evals", description=__doc__)
    parser.add_argument("--group", help="only the cases of this group")
    parser.add_argument("--half", choices=["seen", "held"], help="only one half of the cases")
    parser.add_argument(
        "--offline", action="store_true", help="only what the offline model must do"
    )
    parser.add_argument("--repeat", type=int, default=3, help="how often each case is played")
    parser.add_argument("--at-once", type=int, default=1, help="how many are played at once")
    parser.add_argument(
        "--compare", type=Path, default=FOLDER / "last.json", help="an earlier run's last.json"
    )
    sys.exit(asyncio.run(_run(parser.parse_args())))


if __name__ == "__main__":
    main()
