//! `/confirm/TOKEN`: confirms an e-mail address. Opening the link does nothing yet, because mail
//! filters open links too.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use startclaw_accounts::LinkKind;

use crate::{
    Portal,
    answer::{Answer, go, page_with},
    auth::MaybeUser,
    error::{Button, Message, RejectionKind},
};

pub(crate) async fn show(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Path(token): Path<String>,
) -> Answer {
    let good = visitor.accounts().is_good(&token, LinkKind::Confirm).await;
    if !good.map_err(|e| portal.refuse(e, visitor.user()))? {
        return Err(portal.refuse(RejectionKind::DeadLink, visitor.user()));
    }
    let message = Message {
        site: portal.site(visitor.user()),
        here: "",
        notice: None,
        title: "Confirm your address".into(),
        lines: vec!["This shows that the address is yours.".into()],
        action: None,
        button: Some(Button { action: format!("/confirm/{token}"), label: "Confirm".into() }),
    };
    Ok(page_with(StatusCode::OK, &message))
}

pub(crate) async fn confirm(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Path(token): Path<String>,
) -> Answer {
    let done = visitor.accounts().confirm(&token).await;
    done.map_err(|e| portal.refuse(e, visitor.user()))?;
    Ok(go(if visitor.user().is_some() { "/account?done=confirmed" } else { "/sign-in" }))
}
