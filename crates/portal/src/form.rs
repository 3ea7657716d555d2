//! Forms: parsed, and rendered again with an error beside each invalid field.

use axum::{
    extract::{Form, FromRequest, Request},
    response::Response,
};
use serde::de::DeserializeOwned;

use crate::{Portal, answer::Rejection, error::RejectionKind};

/// A submitted form.
pub(crate) struct Sent<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Portal> for Sent<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Rejection> {
        match Form::<T>::from_request(request, portal).await {
            Ok(Form(form)) => Ok(Self(form)),
            Err(_) => {
                let page: Response = RejectionKind::Form.page(portal, None);
                Err(Rejection(Box::new(page)))
            }
        }
    }
}

/// A field that is rendered again with the submitted value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    pub value: String,
    pub error: Option<String>,
}

impl Field {
    pub fn of(value: impl Into<String>) -> Self {
        Self { value: value.into(), error: None }
    }
}

/// A field whose value is never rendered again.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretField {
    pub error: Option<String>,
}
