//! Loads the settings: defaults, then a file, then the environment.

use std::path::Path;

use anyhow::{Context, bail};
use config::{Config, Environment, File, FileFormat};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::Settings;

/// The default file.
pub const FILE: &str = "/etc/startclaw/startclaw.toml";
/// The prefix of environment variables of settings.
const PREFIX: &str = "STARTCLAW";

impl Settings {
    /// Loads the settings from `file`, which must exist, or from the default file if it exists.
    /// `STARTCLAW__SECTION__KEY` in the environment takes precedence.
    ///
    /// # Errors
    /// The problem, with its key.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let source = match file {
            Some(file) => File::from(file).format(FileFormat::Toml).required(true),
            None => File::from(Path::new(FILE)).format(FileFormat::Toml).required(false),
        };
        read(Config::builder().add_source(source).add_source(environment()?))
    }

    /// Loads the settings from a text instead of a file.
    ///
    /// # Errors
    /// The problem, with its key.
    pub fn from_text(text: &str) -> anyhow::Result<Self> {
        let source = File::from_str(text, FileFormat::Toml);
        read(Config::builder().add_source(source).add_source(environment()?))
    }

    /// The settings that differ from the defaults, as TOML.
    ///
    /// # Errors
    /// If they cannot be serialized.
    pub fn own_text(&self) -> anyhow::Result<String> {
        let mut own = serde_json::to_value(self)?;
        leave_out(&mut own, &serde_json::to_value(Self::default())?);
        Ok(toml::to_string_pretty(&own)?)
    }
}

/// Settings in the environment. List items are separated by commas, so the keys of lists must be
/// known: those that are lists in the defaults.
fn environment() -> anyhow::Result<Environment> {
    let mut environment = Environment::with_prefix(PREFIX)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .list_separator(",");
    let defaults = serde_json::to_value(Settings::default())?;
    for list in lists("", &defaults) {
        environment = environment.with_list_parse_key(&list);
    }
    Ok(environment)
}

/// The dotted keys of all lists in `value`.
fn lists(path: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Array(_) => vec![path.to_owned()],
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, inner)| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                lists(&path, inner)
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Removes from `own` what equals `default`, and sections that become empty.
fn leave_out(own: &mut Value, default: &Value) {
    let (Value::Object(own), Value::Object(default)) = (own, default) else { return };
    own.retain(|key, value| {
        let Some(default) = default.get(key) else { return true };
        leave_out(value, default);
        let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
        value != default && !empty && !value.is_null()
    });
}

fn read(builder: config::ConfigBuilder<config::builder::DefaultState>) -> anyhow::Result<Settings> {
    let plain = builder.build().context("cannot read the configuration")?;
    let left_out = |key: &str| plain.get::<config::Value>(key).is_err();
    let (runtime, storage) = (left_out("docker.runtime_dir"), left_out("edge.storage"));
    let mut settings: Settings = serde_path_to_error::deserialize(plain).map_err(|e| {
        let path = e.path().to_string();
        anyhow::anyhow!("invalid setting {path}: {}", e.into_inner())
    })?;
    // Folders left out follow the data and runtime folders.
    if runtime {
        settings.docker.runtime_dir.clone_from(&settings.runtime_dir);
    }
    if storage {
        settings.edge.storage = settings.data_dir.join("caddy");
    }
    if settings.backup.folder.as_os_str().is_empty() {
        settings.backup.folder = settings.data_dir.join("backups");
    }
    check(&settings)?;
    Ok(settings)
}

