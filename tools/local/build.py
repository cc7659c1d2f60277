"""Builds the functions and the reference third party, and deploys the unchanged template to the local cloud.

The Makefile and this module use the same flags so that nothing is compiled twice: `cargo test` and the functions share
one target triple, and the first build unifies Cargo's features over the whole workspace, which SAM's build of one
function at a time would not do.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from . import cloud
from .console import Problem, run_step
from .place import ROOT, Place

STACK_NAME = "lectern-local"
BUILD_BOUND_S = 1800.0
DEPLOY_BOUND_S = 300.0
TOOLS = Path(sys.executable).parent


@functools.cache
def target_triple() -> str:
    """The target triple of every build: `CARGO_BUILD_TARGET` if it is set, otherwise this machine's triple."""
    given = os.environ.get("CARGO_BUILD_TARGET")
    if given:
        return given
    try:
        shown = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Problem("rustc does not run.", "Install Rust with rustup, see the README.") from error
    return next(line.split()[1] for line in shown.splitlines() if line.startswith("host:"))


def architecture() -> str:
    """This machine's processor architecture, as a value of the template's parameter `Architecture`."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


@functools.cache
def cargo_metadata_target() -> Path:
    """Cargo's target directory, which the caller's Cargo settings may have moved."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return Path(json.loads(shown)["target_directory"])


def binary(name: str) -> Path:
    """The path of a binary that the local build compiles."""
    return cargo_metadata_target() / target_triple() / "debug" / name


def tool_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base`, with the tools of `.venv` first in `PATH` and the settings that make SAM and cargo-lambda build fast."""
    return dict(base) | {
        "PATH": f"{TOOLS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "CARGO_BUILD_TARGET": target_triple(),
        "CARGO_LAMBDA_COMPILER": "cargo",
        "SAM_BUILD_MODE": "debug",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.5",
        "__SAM_CLI_APP_DIR": str(TOOLS.parent / "sam"),
    }


def build(place: Place) -> None:
    """Compiles the whole workspace once; `sam build` then finds every function compiled and only collects it."""
    env = tool_environment(cloud.clean_environment())
    cargo = ["cargo", "build", "--workspace", "--bins", "--locked"]
    run_step("Compiling", cargo, place.logs / "cargo-build.log", env, ROOT, BUILD_BOUND_S)
    sam = ["sam", "build", "--parallel", "--template-file", "template.yaml", "--build-dir", str(place.build)]
    sam += ["--parameter-overrides", f"Architecture={architecture()}"]
    run_step("Collecting the functions", sam, place.logs / "sam-build.log", env, ROOT, BUILD_BOUND_S)


def deploy(place: Place, endpoint: str, parameters: Mapping[str, str]) -> None:
    """Runs `sam deploy` of the built template, which does nothing if the template has not changed."""
    env = tool_environment(cloud.client_environment(endpoint))
    command = ["sam", "deploy", "--config-env", "local", "--config-file", str(ROOT / "samconfig.toml")]
    command += ["--template-file", str(place.build / "template.yaml"), "--stack-name", STACK_NAME]
    command += ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
    run_step("Deploying", command, place.logs / "sam-deploy.log", env, ROOT, DEPLOY_BOUND_S)
