//! The routes.

use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state, routing::post};
use startclaw_accounts::Accounts;
use startclaw_engine::Engine;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    document, extract,
    outermost::{outermost, panicked},
    problem::{Kind, Problem},
    routes,
    shared::{Access, Settings, Shared},
};

/// The management API over `engine` and `accounts`, for callers that authenticate by `access`.
///
/// At the Unix socket, serve it with `into_make_service_with_connect_info::<Peer>()`.
pub fn router(engine: Engine, accounts: Accounts, access: Access, settings: Settings) -> Router {
    let shared = Shared::new(engine, accounts, access, settings);
    let (router, _) = described().split_for_parts();
    router
        // The path of earlier versions; not in the document.
        .route("/accounts/give", post(routes::accounts::transfer))
        .fallback(unknown)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(shared.clone(), outermost))
        .layer(DefaultBodyLimit::max(extract::BODY_LIMIT))
        .with_state(shared)
}

/// The OpenAPI document of the API.
pub fn openapi() -> OpenApi {
    document::finish(described().into_openapi())
}

/// All routes with their descriptions; one file per verb or noun.
fn described() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(document::head())
        .routes(routes!(routes::provision::provision))
        .routes(routes!(routes::deprovision::deprovision))
        .routes(routes!(routes::restart::restart))
        .routes(routes!(routes::backup::backup))
        .routes(routes!(routes::backup::list, routes::backup::purge))
        .routes(routes!(routes::backup::removed, routes::backup::purge_of_account))
        .routes(routes!(routes::backup::rescan))
        .routes(routes!(routes::backup::accept_destination))
        .routes(routes!(routes::restore::restore))
        .routes(routes!(routes::drill::drill))
        .routes(routes!(routes::status::status))
        .routes(routes!(routes::telegram::show))
        .routes(routes!(routes::telegram::approve))
        .routes(routes!(routes::telegram::close))
        .routes(routes!(routes::open::open))
        .routes(routes!(routes::logs::logs))
        .routes(routes!(routes::operations::list))
        .routes(routes!(routes::operations::one))
        .routes(routes!(routes::operations::watch))
        .routes(routes!(routes::secrets::list, routes::secrets::set, routes::secrets::remove))
        .routes(routes!(routes::tokens::list, routes::tokens::create, routes::tokens::revoke))
        .routes(routes!(routes::accounts::list, routes::accounts::create, routes::accounts::remove))
        .routes(routes!(routes::accounts::link))
        .routes(routes!(routes::accounts::suspend))
        .routes(routes!(routes::accounts::resume))
        .routes(routes!(routes::accounts::admin))
        .routes(routes!(routes::accounts::quota))
        .routes(routes!(routes::accounts::transfer))
        .routes(routes!(
            routes::invitations::list,
            routes::invitations::create,
            routes::invitations::revoke
        ))
        .routes(routes!(routes::events::events))
        .routes(routes!(routes::alerts::alerts))
        .routes(routes!(routes::doctor::doctor))
        .routes(routes!(routes::metrics::metrics))
        .routes(routes!(routes::healthz::healthz))
        .routes(routes!(document::json))
        .routes(routes!(document::html))
}

async fn unknown() -> Problem {
    Problem::new(Kind::NotFound, "there is no such path; GET /openapi.json lists them all")
}
