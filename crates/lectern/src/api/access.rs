//! Authorization: checks the claims of the JWT, which the HTTP API's authorizer has verified and passes on.

use std::collections::HashMap;

use super::ApiError;

/// The Cognito group whose members may read everything.
pub const EVALUATORS: &str = "evaluators";
const GROUPS_CLAIM: &str = "cognito:groups";

/// Proof that the caller is an evaluator.
#[derive(Debug)]
pub struct Evaluator(());

impl Evaluator {
    /// Reads the claims of a verified token.
    ///
    /// The HTTP API passes every claim as text, and a list as its items in brackets, separated by a space: `[evaluators
    /// teachers]`. The name of a Cognito group contains no white space, so the split is exact. Text in any other form
    /// contains no group.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] unless [`EVALUATORS`] is among the groups.
    pub fn from_claims(claims: &HashMap<String, String>) -> Result<Self, ApiError> {
        let groups = claims.get(GROUPS_CLAIM).map(String::as_str).unwrap_or_default();
        let items = groups.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
        if items.split(' ').any(|group| group == EVALUATORS) {
            Ok(Self(()))
        } else {
            Err(ApiError::Forbidden)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::alone("[evaluators]", true)]
    #[case::first("[evaluators teachers]", true)]
    #[case::last("[teachers evaluators]", true)]
    #[case::teacher("[teachers]", false)]
    #[case::none("[]", false)]
    #[case::empty("", false)]
    #[case::not_a_list("evaluators", false)]
    #[case::open("[evaluators", false)]
    #[case::longer("[evaluators2]", false)]
    #[case::prefixed("[non-evaluators]", false)]
    #[case::comma("[evaluators,teachers]", false)]
    #[case::nested("[[evaluators]]", false)]
    #[case::upper_case("[Evaluators]", false)]
    #[case::tab("[teachers\tevaluators]", false)]
    #[case::json("[\"evaluators\"]", false)]
    fn only_the_exact_group_in_the_exact_form_gets_in(#[case] groups: &str, #[case] expected: bool) {
        let claims = HashMap::from([("cognito:groups".to_owned(), groups.to_owned())]);
        assert_eq!(Evaluator::from_claims(&claims).is_ok(), expected);
    }

    #[test]
    fn claims_without_groups_or_with_the_group_elsewhere_get_nothing() {
        assert!(Evaluator::from_claims(&HashMap::new()).is_err());
        for claim in ["groups", "sub", "custom:groups", "Cognito:Groups"] {
            let claims = HashMap::from([(claim.to_owned(), "[evaluators]".to_owned())]);
            assert!(Evaluator::from_claims(&claims).is_err(), "{claim}");
        }
    }
}
