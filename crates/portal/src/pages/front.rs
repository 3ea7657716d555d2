//! `/`: what this is.

use askama::Template;
use axum::{extract::State, response::Response};

use crate::{
    Portal,
    answer::{go, page},
    assets::Page as _,
    frame::{Notice, Site},
    who::Visitor,
};

#[derive(Template)]
#[template(path = "front.html")]
struct Front {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
}

pub(crate) async fn show(State(portal): State<Portal>, visitor: Visitor) -> Response {
    if visitor.person().is_some() {
        return go("/instances");
    }
    page(&Front { site: portal.site(None), here: "front", notice: None })
}
