//! The access to an instance's Telegram bot, and whether the bot is connected, as reported by the
//! gateway. See `channels/telegram/access-control.md` and `channels/pairing.md` in OpenClaw's
//! documentation.
//!
//! The gateway's admin HTTP RPC does not expose its pairing methods. So requests are read from the
//! gateway's log, and an approval is an entry in `allowFrom`, which applies at once. The responses
//! are a tenant's: they are typed and size-limited, and nothing else of them is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Number, Value, json};

use crate::{
    AdminCall,
    admin::call,
    read::{self, ANSWER_LIMIT, Object},
};

/// The entry in `allowFrom` that grants every Telegram user access.
const EVERYONE: &str = "*";
/// Logged by the gateway when it sent a stranger a pairing code.
const REQUEST_LOGGED: &str = "telegram pairing request";
/// Bytes of the gateway's log that are searched for requests.
const LOG_BYTES: usize = 250_000;
/// Maximum number of requests read. OpenClaw keeps three open per bot.
const REQUESTS: usize = 50;
/// Characters of a name that are shown.
const NAME_LENGTH: usize = 64;

/// The numeric id of a Telegram user.
pub type TelegramUser = i64;

/// The gateway's connection to Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Telegram accepts the token; with the bot's user name, without `@`.
    Connected(String),
    /// Telegram rejected the token.
    Refused,
    /// Telegram cannot be reached from the instance, or answers something else.
    Unreachable,
    /// The gateway does not report it.
    Unknown,
}

/// The access to the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether every Telegram user has access.
    pub open: bool,
    /// Whether strangers get a pairing code.
    pub pairing: bool,
    /// The users with access that the configuration lists.
    pub allowed: Vec<TelegramUser>,
    /// Every entry of `allowFrom`, ours or not, which a change has to keep.
    entries: Vec<String>,
    has_owner: bool,
    hash: String,
}

/// A user who wrote to the bot and was sent a pairing code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRequest {
    /// The user's id, verified by Telegram.
    pub user: TelegramUser,
    /// The user name, without `@`: unique at Telegram, and changeable.
    pub username: Option<String>,
    /// First and last name, chosen freely.
    pub name: String,
    /// When, in RFC 3339, as logged by the gateway.
    pub at: String,
}

/// Queries the state of the connection, and makes the gateway verify the token.
pub fn connection(origin: &str) -> AdminCall {
    let params = json!({ "probe": true, "timeoutMs": 3000, "channel": "telegram" });
    call(origin, "channels.status", &params, ANSWER_LIMIT)
}

/// Queries the configuration.
pub fn access(origin: &str) -> AdminCall {
    call(origin, "config.get", &json!({}), ANSWER_LIMIT)
}

/// Queries the log, which contains pairing requests.
pub fn requests(origin: &str) -> AdminCall {
    call(origin, "logs.tail", &json!({ "limit": 2000, "maxBytes": LOG_BYTES }), ANSWER_LIMIT)
}

/// Grants `user` access to the bot. The first approved user becomes the command owner, as with
/// `openclaw pairing approve`. Fails if the configuration changed since `access` was read.
pub fn approve(origin: &str, access: &Access, user: TelegramUser) -> AdminCall {
    let mut entries = access.entries.clone();
    if !access.allowed.contains(&user) {
        entries.push(user.to_string());
    }
    let mut patch = json!({ "channels": { "telegram": { "allowFrom": entries } } });
    if !access.has_owner {
        patch["commands"] = json!({ "ownerAllowFrom": [format!("telegram:{user}")] });
    }
    change(origin, access, &patch)
}

/// Closes an open bot: strangers get a pairing code, and listed users keep access.
pub fn close(origin: &str, access: &Access) -> AdminCall {
    let kept: Vec<_> = access.entries.iter().filter(|entry| *entry != EVERYONE).collect();
    let patch = json!({ "channels": { "telegram": { "dmPolicy": "pairing", "allowFrom": kept } } });
    change(origin, access, &patch)
}

fn change(origin: &str, access: &Access, patch: &Value) -> AdminCall {
    let params = json!({
        "baseHash": access.hash,
        "raw": patch.to_string(),
        "replacePaths": ["channels.telegram.allowFrom"],
    });
    call(origin, "config.patch", &params, ANSWER_LIMIT)
}

/// The payload of an admin RPC response.
fn payload<T: DeserializeOwned>(body: &str) -> Option<T> {
    #[derive(Deserialize)]
    struct Answer<T> {
        payload: Object<T>,
    }
    read::answer::<Answer<T>>(body).map(|answer| answer.payload.0)
}

