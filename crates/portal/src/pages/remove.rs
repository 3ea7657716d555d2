//! `/instances/NAME/remove`: removes an instance, confirmed by typing its name.

use askama::Template;
use axum::http::StatusCode;
use serde::Deserialize;
use startclaw_model::DeletionPolicy;

use super::instance::follow;
use crate::{
    access::OwnedInstance,
    answer::{Answer, page, page_with},
    assets::Page as _,
    form::{Field, Sent},
    frame::{Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "remove.html")]
struct Remove {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    name: String,
    kept: String,
    form: RemoveForm,
}

#[derive(Default)]
struct RemoveForm {
    name: Field,
    forget: bool,
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    #[serde(default)]
    name: String,
    forget: Option<String>,
}

pub(crate) async fn show(own: OwnedInstance) -> Answer {
    Ok(page(&render_form(&own, RemoveForm::default())))
}

pub(crate) async fn remove(own: OwnedInstance, Sent(sent): Sent<FormData>) -> Answer {
    let forget = sent.forget.is_some();
    if sent.name.trim() != own.name().as_str() {
        let error = Some(format!("Type {} to confirm.", own.name()));
        let form = RemoveForm { name: Field { value: sent.name, error }, forget };
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &render_form(&own, form)));
    }
    let policy = if forget { DeletionPolicy::Purge } else { DeletionPolicy::FinalBackup };
    follow(&own, own.deprovision(policy).await)
}

fn render_form(own: &OwnedInstance, form: RemoveForm) -> Remove {
    Remove {
        site: own.site(),
        here: "instances",
        notice: None,
        name: own.name().to_string(),
        kept: labels::counted(own.settings().backup.keep_days.into(), "day"),
        form,
    }
}
