//! Why a store did not give what was asked for, in words that hold no secret and no text of a server.

use super::super::remote::retry::{self, AttemptError};
use super::response_recorder::ResponseRecorder;
use object_store::Error;

/// An error of the client, with what was seen of the answer.
pub(super) fn attempt_error(error: &Error, seen: &ResponseRecorder) -> AttemptError {
    let noted = seen.response();
    match (error, noted.status) {
        (Error::PermissionDenied { .. }, _) => {
            AttemptError::unavailable("the credentials do not allow it (403)")
        }
        (Error::Unauthenticated { .. }, _) => {
            AttemptError::unavailable("the store wants other credentials (401)")
        }
        (_, Some(status)) if retry::is_transient_status(status) => AttemptError::Transient {
            why: format!("the store answers {status}"),
            after: noted.after,
        },
        (_, Some(200)) if noted.refused.is_none() => AttemptError::unavailable(
            "the store does not give ranges, or its answer cannot be understood (200)",
        ),
        (_, Some(status)) => match noted.refused {
            Some(why) => AttemptError::unavailable(why),
            None => AttemptError::unavailable(format!("the store answers {status}")),
        },
        (error, None) => {
            AttemptError::transient(format!("no answer: {}", retry::root_cause(error)))
        }
    }
}
