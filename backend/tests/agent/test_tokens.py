"""Tokens are counted as the model counts them, and windows are known by the model's name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.agent.budgets import budget_of
from backend.agent.context.tokens import at_most, items_at_most, tokenizer_of
from backend.agent.context.truncate import shown
from backend.agent.models.known import UNKNOWN_WINDOW as UNKNOWN
from backend.agent.models.known import window_of as context_window

TEXTS = st.text(max_size=200) | st.builds(str.__mul__, st.text(max_size=5), st.integers(0, 3000))


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("gpt-4o-mini", "hello world", 2),
        ("gpt-4o-mini", "", 0),
        ("gpt-4o-mini", "Füge Milch hinzu", 4),
        ("gpt-4o-mini", "<|endoftext|>", 7),
        ("gpt-4", "hello world", 2),
        ("a-model-nobody-knows", "hello world", 3),
    ],
)
def test_tokens_are_those_of_the_models_vocabulary(model: str, text: str, tokens: int) -> None:
    assert tokenizer_of(model).count(text) == tokens


@given(TEXTS)
def test_a_text_has_no_more_tokens_than_bytes(text: str) -> None:
    for model in ("gpt-4o", "gpt-4"):
        assert tokenizer_of(model).count(text) <= at_most(text)


def test_a_text_of_any_length_is_counted() -> None:
    text = "word " * 500_000
    assert 500_000 <= tokenizer_of("gpt-4o").count(text) <= 500_100


def test_an_item_counts_its_texts_however_deep_and_what_frames_it() -> None:
    message = {"role": "user", "content": "hello world"}
    deep = {"role": "assistant", "content": [{"type": "output_text", "text": "hello world"}]}
    count = tokenizer_of("gpt-4o").count_items
    assert count([message]) == 3 + 1 + 2
    assert count([message, deep]) > 2 * count([message])
    assert count([message, deep]) <= items_at_most([message, deep])


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-4o-mini", 128_000),
        ("gpt-4o-2024-08-06", 128_000),
        ("GPT-4", 8_192),
        ("gpt-4.1-nano", 1_000_000),
        ("gpt-5-mini-2025-08-07", 400_000),
        ("o1-mini-2024-09-12", 128_000),
        ("anthropic/claude-sonnet-4-5", 200_000),
        ("meta-llama/llama-3.1-8b-instruct", 131_072),
        ("qwen2.5:1.5b", 32_768),
        ("offline", 128_000),
        ("somebodys-own", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_models_window_is_that_of_its_family(model: str, window: int) -> None:
    assert context_window(model) == window


@pytest.mark.parametrize("window", [2_000, 8_192, 128_000, 1_047_576])
def test_a_budget_leaves_room_for_the_answer_and_for_what_is_of_now(window: int) -> None:
    budget = budget_of("gpt-4o", window)
    assert window // 2 <= budget.tokens < window
    assert budget.history_at_least <= budget.history < budget.tokens
    assert budget.size([]) + budget.history <= max(budget.tokens, budget.size([]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=40,
)


@given(JSON, st.integers(100, 3000))
def test_a_result_of_any_shape_fits_its_limit_and_is_json(result: object, limit: int) -> None:
    count = tokenizer_of("gpt-4o").count
    text = shown(result, limit, count)
    assert count(text) <= limit
    read = json.loads(text)
    assert read == result or "left out here" in read["note"]


def test_a_list_keeps_its_first_entries_and_says_how_many_are_left_out() -> None:
    tasks = [{"task_id": n, "title": f"Task number {n}"} for n in range(300)]
    result = {"success": True, "tasks": tasks, "count": 300}
    read = json.loads(shown(result, 1000, tokenizer_of("gpt-4o").count))
    kept = len(read["tasks"])
    assert 0 < kept < 300
    assert read["tasks"] == tasks[:kept]
    assert read["note"] == f"{300 - kept} more tasks are left out here."
    assert read["count"] == 300
