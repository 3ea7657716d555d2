//! Fuzz targets: the parsers of tenants' data. Each takes any bytes, and panics if a rule is
//! broken. `tests/corpus.rs` runs them over mutated seeds.

use serde_json::Value;
use startclaw_model::{ModelProvider, Owner, ProviderKind};
use startclaw_openclaw::{
    CONFIG_DEPTH, CONFIG_LIMIT, Setup, TelegramSetup, configuration, has_started, measure, suspend,
    telegram,
};

/// Runs one input; a panic is a finding.
pub type Target = fn(&[u8]);

/// Every target: its name, the folder of its seeds, and the function.
pub const TARGETS: [(&str, &str, Target); 3] =
    [("config", "config", config), ("scan", "config", scan), ("answers", "answers", answers)];

fn setup(full: bool) -> Option<Setup> {
    Some(Setup {
        owner: Owner::parse("alice@example.com").ok()?,
        origin: "https://alice.example.com".to_owned(),
        proxy: [10, 87, 0, 1].into(),
        provider: full.then(|| ModelProvider {
            kind: ProviderKind::Custom,
            model: Some("echo-1".to_owned()),
            base_url: Some("http://10.0.0.1:9/v1".to_owned()),
        }),
        has_api_key: full,
        telegram: full.then(TelegramSetup::default),
        has_secrets: full,
    })
}

/// Parses an owner's file and sets the managed keys: the result is within the size limit, has the
/// managed keys, and is stable when parsed again.
pub fn config(data: &[u8]) {
    for full in [false, true] {
        let Some(setup) = setup(full) else { return };
        let Ok(written) = configuration(Some(data), &setup) else { continue };
        assert!(written.len() <= CONFIG_LIMIT);
        let Ok(value) = serde_json::from_slice::<Value>(&written) else {
            panic!("what was written is no JSON")
        };
        assert_eq!(value.pointer("/gateway/auth/mode"), Some(&"trusted-proxy".into()));
        assert_eq!(value.pointer("/gateway/auth/token"), None);
        if let Ok(again) = configuration(Some(&written), &setup) {
            assert!(again == written, "it is not stable");
        }
    }
}

/// Compares the measurement with the parser: a parsed text is at most as deep as measured, and has
/// no more values.
pub fn scan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = measure(text);
    // Deeper ones must not reach the parser.
    if found.depth > CONFIG_DEPTH {
        return;
    }
    let Ok(value) = json5::from_str::<Value>(text) else { return };
    let (depth, values) = shape(&value);
    assert!(values <= found.values, "{values} values, measured {}", found.values);
    // Of two equal keys only the second value is left.
    assert!(depth <= found.depth, "{depth} deep, measured {}", found.depth);
}

/// Interprets a body as every answer that an instance gives to the platform: what is shown of it is
/// short and has no control characters.
pub fn answers(data: &[u8]) {
    let body = String::from_utf8_lossy(data);
    for status in [200, 503] {
        let _ = has_started(status, &body);
        let _ = suspend::understand(status, &body);
        let _ = telegram::is_done(status, &body);
    }
    let _ = telegram::understand_connection(&body);
    let access = telegram::understand_access(&body);
    assert!(access.is_none_or(|access| access.allowed.iter().all(|user| *user > 0)));
    for request in telegram::understand_requests(&body) {
        assert!(request.user > 0 && request.name.chars().count() <= 64, "{request:?}");
        assert!(!request.name.chars().any(char::is_control), "{request:?}");
    }
}

fn shape(value: &Value) -> (usize, usize) {
    let inner: Vec<_> = match value {
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(map) => map.values().map(shape).collect(),
        _ => return (0, 1),
    };
    let depth = inner.iter().map(|(depth, _)| depth).max().map_or(0, |depth| *depth);
    (depth + 1, inner.iter().map(|(_, values)| values).sum::<usize>() + 1)
}
