//! `/instances/NAME/telegram`: the connection of the bot, its approved users, and access requests.

use askama::Template;
use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;
use startclaw_engine::{EngineError, TelegramConnection, TelegramStatus};
use startclaw_model::Timestamp;

use super::Done;
use crate::{
    access::OwnedInstance,
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
    error::sentence,
    form::Sent,
    frame::{Notice, Site},
    labels,
};

/// User ids shown.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "telegram.html")]
struct TelegramPage {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    name: String,
    connection: String,
    bad: bool,
    has_bot: bool,
    access: &'static str,
    open: bool,
    bot: Option<String>,
    allowed: String,
    requests: Vec<RequestRow>,
    asking: Option<String>,
}

struct RequestRow {
    user: i64,
    who: String,
    asked: String,
}

#[derive(Deserialize)]
pub(crate) struct Approve {
    #[serde(default)]
    user: String,
}

pub(crate) async fn show(own: OwnedInstance, Query(done): Query<Done>) -> Answer {
    Ok(page(&whole(&own, done.notice()).await?))
}

pub(crate) async fn approve(own: OwnedInstance, Sent(sent): Sent<Approve>) -> Answer {
    // The engine rejects what is not a number with the same message as an invalid id.
    let user = sent.user.trim().parse().unwrap_or(0);
    let done = own.approve_telegram(user).await;
    answer(&own, done, "approved").await
}

pub(crate) async fn close(own: OwnedInstance) -> Answer {
    let done = own.close_telegram().await;
    answer(&own, done, "closed").await
}

async fn answer(
    own: &OwnedInstance,
    result: Result<(), EngineError>,
    done: &'static str,
) -> Answer {
    let error = match result {
        Ok(()) => return Ok(go(&format!("/instances/{}/telegram?done={done}", own.name()))),
        Err(error) => error,
    };
    let status = match &error {
        EngineError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        EngineError::Conflict(_) => StatusCode::CONFLICT,
        _ => return Err(own.refuse(error)),
    };
    let notice = Notice::bad(sentence(&error.to_string()));
    Ok(page_with(status, &whole(own, Some(notice)).await?))
}

async fn whole(own: &OwnedInstance, notice: Option<Notice>) -> Result<TelegramPage, Rejection> {
    let TelegramStatus { connection, open, allowed, requests } = own.telegram().await?;
    let asking = (!requests.is_empty())
        .then(|| labels::counted(u64::try_from(requests.len()).unwrap_or(u64::MAX), "request"));
    let rows = requests.into_iter().map(|request| RequestRow {
        user: request.user,
        who: match (request.username, request.name.is_empty()) {
            (Some(username), true) => format!("@{username}"),
            (Some(username), false) => format!("@{username} ({})", request.name),
            (None, false) => request.name,
            (None, true) => "No name".to_owned(),
        },
        asked: Timestamp::parse(&request.at).map(labels::ago).unwrap_or_default(),
    });
    let shown: Vec<_> = allowed.iter().take(SHOWN).map(ToString::to_string).collect();
    Ok(TelegramPage {
        site: own.site(),
        here: "instances",
        notice,
        name: own.name().to_string(),
        bad: matches!(connection, TelegramConnection::Refused | TelegramConnection::Unreachable),
        has_bot: connection != TelegramConnection::None,
        connection: sentence(&connection.text()),
        access: match open {
            Some(true) => "Open: every Telegram user can command it.",
            Some(false) => "Only approved users can talk to it.",
            None => "",
        },
        open: open == Some(true),
        bot: match connection {
            TelegramConnection::Connected(bot) if !bot.is_empty() => Some(bot),
            _ => None,
        },
        allowed: shown.join(", "),
        requests: rows.collect(),
        asking,
    })
}
