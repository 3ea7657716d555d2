//! Access of Telegram users to an instance's bot: read from the running instance, and changed
//! there.
//!
//! The gateway's own configuration is authoritative, because its owner can also change it in the
//! Control UI; nothing of it is stored here. Telegram's updates never pass through the daemon.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use startclaw_host::Probe;
use startclaw_model::{Actor, Check, EventKind, Instance, InstanceRef, InstanceState, Timestamp};
use startclaw_openclaw::telegram::{self, Access, PairingRequest, TelegramUser};
use startclaw_openclaw::{self as openclaw, AdminCall};

use crate::{Engine, EngineError, spec};

/// How long a user can be approved after the first message, as in OpenClaw.
const REQUEST_LIFE: Duration = Duration::from_secs(3600);
/// The number of shown requests.
const REQUESTS: usize = 10;
/// The number of shown users with access.
const ALLOWED: usize = 1000;
/// Attempts of a change if the configuration is changed concurrently.
const TRIES: u32 = 3;
/// The number of instances that `doctor` queries in parallel, and the total timeout.
const ASKED_AT_ONCE: usize = 8;
const CHECK_LIMIT: Duration = Duration::from_secs(8);

/// Whether a bot is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TelegramConnection {
    /// No token is stored.
    None,
    /// A token is stored, but not verified by the instance yet.
    Unverified,
    /// Telegram accepted the token of the bot with this user name.
    Connected(String),
    /// Telegram rejected the token.
    Refused,
    /// The instance cannot reach Telegram.
    Unreachable,
}

impl TelegramConnection {
    /// The text for users.
    pub fn text(&self) -> String {
        match self {
            Self::None => "not connected".to_owned(),
            Self::Unverified => "token stored, not verified".to_owned(),
            Self::Connected(bot) if bot.is_empty() => "connected".to_owned(),
            Self::Connected(bot) => format!("connected as @{bot}"),
            Self::Refused => "Telegram refused the bot token; replace it".to_owned(),
            Self::Unreachable => "token stored; the instance cannot reach Telegram".to_owned(),
        }
    }
}

/// Status of an instance's bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramStatus {
    /// Whether it is connected.
    pub connection: TelegramConnection,
    /// Whether every Telegram user may command the agent; `None` when the instance did not answer.
    pub open: Option<bool>,
    /// The users with access that the configuration lists.
    pub allowed: Vec<TelegramUser>,
    /// The users who request access, newest first.
    pub requests: Vec<PairingRequest>,
}

