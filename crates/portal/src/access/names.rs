//! Names of actors, for admins: who requested an operation or created an invitation.

use std::collections::HashMap;

use startclaw_accounts::AccountInfo;
use startclaw_engine::StoredToken;
use startclaw_model::Actor;

/// The names of accounts and tokens, by actor.
pub(crate) struct Names(HashMap<Actor, String>);

impl Names {
    pub(super) fn new(accounts: &[AccountInfo], tokens: &[StoredToken]) -> Self {
        let accounts = accounts
            .iter()
            .map(|info| (Actor::account(&info.account.id), info.account.email.to_string()));
        let tokens =
            tokens.iter().map(|token| (Actor::token(&token.id), format!("token {}", token.label)));
        Self(accounts.chain(tokens).collect())
    }

    /// The person or program that an actor is.
    pub fn of(&self, actor: &Actor) -> String {
        if let Some(name) = self.0.get(actor) {
            return name.clone();
        }
        let gone = match actor {
            system if *system == Actor::system() => "StartClaw",
            operator if operator.is_operator() => "the operator on the server",
            account if account.is_account() => "a deleted account",
            token if token.token_id().is_some() => "a deleted token",
            other => other.as_str(),
        };
        gone.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use startclaw_model::AccountId;

    use super::*;

    #[test]
    fn every_actor_has_a_name_for_people() {
        let names = Names::new(&[], &[]);
        for (actor, name) in [
            (Actor::system(), "StartClaw"),
            (Actor::socket(0), "the operator on the server"),
            (Actor::account(&AccountId::new()), "a deleted account"),
            (Actor::token("t1"), "a deleted token"),
        ] {
            assert_eq!(names.of(&actor), name);
        }
    }
}
