//! The file with the credentials of a bucket.

use std::path::Path;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The key of a service account of Google, as JSON.
    ServiceAccount,
    /// An access key, as S3 and Google's HMAC keys have it.
    AccessKey(AccessKey),
}

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AccessKey {
    pub id: String,
    pub secret: String,
    /// The session token of temporary credentials.
    pub token: Option<String>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

const FORMAT: &str = "backup.credentials holds two lines: the access key's id, and its secret; a \
                      third one is a session token";

/// Reads the file. Every job does, so that a file that was replaced needs no restart.
pub(super) fn read(path: &Path) -> Result<Credentials, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("backup.credentials: cannot read {}: {e}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Credentials, String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    if text.trim_start().starts_with('{') {
        return Ok(Credentials::ServiceAccount);
    }
    let (id, secret, token) = if lines().any(|line| value(line, "aws_access_key_id").is_some()) {
        let find = |name| profile(text).find_map(|line| value(line, name));
        (find("aws_access_key_id"), find("aws_secret_access_key"), find("aws_session_token"))
    } else {
        let mut lines = lines();
        (lines.next(), lines.next(), lines.next())
    };
    let (Some(id), Some(secret)) = (id, secret) else { return Err(FORMAT.into()) };
    let [id, secret] = [id, secret].map(str::to_owned);
    Ok(Credentials::AccessKey(AccessKey { id, secret, token: token.map(str::to_owned) }))
}

/// The lines of the first profile of AWS's format.
fn profile(text: &str) -> impl Iterator<Item = &str> {
    let all = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let all = all.skip_while(|line| line.starts_with(['[', '#', ';']));
    all.take_while(|line| !line.starts_with('['))
}

/// The value of `name = value`.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once('=')?;
    (key.trim() == name).then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, secret: &str, token: Option<&str>) -> Credentials {
        let token = token.map(str::to_owned);
        Credentials::AccessKey(AccessKey { id: id.into(), secret: secret.into(), token })
    }

    #[test]
    fn the_formats_of_credentials_are_told_apart() {
        for (text, expected) in [
            ("AKIA1\nse/cr+et=\n", key("AKIA1", "se/cr+et=", None)),
            ("\n AKIA1 \r\n\r\nsecret\r\n token== \r\n", key("AKIA1", "secret", Some("token=="))),
            (" {\"type\": \"service_account\"}", Credentials::ServiceAccount),
            (
                "# by hand\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s=\n\
                 aws_session_token = t=\n[other]\naws_access_key_id = AKIA2\n",
                key("AKIA1", "s=", Some("t=")),
            ),
        ] {
            assert_eq!(parse(text), Ok(expected));
        }
        for bad in ["", "AKIA1\n", "[default]\naws_access_key_id = AKIA1\n"] {
            assert_eq!(parse(bad), Err(FORMAT.into()), "{bad:?}");
        }
        assert!(!format!("{:?}", parse("AKIA1\nsecret")).contains("secret"));
    }
}
