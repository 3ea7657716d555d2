//! The OpenAPI document: the parts that are not on the routes, and the two paths that serve it.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{Html, IntoResponse},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256};
use utoipa::{
    OpenApi as _, PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::{
    extract::{Nothing, Query},
    page,
    problem::{Document, FieldError, MEDIA_TYPE, Problem},
    router::openapi,
};

/// The header of the document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "StartClaw",
        description = "Provision, restart, watch and remove OpenClaw instances. The same API is \
            served at the Unix socket of the machine, where whoever can open it may do \
            everything, and at https://api.DOMAIN for programs with bearer tokens. Verbs that \
            take time answer 202 with an operation. Errors are problem documents (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/")),
    tags(
        (name = "instances", description = "One OpenClaw each"),
        (name = "backups", description = "What is kept of them, and how it comes back"),
        (name = "operations", description = "What was asked for, how far it is, and what happened"),
        (name = "secrets", description = "Keys and bot tokens of instances; write-only"),
        (name = "accounts", description = "People who sign in, and who is invited"),
        (name = "tokens", description = "What programs prove themselves with"),
        (name = "machine", description = "The platform itself")
    )
)]
struct Head;

/// The document before the routes are added.
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// Adds the parts common to all paths: the error response and the bearer scheme.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(Document::name().into_owned(), Document::schema());
    components.schemas.insert(FieldError::name().into_owned(), FieldError::schema());
    components.security_schemes.insert(
        "token".to_owned(),
        SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "A token that `startclaw tokens create` made. The scope named beside each \
                     path is the least it needs; `write` includes `read`, `admin` includes both. \
                     The Unix socket needs none.",
                ))
                .build(),
        )
        .into(),
    );
    let problem = || {
        ResponseBuilder::new()
            .description("What went wrong, as a problem document.")
            .content(
                MEDIA_TYPE,
                ContentBuilder::new().schema(Some(Ref::from_schema_name(Document::name()))).build(),
            )
            .build()
    };
    for item in document.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten();
        for operation in operations {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem()));
        }
    }
    document
}

/// The rendered document, cached.
struct Rendered {
    json: String,
    html: String,
    policy: String,
}

static RENDERED: LazyLock<Result<Rendered, serde_json::Error>> = LazyLock::new(|| {
    let document = openapi();
    let style = BASE64.encode(Sha256::digest(page::STYLE.as_bytes()));
    Ok(Rendered {
        json: document.to_pretty_json()?,
        html: page::render(&serde_json::to_value(&document)?),
        policy: format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        ),
    })
});

fn rendered() -> Result<&'static Rendered, Problem> {
    RENDERED.as_ref().map_err(|e| Problem::internal(format!("the OpenAPI document: {e}")))
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "machine", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
    security(()),
)]
pub(crate) async fn json(Query(Nothing {}): Query<Nothing>) -> Result<impl IntoResponse, Problem> {
    Ok(([(header::CONTENT_TYPE, "application/json")], rendered()?.json.as_str()))
}

/// This document as a page
#[utoipa::path(
    get, path = "/docs", tag = "machine", operation_id = "docs",
    responses((status = 200, description = "A page without scripts.", body = String, content_type = "text/html")),
    security(()),
)]
pub(crate) async fn html(Query(Nothing {}): Query<Nothing>) -> Result<impl IntoResponse, Problem> {
    let rendered = rendered()?;
    Ok((
        [(header::CONTENT_SECURITY_POLICY, rendered.policy.as_str())],
        Html(rendered.html.as_str()),
    ))
}
