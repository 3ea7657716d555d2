//! What a token may do.

use serde::{Deserialize, Serialize};

use crate::Name;

/// One permission of a bearer token.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// See state, operations and logs.
    Read,
    /// Provision, restart, deprovision, set secrets, make sign-in links.
    Write,
    /// Everything, tokens included.
    Admin,
}

/// The permissions of a token, and the instance that it is restricted to, if any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// The permissions; never empty.
    pub scopes: Vec<Scope>,
    /// If set, the token can access this instance only.
    pub instance: Option<Name>,
}

/// An invalid combination of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// No permission at all.
    #[error("a token needs at least one scope: read, write or admin")]
    Empty,
    /// `admin` for one instance.
    #[error("a token for one instance cannot have the scope admin")]
    AdminOfOne,
}

impl Scopes {
    /// Sorts, removes duplicates and validates.
    pub fn new(mut scopes: Vec<Scope>, instance: Option<Name>) -> Result<Self, ScopesError> {
        scopes.sort();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(ScopesError::Empty);
        }
        if instance.is_some() && scopes.contains(&Scope::Admin) {
            return Err(ScopesError::AdminOfOne);
        }
        Ok(Self { scopes, instance })
    }

    /// All permissions on all instances: those of the Unix socket.
    pub fn admin() -> Self {
        Self { scopes: vec![Scope::Admin], instance: None }
    }

    /// Whether these scopes include `wanted`. `write` includes `read`; `admin` includes both.
    pub fn allow(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|have| *have >= wanted)
    }

    /// Whether the token may access the instance `name`.
    pub fn can_access(&self, name: &Name) -> bool {
        self.instance.as_ref().is_none_or(|only| only == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_includes_the_lesser_ones() {
        let write = Scopes::new(vec![Scope::Write], None).unwrap();
        assert!(
            write.allow(Scope::Read) && write.allow(Scope::Write) && !write.allow(Scope::Admin)
        );
    }

    #[test]
    fn a_token_of_one_instance_sees_that_one_only() {
        let alice = Name::parse("alice").unwrap();
        let bob = Name::parse("bob").unwrap();
        let token = Scopes::new(vec![Scope::Read], Some(alice.clone())).unwrap();
        assert!(token.can_access(&alice) && !token.can_access(&bob));
        assert_eq!(Scopes::new(vec![Scope::Admin], Some(alice)), Err(ScopesError::AdminOfOne));
    }
}