/// Interprets the response to [`connection`].
pub fn understand_connection(body: &str) -> Connection {
    #[derive(Deserialize)]
    struct Status {
        #[serde(rename = "channelAccounts")]
        accounts: BTreeMap<String, Vec<Object<Account>>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        probe: Option<Object<Probe>>,
        last_error: Option<String>,
    }
    #[derive(Deserialize)]
    struct Probe {
        ok: bool,
        error: Option<String>,
        bot: Option<Object<Bot>>,
    }
    #[derive(Deserialize)]
    struct Bot {
        username: Option<String>,
    }
    let Some(status) = payload::<Status>(body) else { return Connection::Unknown };
    let Some(Object(account)) = status.accounts.get("telegram").and_then(|all| all.first()) else {
        return Connection::Unknown;
    };
    let Some(Object(probe)) = &account.probe else { return Connection::Unknown };
    if probe.ok {
        let bot = probe.bot.as_ref().and_then(|Object(bot)| bot.username.as_deref());
        return Connection::Connected(bot.and_then(username).unwrap_or_default());
    }
    let said = probe.error.as_deref().unwrap_or_default();
    let before = account.last_error.as_deref().unwrap_or_default();
    let refused = |text: &str| text.contains("Unauthorized") || text.contains("(404: Not Found)");
    match refused(said) || said == "Not Found" || refused(before) {
        true => Connection::Refused,
        false => Connection::Unreachable,
    }
}

