//! Converts errors of object stores. The messages contain no secrets and no text of a server.

use super::super::remote::retry::{self, AttemptError};
use super::response_recorder::ResponseRecorder;
use object_store::Error;

/// Converts an error of the client, with the recorded response.
pub(super) fn attempt_error(error: &Error, recorder: &ResponseRecorder) -> AttemptError {
    let response = recorder.response();
    match (error, response.status) {
        (Error::PermissionDenied { .. }, _) => {
            AttemptError::unavailable("access denied with these credentials (403 Forbidden)")
        }
        (Error::Unauthenticated { .. }, _) => {
            AttemptError::unavailable("the credentials are not valid (401 Unauthorized)")
        }
        (_, Some(status)) if retry::is_transient_status(status) => AttemptError::Transient {
            reason: format!("the store returned {status}"),
            retry_after: response.retry_after,
        },
        (_, Some(200)) if response.refused.is_none() => AttemptError::unavailable(
            "the store does not support range requests, or its response is malformed (200 OK)",
        ),
        (_, Some(status)) => match response.refused {
            Some(why) => AttemptError::unavailable(why),
            None => AttemptError::unavailable(format!("the store returned {status}")),
        },
        (error, None) => {
            AttemptError::transient(format!("no response: {}", retry::root_cause(error)))
        }
    }
}
