//! The client of a request, signed in or not: signing in, signing up, and links from mails.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use startclaw_accounts::{AccountError, Accounts, Ceremony, FreshSession, Link, LinkKind, Origin};
use startclaw_model::Secret;
use webauthn_rs_proto::PublicKeyCredential;

use super::{CurrentUser, Portal};
use crate::{answer::Rejection, cookie, error::RejectionKind, frame::Site};

/// The client of a request, signed in or not.
pub(crate) struct MaybeUser {
    portal: Portal,
    user: Option<CurrentUser>,
    origin: Origin,
}

impl MaybeUser {
    /// The user, if signed in.
    pub fn user(&self) -> Option<&CurrentUser> {
        self.user.as_ref()
    }

    /// The user, if signed in.
    pub(super) fn into_user(self) -> Option<CurrentUser> {
        self.user
    }

    fn accounts(&self) -> &Accounts {
        &self.portal.0.accounts
    }

    pub fn portal(&self) -> &Portal {
        &self.portal
    }

    pub fn site(&self) -> Site {
        self.portal.site(self.user())
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.portal.refuse(why, self.user())
    }

    pub async fn sign_in(
        &self,
        email: &str,
        password: &Secret,
        device: Option<&str>,
    ) -> Result<FreshSession, AccountError> {
        self.accounts().sign_in(email, password, device, &self.origin).await
    }

    pub fn begin_passkey_sign_in(&self) -> Result<Ceremony, AccountError> {
        self.accounts().begin_passkey_sign_in(&self.origin)
    }

    pub async fn passkey_sign_in(
        &self,
        ceremony: &str,
        answer: &PublicKeyCredential,
    ) -> Result<FreshSession, AccountError> {
        self.accounts().passkey_sign_in(ceremony, answer, &self.origin).await
    }

    pub async fn sign_up(
        &self,
        email: &str,
        password: &Secret,
        invite: Option<&str>,
    ) -> Result<FreshSession, AccountError> {
        self.accounts().sign_up(email, password, invite, &self.origin).await
    }

    /// Sends a link with which to sign up.
    pub async fn request_sign_up_link(&self, email: &str) -> Result<(), AccountError> {
        self.accounts().ask_sign_up_link(email, &self.origin).await
    }

    /// The invitation that a token is for, if it is valid.
    pub async fn invitation(&self, token: &str) -> Result<Option<Link>, Rejection> {
        self.accounts().invitation(token).await.map_err(|e| self.refuse(e))
    }

    /// Whether a link to set a password or to confirm an address is valid; else the rejection says
    /// so.
    pub async fn check_link(&self, token: &str, kind: LinkKind) -> Result<(), Rejection> {
        match self.accounts().is_good(token, kind).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refuse(RejectionKind::DeadLink)),
            Err(e) => Err(self.refuse(e)),
        }
    }

    /// Confirms the address that a link is for.
    pub async fn confirm_address(&self, token: &str) -> Result<(), Rejection> {
        self.accounts().confirm(token).await.map_err(|e| self.refuse(e))
    }

    /// Sends a link to set the password of an account.
    pub async fn request_password_link(&self, email: &str) -> Result<(), AccountError> {
        self.accounts().ask_password_link(email, &self.origin).await
    }

    /// Sets the password of the account that a link is for.
    pub async fn set_password_by_link(
        &self,
        token: &str,
        password: &Secret,
    ) -> Result<FreshSession, AccountError> {
        self.accounts().set_password_by_link(token, password, &self.origin).await
    }
}

impl FromRequestParts<Portal> for MaybeUser {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let origin = origin_of(&parts.headers);
        let found = match cookie::read(&parts.headers, cookie::SESSION) {
            Some(value) => portal
                .0
                .accounts
                .authenticate(value, &origin)
                .await
                .map_err(|e| portal.refuse(e, None))?,
            None => None,
        };
        let user = found.map(|who| CurrentUser::new(portal.clone(), who, origin.clone()));
        Ok(Self { portal: portal.clone(), user, origin })
    }
}

fn origin_of(headers: &HeaderMap) -> Origin {
    let device = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    Origin {
        // Only Caddy connects here; it forwards the client's address.
        address: startclaw_edge::client_address(headers)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        device: device.unwrap_or_default().to_owned(),
    }
}
