"""Cognito: the tokens that the hosted UI's token endpoint gives for a refresh token name the person's groups, too.

<https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>
"""

from __future__ import annotations


def apply() -> None:
    from ministack.services import cognito

    from . import in_source

    groups = 'groups=user.get("_groups", []), '
    access = '_fake_token(sub, pool_id, client_id, "access", '
    identity = '_fake_token(sub, pool_id, client_id, "id", '
    in_source(cognito, "_oauth2_token", {access: access + groups, identity: identity + groups})
