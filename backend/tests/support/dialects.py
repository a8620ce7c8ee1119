"""Twelve servers that speak a format of OpenAI's, each in its own way.

What they send, refuse and say is put together from their public documentation and from bug
reports; none of it was seen with a real key. A `refuses` is what such a server objects to in
a request, and makes the tests' one as strict as the real one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from backend.tests.support.provider_wire import Raw, Request

type Body = dict[str, Any]
type Refuses = Callable[[Request], str | None]
type Says = Callable[[str], Body]


@dataclass(frozen=True)
class Refusal:
    """A failure in the server's own words, and our reason for it."""

    status: int
    body: Any
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def raw(self) -> Raw:
        return Raw(json.dumps(self.body).encode(), self.status, headers=self.headers)


@dataclass(frozen=True)
class Dialect:
    """A server, by what it answers."""

    model: str
    tool: Body
    """It calls `add_task` for milk."""
    says: Says
    thinks: Says
    """An answer with its thoughts."""
    counted: tuple[int, int, int]
    """Tokens in, cached ones of them, and out, as its `tool` says them."""
    failures: tuple[Refusal, ...]
    """In its own words: one of its own, too long, rate limited."""
    refuses: Refuses = lambda _: None
    entry: Body = field(default_factory=dict)
    """Settings that it needs."""

    def refusal(self, request: Request) -> Raw | None:
        """The answer to a request that it does not take."""
        words = self.refuses(request)
        return Refusal(400, {"error": {"message": words}}, "refused").raw if words else None


def _chat(message: Body, usage: Any, reason: Any = "stop", **more: Any) -> Body:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage, **more}


def _call(call_id: str, **more: Any) -> Body:
    function = {"name": "add_task", "arguments": '{"title": "Buy milk"}'}
    return {"id": call_id, "type": "function", "function": function, **more}


def _usage(**more: Any) -> Body:
    return {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **more}


def _plain(usage: Any) -> Says:
    return lambda text: _chat({"content": text}, usage)


def _error(message: str, **more: Any) -> Body:
    return {"error": {"message": message, "param": None, **more}}


def _assistants(request: Request) -> Iterator[Body]:
    return (item for item in request.items if item.get("role") == "assistant")


def _without_reasoning(words: str) -> Refuses:
    def refuse(request: Request) -> str | None:
        calling = [item for item in _assistants(request) if item.get("tool_calls")]
        return None if all(item.get("reasoning_content") for item in calling) else words

    return refuse


def _own(name: str, words: str) -> Refuses:
    """Refuses a member of an assistant's message."""
    return lambda request: words if any(name in each for each in _assistants(request)) else None


def _mistral(request: Request) -> str | None:
    for name in ("parallel_tool_calls", "stream_options", "reasoning_effort", "store"):
        if name in request.body:
            return f"Extra inputs are not permitted: {name}"
    before = None
    for item in request.items:
        for call in item.get("tool_calls") or ():
            if not (len(call["id"]) == 9 and call["id"].isalnum()):
                return (
                    f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
                )
        if (before, item["role"]) == ("tool", "user"):
            return "Unexpected role 'user' after role 'tool'"
        before = item["role"]
    return None


def _gemini(request: Request) -> str | None:
    asked = max(at for at, item in enumerate(request.items) if item["role"] == "user")
    for item in request.items[asked:]:
        for call in item.get("tool_calls") or ():
            if not call.get("extra_content", {}).get("google", {}).get("thought_signature"):
                return "Function call is missing a thought_signature in functionCall parts."
    return None


def _gemma(request: Request) -> str | None:
    roles = [item["role"] for item in request.body["messages"]]
    if "system" in roles:
        return "System role not supported"
    said = [item for item in request.body["messages"] if not item.get("tool_calls")]
    spoken = [item["role"] for item in said if item["role"] != "tool"]
    if any(one == other for one, other in pairwise(spoken)):
        return "Conversation roles must alternate user/assistant/user/assistant/..."
    return None


def _openai(request: Request) -> str | None:
    if request.body.get("reasoning") != {"effort": "minimal"}:
        return "answers too slowly"
    items = request.items
    for at, item in enumerate(items):
        if str(item.get("id", "")).startswith("fc_") and items[at - 1].get("type") != "reasoning":
            return (
                "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning'"
            )
    return None


