//! A request to the gateway's control plane. See `plugins/admin-http-rpc.md` in OpenClaw's
//! documentation.

use serde_json::{Value, json};

use crate::{ADMIN_RPC_PATH, HOST_USER, USER_HEADER};

/// A request to the gateway's control plane, to be sent as a JSON POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminCall {
    pub path: String,
    /// The headers that identify the caller.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The longest valid response in bytes; a longer one is no response to this request.
    pub answer_limit: usize,
}

/// A call of `method` on the gateway whose address is `origin`.
pub(crate) fn call(origin: &str, method: &str, params: &Value, answer_limit: usize) -> AdminCall {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let headers =
        [("x-forwarded-proto", "https"), ("x-forwarded-host", host), (USER_HEADER, HOST_USER)];
    AdminCall {
        path: ADMIN_RPC_PATH.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: json!({ "method": method, "params": params }).to_string(),
        answer_limit,
    }
}
