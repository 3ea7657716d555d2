//! Styles, scripts and the icon: embedded in the binary, addressed by digest, and cached by
//! browsers without expiry.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sha2::{Digest, Sha256};

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 5] = [
    asset("app.css", CSS, include_bytes!("../assets/app.css")),
    asset("app.js", JS, include_bytes!("../assets/app.js")),
    asset("htmx.js", JS, include_bytes!("../assets/vendor/htmx.js")),
    asset("htmx-sse.js", JS, include_bytes!("../assets/vendor/htmx-sse.js")),
    asset("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
];

const fn asset(name: &'static str, kind: &'static str, content: &'static [u8]) -> Asset {
    Asset { name, kind, content }
}

/// Their addresses, in the order of [`ASSETS`].
static ADDRESSES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let address = |asset: &Asset| {
        let digest = BASE64.encode(Sha256::digest(asset.content));
        format!("/assets/{}?{}", asset.name, &digest[..12])
    };
    ASSETS.iter().map(address).collect()
});

/// For templates: the address of an asset, with its digest.
pub(crate) trait Page {
    fn asset(&self, name: &str) -> &'static str {
        let place = ASSETS.iter().position(|asset| asset.name == name);
        place.map_or("", |place| ADDRESSES[place].as_str())
    }
}

impl<T> Page for T {}

pub(crate) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(place) = ASSETS.iter().position(|asset| asset.name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let asset = &ASSETS[place];
    let tag = format!("\"{}\"", ADDRESSES[place].rsplit('?').next().unwrap_or_default());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|t| t.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], asset.content).into_response()
    };
    let out = response.headers_mut();
    out.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    response
}
