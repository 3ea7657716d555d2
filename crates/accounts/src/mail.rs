//! Sends mail through an SMTP server.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
};
use startclaw_model::Email;

use crate::{AccountError, MailSettings};

/// How long the server may take for one reply.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Mailer {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// `None` if mail is not configured.
    pub fn new(settings: &MailSettings) -> Result<Option<Self>, String> {
        if settings.server.is_empty() {
            return Ok(None);
        }
        let from = settings
            .from
            .parse()
            .map_err(|e| format!("accounts.mail.from is no address to send from: {e}"))?;
        let wrong = || {
            "accounts.mail.server is like smtps://mail.example.com or smtp://mail.example.com:587"
                .to_owned()
        };
        let url = url::Url::parse(&settings.server).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        let builder = match url.scheme() {
            "smtps" => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            "smtp" => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            // Without TLS only on the loopback interface, where it cannot be intercepted.
            "smtp+plain" if matches!(host, "127.0.0.1" | "[::1]" | "localhost") => {
                Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host))
            }
            _ => return Err(wrong()),
        };
        let mut builder = builder.map_err(|e| format!("accounts.mail.server: {e}"))?;
        if let Some(port) = url.port() {
            builder = builder.port(port);
        }
        if !settings.user.is_empty() {
            let file = &settings.password_file;
            let password = std::fs::read_to_string(file).map_err(|e| {
                format!("accounts.mail.password_file: cannot read {}: {e}", file.display())
            })?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            builder = builder.credentials(Credentials::new(settings.user.clone(), password));
        }
        Ok(Some(Self { server: builder.timeout(Some(LIMIT)).build(), from }))
    }

    /// Sends one mail.
    pub async fn send(&self, to: &Email, subject: &str, text: String) -> Result<(), AccountError> {
        let to: Mailbox = to.as_str().parse().map_err(AccountError::inside)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(AccountError::inside)?;
        self.server.send(message).await.map(drop).map_err(AccountError::inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(server: &str, from: &str) -> Result<bool, String> {
        let settings =
            MailSettings { server: server.into(), from: from.into(), ..MailSettings::default() };
        Mailer::new(&settings).map(|m| m.is_some())
    }

    #[tokio::test]
    async fn a_mail_server_is_understood_or_said_to_be_wrong() {
        assert_eq!(with("", ""), Ok(false));
        assert_eq!(with("smtp+plain://127.0.0.1:2525", "StartClaw <a@example.com>"), Ok(true));
        for (server, from) in [
            ("mail.example.com", "a@example.com"),
            ("smtp+plain://mail.example.com", "a@example.com"),
            ("http://mail.example.com", "a@example.com"),
            ("smtp+plain://127.0.0.1", "nobody"),
        ] {
            assert!(with(server, from).is_err(), "{server} {from}");
        }
    }
}
