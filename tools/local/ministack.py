"""Starts MiniStack 1.5.33 with six corrections.

- A ranged read of a named version is answered with 206 and the range, as S3 does. MiniStack sends the whole object
  with 200.
- The endpoint of an HTTP API has a host name that every client resolves. MiniStack's own
  `….execute-api.localhost` resolves in curl and in browsers only.
- Requests of web pages in the developer's browser are refused: MiniStack would carry out their form posts.
- The SAM transform gets the values of the parameters. MiniStack passes the defaults only.
- CloudFormation knows versions and aliases of a state machine. MiniStack's Step Functions has both.
- IAM compares a request that names a version or an alias of a state machine with the state machine's own ARN, as AWS
  does. MiniStack compares the ARN of the version or the alias.

Run as `python -m tools.local.ministack`. Before you change VERSION, check whether the new version of MiniStack still
needs each correction.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

VERSION = "1.5.33"


def main() -> None:
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        sys.exit(f"tools/local/ministack.py corrects MiniStack {VERSION}, but version {found} is installed.")
    from ministack import app
    from ministack.core import iam_actions
    from ministack.services import apigateway, s3, stepfunctions
    from ministack.services.cloudformation import engine, provisioners
    from samtranslator.translator import transform

    s3._get_object = ranged(s3)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    handlers["create"] = with_path_endpoint(handlers["create"], apigateway._apis)
    handlers = provisioners._RESOURCE_HANDLERS
    handlers["AWS::StepFunctions::StateMachineVersion"] = state_machine_version(stepfunctions)
    handlers["AWS::StepFunctions::StateMachineAlias"] = state_machine_alias(stepfunctions)
    give_parameters_to_sam(engine, transform)
    iam_actions.extract_resource_arn = without_qualifier(iam_actions.extract_resource_arn)
    app.app = without_web_pages(app.app)
    app.main()


def ranged(s3: Any) -> Any:
    """Wraps MiniStack's GetObject so that it honours `Range` for a named version, too."""
    get_object = s3._get_object

    def corrected(bucket: str, key: str, headers: Mapping[str, str], query: Mapping[str, Any] | None = None) -> Any:
        asked = headers.get("range", "")
        # Like AWS, ignore a range that is malformed or has several parts.
        if "versionId" not in (query or {}) or not re.fullmatch(r"bytes=(\d+-\d*|-\d+)", asked):
            return get_object(bucket, key, headers, query)
        # MiniStack's checksum covers the whole object; AWS sends no such checksum with a range.
        plain = {name: value for name, value in headers.items() if name != "x-amz-checksum-mode"}
        status, answer, body = get_object(bucket, key, plain, query)
        if status != 200:
            return status, answer, body
        size = len(body)
        found = s3._parse_range(asked, size)
        if found is None:
            error = s3._xml_body(s3._range_error_xml(bucket, key))
            return 416, {"Content-Type": "application/xml", "Content-Range": f"bytes */{size}"}, error
        start, end = found
        part = body[start : end + 1]
        answer |= {"Content-Length": str(len(part)), "Content-Range": f"bytes {start}-{end}/{size}"}
        return 206, answer, part

    return corrected


def with_path_endpoint(create: Any, apis: Any) -> Any:
    """Wraps CloudFormation's creation of an HTTP API so that its endpoint uses MiniStack's path form."""

    def corrected(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
        api_id, attributes = create(logical_id, properties, stack_name)
        endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}/_aws/execute-api/{api_id}/$default"
        apis[api_id]["apiEndpoint"] = endpoint
        return api_id, attributes | {"ApiEndpoint": endpoint}

    return corrected


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


def without_web_pages(app: Any) -> Any:
    """Wraps the ASGI application so that it refuses requests from web pages.

    A browser sends `Origin` with each request but some GETs of a page, such as those of images, and `Sec-Fetch-Site`
    with all of them. A link to a file that somebody opens is not from another site.
    """

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.lower(): value for name, value in scope.get("headers", [])}
        if b"origin" not in headers and headers.get(b"sec-fetch-site") != b"cross-site":
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    return guarded


if __name__ == "__main__":
    main()
