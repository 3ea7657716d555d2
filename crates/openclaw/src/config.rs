//! The configuration file: the keys that the platform manages, and those that the owner may change.
//!
//! OpenClaw and its owner write the same file. So some keys are managed: they are set before each
//! start (who may sign in, through which proxy, where the secrets are). The others are written
//! once, when there is no file yet.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use startclaw_model::{ModelProvider, Owner, ProviderKind, SecretName, TelegramAccess};

use crate::{
    GATEWAY_PORT, HOST_USER, SECRETS_FILE, SECRETS_PATH, USER_HEADER, WEBHOOK_PATH, WEBHOOK_PORT,
    read,
};

/// The name of a custom model provider in the configuration.
const CUSTOM: &str = "custom";
/// Context window and maximum response in tokens assumed for an unknown model: what small local
/// models support. OpenClaw needs both; the owner can raise them.
const CONTEXT: u32 = 32_000;
const ANSWER: u32 = 4_096;
/// The name of our secret provider in the configuration.
const SECRETS: &str = "startclaw";

/// The inputs of an instance's configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The account that may sign in.
    pub owner: Owner,
    /// Its address, such as `https://alice.example.com`.
    pub origin: String,
    /// The address that our proxy connects from, as seen by the instance.
    pub proxy: IpAddr,
    /// The model provider.
    pub provider: Option<ModelProvider>,
    /// Whether there is a key for the provider.
    pub has_api_key: bool,
    /// Its Telegram bot, if it has one.
    pub telegram: Option<TelegramSetup>,
    /// Whether it has secrets, or ever had. Without any, the configuration does not mention
    /// secrets: a new OpenClaw whose configuration names none starts 1.5 s sooner, because it then
    /// knows that there is no older state to migrate.
    pub has_secrets: bool,
}

/// The setup of its Telegram bot.
#[derive(Debug, Clone, Default)]
pub struct TelegramSetup {
    /// The base address of the Bot API; the official one when empty.
    pub api_root: String,
    /// The access to the bot in a new configuration.
    pub access: TelegramAccess,
}

/// An invalid configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("openclaw.json is not readable: {0}")]
pub struct ConfigError(pub(crate) String);

/// The new content of the file whose content is `current`. Keys that are not managed stay. An
/// unreadable file is an error: it is the owner's, so it is not discarded here.
pub fn configuration(current: Option<&[u8]>, setup: &Setup) -> Result<Vec<u8>, ConfigError> {
    let mut config = match current {
        None => first(setup),
        Some(bytes) => Value::Object(read::read(bytes)?),
    };
    take_out_gone(&mut config, setup);
    take_out_others(&mut config, setup);
    lay_over(&mut config, ours(setup));
    read::write(&config)
}

/// Removes the scopes of identities without access: a previous owner's, after a transfer.
fn take_out_others(config: &mut Value, setup: &Setup) {
    let scopes = config.pointer_mut("/gateway/auth/identityScopes").and_then(Value::as_object_mut);
    if let Some(scopes) = scopes {
        scopes.retain(|who, _| who == setup.owner.as_str() || who == HOST_USER);
    }
}

/// The configuration that the digest of a container's spec is computed from: a changed digest
/// replaces the container of every instance. So it contains the bot's access as it always did,
/// whatever a new configuration contains today.
pub fn spec_basis(setup: &Setup) -> Result<Vec<u8>, ConfigError> {
    let mut frozen = setup.clone();
    if let Some(telegram) = &mut frozen.telegram {
        telegram.access = TelegramAccess::Open;
    }
    configuration(None, &frozen)
}

/// Removes references to removed secrets: with a dangling reference, OpenClaw does not start, or
/// only partially.
fn take_out_gone(config: &mut Value, setup: &Setup) {
    let mut gone = Vec::new();
    if !setup.has_api_key {
        gone.push(secret(&SecretName::model_api_key()));
    }
    if setup.telegram.is_none() {
        gone.extend([
            secret(&SecretName::telegram_bot_token()),
            secret(&SecretName::telegram_webhook_secret()),
        ]);
        if let Some(channel) =
            config.pointer_mut("/channels/telegram").and_then(Value::as_object_mut)
            && channel.get("botToken") == Some(&secret(&SecretName::telegram_bot_token()))
        {
            channel.insert("enabled".to_owned(), Value::Bool(false));
        }
    }
    remove_values(config, &gone);
}

/// Removes every key whose value is one of `gone`, at any depth.
fn remove_values(value: &mut Value, gone: &[Value]) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !gone.contains(value));
            map.values_mut().for_each(|value| remove_values(value, gone));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| remove_values(value, gone)),
        _ => {}
    }
}

/// A reference to one of our secrets.
fn secret(name: &SecretName) -> Value {
    json!({ "source": "file", "provider": SECRETS, "id": format!("/{name}") })
}

