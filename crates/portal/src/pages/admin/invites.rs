//! `/admin/invites`: invitations to sign up.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::StatusCode,
};
use serde::Deserialize;
use startclaw_accounts::Link;
use startclaw_model::{Actor, Email, TimeZone};

use super::alerts;
use crate::{
    access::{Admin, Names},
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
    error::sentence,
    form::{Field, Sent},
    frame::{CreatedLink, Notice, Site},
    labels,
    pages::Done,
};

/// Maximum lifetime of an invitation, in days.
const LONGEST: u64 = 90;

#[derive(Template)]
#[template(path = "admin/invites.html")]
struct Invites {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    form: InviteForm,
    made_link: Option<CreatedLink>,
    invites: Vec<InviteRow>,
}

struct InviteForm {
    email: Field,
    days: Field,
}

struct InviteRow {
    id: String,
    email: Option<String>,
    by: String,
    made: String,
    expires: String,
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    #[serde(default)]
    email: String,
    #[serde(default)]
    days: String,
}

pub(crate) async fn show(admin: Admin, Query(done): Query<Done>) -> Answer {
    let form = InviteForm { email: Field::default(), days: Field::of("7") };
    Ok(page(&whole(&admin, form, done.notice(), None).await?))
}

pub(crate) async fn make(admin: Admin, Sent(sent): Sent<FormData>) -> Answer {
    let mut form = InviteForm { email: Field::of(&sent.email), days: Field::of(&sent.days) };
    let email = match sent.email.trim() {
        "" => None,
        text => match Email::parse(text) {
            Ok(email) => Some(email),
            Err(e) => {
                form.email.error = Some(sentence(&e.to_string()));
                None
            }
        },
    };
    let days = sent.days.trim().parse::<u64>().ok().filter(|days| (1..=LONGEST).contains(days));
    if days.is_none() {
        form.days.error = Some(format!("A whole number from 1 to {LONGEST}."));
    }
    let (Some(days), None) = (days, &form.email.error) else {
        let page = whole(&admin, form, None, None).await?;
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page));
    };
    let life = Duration::from_secs(days * 24 * 3600);
    let link = admin.invite(email.clone(), life).await?;
    let whom = email.map_or_else(|| "anyone with the link".to_owned(), |email| email.to_string());
    let made = CreatedLink {
        title: "Invitation created".into(),
        text: format!(
            "It is for {whom}, works once, and expires in {}. Copy it now: it is not shown again.",
            labels::counted(days, "day")
        ),
        url: link.url.expose().to_owned(),
    };
    let form = InviteForm { email: Field::default(), days: Field::of("7") };
    Ok(page(&whole(&admin, form, None, Some(made)).await?))
}

pub(crate) async fn revoke(admin: Admin, Path(id): Path<String>) -> Answer {
    admin.revoke_invitation(&id).await?;
    Ok(go("/admin/invites?done=revoked"))
}

async fn whole(
    admin: &Admin,
    form: InviteForm,
    notice: Option<Notice>,
    made_link: Option<CreatedLink>,
) -> Result<Invites, Rejection> {
    let open = admin.invitations().await?;
    let names = admin.names().await?;
    Ok(Invites {
        site: admin.site(),
        here: "invites",
        notice,
        alert_count: alerts(admin).await?,
        form,
        made_link,
        invites: open.into_iter().map(|link| row(link, &names, admin.time_zone())).collect(),
    })
}

fn row(link: Link, names: &Names, zone: &TimeZone) -> InviteRow {
    InviteRow {
        id: link.id,
        email: link.email.map(|email| email.to_string()),
        by: names.of(&Actor::stored(link.created_by)),
        made: labels::ago(link.created_at),
        expires: labels::moment(link.expires_at, zone),
    }
}
