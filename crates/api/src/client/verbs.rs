//! The verbs of the API as methods.

use reqwest::Method;
use serde_json::Value;
use startclaw_model::{Check, Email, Event, Name, Operation, OperationId, SecretName};

use super::{Client, ClientError, NO_QUERY, json};
use crate::wire::{
    Alert, Alerts, AlertsQuery, ApproveTelegram, BackupDestination, Backups, CheckList,
    CreateToken, DeprovisionQuery, Drill, Events, EventsQuery, FreshToken, Instance, Instances,
    NameBody, NameQuery, NamedQuery, Operations, OperationsQuery, Provision, PurgeQuery,
    PurgedBackups, RemovedInstance, RemovedInstances, RemovedQuery, RescannedBackups, Restore,
    SecretInfo, SecretQuery, Secrets, SetSecret, SignInLink, Telegram, Token, TokenQuery, Tokens,
};

/// A new `Idempotency-Key`: a request that the network repeats is executed once.
fn key() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Client {
    /// Creates an instance.
    pub async fn provision(&self, wanted: &Provision) -> Result<Operation, ClientError> {
        let request = self.request(Method::POST, "/provision", &NO_QUERY)?;
        self.ask(json(request.header("idempotency-key", key()), wanted)?).await
    }

    /// Removes an instance and its data.
    pub async fn deprovision(&self, query: &DeprovisionQuery) -> Result<Operation, ClientError> {
        let request = self.request(Method::DELETE, "/deprovision", query)?;
        self.ask(request.header("idempotency-key", key())).await
    }

    /// Replaces an instance's container.
    pub async fn restart(&self, name: &Name) -> Result<Operation, ClientError> {
        let request = self.request(Method::POST, "/restart", &NO_QUERY)?;
        let body = NameBody { name: name.clone() };
        self.ask(json(request.header("idempotency-key", key()), &body)?).await
    }

    /// Backs up an instance.
    pub async fn backup(&self, name: &Name) -> Result<Operation, ClientError> {
        let request = self.request(Method::POST, "/backup", &NO_QUERY)?;
        self.ask(json(request, &NameBody { name: name.clone() })?).await
    }

    /// The backups of an instance, newest first.
    pub async fn backups(&self, name: &Name) -> Result<Backups, ClientError> {
        let query = NamedQuery { name: name.clone() };
        self.ask(self.request(Method::GET, "/backups", &query)?).await
    }

    /// Compares all repositories with the database.
    pub async fn rescan_backups(&self) -> Result<RescannedBackups, ClientError> {
        self.ask(self.request(Method::POST, "/backups/rescan", &NO_QUERY)?).await
    }

    /// Accepts the destination in the settings.
    pub async fn accept_backup_destination(&self) -> Result<BackupDestination, ClientError> {
        self.ask(self.request(Method::POST, "/backups/destination", &NO_QUERY)?).await
    }

    /// Restores a backup.
    pub async fn restore(&self, wanted: &Restore) -> Result<Operation, ClientError> {
        let request = self.request(Method::POST, "/restore", &NO_QUERY)?;
        self.ask(json(request.header("idempotency-key", key()), wanted)?).await
    }

    /// Runs a restore test of the newest backup of an instance, or of one that the daemon chooses.
    pub async fn drill(&self, name: Option<&Name>) -> Result<Operation, ClientError> {
        let request = self.request(Method::POST, "/drill", &NO_QUERY)?;
        self.ask(json(request, &Drill { name: name.cloned() })?).await
    }

    /// The status of all instances, or of the named one.
    pub async fn status(&self, name: Option<&Name>) -> Result<Vec<Instance>, ClientError> {
        let query = NameQuery { name: name.cloned() };
        let found: Instances = self.ask(self.request(Method::GET, "/status", &query)?).await?;
        Ok(found.instances)
    }

    /// The state of an instance's Telegram bot.
    pub async fn telegram(&self, name: &Name) -> Result<Telegram, ClientError> {
        let query = NamedQuery { name: name.clone() };
        self.ask(self.request(Method::GET, "/telegram", &query)?).await
    }

    /// Approves a Telegram user, who can then command the agent.
    pub async fn approve_telegram(&self, name: &Name, user: i64) -> Result<Telegram, ClientError> {
        let request = self.request(Method::POST, "/telegram/approve", &NO_QUERY)?;
        self.ask(json(request, &ApproveTelegram { name: name.clone(), user })?).await
    }

    /// Closes a bot that is open to every Telegram user.
    pub async fn close_telegram(&self, name: &Name) -> Result<Telegram, ClientError> {
        let request = self.request(Method::POST, "/telegram/close", &NO_QUERY)?;
        self.ask(json(request, &NameBody { name: name.clone() })?).await
    }

    /// Creates a one-time sign-in link.
    pub async fn open(&self, name: &Name) -> Result<SignInLink, ClientError> {
        let request = self.request(Method::POST, "/open", &NO_QUERY)?;
        self.ask(json(request, &NameBody { name: name.clone() })?).await
    }

    /// One operation.
    pub async fn operation(&self, id: &OperationId) -> Result<Operation, ClientError> {
        self.ask(self.request(Method::GET, &format!("/operations/{id}"), &NO_QUERY)?).await
    }

    /// Operations, newest first.
    pub async fn operations(
        &self,
        name: Option<&Name>,
        limit: Option<u32>,
    ) -> Result<Vec<Operation>, ClientError> {
        let query = OperationsQuery { name: name.cloned(), limit };
        let found: Operations = self.ask(self.request(Method::GET, "/operations", &query)?).await?;
        Ok(found.operations)
    }

    /// Events, newest first.
    pub async fn events(
        &self,
        name: Option<&Name>,
        limit: Option<u32>,
    ) -> Result<Vec<Event>, ClientError> {
        let query = EventsQuery { name: name.cloned(), limit };
        let found: Events = self.ask(self.request(Method::GET, "/events", &query)?).await?;
        Ok(found.events)
    }

    /// Alerts, newest first.
    pub async fn alerts(&self, limit: Option<u32>) -> Result<Vec<Alert>, ClientError> {
        let query = AlertsQuery { limit };
        let found: Alerts = self.ask(self.request(Method::GET, "/alerts", &query)?).await?;
        Ok(found.alerts)
    }

    /// The removed instances that have backups; if set, those of one account.
    pub async fn removed(
        &self,
        account: Option<&Email>,
    ) -> Result<Vec<RemovedInstance>, ClientError> {
        let query = RemovedQuery { account: account.cloned() };
        let found: RemovedInstances =
            self.ask(self.request(Method::GET, "/backups/removed", &query)?).await?;
        Ok(found.instances)
    }

    /// Deletes the backups of removed instances of this name.
    pub async fn purge_backups(&self, name: &Name) -> Result<PurgedBackups, ClientError> {
        let query = NamedQuery { name: name.clone() };
        self.ask(self.request(Method::DELETE, "/backups", &query)?).await
    }

    /// Deletes the backups of removed instances of this account.
    pub async fn purge_backups_of(&self, account: &Email) -> Result<PurgedBackups, ClientError> {
        let query = PurgeQuery { account: account.clone() };
        self.ask(self.request(Method::DELETE, "/backups/removed", &query)?).await
    }

    /// The secrets of an instance, without values.
    pub async fn secrets(&self, name: &Name) -> Result<Vec<SecretInfo>, ClientError> {
        let query = NamedQuery { name: name.clone() };
        let found: Secrets = self.ask(self.request(Method::GET, "/secrets", &query)?).await?;
        Ok(found.secrets)
    }

    /// Sets a secret.
    pub async fn set_secret(&self, wanted: &SetSecret) -> Result<Operation, ClientError> {
        let request = self.request(Method::PUT, "/secrets", &NO_QUERY)?;
        self.ask(json(request.header("idempotency-key", key()), wanted)?).await
    }

    /// Removes a secret.
    pub async fn remove_secret(
        &self,
        name: &Name,
        secret: &SecretName,
    ) -> Result<Operation, ClientError> {
        let query = SecretQuery { name: name.clone(), secret: secret.clone() };
        let request = self.request(Method::DELETE, "/secrets", &query)?;
        self.ask(request.header("idempotency-key", key())).await
    }

    /// Tokens, without their secret parts.
    pub async fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        let found: Tokens = self.ask(self.request(Method::GET, "/tokens", &NO_QUERY)?).await?;
        Ok(found.tokens)
    }

    /// Creates a token.
    pub async fn create_token(&self, wanted: &CreateToken) -> Result<FreshToken, ClientError> {
        self.ask(json(self.request(Method::POST, "/tokens", &NO_QUERY)?, wanted)?).await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        let query = TokenQuery { id: id.to_owned() };
        self.send(self.request(Method::DELETE, "/tokens", &query)?.timeout(super::ANSWER)).await?;
        Ok(())
    }

    /// The results of the diagnostic checks.
    pub async fn doctor(&self) -> Result<Vec<Check>, ClientError> {
        let found: CheckList = self.ask(self.request(Method::GET, "/doctor", &NO_QUERY)?).await?;
        Ok(found.checks)
    }

    /// Whether the daemon is healthy.
    pub async fn healthz(&self) -> Result<(), ClientError> {
        let _: Value = self.ask(self.request(Method::GET, "/healthz", &NO_QUERY)?).await?;
        Ok(())
    }
}
