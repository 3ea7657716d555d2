//! `/`: the front page.

use askama::Template;
use axum::response::Response;

use crate::{
    access::MaybeUser,
    answer::{go, page},
    assets::Page as _,
    frame::{Notice, Site},
};

#[derive(Template)]
#[template(path = "front.html")]
struct Front {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
}

pub(crate) async fn show(visitor: MaybeUser) -> Response {
    if visitor.user().is_some() {
        return go("/instances");
    }
    page(&Front { site: visitor.site(), here: "front", notice: None })
}
