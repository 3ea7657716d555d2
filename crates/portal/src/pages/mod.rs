//! The pages, one a file.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod confirm;
pub(crate) mod delete;
pub(crate) mod front;
pub(crate) mod instance;
pub(crate) mod instances;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod operation;
pub(crate) mod passkeys;
pub(crate) mod remove;
pub(crate) mod reset;
pub(crate) mod restore;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
pub(crate) mod telegram;

use serde::Deserialize;

/// What was done, in the address of the page that one is sent back to.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

impl Done {
    /// What the page says of it.
    pub fn notice(&self) -> Option<crate::frame::Notice> {
        crate::frame::Notice::after(self.done.as_deref())
    }
}