impl Engine {
    /// The status of an instance's bot, queried from the instance itself.
    pub async fn telegram(
        &self,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<TelegramStatus, EngineError> {
        let entry = self.entry(of.into())?;
        let mut status = TelegramStatus {
            connection: TelegramConnection::None,
            open: None,
            allowed: Vec::new(),
            requests: Vec::new(),
        };
        if !entry.instance.desired.profile.telegram {
            return Ok(status);
        }
        status.connection = TelegramConnection::Unverified;
        if entry.state != InstanceState::Live {
            return Ok(status);
        }
        let instance = &entry.instance;
        let origin = spec::origin(&self.inner.settings, &instance.name);
        let (connection, access, requests) = tokio::join!(
            self.ask_admin(instance, telegram::connection(&origin)),
            self.ask_admin(instance, telegram::access(&origin)),
            self.ask_admin(instance, telegram::requests(&origin)),
        );
        status.connection = match telegram::understand_connection(&connection.unwrap_or_default()) {
            telegram::Connection::Connected(bot) => TelegramConnection::Connected(bot),
            telegram::Connection::Refused => TelegramConnection::Refused,
            telegram::Connection::Unreachable => TelegramConnection::Unreachable,
            telegram::Connection::Unknown => TelegramConnection::Unverified,
        };
        let Some(access) = telegram::understand_access(&access.unwrap_or_default()) else {
            return Ok(status);
        };
        status.open = Some(access.open);
        if access.pairing && !access.open {
            status.requests = open_requests(&requests.unwrap_or_default(), &access);
        }
        status.allowed = access.allowed;
        status.allowed.truncate(ALLOWED);
        Ok(status)
    }

    /// Approves a Telegram user, who may then command the agent. The first approved user becomes
    /// the bot's command owner. Approving a user twice has no effect.
    pub async fn approve_telegram(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        user: TelegramUser,
    ) -> Result<(), EngineError> {
        if user <= 0 {
            return Err(EngineError::invalid(
                "user",
                "invalid Telegram user id: it is a positive number, which the bot tells who writes to it",
            ));
        }
        let what = format!("approved the Telegram user {user}");
        self.change_access(actor, of.into(), &what, |o, a| {
            (!a.allowed.contains(&user)).then(|| telegram::approve(o, a, user))
        })
        .await
    }

    /// Closes a bot that is open to every Telegram user; listed users keep access.
    pub async fn close_telegram(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<(), EngineError> {
        self.change_access(actor, of.into(), "closed the Telegram bot to strangers", |o, a| {
            (a.open || !a.pairing).then(|| telegram::close(o, a))
        })
        .await
    }

    /// Changes the access to the bot in the running instance. `change` returns `None` when nothing
    /// is to be changed.
    async fn change_access(
        &self,
        actor: &Actor,
        of: InstanceRef<'_>,
        what: &str,
        change: impl Fn(&str, &Access) -> Option<AdminCall> + Send + Sync,
    ) -> Result<(), EngineError> {
        let name = of.name;
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(name, e))?;
        if !instance.desired.profile.telegram {
            return Err(EngineError::Conflict(format!("{name} has no Telegram bot")));
        }
        let origin = spec::origin(&self.inner.settings, name);
        for _ in 0..TRIES {
            let now = self.ask_admin(&instance, telegram::access(&origin)).await;
            let Some(access) = telegram::understand_access(&now.unwrap_or_default()) else { break };
            let Some(call) = change(&origin, &access) else { return Ok(()) };
            if self.post_admin(&instance, call).await.is_some_and(|(s, b)| telegram::is_done(s, &b))
            {
                let about = Some((&instance.id, &instance.name));
                self.record(EventKind::Changed, about, actor, what).await;
                return Ok(());
            }
        }
        Err(EngineError::Conflict(format!(
            "cannot change the access to the bot of {name}: the instance does not answer as expected; \
             try again when it is live"
        )))
    }

    /// Checks for live instances whose bot every Telegram user may command.
    pub(crate) async fn check_telegram(&self) -> Check {
        let mut with_bot = self.inner.live.all();
        with_bot.retain(|entry| {
            entry.state == InstanceState::Live && entry.instance.desired.profile.telegram
        });
        let count = with_bot.len();
        let asked = with_bot.into_iter().map(|entry| self.clone().bot_access(entry.instance));
        let answers =
            stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).filter_map(|found| async { found });
        let until = tokio::time::sleep(CHECK_LIMIT);
        let answers: Vec<(String, bool)> = answers.take_until(until).collect().await;
        let silent = count - answers.len();
        let mut open: Vec<_> =
            answers.into_iter().filter(|(_, open)| *open).map(|(name, _)| name).collect();
        open.sort();
        match (open.as_slice(), silent) {
            ([], 0) => Check::ok("telegram", "no live bot is open to every Telegram user"),
            ([], _) => Check::ok(
                "telegram",
                format!(
                    "no live bot that answered is open to every Telegram user; {silent} of {count} did not answer"
                ),
            ),
            ([first, ..], _) => Check::warning(
                "telegram",
                format!(
                    "every Telegram user can command the agent through the bot of {}",
                    open.join(", ")
                ),
                format!("close it, if that is not intended: startclaw pairing {first} close"),
            ),
        }
    }

    /// The name of an instance and whether its bot is open, if it answers.
    async fn bot_access(self, instance: Arc<Instance>) -> Option<(String, bool)> {
        let origin = spec::origin(&self.inner.settings, &instance.name);
        let answer = self.ask_admin(&instance, telegram::access(&origin)).await?;
        let access = telegram::understand_access(&answer)?;
        Some((instance.name.to_string(), access.open))
    }

    /// The body of a successful answer.
    async fn ask_admin(&self, instance: &Instance, call: AdminCall) -> Option<String> {
        self.post_admin(instance, call).await.filter(|(s, _)| *s == 200).map(|(_, body)| body)
    }

    async fn post_admin(&self, instance: &Instance, call: AdminCall) -> Option<(u16, String)> {
        let spec = self.spec_of(instance).await.ok()?;
        match self.inner.host.call(&spec, &request(call)).await {
            Ok(Probe::Answer { status, body }) => Some((status, body)),
            _ => None,
        }
    }
}

/// The open requests: not expired, and not approved.
fn open_requests(body: &str, access: &Access) -> Vec<PairingRequest> {
    let now = Timestamp::now();
    let mut found = telegram::understand_requests(body);
    found.retain(|request| {
        let young = Timestamp::parse(&request.at).is_some_and(|at| now.since(at) < REQUEST_LIFE);
        young && !access.allowed.contains(&request.user)
    });
    found.truncate(REQUESTS);
    found
}

/// Converts a call to a request of the host.
pub(crate) fn request(call: openclaw::AdminCall) -> startclaw_host::Request {
    startclaw_host::Request {
        path: call.path,
        headers: call.headers,
        body: call.body,
        answer_limit: call.answer_limit,
    }
}
