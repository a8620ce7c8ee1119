"""Whether what the person said fits the one task that a call is about better than another.

A model that is told "delete the milk task" where two tasks are about milk may take either; which
one is meant only the person knows. So the call is answered with both and changes nothing. It is
done where the model makes it again as it was, since words say less than a model may have read.
"""

import json
import re

from backend.agent.task_arguments import Caller
from backend.errors import ValidationFailed
from backend.tasks.filters import TaskFilter
from backend.tasks.listing import list_tasks
from backend.tasks.stored import StoredTask
from backend.text_search import words_in

_CANDIDATES = 5
"""Tasks that are named as those that fit too."""
_SHORT = 3
"""Letters of a word that is taken for one that says something, at the least."""
_OURS = frozenset(
    {"and", "for", "the", "with", "item", "list", "task", "tasks", "todo", "mark", "set"}
    | {"complete", "completed", "delete", "done", "drop", "finish", "finished", "remove"}
)
"""Words of a request, which say nothing of the task that it is about."""
_WORDS_FOR_SEVERAL = frozenset(
    {"all", "any", "anything", "both", "each", "every", "everything", "except", "first", "last"}
    | {"other", "rest", "second", "them", "these", "third", "those", "two", "three"}
)
"""With one of these more than one task may be meant, or one by its place."""


async def ask_which(caller: Caller, task: StoredTask) -> None:
    """Refuse a call about `task` where another open task fits the person's words as well.

    Raises:
        ValidationFailed: it says which; the model is to ask the person.
    """
    said = words_in(caller.words)
    title = _telling(words_in(task.title))
    shared = said & title
    if task.completed or not shared or title <= said or said & _WORDS_FOR_SEVERAL:
        return
    if re.search(rf"\b{task.id}\b", caller.words):
        return
    wanted = TaskFilter(completed=False, search=" ".join(sorted(shared)))
    page = await list_tasks(caller.session, caller.user_id, wanted, limit=_CANDIDATES)
    fitting = [each for each in page.tasks if shared <= words_in(each.title)]
    if all(each.id == task.id for each in fitting):
        return
    told = json.dumps([[each.id, each.title] for each in fitting], ensure_ascii=False)
    raise ValidationFailed(
        f"Several tasks fit what the person said, as [task_id, title]: {told}. Nothing was "
        "changed. Ask the person which one is meant."
    )


def _telling(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if word not in _OURS and _says_something(word))


def _says_something(word: str) -> bool:
    return len(word) >= _SHORT or not word.isascii()
