"""The five tools as MCP describes them: what goes in, what comes out, and what to expect of each.

They are those of `backend.agent.tools`. A model of ours takes strict schemas, in which all is
required and null is not given; here what need not be given is not required.
"""

from typing import Any

from mcp_types import Tool, ToolAnnotations
from pydantic import BaseModel

from backend.agent.signatures import AddTask, CompleteTask, DeleteTask, ListTasks, UpdateTask
from backend.models import Priority

type Schema = dict[str, Any]


def _input(arguments: type[BaseModel]) -> tuple[str, Schema]:
    """The description and the schema of a tool's arguments."""
    schema = arguments.model_json_schema()
    for name, field in schema["properties"].items():
        field.pop("title", None)
        optional = len(field.get("anyOf", []))
        kinds = [kind for kind in field.pop("anyOf", []) if kind != {"type": "null"}]
        if kinds:
            schema["properties"][name] = (kinds[0] if len(kinds) == 1 else {"anyOf": kinds}) | field
        if len(kinds) < optional:
            schema["required"].remove(name)
    description = schema.pop("description")
    return description, {key: schema[key] for key in ("type", "properties", "required")}


def _text_schema(**more: Any) -> Schema:
    return {"type": "string", **more}


def _or_null(kind: Schema) -> Schema:
    return {"anyOf": [kind, {"type": "null"}]}


_ID: Schema = {"type": "integer"}
_TIME_SCHEMA = _text_schema(format="date-time")
_PRIORITY_SCHEMA = _text_schema(enum=[each.value for each in Priority])
_FIELD_SCHEMAS = {
    "task_id": _ID,
    "title": _text_schema(),
    "description": _text_schema(),
    "due_date": _or_null(_text_schema()),
    "priority": _PRIORITY_SCHEMA,
}
_LISTED = _FIELD_SCHEMAS | {"completed": {"type": "boolean"}, "created_at": _TIME_SCHEMA}


def _object_schema(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": [*properties]}


_FAILED = _object_schema(
    {"success": {"const": False}, "error": _text_schema(), "error_code": _text_schema()}
)


_RESULTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"task_id": _ID, "success": {"type": "boolean"}},
        "required": ["task_id", "success"],
    },
}


def _output(**result: Schema) -> Schema:
    """What a call answers: its result, or a failure with its code."""
    done = _object_schema({"success": {"const": True}, **result, "message": _text_schema()})
    return {"type": "object", "anyOf": [done, _FAILED]}


def _output_of_several(**result: Schema) -> Schema:
    """The same of a call that may be about several tasks.

    Then it is the first one's result, with the results of all and how many succeeded.
    """
    output = _output(**result)
    for each in output["anyOf"]:
        each["properties"] = each["properties"] | {"count": _ID, "results": _RESULTS}
    return output


def _tool(arguments: type[BaseModel], name: str, output: Schema, hints: ToolAnnotations) -> Tool:
    description, schema = _input(arguments)
    return Tool(
        name=name,
        title=hints.title,
        description=description,
        input_schema=schema,
        output_schema=output,
        annotations=hints,
    )


def _hints(
    title: str, *, reads: bool = False, destroys: bool = False, repeats: bool = True
) -> ToolAnnotations:
    return ToolAnnotations(
        title=title,
        read_only_hint=reads,
        destructive_hint=destroys,
        idempotent_hint=repeats,
        open_world_hint=False,
    )


TOOLS = (
    _tool(
        AddTask,
        "add_task",
        _output(**_FIELD_SCHEMAS, status=_text_schema(const="pending")),
        _hints("Add a task", repeats=False),
    ),
    _tool(
        ListTasks,
        "list_tasks",
        _output(tasks={"type": "array", "items": _object_schema(_LISTED)}, count=_ID),
        _hints("List tasks", reads=True),
    ),
    _tool(
        CompleteTask,
        "complete_task",
        _output_of_several(
            task_id=_ID,
            title=_text_schema(),
            status=_text_schema(const="completed"),
            completed_at=_TIME_SCHEMA,
        ),
        _hints("Complete a task"),
    ),
    _tool(
        DeleteTask,
        "delete_task",
        _output_of_several(task_id=_ID, title=_text_schema()),
        _hints("Delete a task", destroys=True),
    ),
    _tool(
        UpdateTask,
        "update_task",
        _output_of_several(**_FIELD_SCHEMAS, updated_at=_TIME_SCHEMA),
        _hints("Change a task", destroys=True),
    ),
)
