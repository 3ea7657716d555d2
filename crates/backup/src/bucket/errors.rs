//! Errors of buckets: what they mean, and what to do.

use std::error::Error as _;

use opendal::{Error, ErrorKind};

use crate::objects::ObjectError;

const NO_BUCKET: &str = "the bucket does not exist: create it, or check backup.destination";
/// What to do when the bucket refuses to delete.
const REFUSED: &str = "the bucket refuses to delete: grant the permission, or if it is meant to, \
                       set backup.append_only = true";

/// What to do, by the code in the answer. The codes are those of S3, which others have as well.
const BY_CODE: [(&[&str], &str); 5] = [
    (
        &["RequestTimeTooSkewed", "RequestExpired"],
        "this host's clock differs from that of the bucket: correct it",
    ),
    (
        &["ExpiredToken", "TokenRefreshRequired", "InvalidToken"],
        "the session token is not valid any more: write new credentials into the file of \
         backup.credentials",
    ),
    (
        &["InvalidAccessKeyId"],
        "the bucket does not know the key in backup.credentials: check the key's id, and \
         backup.endpoint",
    ),
    (&["SignatureDoesNotMatch"], "the secret in backup.credentials is wrong"),
    (
        &["SlowDown", "TooManyRequests"],
        "the bucket limits the rate of requests: lower backup.side_by_side",
    ),
];

/// Words in refusals that are about the account or the rate of requests, not about the object.
const OF_ACCOUNT: [&str; 7] = [
    "ateLimitExceeded",
    "quotaExceeded",
    "RequestLimitExceeded",
    "accountDisabled",
    "AllAccessDisabled",
    "AccountProblem",
    "billing",
];

/// What to do about certificates, by the words of rustls.
const BY_CERTIFICATE: [(&str, &str); 3] = [
    (
        "UnknownIssuer",
        "the authority of the bucket's certificate is not known: set backup.ca to its certificate",
    ),
    ("not valid for name", "the bucket's certificate is for another name: correct backup.endpoint"),
    (
        "certificate expired",
        "the bucket's certificate expired: renew it, or correct this host's clock",
    ),
];

/// The error of a request.
pub(super) fn failed(e: &Error) -> ObjectError {
    let code = code(e);
    // S3 distinguishes it, in all answers with a body.
    if e.kind() == ErrorKind::NotFound || code == Some("NoSuchBucket") {
        return ObjectError::Failed(NO_BUCKET.to_owned());
    }
    ObjectError::Failed(match advice(e, code) {
        Some(advice) => format!("{advice} ({e})"),
        None => format!("{e}{}", causes(e)),
    })
}

/// The error of a deletion.
pub(super) fn not_removed(e: &Error) -> ObjectError {
    if refuses(e) { ObjectError::Refused(format!("{REFUSED} ({e})")) } else { failed(e) }
}

/// Whether the bucket refuses to delete or replace an object, because of permissions or of a lock.
pub(super) fn refuses(e: &Error) -> bool {
    let (code, text) = (code(e), e.to_string());
    let is_of_account = OF_ACCOUNT.iter().any(|words| text.contains(words));
    let is_of_key = BY_CODE.iter().any(|(codes, _)| code.is_some_and(|code| codes.contains(&code)));
    let is_denied = || e.kind() == ErrorKind::PermissionDenied;
    let is_locked = || matches!(status(e), Some(405 | 409)) && !is_busy(code);
    !is_of_account && !is_of_key && (is_denied() || is_locked())
}

/// Whether it is that another request is being carried out.
fn is_busy(code: Option<&str>) -> bool {
    matches!(code, Some("OperationAborted" | "ConditionalRequestConflict"))
}

/// Whether the bucket refused a request that has no content: the answer has none either, and so no
/// code.
pub(super) fn is_without_reason(e: &Error) -> bool {
    let is_refusal = |status| matches!(status, 300..=403 | 405..=407);
    code(e).is_none() && status(e).is_some_and(is_refusal)
}

fn advice(e: &Error, code: Option<&str>) -> Option<String> {
    let redirected = ["AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"];
    if code.is_some_and(|code| redirected.contains(&code)) || status(e) == Some(301) {
        return Some(match region(e) {
            Some(region) => format!("the bucket's region is {region}: set backup.region to it"),
            None => "the bucket is in another region: correct backup.region and backup.endpoint"
                .to_owned(),
        });
    }
    let by_code = BY_CODE.iter().find(|(codes, _)| code.is_some_and(|code| codes.contains(&code)));
    if let Some((_, advice)) = by_code {
        return Some((*advice).to_owned());
    }
    if e.kind() == ErrorKind::PermissionDenied {
        let text =
            "the bucket denies access: check backup.credentials and the bucket's permissions";
        return Some(text.to_owned());
    }
    let causes = causes(e);
    let found = BY_CERTIFICATE.iter().find(|(words, _)| causes.contains(words));
    found.map(|(_, advice)| (*advice).to_owned())
}

/// The code in an answer.
fn code(e: &Error) -> Option<&str> {
    between(e.message(), "code: \"", "\"")
}

/// The HTTP status of an answer.
fn status(e: &Error) -> Option<u16> {
    between(&e.to_string(), "Parts { status: ", ",").and_then(|status| status.parse().ok())
}

/// The region that an answer names.
fn region(e: &Error) -> Option<String> {
    let text = e.to_string();
    let told = between(&text, "expecting '", "'");
    told.or_else(|| between(&text, "\"x-amz-bucket-region\": \"", "\"")).map(str::to_owned)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// What an error has as its causes, such as those of a connection.
fn causes(e: &Error) -> String {
    let mut text = String::new();
    let mut next = e.source().and_then(|first| first.source());
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_the_sake_of_the_account_is_none_to_delete() {
        let denied = |text: &str| refuses(&Error::new(ErrorKind::PermissionDenied, text));
        assert!(denied("S3Error { code: \"AccessDenied\", message: \"Access Denied.\" }"));
        assert!(denied("Object is subject to the bucket's retention policy"));
        for text in ["reason: \"userRateLimitExceeded\"", "code: \"AccountProblem\""] {
            assert!(!denied(text), "{text}");
        }
    }
}
