//! Where an instance's language model comes from.

use serde::{Deserialize, Serialize};

/// The model providers that OpenClaw knows by name, or any OpenAI-compatible server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Anthropic (Claude).
    Anthropic,
    /// OpenAI.
    Openai,
    /// OpenRouter, one key for many models.
    Openrouter,
    /// Google AI Studio (Gemini).
    Google,
    /// A server that speaks OpenAI's chat completions at `base_url`.
    Custom,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Anthropic, Self::Openai, Self::Openrouter, Self::Google, Self::Custom];

    /// The one of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Its name, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Anthropic => "Anthropic",
            Self::Openai => "OpenAI",
            Self::Openrouter => "OpenRouter",
            Self::Google => "Google",
            Self::Custom => "Custom (OpenAI-compatible)",
        }
    }

    /// The word for it in JSON, on the command line and in OpenClaw's configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
            Self::Openrouter => "openrouter",
            Self::Google => "google",
            Self::Custom => "custom",
        }
    }
}

/// A provider with its model; the key rests in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelProvider {
    /// Which provider.
    pub kind: ProviderKind,
    /// The model's id at the provider, without the provider's name; the provider's
    /// default of OpenClaw when left out. Needed for `custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For `custom`: the base address, such as `https://llm.example.com/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// Why a provider is invalid; `field` names the invalid field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelProviderError {
    /// The field of [`ModelProvider`] that is wrong.
    pub field: &'static str,
    /// What to do about it.
    pub message: &'static str,
}

impl ModelProvider {
    /// Checks that the fields fit together.
    pub fn check(&self) -> Result<(), ModelProviderError> {
        let err = |field, message| Err(ModelProviderError { field, message });
        if let Some(model) = &self.model
            && (model.is_empty()
                || model.len() > 200
                || model.chars().any(|c| c.is_control() || c.is_whitespace()))
        {
            return err("model", "a model id has 1 to 200 characters and no spaces");
        }
        match (self.kind, &self.base_url) {
            (ProviderKind::Custom, None) => err("base_url", "a custom provider needs its base_url"),
            (ProviderKind::Custom, Some(_)) if self.model.is_none() => {
                err("model", "a custom provider needs the id of a model")
            }
            (ProviderKind::Custom, Some(url)) if !is_http_url(url) => err(
                "base_url",
                "base_url is an http:// or https:// address without user or password",
            ),
            (ProviderKind::Custom, Some(_)) => Ok(()),
            (_, Some(_)) => err("base_url", "base_url is for the provider kind custom only"),
            (_, None) => Ok(()),
        }
    }
}

/// Whether `url` is `http(s)://host…` without credentials, spaces or control characters.
fn is_http_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    url.len() <= 2000
        && !authority.is_empty()
        && !authority.contains('@')
        && url
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>' | '{' | '}' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(model: Option<&str>, base_url: Option<&str>) -> ModelProvider {
        ModelProvider {
            kind: ProviderKind::Custom,
            model: model.map(Into::into),
            base_url: base_url.map(Into::into),
        }
    }

    #[test]
    fn all_kinds_are_listed_and_their_words_are_those_of_json() {
        for kind in ProviderKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(ProviderKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ProviderKind::parse("none"), None);
    }

    #[test]
    fn a_custom_provider_needs_address_and_model() {
        assert!(custom(Some("m"), Some("http://127.0.0.1:9/v1")).check().is_ok());
        assert_eq!(custom(None, Some("http://x/v1")).check().unwrap_err().field, "model");
        assert_eq!(custom(Some("m"), None).check().unwrap_err().field, "base_url");
    }

    #[test]
    fn addresses_that_are_no_plain_http_are_refused() {
        for bad in [
            "ftp://x",
            "https://",
            "http://u:p@x/",
            "http://a b/",
            "http://x/${HOME}",
            "javascript:1",
        ] {
            assert!(custom(Some("m"), Some(bad)).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_named_provider_takes_no_address() {
        let p = ModelProvider {
            kind: ProviderKind::Openai,
            model: None,
            base_url: Some("https://x/v1".into()),
        };
        assert_eq!(p.check().unwrap_err().field, "base_url");
    }
}