/// The managed keys, set before each start.
fn ours(setup: &Setup) -> Value {
    let owner = setup.owner.as_str();
    let mut config = json!({
        "gateway": {
            "mode": "local",
            "bind": "lan",
            "port": GATEWAY_PORT,
            "trustedProxies": [setup.proxy.to_string()],
            "auth": {
                "mode": "trusted-proxy",
                // With a token or password beside trusted-proxy auth, it refuses to start.
                "token": null,
                "password": null,
                "identityScopes": { owner: ["operator.admin"], HOST_USER: ["operator.admin"] },
                "trustedProxy": {
                    "userHeader": USER_HEADER,
                    "requiredHeaders": ["x-forwarded-proto", "x-forwarded-host"],
                    "allowUsers": [owner, HOST_USER],
                    "deviceAutoApprove": { "enabled": true },
                },
            },
            "controlUi": { "allowedOrigins": [setup.origin] },
        },
        // Updates come as new images.
        "update": { "checkOnStart": false },
        "plugins": { "entries": { "admin-http-rpc": { "enabled": true } } },
    });
    if setup.has_secrets {
        lay_over(
            &mut config,
            json!({ "secrets": { "providers": { SECRETS: {
                "source": "file",
                "path": format!("{SECRETS_PATH}/{SECRETS_FILE}"),
                "mode": "json",
            } } } }),
        );
    }
    if let Some(telegram) = &setup.telegram {
        lay_over(
            &mut config,
            json!({ "channels": { "telegram": telegram_channel(setup, telegram) } }),
        );
    }
    if setup.has_api_key
        && let Some(provider) = &setup.provider
    {
        lay_over(
            &mut config,
            json!({ "models": { "providers": { provider_name(provider): { "apiKey": secret(&SecretName::model_api_key()) } } } }),
        );
    }
    config
}

/// A webhook through our proxy instead of polling: a frozen container that polls receives nothing.
fn telegram_channel(setup: &Setup, telegram: &TelegramSetup) -> Value {
    let mut channel = json!({
        "enabled": true,
        "botToken": secret(&SecretName::telegram_bot_token()),
        "webhookUrl": format!("{}{WEBHOOK_PATH}", setup.origin),
        "webhookSecret": secret(&SecretName::telegram_webhook_secret()),
        "webhookHost": "0.0.0.0",
        "webhookPort": WEBHOOK_PORT,
        "webhookPath": WEBHOOK_PATH,
    });
    if !telegram.api_root.is_empty() {
        channel["apiRoot"] = json!(telegram.api_root);
        channel["network"] = json!({ "dangerouslyAllowPrivateNetwork": true });
    }
    channel
}

fn provider_name(provider: &ModelProvider) -> &'static str {
    match provider.kind {
        ProviderKind::Custom => CUSTOM,
        named => named.as_str(),
    }
}

/// The keys of a new file besides the managed ones; the owner may change them.
fn first(setup: &Setup) -> Value {
    let mut config = json!({});
    if let Some(provider) = &setup.provider {
        lay_over(&mut config, model(provider));
    }
    if let Some(telegram) = &setup.telegram {
        // The agent has a shell, so a stranger who finds the bot must not command it. The owner
        // approves each Telegram user, and an open bot is an explicit choice.
        let channel = match telegram.access {
            TelegramAccess::Pairing => json!({ "dmPolicy": "pairing" }),
            TelegramAccess::Open => json!({ "dmPolicy": "open", "allowFrom": ["*"] }),
        };
        lay_over(&mut config, json!({ "channels": { "telegram": channel } }));
    }
    config
}

/// A provider's default model: the one that OpenClaw's documentation starts with.
const fn default_model(kind: ProviderKind) -> Option<&'static str> {
    match kind {
        ProviderKind::Anthropic => Some("claude-sonnet-4-6"),
        ProviderKind::Openai => Some("gpt-5.4"),
        ProviderKind::Openrouter => Some("auto"),
        ProviderKind::Google => Some("gemini-3.1-pro-preview"),
        ProviderKind::Custom => None,
    }
}

fn model(provider: &ModelProvider) -> Value {
    let name = provider_name(provider);
    let mut config = json!({});
    if let Some(model) = provider.model.as_deref().or(default_model(provider.kind)) {
        config["agents"] =
            json!({ "defaults": { "model": { "primary": format!("{name}/{model}") } } });
    }
    if let (Some(base_url), Some(model)) = (&provider.base_url, &provider.model) {
        config["models"] = json!({ "providers": { name: {
            "baseUrl": base_url,
            "api": "openai-completions",
            "models": [{ "id": model, "name": model, "contextWindow": CONTEXT, "maxTokens": ANSWER }],
        } } });
    }
    config
}

