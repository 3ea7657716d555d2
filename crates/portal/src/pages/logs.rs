//! `/instances/NAME/logs`: the log, followed live.

use askama::Template;
use futures::{StreamExt, TryStreamExt};
use startclaw_engine::LogRequest;

use crate::{
    access::OwnedInstance,
    answer::{Answer, page},
    assets::Page as _,
    frame::{Notice, Site},
    stream::{piece, stream as respond},
};

/// Lines shown at first.
const LINES: usize = 200;
/// Maximum number of lines in one event.
const AT_ONCE: usize = 256;

#[derive(Template)]
#[template(path = "logs.html")]
struct Logs {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    name: String,
    lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "part/log_lines.html")]
struct Lines {
    lines: Vec<String>,
}

pub(crate) async fn show(own: OwnedInstance) -> Answer {
    let request = LogRequest { tail: LINES, follow: false };
    let lines = own.logs(request).await?;
    // If reading the log fails midway, the lines before the failure are shown.
    let lines = lines.take_while(|line| std::future::ready(line.is_ok()));
    Ok(page(&Logs {
        site: own.site(),
        here: "instances",
        notice: None,
        name: own.name().to_string(),
        lines: lines.try_collect().await.unwrap_or_default(),
    }))
}

/// Streams new lines.
pub(crate) async fn stream(own: OwnedInstance) -> Answer {
    let request = LogRequest { tail: 0, follow: true };
    let guard = own.open_stream().await?;
    let lines = own.logs(request).await?;
    let pieces = lines.ready_chunks(AT_ONCE).map(|chunk| {
        let lines: Vec<String> = chunk.into_iter().filter_map(Result::ok).collect();
        piece("lines", &Lines { lines }.render().unwrap_or_default())
    });
    Ok(respond(own.user().portal(), guard, pieces))
}
