"""The files that deploy the service: valid by their own schemas, and true of the service."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from backend.config import Settings
from backend.tests.support.cluster import find_haproxy
from backend.tests.support.documented import ROOT

DEPLOY = ROOT / "backend" / "deploy"
KUBERNETES_WAITS = 30
"""Seconds, unless a pod says otherwise."""
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = [path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"]
PROGRAMS = Path(sys.executable).parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SETTINGS = {name.upper() for name in Settings.model_fields}


def manifest(kind: str) -> dict[str, Any]:
    """The one manifest of a kind in the base."""
    (found,) = (
        each
        for path in (KUBERNETES / "base").glob("*.yaml")
        if (each := yaml.safe_load(path.read_text()))["kind"] == kind
    )
    assert isinstance(found, dict)
    return found


POD = manifest("Deployment")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("name", ["Dockerfile", "backend/deploy/pgbouncer/Dockerfile"])
def test_a_dockerfile_is_without_fault(name: str) -> None:
    hadolint = shutil.which("hadolint", path=PROGRAMS)
    if hadolint is None:
        pytest.skip("hadolint has no package for this machine")
    done = subprocess.run([hadolint, name], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_takes_what_is_there_and_pinned_and_runs_as_nobody_who_owns_it() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
    assert "--require-hashes" in text
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == [
        str(POD["securityContext"]["runAsUser"])
    ]
    assert 'CMD ["python", "-m", "backend"]' in text


def test_image_and_wheel_leave_the_same_out() -> None:
    ignored = re.findall(r"^backend/.+", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    assert ignored == hatch["build"]["targets"]["wheel"]["exclude"]


def test_compose_is_valid_by_its_schema() -> None:
    words = [
        str(PROGRAMS / "check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        "compose.yaml",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout


def test_compose_has_two_replicas_behind_the_proxy_and_names_what_is_there() -> None:
    services = COMPOSE["services"]
    assert services["one"] == services["two"]
    assert services["one"]["read_only"] is True
    assert {services["proxy"]["environment"][f"REPLICA_{name}"] for name in ("ONE", "TWO")} == {
        "one:8000",
        "two:8000",
    }
    for service in services.values():
        assert "image" in service or (ROOT / service["build"] / "Dockerfile").exists()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_is_valid_by_its_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, "1.33", strict=True)


def test_kustomize_names_each_manifest_once() -> None:
    for folder in (KUBERNETES / "base", KUBERNETES / "example"):
        told = yaml.safe_load((folder / "kustomization.yaml").read_text())
        patches = [patch["path"] for patch in told.get("patches", ())]
        named = [name for name in (*told["resources"], *patches) if name != "../base"]
        assert sorted(named) == sorted(p.name for p in folder.iterdir() if p in MANIFESTS)


def test_a_pod_writes_nothing_and_may_nothing() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {entry["valueFrom"]["secretKeyRef"]["key"] for entry in CONTAINER["env"]} >= {
        "DATABASE_URL",
        "OPENAI_API_KEY",
    }


def test_a_stop_is_over_before_kubernetes_kills_where_nothing_is_said_of_it() -> None:
    default = Settings(_env_file=None)
    assert default.drain_seconds + default.shutdown_seconds < KUBERNETES_WAITS


def graces() -> Iterator[tuple[str, float, float]]:
    """Of each place: how long it waits before it kills, and what a stop takes at the most."""
    shutdown: float = Settings(_env_file=None).shutdown_seconds
    sleep = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    yield "kubernetes", POD["terminationGracePeriodSeconds"], sleep + shutdown
    one = COMPOSE["services"]["one"]
    drain = float(one["environment"]["DRAIN_SECONDS"])
    yield "compose", float(one["stop_grace_period"].rstrip("s")), drain + shutdown
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())
    drain, shutdown = (float(fly["env"][f"{name}_SECONDS"]) for name in ("DRAIN", "SHUTDOWN"))
    yield "fly", float(fly["kill_timeout"].rstrip("s")), drain + shutdown
    unit = (DEPLOY / "systemd" / "todo-chat-backend.service").read_text()
    yield "systemd", float(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]), 35


def test_each_place_waits_longer_than_a_stop_takes() -> None:
    assert [place for place, waits, takes in graces() if waits <= takes] == []


def test_every_variable_that_is_set_is_a_setting() -> None:
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())["env"]
    config = manifest("ConfigMap")["data"]
    example = yaml.safe_load((KUBERNETES / "example" / "settings.yaml").read_text())["data"]
    secrets = {entry["name"] for entry in CONTAINER["env"]}
    told = {*fly, *config, *example, *secrets, *COMPOSE["services"]["one"]["environment"]}
    assert told <= SETTINGS


def test_proxies_outlast_the_longest_answer_and_buffer_no_stream() -> None:
    longest = 2 * Settings(_env_file=None).ai_timeout_seconds  # a second request waits for a first
    haproxy = (DEPLOY / "haproxy.cfg").read_text()
    nginx = (DEPLOY / "nginx.conf").read_text()
    ingress = yaml.safe_load((KUBERNETES / "example" / "ingress.yaml").read_text())
    notes = ingress["metadata"]["annotations"]
    limits = [
        *re.findall(r"timeout (?:client|server) (\d+)s", haproxy),
        *re.findall(r"proxy_read_timeout (\d+)s", nginx),
        notes["nginx.ingress.kubernetes.io/proxy-read-timeout"],
    ]
    assert len(limits) == 4
    assert all(int(limit) > longest for limit in limits)
    assert "proxy_buffering off;" in nginx
    assert notes["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"


def test_pre_commit_runs_what_make_check_does() -> None:
    told = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for hook in told["repos"][0]["hooks"]]
    checks = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert entries == checks[0].replace("\t", "").splitlines()


def test_haproxy_takes_its_configuration() -> None:
    program = find_haproxy()
    if program is None:
        pytest.skip("haproxy is not installed")
    replicas = {f"REPLICA_{name}": "127.0.0.1:1" for name in ("ONE", "TWO")}
    done = subprocess.run(  # noqa: S603
        [program, "-c", "-f", DEPLOY / "haproxy.cfg"],
        env={"LISTEN": "127.0.0.1:8000"} | replicas,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
