//! Why a request is not answered as it wants to be: a problem, or a connection that is cut.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};

use crate::{connection::Cutter, problem::Problem};

/// What is said instead of the answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// This problem.
    Problem(Problem),
    /// Nothing at all.
    Cut,
}

/// Marks a response that is never sent, since its connection is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

impl Refusal {
    /// The response to return; cuts the connection if it is not to be sent.
    pub(crate) fn into_response(self, cutter: &Cutter) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Cut => {
                cutter.cut();
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(Cut);
                response
            }
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
