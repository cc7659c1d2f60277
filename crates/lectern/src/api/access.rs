//! Authorization: who the caller is, from the claims of the access token that the HTTP API's authorizer has verified, and
//! what the caller may do with a submission.

use std::collections::HashMap;

use serde::Serialize;

use super::ApiError;
use crate::document::{
    Owner,
    submission::{Submission, SubmissionState},
};

/// What a person is to Lectern. The name of the role's group is the plural: `teachers`, `evaluators`, `operators`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Hands in submissions and reads their own.
    Teacher,
    /// Reads all submissions.
    Evaluator,
    /// Reads all submissions, sees the flow, and redrives.
    Operator,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Teacher, Self::Evaluator, Self::Operator];

    /// The group whose members have the role.
    pub fn group(self) -> &'static str {
        match self {
            Self::Teacher => "teachers",
            Self::Evaluator => "evaluators",
            Self::Operator => "operators",
        }
    }
}

/// A signed-in person with at least one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    person: Owner,
    roles: Vec<Role>,
}

impl Caller {
    /// Reads the claims of a verified token.
    ///
    /// The HTTP API passes every claim as text, and a list as its items in brackets, separated by a space: `[evaluators
    /// teachers]`. The name of a group contains no white space, so the split is exact. Text in any other form contains no
    /// group.
    ///
    /// # Errors
    /// [`ApiError::Unauthenticated`] for a token that is not an access token, or names no person.
    /// [`ApiError::Forbidden`] for a person in none of the groups.
    pub fn from_claims(claims: &HashMap<String, String>, groups_claim: &str) -> Result<Self, ApiError> {
        // Cognito's id token passes the authorizer too. It is made for the pages, and is no key to the API.
        if claims.get("token_use").is_some_and(|token_use| token_use != "access") {
            return Err(ApiError::Unauthenticated);
        }
        let subject = claims.get("sub").ok_or(ApiError::Unauthenticated)?;
        let person = Owner::try_from(subject.clone()).map_err(|_| ApiError::Unauthenticated)?;
        let groups = claims.get(groups_claim).map(String::as_str).unwrap_or_default();
        let items = groups.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
        let is_member = |role: &Role| items.split(' ').any(|group| group == role.group());
        let roles: Vec<Role> = Role::ALL.into_iter().filter(is_member).collect();
        if roles.is_empty() { Err(ApiError::Forbidden) } else { Ok(Self { person, roles }) }
    }

    /// The token's subject.
    pub fn person(&self) -> &Owner {
        &self.person
    }

    /// The person's roles.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Whether the person has this role.
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Requires a role for a kind of request.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`]
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.is(role) { Ok(()) } else { Err(ApiError::Forbidden) }
    }

    /// Whether the person reads other people's submissions.
    pub fn reads_all(&self) -> bool {
        self.is(Role::Evaluator) || self.is(Role::Operator)
    }

    /// Whether the person may read this submission. An evaluator sees a submission when its first file has arrived.
    pub fn may_read(&self, submission: &Submission) -> bool {
        self.may_change(submission) || (self.reads_all() && submission.state != SubmissionState::Draft)
    }

    /// Whether the person may change this submission: only its owner may.
    pub fn may_change(&self, submission: &Submission) -> bool {
        self.is(Role::Teacher) && submission.is_of(&self.person)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn claims(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[rstest]
    #[case::alone("[evaluators]", &[Role::Evaluator])]
    #[case::two("[evaluators teachers]", &[Role::Teacher, Role::Evaluator])]
    #[case::all("[operators x evaluators teachers]", &Role::ALL)]
    #[case::none("[]", &[])]
    #[case::empty("", &[])]
    #[case::not_a_list("evaluators", &[])]
    #[case::open("[evaluators", &[])]
    #[case::longer("[evaluators2]", &[])]
    #[case::prefixed("[non-evaluators]", &[])]
    #[case::comma("[evaluators,teachers]", &[])]
    #[case::nested("[[evaluators]]", &[])]
    #[case::upper_case("[Evaluators]", &[])]
    #[case::tab("[teachers\tevaluators]", &[])]
    #[case::json("[\"evaluators\"]", &[])]
    fn s01_only_the_exact_group_in_the_exact_form_gives_a_role(#[case] groups: &str, #[case] roles: &[Role]) {
        let claims = claims(&[("sub", "p"), ("cognito:groups", groups)]);
        match Caller::from_claims(&claims, "cognito:groups") {
            Ok(caller) => assert_eq!(caller.roles(), roles),
            Err(error) => {
                assert!(matches!(error, ApiError::Forbidden), "{error}");
                assert!(roles.is_empty());
            }
        }
    }

    #[rstest]
    #[case::id_token(&[("sub", "p"), ("cognito:groups", "[evaluators]"), ("token_use", "id")])]
    #[case::nobody(&[("cognito:groups", "[evaluators]"), ("token_use", "access")])]
    #[case::white_space(&[("sub", "a b"), ("cognito:groups", "[evaluators]")])]
    #[case::empty(&[("sub", ""), ("cognito:groups", "[evaluators]")])]
    fn s01_token_that_is_no_access_token_of_a_person_is_refused(#[case] pairs: &[(&str, &str)]) {
        let refused = Caller::from_claims(&claims(pairs), "cognito:groups").unwrap_err();
        assert!(matches!(refused, ApiError::Unauthenticated), "{refused}");
    }

    #[test]
    fn s01_groups_in_another_claim_give_no_role() {
        for claim in ["groups", "custom:groups", "Cognito:Groups"] {
            let claims = claims(&[("sub", "p"), (claim, "[evaluators]")]);
            assert!(Caller::from_claims(&claims, "cognito:groups").is_err(), "{claim}");
            assert!(Caller::from_claims(&claims, claim).is_ok(), "{claim}");
        }
    }
}