fn check(settings: &Settings) -> anyhow::Result<()> {
    for (key, folder) in [("data_dir", &settings.data_dir), ("runtime_dir", &settings.runtime_dir)]
    {
        if !folder.is_absolute() {
            bail!(
                "invalid setting {key}: an absolute path is required, such as /var/lib/startclaw"
            );
        }
    }
    EnvFilter::try_new(&settings.log.level)
        .map_err(|e| anyhow::anyhow!("invalid setting log.level: {e}"))?;
    settings.backup.check().map_err(|e| anyhow::anyhow!("the setting {e}"))?;
    settings.edge.check()?;
    settings
        .instances
        .limits
        .check()
        .map_err(|e| anyhow::anyhow!("the setting instances.limits.{}: {}", e.field, e.message))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn with(file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let source: HashMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let variables = super::environment().unwrap().source(Some(source));
        let file = File::from_str(file, FileFormat::Toml);
        read(Config::builder().add_source(file).add_source(variables))
    }

    #[test]
    fn the_defaults_stand_when_nothing_is_said() {
        let settings = with("", &[]).unwrap();
        assert_eq!(settings.data_dir, Path::new("/var/lib/startclaw"));
        assert_eq!(settings.edge.domain, "localhost");
        assert_eq!(settings.instances.limits.memory_soft_mib, 512);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file =
            "[edge]\ndomain = \"a.example\"\nhttps_port = 8443\n[instances.limits]\ncpus = 1.5";
        let settings = with(
            file,
            &[
                ("STARTCLAW__EDGE__DOMAIN", "b.example"),
                ("STARTCLAW__DOCKER__ALLOW", "10.1.2.3:8000,10.2.0.0/16"),
                ("STARTCLAW__INSTANCES__VERSION", "2026.9"),
                ("STARTCLAW_TOKEN", "not a setting"),
            ],
        )
        .unwrap();
        assert_eq!(settings.edge.domain, "b.example");
        assert_eq!(settings.edge.https_port, 8443);
        assert_eq!(settings.docker.allow.len(), 2);
        assert_eq!(settings.instances.version, "2026.9");
        assert!((settings.instances.limits.cpus - 1.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_set_is_written_and_read_alike() {
        let file = "data_dir = \"/srv/d\"\n[edge]\ndomain = \"a.example\"\n[instances.limits]\ncpus = 1.5\n[backup]\nat = \"04:30\"";
        let settings = with(file, &[]).unwrap();
        let text = settings.own_text().unwrap();
        assert!(!text.contains("spread_minutes"), "only what was set: {text}");
        let again = with(&text, &[]).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), serde_json::to_value(settings).unwrap());
        assert_eq!(with("", &[]).unwrap().backup.at.to_string(), "03:00");
    }

    #[test]
    fn what_is_misspelt_or_wrong_is_named() {
        for (file, key) in [
            ("colour = 1", "colour"),
            ("[edge]\nhttp_prot = 80", "http_prot"),
            ("[edge]\nhttp_port = \"many\"", "edge.http_port"),
            ("[edge]\ndomain = \"A b\"", "edge.domain"),
            ("[log]\nlevel = \"info,=,\"", "log.level"),
            ("data_dir = \"here\"", "data_dir"),
            ("[instances.limits]\nmemory_hard_mib = 10", "memory_hard_mib"),
            ("[docker]\nallow = [\"everything\"]", "docker.allow"),
        ] {
            let error = format!("{:#}", with(file, &[]).unwrap_err());
            assert!(error.contains(key), "{file}: {error}");
        }
        let error = with("", &[("STARTCLAW__EDGE__PROT", "1")]).unwrap_err();
        assert!(format!("{error:#}").contains("prot"));
    }

    #[test]
    fn folders_follow_each_other() {
        let settings = with("data_dir = \"/srv/d\"\nruntime_dir = \"/srv/r\"", &[]).unwrap();
        assert_eq!(settings.docker.runtime_dir, Path::new("/srv/r"));
        assert_eq!(settings.edge.storage, Path::new("/srv/d/caddy"));
        let own =
            with("runtime_dir = \"/srv/r\"\n[docker]\nruntime_dir = \"/srv/x\"", &[]).unwrap();
        assert_eq!(own.docker.runtime_dir, Path::new("/srv/x"));
    }
}
