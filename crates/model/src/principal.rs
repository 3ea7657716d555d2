//! Access to instances: the one policy for the API, the portal, streams and sessions.

use crate::{Account, AccountId, AccountState, Actor, Name, Scopes};

/// A caller whose identity is established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The operator, at the Unix socket.
    Operator,
    /// A program with a bearer token.
    Token(Scopes),
    /// A signed-in user.
    Account {
        /// The account.
        id: AccountId,
        /// Admins may access every instance.
        admin: bool,
        /// An account that is suspended or pending deletion may access nothing.
        state: AccountState,
    },
}

impl Principal {
    /// The principal of an account.
    pub fn of_account(account: &Account) -> Self {
        Self::Account { id: account.id.clone(), admin: account.admin, state: account.state }
    }

    /// Whether the principal may access the instance `name`, owned by `owner`.
    pub fn can_access(&self, name: &Name, owner: Option<&AccountId>) -> bool {
        match self {
            Self::Operator => true,
            Self::Token(scopes) => scopes.can_access(name),
            Self::Account { id, admin, state } => {
                *state == AccountState::Active && (*admin || owner == Some(id))
            }
        }
    }

    /// Whether the principal may see an operation of a removed instance: one that it requested
    /// itself, or any if it may access all instances.
    pub fn can_see_operation_of_removed(&self, asked_by: &Actor) -> bool {
        let own = match self {
            Self::Account { id, state, .. } => {
                *state == AccountState::Active && *asked_by == Actor::account(id)
            }
            Self::Operator | Self::Token(_) => false,
        };
        own || self.can_access_all()
    }

    /// Whether the principal may access every instance.
    pub fn can_access_all(&self) -> bool {
        match self {
            Self::Operator => true,
            Self::Token(scopes) => scopes.instance.is_none(),
            Self::Account { admin, state, .. } => *state == AccountState::Active && *admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;

    #[test]
    fn the_owner_admins_operators_and_tokens_without_an_instance_may_access_an_instance() {
        let (alice, name) = (AccountId::new(), Name::parse("alice").unwrap());
        let account =
            |id: &AccountId, admin, state| Principal::Account { id: id.clone(), admin, state };
        let token = |only: Option<&str>| {
            let only = only.map(|n| Name::parse(n).unwrap());
            Principal::Token(Scopes::new(vec![Scope::Read], only).unwrap())
        };
        let other = AccountId::new();
        for (who, may, all) in [
            (Principal::Operator, true, true),
            (token(None), true, true),
            (token(Some("alice")), true, false),
            (token(Some("bob")), false, false),
            (account(&alice, false, AccountState::Active), true, false),
            (account(&other, false, AccountState::Active), false, false),
            (account(&other, true, AccountState::Active), true, true),
            (account(&alice, true, AccountState::Suspended), false, false),
            (account(&alice, true, AccountState::PendingDeletion), false, false),
        ] {
            assert_eq!(who.can_access(&name, Some(&alice)), may, "{who:?}");
            assert_eq!(who.can_access_all(), all, "{who:?}");
        }
        assert!(!account(&alice, false, AccountState::Active).can_access(&name, None));
    }
}