_RESPONSES_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 12},
    "total_tokens": 120,
}
_THOUGHT: Body = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}


def _response(*output: Body) -> Body:
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": list(output),
        "usage": _RESPONSES_USAGE,
    }


def _message(text: str) -> Body:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"} | {
        "content": [part]
    }


_OPENAI = Dialect(
    model="gpt-5-mini",
    entry={"api": "responses"},
    tool=_response(
        _THOUGHT,
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed"}
        | {"name": "add_task", "arguments": '{"title":"Buy milk"}'},
    ),
    says=lambda text: _response(_message(text)),
    thinks=lambda text: _response(_THOUGHT, _message(text)),
    counted=(100, 64, 20),
    refuses=_openai,
    failures=(
        Refusal(
            401,
            _error(
                "Incorrect API key provided.", type="invalid_request_error", code="invalid_api_key"
            ),
            "refused",
        ),
        Refusal(
            400,
            _error(
                "Your input exceeds the context window of this model.",
                type="invalid_request_error",
                code="context_length_exceeded",
            ),
            "context_too_long",
        ),
        Refusal(
            429,
            _error("Rate limit reached for gpt-5-mini.", type="tokens", code="rate_limit_exceeded"),
            "rate_limited",
            {"retry-after": "17"},
        ),
        Refusal(
            429, _error("You exceeded your current quota.", code="insufficient_quota"), "refused"
        ),
    ),
)
_FILTERS = {"hate": {"filtered": False, "severity": "safe"}}
_AZURE = Dialect(
    model="our-deployment",
    tool=_chat(
        {"content": None, "refusal": None, "annotations": [], "tool_calls": [_call("call_1")]},
        _usage(prompt_tokens_details={"cached_tokens": 64, "audio_tokens": 0}),
        "tool_calls",
        prompt_filter_results=[{"prompt_index": 0, "content_filter_results": _FILTERS}],
    ),
    says=_plain(_usage()),
    thinks=_plain(_usage(completion_tokens_details={"reasoning_tokens": 12})),
    counted=(100, 64, 20),
    failures=(
        Refusal(
            400,
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering a policy.",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            "refused",
        ),
        Refusal(404, {"error": {"code": "DeploymentNotFound", "message": "It is not."}}, "refused"),
        Refusal(400, _error("...", code="context_length_exceeded"), "context_too_long"),
        Refusal(
            429,
            {"error": {"code": "429", "message": "Please retry after 20 seconds."}},
            "rate_limited",
            {"retry-after": "20"},
        ),
    ),
)
_ANTHROPIC = Dialect(
    model="claude-sonnet-4-5",
    tool=_chat(
        {"content": "I'll add that.", "tool_calls": [_call("toolu_01A09q90qw90lq917835lq9")]},
        _usage(prompt_tokens_details=None, completion_tokens_details=None),
        "tool_calls",
        service_tier=None,
        system_fingerprint=None,
    ),
    says=_plain(_usage()),
    thinks=_plain(_usage()),
    counted=(100, 0, 20),
    failures=(
        Refusal(
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "unavailable",
        ),
        Refusal(
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 208310 tokens > 200000 maximum",
                },
            },
            "context_too_long",
        ),
        Refusal(
            429,
            {"type": "error", "error": {"type": "rate_limit_error", "message": "..."}},
            "rate_limited",
            {"retry-after": "30"},
        ),
    ),
)
_MISTRAL = Dialect(
    model="magistral-small-latest",
    tool=_chat(
        {"content": "", "tool_calls": [_call("D681PevKs") | {"index": 0}]},
        _usage(prompt_audio_seconds={}),
        "tool_calls",
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat(
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True},
                {"type": "text", "text": text},
            ]
        },
        _usage(),
    ),
    counted=(100, 0, 20),
    refuses=_mistral,
    failures=(
        Refusal(401, {"detail": "Unauthorized"}, "refused"),
        Refusal(
            400,
            {
                "object": "error",
                "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model",
                "type": "invalid_request_prompt",
                "code": "3051",
            },
            "context_too_long",
        ),
        Refusal(
            429,
            {
                "object": "error",
                "message": "Service tier capacity exceeded for this model.",
                "type": "service_tier_capacity_exceeded",
                "code": "3505",
            },
            "rate_limited",
        ),
    ),
)
_GEMINI = Dialect(
    model="gemini-3-flash-preview",
    tool=_chat(
        {
            "tool_calls": [
                _call(
                    "function-call-1234567890123456789",
                    extra_content={"google": {"thought_signature": "c2lnbmF0dXJl"}},
                )
            ]
        },
        _usage(),
        "tool_calls",
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": f"<thought>Hm.</thought>{text}"}, _usage()),
    counted=(100, 0, 20),
    refuses=_gemini,
    failures=(
        Refusal(
            503,
            [
                {
                    "error": {
                        "code": 503,
                        "message": "The model is overloaded.",
                        "status": "UNAVAILABLE",
                    }
                }
            ],
            "unavailable",
        ),
        Refusal(
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "The input token count (1200000) exceeds the maximum number of"
                        " tokens allowed (1048576).",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            "context_too_long",
        ),
        Refusal(
            429,
            [{"error": {"code": 429, "message": "...", "status": "RESOURCE_EXHAUSTED"}}],
            "rate_limited",
        ),
    ),
)
_DEEPSEEK = Dialect(
    model="deepseek-v4-pro",
    tool=_chat(
        {"content": "", "reasoning_content": "They want milk.", "tool_calls": [_call("call_00_a")]},
        _usage(prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36),
        "tool_calls",
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": text, "reasoning_content": "Hm."}, _usage()),
    counted=(100, 64, 20),
    refuses=_without_reasoning(
        "The `reasoning_content` in the thinking mode must be passed back to the API."
    ),
    failures=(
        Refusal(
            402,
            _error("Insufficient Balance", type="unknown_error", code="invalid_request_error"),
            "refused",
        ),
        Refusal(
            200, _chat({"content": ""}, _usage(), "insufficient_system_resource"), "unavailable"
        ),
        Refusal(
            400,
            _error("This model's maximum context length is 131072 tokens. You requested more."),
            "context_too_long",
        ),
        Refusal(429, _error("Rate limit reached", type="rate_limit_reached_error"), "rate_limited"),
    ),
)
_KIMI = Dialect(
    model="kimi-k2-thinking",
    tool=_chat(
        {
            "content": "",
            "reasoning_content": "They want milk.",
            "tool_calls": [_call("functions.add_task:0") | {"index": 0}],
        },
        _usage(cached_tokens=64),
        "tool_calls",
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": text, "reasoning_content": "Hm."}, _usage()),
    counted=(100, 64, 20),
    refuses=_without_reasoning(
        "thinking is enabled but reasoning_content is missing in assistant tool call message"
    ),
    failures=(
        Refusal(
            429,
            _error("Your account is suspended.", type="exceeded_current_quota_error"),
            "refused",
        ),
        Refusal(
            400,
            _error(
                "Invalid request: Your request exceeded model token limit: 262144",
                type="invalid_request_error",
            ),
            "context_too_long",
        ),
        Refusal(429, _error("Try later.", type="engine_overloaded_error"), "rate_limited"),
    ),
)
_GROQ = Dialect(
    model="openai/gpt-oss-120b",
    tool=_chat(
        {"reasoning": "They want milk.", "tool_calls": [_call("fc_1234")]},
        _usage(queue_time=0.05, prompt_time=0.01, total_time=0.2),
        "tool_calls",
        x_groq={"id": "req_1"},
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": text, "reasoning": "Hm."}, _usage()),
    counted=(100, 0, 20),
    refuses=_own("reasoning", "'messages.2' : property 'reasoning' is unsupported"),
    failures=(
        Refusal(
            400,
            _error(
                "Failed to call a function. Please adjust your prompt.",
                type="invalid_request_error",
                code="tool_use_failed",
                failed_generation="<function=add_task",
            ),
            "bad_answer",
        ),
        Refusal(
            498, _error("Flex tier capacity exceeded", code="capacity_exceeded"), "unavailable"
        ),
        Refusal(
            400,
            _error("Please reduce the length of the messages or completion.", param="messages"),
            "context_too_long",
        ),
        Refusal(
            429,
            _error("Rate limit reached for model", type="tokens", code="rate_limit_exceeded"),
            "rate_limited",
            {"retry-after": "7.66"},
        ),
    ),
)
_DETAILS = [{"type": "reasoning.text", "text": "They want milk.", "index": 0, "format": "unknown"}]
_OPENROUTER = Dialect(
    model="minimax/minimax-m2",
    tool=_chat(
        {
            "content": "",
            "reasoning": "They want milk.",
            "reasoning_details": _DETAILS,
            "tool_calls": [_call("call_function_1") | {"index": 0}],
        },
        _usage(cost=0.00014, is_byok=False, prompt_tokens_details={"cached_tokens": 64}),
        "tool_calls",
        provider="Minimax",
    ),
    says=_plain(_usage(cost=0.0001)),
    thinks=lambda text: _chat({"content": text, "reasoning": "Hm."}, _usage()),
    counted=(100, 64, 20),
    failures=(
        Refusal(
            200, _error("Provider returned error", code=502, metadata={"raw": "{}"}), "unavailable"
        ),
        Refusal(200, _chat({"content": "Half an"}, _usage(), "error"), "unavailable"),
        Refusal(402, _error("Insufficient credits", code=402), "refused"),
        Refusal(
            200,
            _error("This endpoint's maximum context length is 32768 tokens.", code=400),
            "context_too_long",
        ),
        Refusal(200, _error("Rate limit exceeded: free-models-per-min.", code=429), "rate_limited"),
    ),
)
_OLLAMA = Dialect(
    model="qwen3:8b",
    tool=_chat(
        {
            "content": "",
            "reasoning": "They want milk.",
            "tool_calls": [_call("call_h2x") | {"index": 0}],
        },
        _usage(),
        "tool_calls",
        system_fingerprint="fp_ollama",
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": f"<think>\nHm.\n</think>\n\n{text}"}, _usage()),
    counted=(100, 0, 20),
    entry={"strict": False},
    failures=(
        Refusal(
            404,
            _error('model "qwen3:8b" not found, try pulling it first', type="api_error"),
            "refused",
        ),
        Refusal(
            400,
            _error("the input length exceeds the context length", type="api_error"),
            "context_too_long",
        ),
        Refusal(
            503,
            _error("server busy, please try again. maximum pending requests exceeded"),
            "unavailable",
        ),
    ),
)
_LLAMA_CPP = Dialect(
    model="gemma-3-4b-it",
    tool=_chat(
        {"content": None, "reasoning_content": "They want milk.", "tool_calls": [_call("")]},
        _usage(prompt_tokens_details={"cached_tokens": 64}),
        "tool_calls",
        timings={"prompt_ms": 12.5},
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": text, "reasoning_content": "Hm."}, _usage()),
    counted=(100, 64, 20),
    refuses=_gemma,
    failures=(
        Refusal(
            503,
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
            "unavailable",
        ),
        Refusal(
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size, try increasing it",
                    "type": "exceed_context_size_error",
                    "n_ctx": 4096,
                }
            },
            "context_too_long",
        ),
        Refusal(429, _error("no slot", type="unavailable_error"), "rate_limited"),
    ),
)
_VLLM = Dialect(
    model="Qwen/Qwen2.5-7B-Instruct",
    tool=_chat(
        {
            "content": None,
            "reasoning_content": None,
            "tool_calls": [_call("chatcmpl-tool-3f2a9b1c4d5e6f708192a3b4c5d6e7f8")],
        },
        _usage(prompt_tokens_details=None),
        "tool_calls",
        prompt_logprobs=None,
    ),
    says=_plain(_usage()),
    thinks=lambda text: _chat({"content": f"Hm.\n</think>\n\n{text}"}, _usage()),
    counted=(100, 0, 20),
    failures=(
        Refusal(
            400,
            {
                "object": "error",
                "message": '"auto" tool choice requires --enable-auto-tool-choice to be set',
                "type": "BadRequestError",
                "code": 400,
            },
            "refused",
        ),
        Refusal(
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you"
                " requested 9000 tokens.",
                "type": "BadRequestError",
                "code": 400,
            },
            "context_too_long",
        ),
        Refusal(429, {"detail": "too many requests"}, "rate_limited"),
    ),
)

DIALECTS = {
    "OpenAI": _OPENAI,
    "Azure": _AZURE,
    "Anthropic": _ANTHROPIC,
    "Mistral": _MISTRAL,
    "Gemini": _GEMINI,
    "DeepSeek": _DEEPSEEK,
    "Kimi": _KIMI,
    "Groq": _GROQ,
    "OpenRouter": _OPENROUTER,
    "Ollama": _OLLAMA,
    "llama.cpp": _LLAMA_CPP,
    "vLLM": _VLLM,
}
