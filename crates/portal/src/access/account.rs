//! The signed-in user's own account: password, passkeys, sessions, deletion.

use startclaw_accounts::{AccountError, AccountInfo, AccountSession, Ceremony, Passkey};
use startclaw_model::Secret;
use webauthn_rs_proto::RegisterPublicKeyCredential;

use super::CurrentUser;
use crate::answer::Rejection;

impl CurrentUser {
    /// The account with its usage and quota.
    pub async fn info(&self) -> Result<AccountInfo, Rejection> {
        let info = self.accounts().info(self.account().clone()).await;
        info.map_err(|e| self.refuse(e))
    }

    /// Sends the mail to confirm the address again.
    pub async fn resend_confirmation(&self) -> Result<(), Rejection> {
        let sent = self.accounts().resend_confirmation(self.account(), &self.origin).await;
        sent.map_err(|e| self.refuse(e))
    }

    /// Checks that a password is the user's.
    pub async fn confirm_password(&self, password: &Secret) -> Result<(), AccountError> {
        self.accounts().confirm_password(self.account(), password).await
    }

    /// Sets a new password, and ends all other sessions.
    pub async fn set_password(&self, password: &Secret) -> Result<(), AccountError> {
        let hash = self.signed_in.session.hash.as_str();
        self.accounts().set_password(self.account(), password, Some(hash)).await
    }

    pub async fn passkeys(&self) -> Result<Vec<Passkey>, Rejection> {
        let all = self.accounts().passkeys(&self.account().id).await;
        all.map_err(|e| self.refuse(e))
    }

    pub async fn begin_passkey(&self) -> Result<Ceremony, AccountError> {
        self.accounts().begin_passkey(&self.signed_in).await
    }

    pub async fn finish_passkey(
        &self,
        ceremony: &str,
        label: &str,
        answer: &RegisterPublicKeyCredential,
    ) -> Result<(), AccountError> {
        self.accounts().finish_passkey(&self.signed_in, ceremony, label, answer).await
    }

    pub async fn remove_passkey(&self, id: &str) -> Result<(), Rejection> {
        let removed = self.accounts().remove_passkey(&self.signed_in, id).await;
        removed.map_err(|e| self.refuse(e))
    }

    pub async fn sessions(&self) -> Result<Vec<AccountSession>, Rejection> {
        let all = self.accounts().sessions(&self.account().id).await;
        all.map_err(|e| self.refuse(e))
    }

    /// Ends one of the user's sessions.
    pub async fn end_session(&self, id: &str) -> Result<(), Rejection> {
        let ended = self.accounts().end_session(&self.signed_in, id).await;
        ended.map_err(|e| self.refuse(e))
    }

    /// Ends all sessions but this one.
    pub async fn end_other_sessions(&self) -> Result<(), Rejection> {
        let ended = self.accounts().end_other_sessions(&self.signed_in).await;
        ended.map(|_| ()).map_err(|e| self.refuse(e))
    }

    /// Ends this session, and the instance sessions opened from it.
    pub async fn sign_out(&self) -> Result<(), Rejection> {
        self.accounts().sign_out(&self.signed_in).await.map_err(|e| self.refuse(e))
    }

    /// Deletes the account and its instances.
    pub async fn delete(&self) -> Result<(), AccountError> {
        self.accounts().delete(&self.actor(), self.account().clone()).await
    }
}
