//! An account: a person who signs in to the portal, with a state and a quota.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Owner, Timestamp, schema::describe_text};

/// Identifies an account for ever.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct AccountId(pub String);

impl AccountId {
    /// A new id. Random, because passkeys store it as the user handle.
    #[expect(clippy::new_without_default, reason = "a new id each time is no default")]
    pub fn new() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address in lower case, used to sign in. It becomes the [`Owner`] of the account's
/// instances, so it must also be a valid owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

describe_text!(
    Email,
    "^[!#%&*+/-9=?A-Z^-~-](?:[!#%&*+.-9=?A-Z^-~-]{0,62}[!#%&*+/-9=?A-Z^-~-])?\
     @[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?(?:\\.[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?)*$",
    128,
    "alice@example.com",
    "An e-mail address, at most 128 characters. Capital letters are read as small ones."
);

/// A text that is no e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid e-mail address; use a form such as alice@example.com")]
pub struct EmailError;

impl Email {
    /// Parses an address; surrounding spaces and case are ignored.
    ///
    /// # Errors
    /// [`EmailError`] when the text is not an address that mail can be sent to.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim().to_ascii_lowercase();
        let (name, host) = text.split_once('@').ok_or(EmailError)?;
        let label = |l: &str| {
            !l.is_empty()
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        let good = !name.is_empty()
            && name.len() <= 64
            && !name.starts_with('.')
            && !name.ends_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#%&*+-/=?^_`{|}~.".contains(&b))
            && host.split('.').all(label)
            && Owner::parse(&text).is_ok();
        if good { Ok(Self(text)) } else { Err(EmailError) }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The owner of the account's instances.
    pub fn owner(&self) -> Owner {
        // `parse` has checked that the address is a valid owner.
        Owner::parse(&self.0).unwrap_or_else(|_| unreachable!("an e-mail address is an owner"))
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;
    fn try_from(text: String) -> Result<Self, EmailError> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// What becomes of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccountState {
    /// It can be signed in to.
    Active,
    /// An admin keeps it out; its instances continue.
    Suspended,
    /// It goes, when its instances are gone.
    #[serde(alias = "leaving")]
    PendingDeletion,
}

/// What an account may have in all.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Instances.
    pub instances: u32,
    /// Memory that they can never pass together, in MiB: the sum of their hard limits.
    pub memory_mib: u64,
    /// Data that they hold together, in MiB. With it used up nothing new can be made; what is
    /// there continues.
    pub disk_mib: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { instances: 1, memory_mib: 2048, disk_mib: 10 * 1024 }
    }
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its address.
    pub email: Email,
    /// Whether it sees and administers everything.
    pub admin: bool,
    /// What becomes of it.
    pub state: AccountState,
    /// Since when it is known that the address is the person's.
    pub confirmed_at: Option<Timestamp>,
    /// Its quota, if that is not the default.
    pub quota: Option<Quota>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last sign-in.
    pub signed_in_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_small_letters() {
        assert_eq!(Email::parse(" Alice@Example.COM ").unwrap().as_str(), "alice@example.com");
        assert_eq!(Email::parse("a+b@x").unwrap().owner().as_str(), "a+b@x");
    }

    #[test]
    fn what_no_mail_could_be_sent_to_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "alice",
            "@x",
            "a@",
            "a@b@c",
            "a b@x",
            "a@-x",
            "a@x..y",
            ".a@x",
            "a\n@x",
            "é@x",
            "a@x\r\nbcc: b@y",
            "<a@x>",
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }
}
