//! Renders the Caddyfile. It depends on the settings only, never on the instances.

use askama::Template;

use crate::{EdgeError, EdgeSettings, Tls, drain::UNREAD, pages};

/// `templates/Caddyfile`, whose comments explain each part.
#[derive(Template)]
#[template(path = "Caddyfile", escape = "none")]
struct Caddyfile<'a> {
    s: &'a EdgeSettings,
    acme: bool,
    bind: String,
    storage: String,
    access_log: String,
    trusted_root: String,
    hsts: Option<String>,
    port_suffix: String,
    page: String,
    page_policy: String,
    user_header: &'static str,
    unread: String,
    connect_seconds: u64,
}

/// The Caddyfile for these settings.
///
/// # Errors
/// [`EdgeError::Setting`] when a setting cannot be used.
pub fn render(settings: &EdgeSettings) -> Result<String, EdgeError> {
    settings.check()?;
    let (page, page_policy) = pages::unreachable()?;
    let bind: Vec<String> = settings.bind.iter().map(ToString::to_string).collect();
    let text = Caddyfile {
        s: settings,
        acme: settings.tls == Tls::Acme,
        bind: bind.join(" "),
        storage: settings.storage.to_string_lossy().into_owned(),
        access_log: settings.access_log.to_string_lossy().into_owned(),
        trusted_root: settings.acme.trusted_root.to_string_lossy().into_owned(),
        hsts: settings.hsts(),
        port_suffix: settings.port_suffix(),
        page,
        page_policy,
        user_header: startclaw_openclaw::USER_HEADER,
        unread: UNREAD.to_string(),
        connect_seconds: startclaw_engine::CONNECT_TIME.as_secs(),
    };
    Ok(text.render()? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_a_caddyfile_without_admin_interface() {
        let text = render(&EdgeSettings::default()).unwrap();
        assert!(text.contains("\tadmin off\n"));
        assert!(text.contains("issuer internal"));
        assert!(!text.contains("Strict-Transport-Security"));
    }

    #[test]
    fn a_public_domain_gets_its_authority_and_hsts() {
        let mut settings = EdgeSettings {
            domain: "claws.example".into(),
            tls: Tls::Acme,
            ..EdgeSettings::default()
        };
        settings.acme.email = "ops@claws.example".into();
        let text = render(&settings).unwrap();
        assert!(text.contains("issuer acme"));
        assert!(text.contains("dir \"https://acme-v02.api.letsencrypt.org/directory\""));
        assert!(text.contains("email \"ops@claws.example\""));
        assert!(text.contains("max-age=31536000"));
    }

    #[test]
    fn at_the_address_for_certificate_questions_nothing_else_is_answered() {
        let text = render(&EdgeSettings::default()).unwrap();
        let site = text.split("http://127.0.0.1:9901 {").nth(1).unwrap();
        let site = site.split("\n}\n").next().unwrap();
        assert!(site.contains("path /ask") && site.contains("respond 404"), "{site}");
        assert!(site.contains("request_header -X-*"), "{site}");
    }

    #[test]
    fn a_setting_that_would_break_out_is_refused() {
        let settings =
            EdgeSettings { domain: "a\n}\nadmin :2019".into(), ..EdgeSettings::default() };
        assert!(matches!(render(&settings), Err(EdgeError::Setting { field: "domain", .. })));
    }
}