/// Interprets the response to [`access`]; `None` if it contains nothing reliable.
pub fn understand_access(body: &str) -> Option<Access> {
    #[derive(Deserialize)]
    struct Got {
        hash: String,
        config: Object<Config>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        channels: Object<Channels>,
        commands: Object<Commands>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Channels {
        telegram: Object<Channel>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Channel {
        dm_policy: Option<String>,
        allow_from: Vec<Entry>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Commands {
        owner_allow_from: Vec<Entry>,
    }
    /// An id is a number or a text.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Number(Number),
        Text(String),
    }
    let got: Got = payload(body)?;
    let Config { channels, commands } = got.config.0;
    let channel = channels.0.telegram.0;
    let entries: Vec<String> = channel
        .allow_from
        .into_iter()
        .map(|entry| match entry {
            Entry::Number(number) => number.to_string(),
            Entry::Text(text) => text,
        })
        .collect();
    let policy = channel.dm_policy.as_deref().unwrap_or("pairing");
    let allowed = entries.iter().filter_map(|entry| user(entry)).collect();
    Some(Access {
        open: entries.iter().any(|entry| entry == EVERYONE) && policy != "disabled",
        pairing: policy == "pairing",
        allowed,
        entries,
        has_owner: !commands.0.owner_allow_from.is_empty(),
        hash: got.hash,
    })
}

/// The user id in an entry of `allowFrom`.
fn user(entry: &str) -> Option<TelegramUser> {
    let bare = entry.strip_prefix("telegram:").or_else(|| entry.strip_prefix("tg:"));
    bare.unwrap_or(entry).parse().ok().filter(|id| *id > 0)
}

/// Interprets the response to [`requests`]: the newest request of each user, newest first.
pub fn understand_requests(body: &str) -> Vec<PairingRequest> {
    #[derive(Deserialize)]
    struct Tail {
        lines: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "1")]
        sender: Object<Sender>,
        #[serde(rename = "2")]
        message: String,
        time: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sender {
        sender_user_id: String,
        username: Option<String>,
        first_name: Option<String>,
        last_name: Option<String>,
    }
    let lines = payload::<Tail>(body).map(|tail| tail.lines).unwrap_or_default();
    let mut found: Vec<PairingRequest> = Vec::new();
    for line in lines.iter().rev().filter(|line| line.contains(REQUEST_LOGGED)) {
        if found.len() == REQUESTS {
            break;
        }
        let Some(Line { sender: Object(sender), message, time }) = read::answer(line) else {
            continue;
        };
        let Some(user) = user(&sender.sender_user_id) else { continue };
        if message != REQUEST_LOGGED || found.iter().any(|known| known.user == user) {
            continue;
        }
        let names = [sender.first_name, sender.last_name];
        let name = names.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        let username = sender.username.as_deref().and_then(username);
        found.push(PairingRequest { user, username, name: plain(&name), at: time });
    }
    found
}

/// Whether the gateway did what [`approve`] or [`close`] requested.
pub fn is_done(status: u16, body: &str) -> bool {
    #[derive(Deserialize)]
    struct Done {
        ok: bool,
    }
    status == 200 && read::answer::<Done>(body).is_some_and(|done| done.ok)
}

/// A user name, if it is a valid Telegram one: it becomes part of a link.
fn username(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = (1..=NAME_LENGTH).contains(&text.len());
    (fits && text.chars().all(allowed)).then(|| text.to_owned())
}

/// A name for display: without control characters and bidirectional formatting.
fn plain(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).take(NAME_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://alice.example.com";

    fn config(telegram: &Value) -> String {
        json!({ "ok": true, "payload": { "hash": "h1", "raw": "{}",
                "config": { "channels": { "telegram": telegram } } } })
        .to_string()
    }

    fn patch(call: &AdminCall) -> (Value, Value) {
        let body: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(body["method"], "config.patch");
        let raw = body["params"]["raw"].as_str().unwrap();
        (serde_json::from_str(raw).unwrap(), body["params"].clone())
    }

    #[test]
    fn a_bot_is_open_when_everyone_is_listed() {
        let open = understand_access(&config(&json!({ "dmPolicy": "open", "allowFrom": ["*"] })));
        assert!(open.unwrap().open);
        let listed = json!({ "dmPolicy": "open", "allowFrom": ["tg:7", 8, "@x"] });
        let listed = understand_access(&config(&listed)).unwrap();
        assert!(!listed.open, "OpenClaw admits only those that are listed");
        assert_eq!(listed.allowed, [7, 8]);
        assert!(understand_access(&config(&json!({}))).unwrap().pairing, "OpenClaw's default");
    }

    /// Otherwise an empty response would be read as the defaults.
    #[test]
    fn an_access_is_read_from_objects_only() {
        for rubbish in [
            "",
            "{}",
            "[]",
            "[[\"x\",[]]]",
            r#"{"payload":["x",{}]}"#,
            r#"{"payload":{"hash":"x"}}"#,
            r#"{"payload":{"hash":"x","config":[]}}"#,
            r#"{"payload":{"hash":"x","config":{"channels":[]}}}"#,
            r#"{"payload":{"hash":"x","config":{"channels":{"telegram":[]}}}}"#,
            r#"{"payload":{"hash":"x","config":{"channels":{"telegram":{"allowFrom":"*"}}}}}"#,
            r#"{"payload":{"hash":"x","config":{"channels":{"telegram":{"allowFrom":[[]]}}}}}"#,
            "<html>",
        ] {
            assert_eq!(understand_access(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn closing_a_bot_keeps_the_users_that_are_listed() {
        let open = json!({ "dmPolicy": "open", "allowFrom": ["4242", "*"] });
        let access = understand_access(&config(&open)).unwrap();
        let (patch, params) = patch(&close(ORIGIN, &access));
        assert_eq!(patch["channels"]["telegram"]["dmPolicy"], "pairing");
        assert_eq!(patch["channels"]["telegram"]["allowFrom"], json!(["4242"]));
        assert_eq!(params["baseHash"], "h1");
        assert_eq!(params["replacePaths"], json!(["channels.telegram.allowFrom"]));
    }

    #[test]
    fn the_first_user_that_is_approved_becomes_the_command_owner() {
        let mut access = understand_access(&config(&json!({ "allowFrom": ["1"] }))).unwrap();
        let (first, _) = patch(&approve(ORIGIN, &access, 4242));
        assert_eq!(first["channels"]["telegram"]["allowFrom"], json!(["1", "4242"]));
        assert_eq!(first["commands"]["ownerAllowFrom"], json!(["telegram:4242"]));
        access.has_owner = true;
        let (second, _) = patch(&approve(ORIGIN, &access, 1));
        assert_eq!(second["channels"]["telegram"]["allowFrom"], json!(["1"]));
        assert!(second.get("commands").is_none());
    }

    #[test]
    fn requests_are_the_newest_of_each_user_and_their_names_are_harmless() {
        let line = |user: &str, name: &str, message: &str| {
            json!({ "0": "x", "1": { "chatId": user, "senderUserId": user, "username": "alice",
                    "firstName": name }, "2": message, "time": "2026-11-27T11:24:37.937+00:00" })
            .to_string()
        };
        let lines = [
            line("4242", "old", REQUEST_LOGGED),
            line("4242", "Al\u{202e}ice\u{1b}[31m", REQUEST_LOGGED),
            line("7", "quotes it: telegram pairing request", "a message"),
            line("-5", "a group", REQUEST_LOGGED),
            "telegram pairing request".to_owned(),
        ];
        let body = json!({ "ok": true, "payload": { "lines": lines } }).to_string();
        let found = understand_requests(&body);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].user, found[0].name.as_str()), (4242, "Alice[31m"));
        assert_eq!(understand_requests("{}"), []);
        let many: Vec<_> = (1..200).map(|n| line(&n.to_string(), "x", REQUEST_LOGGED)).collect();
        let body = json!({ "ok": true, "payload": { "lines": many } }).to_string();
        let found = understand_requests(&body);
        assert_eq!((found.len(), found[0].user), (REQUESTS, 199), "the newest are kept");
    }

    #[test]
    fn a_token_is_connected_only_when_telegram_knows_it() {
        let status = |account: Value| {
            let payload = json!({ "channelAccounts": { "telegram": [account] } });
            understand_connection(&json!({ "ok": true, "payload": payload }).to_string())
        };
        let good = json!({ "probe": { "ok": true, "bot": { "username": "claw_bot" } } });
        assert_eq!(status(good), Connection::Connected("claw_bot".into()));
        let odd = json!({ "probe": { "ok": true, "bot": { "username": "../x?y" } } });
        assert_eq!(status(odd), Connection::Connected(String::new()), "no link is made of it");
        let bad = json!({ "probe": { "ok": false, "status": 200, "error": "Unauthorized" } });
        assert_eq!(status(bad), Connection::Refused);
        let away = json!({ "probe": { "ok": false, "error": "fetch failed | ECONNREFUSED" } });
        assert_eq!(status(away), Connection::Unreachable);
        assert_eq!(status(json!({ "configured": true })), Connection::Unknown);
        assert_eq!(understand_connection("<html>"), Connection::Unknown);
    }
}
