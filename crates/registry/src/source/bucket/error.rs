//! Why a store did not give what was asked for, in words that hold no secret and no text of a server.

use super::super::remote::retry::{self, Failure};
use super::watch::Seen;
use object_store::Error;

/// An error of the client, with what was seen of the answer.
pub fn failure(error: &Error, seen: &Seen) -> Failure {
    let noted = seen.noted();
    match (error, noted.status) {
        (Error::PermissionDenied { .. }, _) => {
            Failure::unavailable("the credentials do not allow it (403)")
        }
        (Error::Unauthenticated { .. }, _) => {
            Failure::unavailable("the store wants other credentials (401)")
        }
        (_, Some(status)) if retry::passes(status) => {
            Failure::Passing { why: format!("the store answers {status}"), after: noted.after }
        }
        (_, Some(200)) if noted.refused.is_none() => Failure::unavailable(
            "the store does not give ranges, or its answer cannot be understood (200)",
        ),
        (_, Some(status)) => match noted.refused {
            Some(why) => Failure::unavailable(why),
            None => Failure::unavailable(format!("the store answers {status}")),
        },
        (error, None) => Failure::passing(format!("no answer: {}", retry::cause(error))),
    }
}
