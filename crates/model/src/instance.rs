//! An instance: one OpenClaw, owned by one account.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccountId, Desired, Health, Name, Operation, Slot, Timestamp, schema::describe_text};

/// Identifies an instance permanently; a name can be reused after deprovision, an id cannot.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl InstanceId {
    /// A new id; ids sort by the time they were made.
    #[expect(clippy::new_without_default, reason = "a new id each time is no default")]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An instance as a request names it: whichever has the name, or exactly one. Where access was
/// checked, it is the checked one: its name may belong to another person's instance by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceRef<'a> {
    /// The name.
    pub name: &'a Name,
    /// If set, only the instance with this id is meant, and none that has the name after it.
    pub id: Option<&'a InstanceId>,
}

impl InstanceRef<'_> {
    /// Whether the instance with this id, which has the name, is meant.
    pub fn means(&self, id: &InstanceId) -> bool {
        self.id.is_none_or(|only| only == id)
    }
}

impl<'a> From<&'a Name> for InstanceRef<'a> {
    fn from(name: &'a Name) -> Self {
        Self { name, id: None }
    }
}

impl<'a> From<&'a Instance> for InstanceRef<'a> {
    fn from(instance: &'a Instance) -> Self {
        Self { name: &instance.name, id: Some(&instance.id) }
    }
}

impl<'a> From<&'a Operation> for InstanceRef<'a> {
    fn from(operation: &'a Operation) -> Self {
        Self { name: &operation.name, id: Some(&operation.instance) }
    }
}

/// Who an instance belongs to: an account's e-mail address or id, 1 to 128 printable
/// ASCII characters without spaces, because OpenClaw gets it in a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

describe_text!(
    Owner,
    "^[!#%&(-+./0-9:=?@A-Z\\[\\]^_`a-z{|}~-]{1,128}$",
    128,
    "alice@example.com",
    "Who an instance belongs to: an e-mail address or id of 1 to 128 printable ASCII characters \
     without spaces, quotes, commas, `;`, `<`, `>`, `\\` and `$`."
);

/// A text that is no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an owner is an e-mail address or id of 1 to 128 printable characters without spaces, quotes or commas"
)]
pub struct OwnerError;

impl Owner {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, OwnerError> {
        let good = (1..=128).contains(&text.len())
            && text.bytes().all(|b| {
                b.is_ascii_graphic()
                    && !matches!(b, b'"' | b'\'' | b'\\' | b',' | b';' | b'<' | b'>' | b'$')
            });
        if good { Ok(Self(text.to_owned())) } else { Err(OwnerError) }
    }

    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Owner {
    type Error = OwnerError;
    fn try_from(text: String) -> Result<Self, OwnerError> {
        Self::parse(&text)
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

/// An instance, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its name: the first label of its address.
    pub name: Name,
    /// The owner's identity in OpenClaw.
    pub owner: Owner,
    /// The owning account; none when an admin created it for an address without one.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// Its slot on the host.
    pub slot: Slot,
    /// Number of changes of its desired state and of its owner.
    #[serde(default)]
    pub revision: u64,
    /// Its desired state.
    pub desired: Desired,
    /// Its failures and the next retry.
    pub health: Health,
    /// When it was requested.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_fits_into_a_header() {
        assert!(Owner::parse("alice@example.com").is_ok());
        for bad in ["", "a b", "a\r\nX: y", "é", "a,b", &"a".repeat(129)] {
            assert!(Owner::parse(bad).is_err(), "{bad:?}");
        }
    }
}
