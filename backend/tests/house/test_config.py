"""What the environment may say, and what it may not."""

import json
import re
import sys
from pathlib import Path

import pytest

from backend.config import Settings, SettingsError, load_settings
from backend.models import MODEL_MAX, PROVIDER_MAX

EXAMPLE = Path(__file__).parents[3] / ".env.example"
EXAMPLE_VALUES = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
SECRET = "hunter2-not-to-be-seen"


ADDRESSES = (
    *("OPENAI_BASE_URL", "BETTER_AUTH_URL", "MCP_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    *("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
)
NO_ADDRESSES = (
    *("http://", "https:///v1", "http://:80", "http://host:port", "http://host:99999"),
    *("http://host:0", "http://host:-1", "http://[::1", "http://a b", "http://exa\nmple.com"),
    *("http://example.com\n", " http://example.com", "https://ex\u200bample.com"),
    *("http://" + "h" * 64 + ".com", "//example.com", "example.com:80"),
)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine: no variable of ours, no `.env` in the working folder."""
    for name in (*Settings.model_fields, "GROQ_API_KEY"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()

    assert settings.database_url is None
    assert settings.openai_api_key is None
    assert settings.openai_base_url is None
    assert settings.openai_model == "gpt-4o-mini"
    assert settings.openai_tracing is False
    assert settings.ai_timeout_seconds == 30
    assert settings.history_limit == 50
    assert settings.rate_limit_chat == "10/minute"
    assert settings.rate_limit_history == "30/minute"
    assert settings.rate_limit_tasks == "60/minute"
    assert settings.rate_limit_sign_in == "30/minute"
    assert settings.rate_limit_storage_uri.get_secret_value() == "memory://"
    assert settings.forwarded_allow_ips == "127.0.0.1"
    assert settings.chat_concurrency == 3
    assert settings.daily_token_budget is None
    assert settings.allowed_origins == ["http://localhost:3000"]
    assert settings.better_auth_secret is None
    assert settings.better_auth_url is None
    assert settings.better_auth_cookie == "better-auth.session_token"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_every_setting_is_in_the_example_file_and_nothing_else_is() -> None:
    assert set(EXAMPLE_VALUES) == {name.upper() for name in Settings.model_fields}


def test_the_example_file_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    untouched = load_settings()
    for name, value in EXAMPLE_VALUES.items():
        monkeypatch.setenv(name, value)

    assert load_settings() == untouched


def test_a_copy_of_the_example_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(EXAMPLE.read_text())

    assert load_settings().model_fields_set == set()


def test_the_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=9001\nHISTORY_LIMIT=20\n")
    monkeypatch.setenv("PORT", "9002")

    settings = load_settings()

    assert (settings.port, settings.history_limit) == (9002, 20)


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "PORT", "ALLOWED_ORIGINS"):
        monkeypatch.setenv(name, "")

    assert load_settings().model_fields_set == set()


def test_an_env_file_that_is_not_text_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match=r"^\.env: "):
        load_settings()


def test_a_variable_of_something_else_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_PUBLIC_API_URL", "http://localhost:8000")

    assert load_settings().model_fields_set == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://root@localhost/todo"),
        ("DATABASE_URL", "localhost:5432/todo"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "201"),
        ("DATABASE_POOL_SIZE", "many"),
        ("OPENAI_BASE_URL", "localhost:11434/v1"),
        ("OPENAI_BASE_URL", "ftp://models.example.com"),
        ("OPENAI_API", "grpc"),
        ("OPENAI_TRACING", "perhaps"),
        ("OPENAI_MODEL", "m" * 201),
        ("ANTHROPIC_API_KEY", "a key"),
        ("DEFAULT_PROVIDER", "openrouter"),
        ("DEFAULT_PROVIDER", "anthropic"),
        ("AI_TIMEOUT_SECONDS", "0"),
        ("AI_TIMEOUT_SECONDS", "-1"),
        ("AI_TIMEOUT_SECONDS", "nan"),
        ("AI_TIMEOUT_SECONDS", "inf"),
        ("AI_TIMEOUT_SECONDS", "30s"),
        ("HISTORY_LIMIT", "1"),
        ("HISTORY_LIMIT", "51"),
        ("RATE_LIMIT_CHAT", "ten a minute"),
        ("RATE_LIMIT_HISTORY", "-1/minute"),
        ("RATE_LIMIT_TASKS", "60/fortnight"),
        ("RATE_LIMIT_SIGN_IN", "often"),
        ("RATE_LIMIT_STORAGE_URI", "localhost:6379"),
        ("RATE_LIMIT_STORAGE_URI", "memcached://localhost"),
        ("RATE_LIMIT_STORAGE_URI", "redis://"),
        ("RATE_LIMIT_STORAGE_URI", "redis://localhost:port"),
        ("RATE_LIMIT_STORAGE_URI", "redis://localhost:99999"),
        ("FORWARDED_ALLOW_IPS", "proxy.example.com"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("FORWARDED_ALLOW_IPS", "*, 10.0.0.1"),
        ("CHAT_CONCURRENCY", "0"),
        ("CHAT_CONCURRENCY", "1001"),
        ("DAILY_TOKEN_BUDGET", "0"),
        ("DAILY_TOKEN_BUDGET", "many"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "localhost:3000"),
        ("ALLOWED_ORIGINS", "https://app.example.com/chat"),
        ("ALLOWED_ORIGINS", "http://localhost:3000, null"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "https://user@app.example.com"),
        ("OPENAI_API_KEY", "sk-é"),
        ("OPENAI_API_KEY", "a-key\n"),
        ("BETTER_AUTH_URL", "app.example.com"),
        ("BETTER_AUTH_JWKS_URL", "/api/auth/jwks"),
        ("BETTER_AUTH_JWKS_URL", "https://app.example.com/jwks"),
        ("BETTER_AUTH_ISSUER", "https://app.example.com"),
        ("BETTER_AUTH_AUDIENCE", "https://app.example.com"),
        ("BETTER_AUTH_COOKIE", "a=b"),
        ("BETTER_AUTH_COOKIE", "a; b"),
        ("BETTER_AUTH_SESSION_TABLE", ".session"),
        ("BETTER_AUTH_SESSION_COLUMNS", "token,user_id"),
        ("BETTER_AUTH_SESSION_COLUMNS", "token,,expires_at"),
        ("RATE_LIMIT_CHAT", "0/minute"),
        ("RATE_LIMIT_TASKS", "1/0minute"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("LOG_LEVEL", "LOUD"),
        ("OPENAI_MODEL", " "),
        ("ANTHROPIC_MODEL", "\u200b"),
        *((name, address) for name in ADDRESSES for address in NO_ADDRESSES),
        ("HOST", " "),
        ("HOST", "127.0.0.1\n"),
        ("HOST", "\u202e"),
        ("HOST", "h" * 5000),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "\u202e"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,,"),
        ("ALLOWED_ORIGINS", "http://host:99999"),
        ("ALLOWED_ORIGINS", "http://:80"),
        ("ALLOWED_ORIGINS", "http://[::1"),
        ("ALLOWED_ORIGINS", "https://app.\u200bexample.com"),
        ("TOOLSETS", '{"t": {"url": "http://host:99999/mcp"}}'),
        ("TOOLSETS", '{"t": {"url": "http://:80/mcp"}}'),
    ],
)
def test_an_impossible_value_is_refused_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    line = str(refusal.value)
    assert line.startswith(f"{name}: ")
    assert "\n" not in line


def test_several_impossible_values_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    monkeypatch.setenv("HISTORY_LIMIT", "all")

    with pytest.raises(SettingsError, match=r"HISTORY_LIMIT: .*; PORT: ") as refusal:
        load_settings()

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://user:{SECRET}@localhost/todo",
        f"user:{SECRET}@localhost",
        f"postgres:user:{SECRET}\N{ACCOUNT OF}@localhost",
    ],
)
def test_a_refusal_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize(
    "uri",
    [
        "memory://",
        "redis://localhost",
        "redis://:p%40ss@redis.example.com:6379/1",
        "rediss://user:password@[::1]:6380/0?ssl_cert_reqs=required",
    ],
)
def test_limits_are_counted_in_memory_or_in_redis(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("RATE_LIMIT_STORAGE_URI", uri)

    assert load_settings().rate_limit_storage_uri.get_secret_value() == uri


def test_a_redis_without_its_package_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RATE_LIMIT_STORAGE_URI", "redis://localhost")
    monkeypatch.setitem(sys.modules, "redis", None)  # as if it were not installed

    with pytest.raises(SettingsError, match=r"^RATE_LIMIT_STORAGE_URI: .*requirements-redis\.txt$"):
        load_settings()


def test_settings_never_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_STORAGE_URI", f"redis://:{SECRET}@localhost")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user:{SECRET}@localhost/todo")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)

    settings = load_settings()

    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in shown


def test_origins_are_a_list_without_blanks_and_closing_slashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", " http://localhost:3000/ ,, https://App.example.com")

    assert load_settings().allowed_origins == ["http://localhost:3000", "https://app.example.com"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://app.example.com:443", "https://app.example.com"),
        ("HTTP://LocalHost:80/", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        (
            "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example",
            "https://xn--bcher-kva.example",
        ),
    ],
)
def test_an_origin_is_compared_as_browsers_send_it(
    monkeypatch: pytest.MonkeyPatch, given: str, sent: str
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", given)

    assert load_settings().allowed_origins == [sent]


@pytest.mark.parametrize(("model", "offline"), [("offline", True), ("gpt-4o-mini", False)])
def test_the_offline_model_is_one_by_name(
    monkeypatch: pytest.MonkeyPatch, model: str, offline: bool
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", model)

    assert load_settings().offline is offline


@pytest.mark.parametrize(
    ("url", "origin", "jwks"),
    [
        ("https://app.example.com", "https://app.example.com", "/api/auth/jwks"),
        ("https://app.example.com/", "https://app.example.com", "/api/auth/jwks"),
        ("https://App.Example.com:443", "https://app.example.com", "/api/auth/jwks"),
        ("http://localhost:80", "http://localhost", "/api/auth/jwks"),
        ("http://localhost:3000", "http://localhost:3000", "/api/auth/jwks"),
        ("https://app.example.com/auth", "https://app.example.com", "/jwks"),
    ],
)
def test_issuer_audience_and_keys_follow_from_better_auths_address(
    monkeypatch: pytest.MonkeyPatch, url: str, origin: str, jwks: str
) -> None:
    monkeypatch.setenv("BETTER_AUTH_URL", url)

    settings = load_settings()

    assert (settings.jwt_issuer, settings.jwt_audience) == (origin, origin)
    assert settings.jwks_url == url.rstrip("/") + jwks


def test_issuer_audience_and_keys_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_URL", "https://app.example.com")
    monkeypatch.setenv("BETTER_AUTH_JWKS_URL", "http://auth.internal/jwks")
    monkeypatch.setenv("BETTER_AUTH_ISSUER", "the-issuer")
    monkeypatch.setenv("BETTER_AUTH_AUDIENCE", "the-chat")

    settings = load_settings()

    assert settings.jwks_url == "http://auth.internal/jwks"
    assert (settings.jwt_issuer, settings.jwt_audience) == ("the-issuer", "the-chat")


def test_columns_are_three_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_SESSION_COLUMNS", "token, user_id ,expires_at")

    assert load_settings().better_auth_session_columns == ("token", "user_id", "expires_at")


GROQ = {"base_url": "https://api.groq.com/openai/v1", "models": ["llama-3.3-70b-versatile"]}


def set_providers(monkeypatch: pytest.MonkeyPatch, **providers: object) -> None:
    monkeypatch.setenv("PROVIDERS", json.dumps(providers))


@pytest.mark.parametrize(
    ("providers", "line"),
    [
        ("{", "must be a JSON object"),
        ('["groq"]', "must be a JSON object"),
        ('{"groq": "https://api.groq.com"}', "groq: "),
        ('{"groq": {"models": ["a"]}}', "groq.base_url: is missing"),
        ('{"groq": {"base_url": "https://api.groq.com"}}', "groq.models: is missing"),
        ('{"groq": {"base_url": "https://api.groq.com", "models": []}}', "groq.models: is missing"),
        ({"base_url": "ftp://api.groq.com"}, "groq.base_url: "),
        ({"kye": "GROQ_API_KEY"}, "groq.kye: "),
        ({"key": "GROQ_API_KEY"}, "groq.key: names a variable that is not set"),
        ({"key": "gsk-in-here"}, "groq.key: must be the name of a variable"),
        ({"key": ["GROQ_API_KEY"]}, "groq.key: must be the name of a variable"),
        ({"api": "grpc"}, "groq.api: "),
        ({"models": {"a": {"context_window": 10}}}, "groq.models.a.context_window: "),
        ({"models": {"a": {"window": 10_000}}}, "groq.models.a.window: "),
        ({"models": [["a"]]}, "groq.models: "),
        ({"models": ["m" * (MODEL_MAX + 1)]}, "groq.models."),
        (json.dumps({"p" * (PROVIDER_MAX + 1): GROQ}), "ppp"),
        (json.dumps({"two\nlines": GROQ}), "two?lines"),
        ('{"offline": {"models": ["a"]}}', "offline: "),
    ],
)
def test_providers_that_cannot_work_are_refused_in_one_line_that_names_what(
    monkeypatch: pytest.MonkeyPatch, providers: str | dict[str, object], line: str
) -> None:
    if isinstance(providers, dict):
        set_providers(monkeypatch, groq=GROQ | providers)
    else:
        monkeypatch.setenv("PROVIDERS", providers)

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert str(refusal.value).startswith(f"PROVIDERS: {line}")
    assert "\n" not in str(refusal.value)
    assert "gsk-in-here" not in str(refusal.value)


def test_the_longest_names_are_those_that_the_tables_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, model = "p" * PROVIDER_MAX, "m" * MODEL_MAX
    set_providers(monkeypatch, **{provider: GROQ | {"models": [model]}})

    assert list(load_settings().offered[provider].models) == [model]


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_providers_key_stands_in_the_variable_it_names_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    if place == ".env":
        (tmp_path / ".env").write_text(f"GROQ_API_KEY={SECRET}\n")
    else:
        monkeypatch.setenv("GROQ_API_KEY", SECRET)
    set_providers(monkeypatch, groq=GROQ | {"key": "GROQ_API_KEY"})

    settings = load_settings()

    key = settings.offered["groq"].key
    assert key is not None
    assert key.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings.offered), settings.model_dump_json()):
        assert SECRET not in shown


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", f"{SECRET}\n")
    set_providers(monkeypatch, groq=GROQ | {"key": "GROQ_API_KEY"})

    with pytest.raises(SettingsError, match=r"^PROVIDERS: groq\.key: ") as refusal:
        load_settings()

    assert SECRET not in str(refusal.value)


def test_the_whole_of_providers_may_stand_in_the_env_file(tmp_path: Path) -> None:
    line = json.dumps({"groq": GROQ | {"key": "GROQ_API_KEY"}})
    (tmp_path / ".env").write_text(f"GROQ_API_KEY=a-key\nPROVIDERS={line}\n")

    assert list(load_settings().offered) == ["groq"]


def test_the_built_in_providers_are_there_with_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load_settings().offered
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another")

    offered = load_settings().offered

    assert list(offered) == ["openai", "anthropic"]
    assert offered["anthropic"].base_url == "https://api.anthropic.com/v1/"
    assert offered["anthropic"].api == "chat_completions"


def test_an_entry_of_a_built_in_name_adds_models_and_says_what_is_different(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("OPENAI_API", "chat_completions")
    set_providers(monkeypatch, openai={"models": ["gpt-4o"], "strict": False})

    openai = load_settings().offered["openai"]

    assert list(openai.models) == ["gpt-4o-mini", "gpt-4o"]
    assert (openai.api, openai.strict) == ("chat_completions", False)
    assert openai.key is not None


def test_the_openai_provider_may_be_the_default_before_its_key_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEFAULT_PROVIDER", "openai")

    assert load_settings().lacks_key
