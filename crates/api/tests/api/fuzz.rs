//! Random requests never cause a 5xx or a partial instance.

use axum::{
    body::Body,
    http::{Method, Request},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::test_platform::{TestPlatform, send};

const FIELDS: &[&str] = &[
    "name",
    "owner",
    "provider",
    "api_key",
    "telegram_bot_token",
    "version",
    "limits",
    "kind",
    "model",
    "base_url",
    "cpus",
    "pids",
    "memory_soft_mib",
    "memory_hard_mib",
    "secret",
    "value",
    "label",
    "scopes",
    "instance",
    "days",
    "email",
    "admin",
    "quota",
    "instances",
    "memory_mib",
    "disk_mib",
    "x",
];
const PATHS: &[&str] = &[
    "/provision",
    "/deprovision",
    "/restart",
    "/status",
    "/telegram",
    "/telegram/approve",
    "/telegram/close",
    "/open",
    "/logs",
    "/operations",
    "/secrets",
    "/tokens",
    "/accounts",
    "/accounts/link",
    "/accounts/suspend",
    "/accounts/admin",
    "/accounts/quota",
    "/accounts/transfer",
    "/invitations",
    "/events",
    "/doctor",
    "/metrics",
    "/healthz",
    "/docs",
    "/nothing",
];

/// Values that are often almost valid.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        "[a-z0-9-]{0,45}".prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        proptest::sample::select(
            &["custom", "openai", "read", "admin", "http://x/v1", "1:a", "a@b.org"][..]
        )
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(FIELDS), inner), 0..6).prop_map(
                |pairs| {
                    let map: Map<String, Value> =
                        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                    Value::from(map)
                }
            ),
        ]
    })
}

fn method() -> impl Strategy<Value = Method> {
    proptest::sample::select(vec![
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ])
}

#[test]
fn random_requests_never_give_a_5xx() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let platform = runtime.block_on(TestPlatform::new());
    let socket = platform.socket();
    let query = proptest::collection::vec((proptest::sample::select(FIELDS), ".{0,12}"), 0..3);
    let raw = proptest::collection::vec(any::<u8>(), 0..64);
    let body = prop_oneof![4 => value().prop_map(|v| v.to_string().into_bytes()), 1 => raw];
    let request = (method(), proptest::sample::select(PATHS), query, body, ".{0,8}");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&request, |(method, path, query, body, key)| {
            let query = form_urlencoded(&query);
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{path}?{query}"))
                .header("content-type", "application/json");
            if let Ok(key) = axum::http::HeaderValue::from_str(&key) {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(body)).unwrap();
            let answer = runtime.block_on(send(&socket, request));
            let status = answer.status.as_u16();
            // 507 is correct if enough random bodies happened to be valid.
            prop_assert!(status < 500 || status == 507, "{status}: {}", answer.text);
            Ok(())
        })
        .unwrap();
}

fn form_urlencoded(pairs: &[(&str, String)]) -> String {
    let hex = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    pairs.iter().map(|(k, v)| format!("{k}={}", hex(v))).collect::<Vec<_>>().join("&")
}
