"""What is told of a file of tasks."""

from pydantic import BaseModel


class FaultResponse(BaseModel):
    """Why a line cannot be taken; lines count from 1, and of a JSON file the tasks do."""

    line: int
    field: str
    reason: str


class LeftOutResponse(BaseModel):
    """Something that has no place here, how often, and the first lines it stands in."""

    what: str
    count: int
    lines: list[int]


class ImportResponse(BaseModel):
    """What came of a file, or would."""

    form: str
    """Whose file it was taken for."""
    dry_run: bool
    tasks: int
    """Those that were made, or would be."""
    projects: list[str]
    """The names of those that were made for them, or would be."""
    faults: list[FaultResponse]
    """The first 100; where there are any, none of the file is taken."""
    fault_count: int
    left_out: list[LeftOutResponse]
