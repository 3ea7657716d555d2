//! Parses and writes a configuration file that its owner can fill with anything, and parses the
//! responses of the owner's gateway.
//!
//! It is parsed in the daemon, so it must not be able to crash or block the daemon. The dangers are
//! stack overflow and memory exhaustion, both of which abort the process, and time. The size limit
//! bounds time and strings, the depth limit the stack, the number of values memory (a value takes
//! up to 600 bytes, as the only one of its object). All three are checked before the parser runs,
//! so it needs no process of its own. Fuzzed as `config` and `scan`, on a stack of 512 KiB.

use std::{
    fmt,
    io::{self, Write},
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};

use crate::{ConfigError, scan::measure};

/// Maximum size of a file in bytes, read or written. OpenClaw's own have a few KiB.
pub const CONFIG_LIMIT: usize = 1 << 20;
/// Maximum depth: OpenClaw's own schema needs about ten levels.
pub const CONFIG_DEPTH: usize = 64;
/// Maximum number of values.
pub const CONFIG_VALUES: usize = 20_000;
/// Maximum size of a gateway's response in bytes: it contains the configuration several times.
pub(crate) const ANSWER_LIMIT: usize = 1 << 20;
/// Maximum depth of a response: the configuration is a few levels below its top.
const ANSWER_DEPTH: usize = CONFIG_DEPTH + 8;
/// Maximum number of values in a response. Only a few of them are kept.
const ANSWER_VALUES: usize = 5 * CONFIG_VALUES;
/// Characters of a parser's message that are shown.
const MESSAGE: usize = 200;

/// Parses the object in a configuration file.
pub(crate) fn read(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    if bytes.len() > CONFIG_LIMIT {
        return Err(ConfigError(format!("larger than {} KiB", CONFIG_LIMIT >> 10)));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| ConfigError(e.to_string()))?;
    let found = measure(text);
    if found.depth > CONFIG_DEPTH {
        return Err(ConfigError(format!("nested deeper than {CONFIG_DEPTH} levels")));
    }
    if found.values > CONFIG_VALUES {
        return Err(ConfigError(format!("more than {CONFIG_VALUES} values")));
    }
    match json5::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ConfigError("not an object".to_owned())),
        Err(e) => Err(ConfigError(e.to_string().chars().take(MESSAGE).collect())),
    }
}

/// Parses the object in a response of a gateway, which is a tenant's program; `None` if there is
/// none or it exceeds the limits.
pub(crate) fn answer<T: DeserializeOwned>(text: &str) -> Option<T> {
    if text.len() > ANSWER_LIMIT {
        return None;
    }
    let found = measure(text);
    if found.depth > ANSWER_DEPTH || found.values > ANSWER_VALUES {
        return None;
    }
    serde_json::from_str::<Object<T>>(text).ok().map(|object| object.0)
}

/// A value that is parsed from a JSON object only. A plain struct also accepts an array, with the
/// array's items as its fields, and an empty array then has the default of each.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(OnlyMap(PhantomData))
    }
}

/// Serializes `config`: indented, unless it is small enough only without indentation.
pub(crate) fn write(config: &Value) -> Result<Vec<u8>, ConfigError> {
    let mut out = Bounded::default();
    let mut written = serde_json::to_writer_pretty(&mut out, config);
    if written.is_err() {
        out = Bounded::default();
        written = serde_json::to_writer(&mut out, config);
    }
    written.and_then(|()| out.write_all(b"\n").map_err(serde_json::Error::io)).map_err(|_| {
        ConfigError(format!("larger than {} KiB with StartClaw's keys", CONFIG_LIMIT >> 10))
    })?;
    Ok(out.0)
}

