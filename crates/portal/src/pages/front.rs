//! `/`: the front page.

use askama::Template;
use axum::{extract::State, response::Response};

use crate::{
    Portal,
    answer::{go, page},
    assets::Page as _,
    auth::MaybeUser,
    frame::{Notice, Site},
};

#[derive(Template)]
#[template(path = "front.html")]
struct Front {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
}

pub(crate) async fn show(State(portal): State<Portal>, visitor: MaybeUser) -> Response {
    if visitor.user().is_some() {
        return go("/instances");
    }
    page(&Front { site: portal.site(None), here: "front", notice: None })
}
