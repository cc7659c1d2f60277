//! How a request is refused: with a problem, or by cutting its connection.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};

use crate::{connection::Cutter, problem::Problem};

/// What the client gets instead of the answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// An error answer.
    Problem(Problem),
    /// No answer; the connection is cut.
    Cut,
}

/// Marks a response that is never sent because its connection is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

impl Refusal {
    /// The response that the handler returns. Cuts the connection for [`Refusal::Cut`].
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
