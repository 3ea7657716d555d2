//! Interprets probe responses.

use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ok: Option<bool>,
    #[serde(default)]
    status: Option<String>,
}

/// Whether a response of [`STARTUP_PATH`](crate::STARTUP_PATH) means that it has started. The body
/// counts too: the web UI answers unknown paths with 200 and a page.
pub fn has_started(status: u16, body: &str) -> bool {
    status == 200
        && serde_json::from_str::<Answer>(body)
            .is_ok_and(|a| a.ok == Some(true) || a.status.as_deref() == Some("started"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_started_gateway_counts() {
        assert!(has_started(200, r#"{"ok":true,"status":"started"}"#));
        assert!(!has_started(503, r#"{"ok":true,"status":"started"}"#));
        assert!(!has_started(200, r#"{"ok":false,"status":"starting"}"#));
        assert!(!has_started(200, "<!doctype html><title>OpenClaw</title>"));
    }
}