/// A writer of at most [`CONFIG_LIMIT`] bytes.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > CONFIG_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a file on a thread with a quarter of the stack of tokio's workers (2 MiB); an
    /// overflow aborts the test program.
    fn on_small_stack(bytes: Vec<u8>) -> Result<usize, String> {
        let work = move || {
            let config = Value::Object(read(&bytes).map_err(|e| e.to_string())?);
            write(&config.clone()).map(|b| b.len()).map_err(|e| e.to_string())
        };
        std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn a_file_nested_too_deep_is_an_error_and_does_not_overflow_the_stack() {
        for hostile in [
            "[".repeat(20_000),
            "{a:".repeat(200_000),
            "[/**/".repeat(100_000),
            "[{'\\'[':".repeat(100_000),
            format!("{}{}", "{a:[".repeat(5_000), "]}".repeat(5_000)),
        ] {
            let error = on_small_stack(hostile.into_bytes()).unwrap_err();
            assert!(error.contains("nested deeper than 64"), "{error}");
        }
    }

    #[test]
    fn the_deepest_and_the_largest_file_that_are_taken_are_read_and_written() {
        let deepest = format!("{}1{}", "{a:".repeat(CONFIG_DEPTH), "}".repeat(CONFIG_DEPTH));
        on_small_stack(deepest.into_bytes()).unwrap();
        let many = format!("{{a:[{}]}}", "{a:1},".repeat(CONFIG_VALUES / 2 - 2));
        on_small_stack(many.into_bytes()).unwrap();
        let wide = format!("{{a:'{}'}}", "x".repeat(CONFIG_LIMIT - 10));
        assert!(on_small_stack(wide.into_bytes()).unwrap() <= CONFIG_LIMIT);
    }

    #[test]
    fn what_takes_too_much_is_an_error() {
        for (hostile, why) in [
            (" ".repeat(CONFIG_LIMIT + 1), "larger than 1024 KiB"),
            (format!("{{a:[{}]}}", "0,".repeat(CONFIG_VALUES)), "more than 20000 values"),
            (format!("{{a:[{}]}}", "{a:1},".repeat(CONFIG_VALUES)), "more than 20000 values"),
            // Each of these becomes six characters when written.
            (format!("{{a:'{}'}}", "\u{1}".repeat(CONFIG_LIMIT / 2)), "with StartClaw's keys"),
            (format!("{{a:{}}}", "9".repeat(CONFIG_LIMIT - 10)), ""),
            (format!("{{a:0x{}}}", "f".repeat(CONFIG_LIMIT - 10)), ""),
            (format!("{{a:'\\u{}'}}", "d".repeat(CONFIG_LIMIT - 10)), ""),
        ] {
            match on_small_stack(hostile.into_bytes()) {
                Err(error) => assert!(error.contains(why) && error.len() < 400, "{error}"),
                Ok(_) => assert!(why.is_empty(), "{why}"),
            }
        }
    }

    #[test]
    fn an_answer_that_takes_too_much_or_is_no_object_is_none() {
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(default)]
        struct Got {
            a: u8,
        }
        assert_eq!(answer(r#"{"a":1,"b":[{}]}"#), Some(Got { a: 1 }));
        for (depth, found) in [(ANSWER_DEPTH - 1, Some(Got { a: 1 })), (ANSWER_DEPTH, None)] {
            let text = format!(r#"{{"a":1,"b":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
            assert_eq!(answer(&text), found);
        }
        for hostile in [
            "[]".to_owned(),
            "[1]".to_owned(),
            String::new(),
            "[".repeat(ANSWER_LIMIT),
            format!(r#"{{"a":1,"b":[{}0]}}"#, "0,".repeat(ANSWER_VALUES)),
            format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(ANSWER_LIMIT)),
        ] {
            assert_eq!(answer::<Got>(&hostile), None);
        }
    }

    /// Indenting 64 levels adds far more to each value than its own length.
    #[test]
    fn a_deep_file_is_written_without_indents_when_they_would_make_it_too_large() {
        let depth = CONFIG_DEPTH - 2;
        let inner = "0,".repeat(19_000);
        let text = format!("{{a:{}{inner}{}}}", "[".repeat(depth), "]".repeat(depth));
        let length = on_small_stack(text.into_bytes()).unwrap();
        assert!(length < 50_000, "{length}");
    }
}