/// Merges `over` into `config`: objects are merged, `null` removes a key, everything else replaces.
fn lay_over(config: &mut Value, over: Value) {
    match over {
        Value::Object(over) => {
            if !config.is_object() {
                *config = Value::Object(Map::new());
            }
            let Some(map) = config.as_object_mut() else { return };
            for (key, value) in over {
                if value.is_null() {
                    map.remove(&key);
                } else {
                    lay_over(map.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        other => *config = other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup {
            owner: Owner::parse("alice@example.com").unwrap(),
            origin: "https://alice.example.com".into(),
            proxy: "10.87.0.1".parse().unwrap(),
            provider: Some(ModelProvider {
                kind: ProviderKind::Custom,
                model: Some("echo-1".into()),
                base_url: Some("http://10.0.0.1:9/v1".into()),
            }),
            has_api_key: true,
            telegram: Some(TelegramSetup::default()),
            has_secrets: true,
        }
    }

    fn value(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn writing_it_again_changes_nothing() {
        let once = configuration(None, &setup()).unwrap();
        let twice = configuration(Some(&once), &setup()).unwrap();
        assert_eq!(String::from_utf8(once).unwrap(), String::from_utf8(twice).unwrap());
    }

    #[test]
    fn what_the_owner_changed_stays_and_what_is_ours_comes_back() {
        let mut mine = value(&configuration(None, &setup()).unwrap());
        mine["agents"]["defaults"]["model"]["primary"] = json!("openai/gpt-5");
        mine["channels"]["telegram"]["dmPolicy"] = json!("disabled");
        mine["gateway"]["auth"] = json!({ "mode": "none", "token": "x" });
        mine["gateway"]["trustedProxies"] = json!(["0.0.0.0/0"]);
        mine["unknown"] = json!({ "kept": [1, 2] });
        let text = format!("// by hand\n{mine}");
        let merged = value(&configuration(Some(text.as_bytes()), &setup()).unwrap());
        assert_eq!(merged["agents"]["defaults"]["model"]["primary"], "openai/gpt-5");
        assert_eq!(merged["channels"]["telegram"]["dmPolicy"], "disabled");
        assert_eq!(merged["unknown"]["kept"][1], 2);
        assert_eq!(merged["gateway"]["auth"]["mode"], "trusted-proxy");
        assert!(merged["gateway"]["auth"].get("token").is_none());
        assert_eq!(merged["gateway"]["trustedProxies"], json!(["10.87.0.1"]));
    }

    #[test]
    fn a_new_bot_is_open_only_by_an_explicit_choice() {
        let config = value(&configuration(None, &setup()).unwrap());
        assert_eq!(config["channels"]["telegram"]["dmPolicy"], "pairing");
        assert!(config["channels"]["telegram"].get("allowFrom").is_none());
        let access = TelegramAccess::Open;
        let open =
            Setup { telegram: Some(TelegramSetup { access, ..Default::default() }), ..setup() };
        let config = value(&configuration(None, &open).unwrap());
        assert_eq!(config["channels"]["telegram"]["allowFrom"], json!(["*"]));
    }

    /// The configuration of an instance with a bot as written by 889fdb7, from which the spec of
    /// its container was computed.
    #[test]
    fn the_basis_of_a_containers_spec_does_not_depend_on_the_bots_access() {
        let basis = spec_basis(&setup()).unwrap();
        let text = String::from_utf8(basis.clone()).unwrap();
        assert!(text.contains(r#""dmPolicy": "open""#), "{text}");
        let access = TelegramAccess::Open;
        let open =
            Setup { telegram: Some(TelegramSetup { access, ..Default::default() }), ..setup() };
        assert_eq!(basis, configuration(None, &open).unwrap());
        assert_eq!(basis, spec_basis(&open).unwrap());
    }

    #[test]
    fn a_file_of_rubbish_is_an_error_and_not_thrown_away() {
        for rubbish in [&b"{"[..], b"\xff\xfe", b"[]", b""] {
            assert!(configuration(Some(rubbish), &setup()).is_err());
        }
    }

    #[test]
    fn what_refers_to_a_removed_secret_goes_with_it() {
        let with = configuration(None, &setup()).unwrap();
        let bare = Setup { telegram: None, has_api_key: false, ..setup() };
        let config = value(&configuration(Some(&with), &bare).unwrap());
        assert_eq!(config["channels"]["telegram"]["enabled"], false);
        assert!(config["channels"]["telegram"].get("botToken").is_none());
        assert!(config["models"]["providers"]["custom"].get("apiKey").is_none());
        assert!(
            !config.to_string().contains("/TELEGRAM") && !config.to_string().contains("/MODEL")
        );
        // A channel that its owner set up is left alone.
        let own = br#"{"channels":{"telegram":{"enabled":true,"botToken":"mine"}}}"#;
        let config = value(&configuration(Some(own), &bare).unwrap());
        assert_eq!(config["channels"]["telegram"]["enabled"], true);
    }

    /// OpenClaw's condition for a start without migrations: none of the keys that could have left
    /// state elsewhere, of which these are the ones that we write.
    #[test]
    fn without_a_secret_the_first_configuration_lets_openclaw_start_as_a_new_one() {
        let bare = Setup { telegram: None, has_api_key: false, has_secrets: false, ..setup() };
        let config = value(&configuration(None, &bare).unwrap());
        assert!(config.get("secrets").is_none() && config.get("channels").is_none());
    }

    #[test]
    fn secrets_are_references_only() {
        let config = value(&configuration(None, &setup()).unwrap());
        assert_eq!(config["channels"]["telegram"]["botToken"]["source"], "file");
        assert_eq!(config["models"]["providers"]["custom"]["apiKey"]["id"], "/MODEL_API_KEY");
    }
}
