//! `/confirm/TOKEN`: confirms an e-mail address. Opening the link does nothing yet, because mail
//! filters open links too.

use axum::{extract::Path, http::StatusCode};
use startclaw_accounts::LinkKind;

use crate::{
    access::MaybeUser,
    answer::{Answer, go, page_with},
    error::{Button, Message},
};

pub(crate) async fn show(visitor: MaybeUser, Path(token): Path<String>) -> Answer {
    visitor.check_link(&token, LinkKind::Confirm).await?;
    let message = Message {
        site: visitor.site(),
        here: "",
        notice: None,
        title: "Confirm your address".into(),
        lines: vec!["This shows that the address is yours.".into()],
        action: None,
        button: Some(Button { action: format!("/confirm/{token}"), label: "Confirm".into() }),
    };
    Ok(page_with(StatusCode::OK, &message))
}

pub(crate) async fn confirm(visitor: MaybeUser, Path(token): Path<String>) -> Answer {
    visitor.confirm_address(&token).await?;
    Ok(go(if visitor.user().is_some() { "/account?done=confirmed" } else { "/sign-in" }))
}
