//! `/instances/NAME/remove`: its name typed again, and it goes.

use askama::Template;
use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use startclaw_model::Farewell;

use super::instance::follow;
use crate::{
    Portal,
    answer::{Answer, page, page_with},
    assets::Page as _,
    form::{Field, Sent},
    frame::{Notice, Site},
    who::Own,
    words,
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
pub(crate) struct Sheet {
    #[serde(default)]
    name: String,
    forget: Option<String>,
}

pub(crate) async fn show(State(portal): State<Portal>, own: Own) -> Answer {
    Ok(page(&sheet(&portal, &own, RemoveForm::default())))
}

pub(crate) async fn remove(
    State(portal): State<Portal>,
    own: Own,
    Sent(sent): Sent<Sheet>,
) -> Answer {
    let forget = sent.forget.is_some();
    if sent.name.trim() != own.name().as_str() {
        let error = Some(format!("Type {} to confirm.", own.name()));
        let form = RemoveForm { name: Field { value: sent.name, error }, forget };
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &sheet(&portal, &own, form)));
    }
    let farewell = if forget { Farewell::Purge } else { Farewell::Backup };
    let asked = own.engine().deprovision(&own.person.actor(), own.name(), farewell, None).await;
    follow(&own, asked)
}

fn sheet(portal: &Portal, own: &Own, form: RemoveForm) -> Remove {
    Remove {
        site: portal.site(Some(&own.person)),
        here: "instances",
        notice: None,
        name: own.name().to_string(),
        kept: words::counted(portal.settings.backup.keep_days.into(), "day"),
        form,
    }
}
