//! The name of an instance: the DNS label it is reached by.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::schema::describe_text;

/// Labels that belong to the platform or that would mislead people.
const RESERVED: &[&str] = &[
    "admin",
    "api",
    "app",
    "auth",
    "autoconfig",
    "autodiscover",
    "dns",
    "ftp",
    "imap",
    "localhost",
    "login",
    "mail",
    "mx",
    "ns",
    "ns1",
    "ns2",
    "pop",
    "portal",
    "root",
    "signin",
    "signup",
    "smtp",
    "ssh",
    "ssl",
    "startclaw",
    "status",
    "support",
    "system",
    "webmail",
    "wpad",
    "www",
];

/// An instance's name: a DNS label of 1 to 40 characters, `a-z`, `0-9` and `-`,
/// with no dash at either end. It is the first label of the instance's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

describe_text!(
    Name,
    "^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$",
    Name::MAX_LEN,
    "alice",
    "The name of an instance: 1 to 40 characters `a-z`, `0-9` and `-`. Neither reserved, such as \
     `admin`, nor one that starts with `xn--`."
);

/// Why a text is no instance name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty or longer than 40 characters.
    #[error("a name has 1 to 40 characters")]
    Length,
    /// A character outside `a-z`, `0-9`, `-`.
    #[error("a name has only the characters a-z, 0-9 and -")]
    Character,
    /// A dash at the start or the end.
    #[error("a name neither starts nor ends with a dash")]
    Dash,
    /// Internationalised labels can imitate another name.
    #[error("a name does not start with xn--")]
    Punycode,
    /// A label that the platform reserves.
    #[error("this name is reserved; choose another")]
    Reserved,
}

impl Name {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 40;

    /// Checks `text` against the rules; this is the only place that does.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN {
            return Err(NameError::Length);
        }
        if !bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            return Err(NameError::Character);
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Dash);
        }
        if text.starts_with("xn--") {
            return Err(NameError::Punycode);
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels_are_names() {
        for good in ["a", "alice", "a-b", "0", "user-1", &"a".repeat(40)] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let long = "a".repeat(41);
        for (bad, why) in [
            ("", NameError::Length),
            (long.as_str(), NameError::Length),
            ("Alice", NameError::Character),
            ("a.b", NameError::Character),
            ("a_b", NameError::Character),
            ("../etc", NameError::Character),
            ("a\n", NameError::Character),
            ("é", NameError::Character),
            ("-a", NameError::Dash),
            ("a-", NameError::Dash),
            ("xn--bcher-kva", NameError::Punycode),
            ("api", NameError::Reserved),
        ] {
            assert_eq!(Name::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn json_cannot_smuggle_a_bad_name_in() {
        assert!(serde_json::from_str::<Name>("\"..\"").is_err());
    }
}
