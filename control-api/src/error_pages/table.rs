//! The problem codes of the platform, by alphabet.

use headgate_types::ErrorKind::{
    Conflict, Internal, Invalid, MethodNotAllowed, NotAcceptable, NotFound, PreconditionFailed, PreconditionRequired,
    TooLarge, TooManyRequests, Unavailable, Unprocessable, UnsupportedMediaType,
};

use super::ErrorPage;

/// Every code, sorted.
pub const PAGES: &[ErrorPage] = &[
    ErrorPage::new(
        "already_exists",
        Conflict,
        "Something of that kind and name exists already.",
        "Choose another name, or use the one that exists.",
    ),
    ErrorPage::new(
        "body_too_large",
        TooLarge,
        "The request's body is larger than this operation takes.",
        "Send less at once; `detail` names the limit in bytes.",
    ),
    ErrorPage::new(
        "database_busy",
        Unavailable,
        "The database did not take the transaction in time.",
        "Send the same request again after `Retry-After` seconds; nothing was changed.",
    ),
    ErrorPage::new(
        "engine_unreachable",
        Unavailable,
        "The control plane could not reach the engine that serves the channels.",
        "Send the same request again after `Retry-After` seconds. Channels go on working meanwhile.",
    ),
    ErrorPage::new(
        "etag_mismatch",
        PreconditionFailed,
        "The object was changed after you read it, so your change was not made.",
        "Read it again, decide again, and send the change with the new `ETag` in `If-Match`.",
    ),
    ErrorPage::new(
        "idempotency_key_in_flight",
        Conflict,
        "The first request with this `Idempotency-Key` is still being answered.",
        "Wait for `Retry-After` seconds and send the same request again; you get the first answer.",
    ),
    ErrorPage::new(
        "idempotency_key_required",
        Invalid,
        "This operation must not happen twice by accident, and the request has no `Idempotency-Key`.",
        "Send a new UUID as `Idempotency-Key`, and the same one again on a retry.",
    ),
    ErrorPage::new(
        "idempotency_key_reused",
        Unprocessable,
        "The `Idempotency-Key` was used for a request with another path or body.",
        "Use a new key for a new request.",
    ),
    ErrorPage::new(
        "if_match_required",
        PreconditionRequired,
        "A change needs `If-Match`, so that it cannot undo a change you have not seen.",
        "Read the object, and send its `ETag` as `If-Match`.",
    ),
    ErrorPage::new(
        "incomplete_body",
        Invalid,
        "The connection ended before the whole body was received.",
        "Send the request again.",
    ),
    ErrorPage::new(
        "internal",
        Internal,
        "The request failed on our side.",
        "Send it again; if it fails again, give `request_id` to whoever runs the platform.",
    ),
    ErrorPage::new(
        "invalid_body",
        Invalid,
        "The body is JSON, but not of the shape of this operation.",
        "Correct the place that `errors[].pointer` names.",
    ),
    ErrorPage::new(
        "invalid_json",
        Invalid,
        "The body is not JSON.",
        "Correct it at the line and column that `detail` names.",
    ),
    ErrorPage::new(
        "invalid_parameter",
        Invalid,
        "A query parameter or header has a value that cannot be used.",
        "Correct the parameter that `errors[].pointer` names.",
    ),
    ErrorPage::new(
        "invalid_request",
        Invalid,
        "The request is not well-formed HTTP for this operation.",
        "Compare it with the operation in `/docs`.",
    ),
    ErrorPage::new(
        "method_not_allowed",
        MethodNotAllowed,
        "The path exists, but not with this method.",
        "Use one of the methods in the `Allow` header.",
    ),
    ErrorPage::new(
        "not_acceptable",
        NotAcceptable,
        "None of the representations that `Accept` names can be made.",
        "Ask for one of those that the operation documents.",
    ),
    ErrorPage::new(
        "not_found",
        NotFound,
        "There is no such object, or it is not yours: the two cannot be told apart from outside.",
        "Check the id and the client you authenticate as.",
    ),
    ErrorPage::new(
        "rate_limited",
        TooManyRequests,
        "The client, or its tenant as a whole, sends requests faster than its limit.",
        "Wait for `Retry-After` seconds; `RateLimit` and `RateLimit-Policy` on every answer tell what is left.",
    ),
    ErrorPage::new("route_not_found", NotFound, "Nothing is served at this path.", "Compare the path with `/docs`."),
    ErrorPage::new(
        "unavailable",
        Unavailable,
        "The service cannot answer now.",
        "Send the same request again a little later.",
    ),
    ErrorPage::new(
        "unsupported_media_type",
        UnsupportedMediaType,
        "The content type or encoding of the body is not one that this operation reads.",
        "Send one of the types that the operation documents.",
    ),
    ErrorPage::new(
        "validation_failed",
        Unprocessable,
        "The request is well-formed, but what it asks for is refused.",
        "Correct the places that `errors[]` names; nothing was changed.",
    ),
];
