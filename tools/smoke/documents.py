"""Sends documents through the stage and reads their states from the API, as an evaluator would."""

from __future__ import annotations

import base64
import contextlib
import hmac
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from local.documents import Evaluator
from local.stack import new_password

from .stage import Stage

DOMAIN = "lectern.example"


def one_time_code(secret: str, now_s: float) -> str:
    """The code that an authenticator app shows (RFC 6238, as Cognito uses it: SHA-1, 30 s, six digits)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    digest = hmac.digest(key, int(now_s // 30).to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


class Documents(Evaluator):
    """The submissions of one run, and a temporary evaluator who reads them."""

    def __init__(self, stage: Stage, run_id: str) -> None:
        self.stage = stage
        self.base = f"{stage.outputs['ApiUrl']}/v1"
        self.user = f"{run_id}@{DOMAIN}"
        self.token = ""
        # A local cloud is on the loopback interface, so the proxies of the caller's environment do not apply to it.
        proxies = [] if stage.endpoint is None else [urllib.request.ProxyHandler({})]
        self.opener = urllib.request.build_opener(*proxies)

    def sign_in(self) -> None:
        """Creates the temporary evaluator and signs in."""
        cognito, pool = self.stage.client("cognito-idp"), self.stage.outputs["UserPoolId"]
        password = new_password()
        cognito.admin_create_user(UserPoolId=pool, Username=self.user, MessageAction="SUPPRESS")
        cognito.admin_set_user_password(UserPoolId=pool, Username=self.user, Password=password, Permanent=True)
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=self.user, GroupName="evaluators")
        client = self.stage.outputs["UserPoolClientId"]
        answer = cognito.admin_initiate_auth(
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            UserPoolId=pool,
            ClientId=client,
            AuthParameters={"USERNAME": self.user, "PASSWORD": password},
        )
        if answer.get("ChallengeName") == "MFA_SETUP":
            answer = self.set_up_mfa(pool, client, answer["Session"])
        self.token = answer["AuthenticationResult"]["AccessToken"]

    def set_up_mfa(self, pool: str, client: str, session: str) -> Any:
        """Registers an authenticator app for the evaluator, which prod asks for, and completes the sign-in."""
        cognito = self.stage.client("cognito-idp")
        associated = cognito.associate_software_token(Session=session)
        code = one_time_code(associated["SecretCode"], time.time())
        verified = cognito.verify_software_token(Session=associated["Session"], UserCode=code)
        return cognito.admin_respond_to_auth_challenge(
            UserPoolId=pool,
            ClientId=client,
            ChallengeName="MFA_SETUP",
            Session=verified["Session"],
            ChallengeResponses={"USERNAME": self.user},
        )

    def delete_user(self) -> None:
        cognito = self.stage.client("cognito-idp")
        with contextlib.suppress(cognito.exceptions.UserNotFoundException):
            cognito.admin_delete_user(UserPoolId=self.stage.outputs["UserPoolId"], Username=self.user)

    def upload(self, submission: str, name: str, body: bytes, media_type: str = "text/plain") -> None:
        self.stage.client("s3").put_object(
            Bucket=self.stage.outputs["UploadsBucketName"],
            Key=f"submissions/{submission}/{name}",
            Body=body,
            ContentType=media_type,
        )

    def shown(self, submission: str) -> Mapping[str, Mapping[str, Any]]:
        """What the API shows of each document of a submission, by the file's name."""
        answer = self.get(f"/submissions/{urllib.parse.quote(submission)}") or {}
        return {document["fileName"]: document for document in answer.get("documents", [])}

    def part(self, submission: str, document_id: str, part: str) -> Mapping[str, Any]:
        """The `record` or the `files` of a document."""
        return self.get(f"/submissions/{urllib.parse.quote(submission)}/documents/{document_id}/{part}") or {}
