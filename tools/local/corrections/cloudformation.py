"""CloudFormation: parameters for SAM, versions and aliases of state machines. IAM: resources without their qualifier.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-cd-aliasing-versioning.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any


def apply() -> None:
    from ministack.core import iam_actions
    from ministack.services import stepfunctions
    from ministack.services.cloudformation import engine, provisioners
    from samtranslator.translator import transform

    handlers = provisioners._RESOURCE_HANDLERS
    handlers["AWS::StepFunctions::StateMachineVersion"] = state_machine_version(stepfunctions)
    handlers["AWS::StepFunctions::StateMachineAlias"] = state_machine_alias(stepfunctions)
    give_parameters_to_sam(engine, transform)
    iam_actions.extract_resource_arn = without_qualifier(iam_actions.extract_resource_arn)


def give_parameters_to_sam(engine: Any, sam: Any) -> None:
    """Lets the SAM transform of a template use the parameters' values, which the transform before it resolves."""
    resolve, transform = engine._transform_parameters, sam.transform
    values: ContextVar[Mapping[str, Any]] = ContextVar("parameters")

    def resolved(*arguments: Any) -> Any:
        parameters = resolve(*arguments)
        values.set(parameters)
        return parameters

    def corrected(template: Any, _: Any, policies: Any) -> Any:
        return transform(template, dict(values.get({})), policies)

    engine._transform_parameters, sam.transform = resolved, corrected


def state_machine_version(states: Any) -> dict[str, Any]:
    """A handler of CloudFormation resources. Another revision of the state machine is another version."""

    def create(_: str, properties: Mapping[str, Any], __: str) -> Any:
        arn, revision = properties["StateMachineArn"], properties["StateMachineRevisionId"]
        answer = answered(states._publish_state_machine_version({"stateMachineArn": arn, "revisionId": revision}))
        return answer["stateMachineVersionArn"], {"Arn": answer["stateMachineVersionArn"]}

    def update(_: str, __: Mapping[str, Any], properties: Mapping[str, Any], stack: str) -> Any:
        return create("", properties, stack)

    def delete(arn: str, _: Mapping[str, Any]) -> None:
        answered(states._delete_state_machine_version({"stateMachineVersionArn": arn}))

    return {"create": create, "update": update, "delete": delete}


def state_machine_alias(states: Any) -> dict[str, Any]:
    """A handler of CloudFormation resources. The alias moves to the new version at once."""

    def routes(properties: Mapping[str, Any]) -> list[dict[str, Any]]:
        preference = properties["DeploymentPreference"]
        if preference["Type"] != "ALL_AT_ONCE":
            raise ValueError("The local cloud has no gradual deployment. Deploy with GradualDeployment=false.")
        return [{"stateMachineVersionArn": preference["StateMachineVersionArn"], "weight": 100}]

    def create(_: str, properties: Mapping[str, Any], __: str) -> Any:
        alias = {"name": properties["Name"], "routingConfiguration": routes(properties)}
        answer = answered(states._create_state_machine_alias(alias))
        return answer["stateMachineAliasArn"], {"Arn": answer["stateMachineAliasArn"]}

    def update(arn: str, _: Mapping[str, Any], properties: Mapping[str, Any], __: str) -> Any:
        alias = {"stateMachineAliasArn": arn, "routingConfiguration": routes(properties)}
        answered(states._update_state_machine_alias(alias))
        return arn, {"Arn": arn}

    def delete(arn: str, _: Mapping[str, Any]) -> None:
        answered(states._delete_state_machine_alias({"stateMachineAliasArn": arn}))

    return {"create": create, "update": update, "delete": delete}


def answered(response: Any) -> Any:
    """The answer of a call to MiniStack's Step Functions."""
    status, _, body = response
    if status != 200:
        raise ValueError(body.decode())
    return json.loads(body)


def without_qualifier(extract: Any) -> Any:
    """Wraps the choice of the resource that IAM compares with a policy."""

    def corrected(*request: Any, **named: Any) -> Any:
        arn = extract(*request, **named)
        return re.sub(r"^(arn:[^:]*:states:[^:]*:[^:]*:stateMachine:[^:]+):[^:]+$", r"\1", arn)

    return corrected
