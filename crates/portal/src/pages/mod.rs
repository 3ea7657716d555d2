//! The pages, one per file.

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

/// The result of a change, as a keyword in the address of the page redirected to.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

impl Done {
    /// The message for it.
    pub fn notice(&self) -> Option<crate::frame::Notice> {
        crate::frame::Notice::after(self.done.as_deref())
    }
}
