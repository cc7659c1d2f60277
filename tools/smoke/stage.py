"""The deployed stack that is checked, and clients for its account and region."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import tomlkit
from botocore.config import Config
from botocore.exceptions import ClientError
from local.console import Problem
from local.place import ROOT, read_json

# The stage of samconfig.toml that `make run` deploys to the local cloud.
LOCAL_STAGE = "local"


@dataclass(frozen=True)
class Stage:
    """A deployed stack."""

    name: str
    session: boto3.session.Session
    # The endpoint of a local cloud; `None` on AWS.
    endpoint: str | None
    # The description of a local cloud, which the command `lectern` needs; `None` on AWS.
    stack_file: Path | None

    def client(self, service: str, **settings: Any) -> Any:
        """A client; `settings` are those of `botocore.config.Config`."""
        common: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 30, "retries": {"mode": "standard"}}
        if self.endpoint is not None:
            common |= {"proxies": {}, "s3": {"addressing_style": "path"}}
        return self.session.client(service, endpoint_url=self.endpoint, config=Config(**(common | settings)))

    @functools.cached_property
    def description(self) -> Mapping[str, Any]:
        try:
            return self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            to_do = "Deploy it with `make deploy`, or choose another profile or region."
            raise Problem(f"The stack {self.name} cannot be read: {error}", to_do) from error

    @functools.cached_property
    def outputs(self) -> Mapping[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self.description.get("Outputs", [])}

    @functools.cached_property
    def parameters(self) -> Mapping[str, str]:
        """The parameters of the deployment, as far as they are shown."""
        given = self.description.get("Parameters", [])
        return {parameter["ParameterKey"]: parameter.get("ParameterValue", "") for parameter in given}

    @functools.cached_property
    def resources(self) -> Mapping[str, tuple[str, str]]:
        """Type and physical id of each resource, by its logical id."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        return {
            resource["LogicalResourceId"]: (resource["ResourceType"], resource.get("PhysicalResourceId", ""))
            for page in pages
            for resource in page["StackResourceSummaries"]
        }

    def physical_id(self, logical_id: str) -> str:
        if logical_id not in self.resources:
            raise Problem(f"The stack {self.name} has no resource {logical_id}.", "Deploy this version of Lectern.")
        return self.resources[logical_id][1]

    @functools.cached_property
    def functions(self) -> Mapping[str, Mapping[str, Any]]:
        """The configuration of each function, by the logical id without `Function`."""
        read = self.client("lambda").get_function_configuration
        return {
            logical.removesuffix("Function"): read(FunctionName=physical)
            for logical, (kind, physical) in sorted(self.resources.items())
            if kind == "AWS::Lambda::Function"
        }

    def log_group(self, function: str) -> str:
        configuration = self.functions[function]
        given = configuration.get("LoggingConfig", {}).get("LogGroup")
        return str(given or f"/aws/lambda/{configuration['FunctionName']}")

    def execution_arn(self, name: str) -> str:
        """The ARN of a document's execution. The output may name an alias of the state machine; executions do not."""
        parts = self.physical_id("DocumentStateMachine").split(":")
        return ":".join([*parts[:5], "execution", parts[6], name])

    def secret(self, output: str) -> str:
        client = self.client("secretsmanager")
        return str(client.get_secret_value(SecretId=self.outputs[output])["SecretString"])


def of_config(config_env: str) -> Stage:
    """A stage of samconfig.toml on AWS, with the caller's credentials."""
    config = tomlkit.parse((ROOT / "samconfig.toml").read_text(encoding="utf-8")).unwrap()
    deploy = config.get(config_env, {}).get("deploy", {}).get("parameters")
    if deploy is None:
        known = ", ".join(name for name, values in config.items() if isinstance(values, dict) and "deploy" in values)
        raise Problem(f"samconfig.toml has no stage {config_env}.", f"Use one of: {known}.")
    session = boto3.session.Session(region_name=deploy["region"])
    if session.get_credentials() is None:
        raise Problem("There are no AWS credentials.", "Set AWS_PROFILE, or sign in with `aws sso login`.")
    return Stage(deploy["stack_name"], session, None, None)


def of_file(stack_file: Path) -> Stage:
    """The stack of a local cloud, as `tools/local.py up` described it."""
    stack = read_json(stack_file)
    if stack is None:
        raise Problem(f"There is no {stack_file}.", "Start the local cloud with `make run`.")
    session = boto3.session.Session(
        aws_access_key_id=stack["accessKeyId"],
        aws_secret_access_key=stack["secretAccessKey"],
        region_name=stack["region"],
    )
    return Stage(stack["stackName"], session, stack["endpoint"], stack_file)
