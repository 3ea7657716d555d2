//! `/account/delete`: what is deleted, what is kept until when, and the password to confirm.

use askama::Template;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use startclaw_accounts::AccountError;
use startclaw_model::Secret;

use crate::{
    access::CurrentUser,
    answer::{Answer, Rejection, page, page_with},
    assets::Page as _,
    cookie,
    error::{Message, sentence},
    form::{SecretField, Sent},
    frame::{Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "delete.html")]
struct Delete {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    email: String,
    instances: Vec<String>,
    kept: String,
    form: DeleteForm,
}

#[derive(Default)]
struct DeleteForm {
    password: SecretField,
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    password: Secret,
}

pub(crate) async fn show(user: CurrentUser) -> Answer {
    Ok(page(&render_form(&user, DeleteForm::default()).await?))
}

pub(crate) async fn delete(user: CurrentUser, Sent(sent): Sent<FormData>) -> Answer {
    let done = match user.confirm_password(&sent.password).await {
        Ok(()) => user.delete().await,
        Err(e) => Err(e),
    };
    match done {
        Ok(()) => Ok(gone(&user)),
        Err(
            e
            @ (AccountError::Invalid { .. } | AccountError::Slow { .. } | AccountError::LastAdmin),
        ) => {
            let error = Some(sentence(&e.to_string()));
            let form = DeleteForm { password: SecretField { error } };
            let page = render_form(&user, form).await?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Err(e) => Err(user.refuse(e)),
    }
}

fn gone(user: &CurrentUser) -> axum::response::Response {
    let mut response = page_with(
        StatusCode::OK,
        &Message {
            site: user.portal().site(None),
            here: "",
            notice: None,
            title: "Your account is deleted".into(),
            lines: vec![format!(
                "Your instances are being removed. Their final backups are kept for {} and then deleted.",
                labels::counted(user.settings().backup.keep_days.into(), "day")
            )],
            action: None,
            button: None,
        },
    );
    if let Some(clear) = cookie::clear(cookie::SESSION) {
        response.headers_mut().append(header::SET_COOKIE, clear);
    }
    response
}

async fn render_form(user: &CurrentUser, form: DeleteForm) -> Result<Delete, Rejection> {
    let instances = user.instances().await?;
    Ok(Delete {
        site: user.site(),
        here: "account",
        notice: None,
        email: user.account().email.to_string(),
        instances: instances.iter().map(|i| i.name.to_string()).collect(),
        kept: labels::counted(user.settings().backup.keep_days.into(), "day"),
        form,
    })
}
