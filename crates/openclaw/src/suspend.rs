//! Quiesces a gateway, so that it can be frozen while idle, and resumes it. See
//! `gateway/external-apps.md` and `plugins/admin-http-rpc.md` in OpenClaw's documentation.

use serde_json::{Value, json};

use crate::{AdminCall, admin};

/// Maximum size of a response in bytes: it has a few short fields.
const ANSWER: usize = 4096;

/// The gateway's response to a request to quiesce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quiesce {
    /// It is quiesced, for two minutes at most; resumed with this id.
    Ready(String),
    /// It is busy; retry.
    Busy(String),
    /// It does not support quiescing.
    Unsupported(String),
}

/// Requests the gateway at `origin` to quiesce; `operation` names the reason. Open terminals do not
/// prevent it: they are frozen and resumed with it.
pub fn prepare(origin: &str, operation: &str) -> AdminCall {
    let params = json!({ "requestId": operation, "terminalPolicy": "terminate" });
    admin::call(origin, "gateway.suspend.prepare", &params, ANSWER)
}

/// Resumes the gateway at `origin`.
pub fn resume(origin: &str, id: &str) -> AdminCall {
    admin::call(origin, "gateway.suspend.resume", &json!({ "suspensionId": id }), ANSWER)
}

/// Interprets the response to [`prepare`].
pub fn understand(status: u16, body: &str) -> Quiesce {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let payload = answer.get("payload").unwrap_or(&Value::Null);
    let text = |key: &str| payload.get(key).and_then(Value::as_str).map(str::to_owned);
    match text("status").as_deref() {
        Some("ready") => match text("suspensionId") {
            Some(id) => Quiesce::Ready(id),
            None => Quiesce::Unsupported("it is quiesced but returned no id".into()),
        },
        Some(_) => Quiesce::Busy(text("reason").unwrap_or_else(|| "it is busy".into())),
        None => Quiesce::Unsupported(format!("it answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_the_platform_and_for_the_instances_own_address() {
        let call = prepare("https://alice.example.com:8443", "op-1");
        assert_eq!(call.path, "/api/v1/admin/rpc");
        let host = ("x-forwarded-host".to_owned(), "alice.example.com:8443".to_owned());
        assert!(call.headers.contains(&host));
        let body: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(body["params"]["requestId"], "op-1");
    }

    #[test]
    fn ready_busy_and_everything_else() {
        let ready =
            r#"{"ok":true,"payload":{"status":"ready","suspensionId":"2c3f","expiresAtMs":1}}"#;
        assert_eq!(understand(200, ready), Quiesce::Ready("2c3f".into()));
        let busy = r#"{"ok":true,"payload":{"status":"busy","reason":"active-work"}}"#;
        assert_eq!(understand(200, busy), Quiesce::Busy("active-work".into()));
        for other in ["", "{}", r#"{"ok":false,"error":{"code":"X"}}"#, "<html>"] {
            assert!(matches!(understand(404, other), Quiesce::Unsupported(_)), "{other}");
        }
    }
}
