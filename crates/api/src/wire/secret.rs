//! Secrets in requests: stored, listed by name, and never returned.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use startclaw_model::{Name, Secret, SecretName, Timestamp};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

/// A secret that is meant to be sent. [`Secret`] deliberately cannot be serialized; this wrapper
/// marks the few places where it must be: a client that sends one, and the single responses that
/// show a new token or link.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SentSecret(pub Secret);

impl fmt::Debug for SentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SentSecret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.expose())
    }
}

impl PartialSchema for SentSecret {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .min_length(Some(1))
            .max_length(Some(Secret::MAX_LEN))
            .into()
    }
}

impl ToSchema for SentSecret {
    fn name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
}

/// Sets one secret of an instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// The instance.
    pub name: Name,
    /// The secret's name: `A-Z`, `0-9` and `_`, starting with a letter. `MODEL_API_KEY` and
    /// `TELEGRAM_BOT_TOKEN` are the ones the platform itself knows.
    pub secret: SecretName,
    /// Its value. It can be replaced and removed, but not read again.
    #[schema(write_only, example = "sk-…")]
    pub value: SentSecret,
}

/// A secret of an instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SecretInfo {
    /// Its name.
    pub name: SecretName,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<startclaw_engine::SecretInfo> for SecretInfo {
    fn from(info: startclaw_engine::SecretInfo) -> Self {
        Self { name: info.name, updated_at: info.updated_at }
    }
}

/// The secrets of an instance, without their values.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// By name.
    pub secrets: Vec<SecretInfo>,
}

/// Selects a secret of an instance.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecretQuery {
    /// The instance.
    pub name: Name,
    /// The secret's name.
    pub secret: SecretName,
}
