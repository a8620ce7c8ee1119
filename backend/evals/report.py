"""What a run of the evals has shown: a table, a page, and a file to compare the next run with."""

import html
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_evals.reporting import EvaluationReport

from backend.evals.case import EvalCase
from backend.evals.run import Outcome, as_text

type Report = EvaluationReport[EvalCase, Outcome, None]


class Played(NamedTuple):
    """One case as it was played once; None where it could not be."""

    name: str
    group: str
    rows: bool
    truth: bool
    harm: float
    calls: float
    repeats: float
    raw: float
    tokens: float | None
    why: str
    said: str


class Line(NamedTuple):
    """Some played cases together: how many, shares of right ones, sums of what must not be."""

    name: str
    cases: int
    rows: float
    truth: float
    both: float
    harm: float
    calls: float
    repeats: float
    raw: float
    tokens: float | None


def played(report: Report) -> list[Played]:
    """Every case of a report, those that broke off among them."""
    return [_played(each) for each in report.cases] + [
        Played(each.name, each.inputs.group, False, False, 0, 0, 0, 0, None, each.error_message, "")
        for each in report.failures
    ]


def _played(each: Any) -> Played:
    scores = {name: float(score.value) for name, score in each.scores.items()}
    reasons = [a.reason for a in each.assertions.values() if not a.value and a.reason]
    return Played(
        each.name,
        each.inputs.group,
        each.assertions["Rows"].value,
        each.assertions["Truth"].value,
        scores["harm"],
        scores["calls"],
        scores["repeats"],
        scores["raw"],
        scores.get("tokens"),
        "; ".join(reasons),
        as_text(each.output),
    )


def lines(cases: Sequence[Played]) -> list[Line]:
    """A line for each group, in alphabetical order, and one for all."""
    groups: defaultdict[str, list[Played]] = defaultdict(list)
    for each in cases:
        groups[each.group].append(each)
    return [*(_line(name, groups[name]) for name in sorted(groups)), _line("all", cases)]


def _line(name: str, cases: Sequence[Played]) -> Line:
    def share(values: Iterable[bool]) -> float:
        return sum(values) / len(cases)

    tokens = [each.tokens for each in cases if each.tokens is not None]
    return Line(
        name,
        len(cases),
        share(each.rows for each in cases),
        share(each.truth for each in cases),
        share(each.rows and each.truth for each in cases),
        sum(each.harm for each in cases),
        sum(each.calls for each in cases) / len(cases),
        sum(each.repeats for each in cases),
        sum(each.raw for each in cases),
        sum(tokens) / len(tokens) if tokens else None,
    )


HEAD = ("group", "cases", "rows", "truth", "both", "harm", "calls", "repeats", "raw", "tokens")


def cells(line: Line, before: Line | None = None) -> list[str]:
    """A line's figures as texts; behind the shares, how far they are from those before."""

    def moved(name: str, value: float) -> str:
        was = getattr(before, name, None)
        return f"{value:.0%}" + ("" if was is None else f" ({value - was:+.0%})")

    return [
        line.name,
        str(line.cases),
        *(moved(name, getattr(line, name)) for name in ("rows", "truth", "both")),
        f"{line.harm:.0f}",
        f"{line.calls:.1f}",
        f"{line.repeats:.0f}",
        f"{line.raw:.0f}",
        "" if line.tokens is None else f"{line.tokens:.0f}",
    ]


def table(found: list[Line], before: dict[str, Line]) -> str:
    """The lines as plain text."""
    rows = [list(HEAD), *(cells(line, before.get(line.name)) for line in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def save(folder: Path, model: str, cases: list[Played], found: list[Line]) -> None:
    """Write `report.html`, and `last.json`, which the next run is compared with."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"model": model, "lines": [line._asdict() for line in found]}
    (folder / "last.json").write_text(json.dumps(kept, indent=1))
    (folder / "report.html").write_text(_page(model, cases, found))


def load(file: Path) -> dict[str, Line]:
    """The lines of an earlier run by their names; none where there is no such file."""
    if not file.exists():
        return {}
    return {line["name"]: Line(**line) for line in json.loads(file.read_text())["lines"]}


def _page(model: str, cases: list[Played], found: list[Line]) -> str:
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(line)) + "</tr>"
        for line in found
    )
    wrong = "".join(
        f"<details><summary>{html.escape(each.name)}: {html.escape(each.why)}</summary>"
        f"<pre>{html.escape(each.said)}</pre></details>"
        for each in cases
        if not (each.rows and each.truth)
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Evals</title>"
        "<style>body{font:15px system-ui;margin:2rem}td,th{padding:.2rem .7rem;text-align:left}"
        f"</style><h1>Evals of {html.escape(model)}</h1><table><tr>{head}</tr>{body}</table>{wrong}"
    )
