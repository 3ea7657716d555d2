//! `/admin/accounts`: everybody.

use std::cmp::Ordering;

use askama::Template;
use axum::extract::{Query, State};
use startclaw_accounts::AccountInfo;
use startclaw_model::AccountState;

use super::{table::Asked, troubles};
use crate::{
    Portal,
    answer::{Answer, page},
    assets::Page as _,
    frame::{Column, Notice, Pages, Site},
    who::Admin,
    words,
};

#[derive(Template)]
#[template(path = "admin/accounts.html")]
struct Accounts {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    troubles: u64,
    q: String,
    sort: String,
    order: String,
    columns: Vec<Column>,
    rows: Vec<AdminAccount>,
    found: String,
    pages: Pages,
}

/// A row of the table.
pub(crate) struct AdminAccount {
    pub id: String,
    pub email: String,
    pub admin: bool,
    pub suspended: bool,
    pub confirmed: bool,
    pub instances: String,
    pub created: String,
    pub seen: String,
}

pub(crate) async fn show(
    State(portal): State<Portal>,
    admin: Admin,
    Query(asked): Query<Asked>,
) -> Answer {
    let all = admin.person.accounts().all().await.map_err(|e| admin.refuse(e))?;
    let mut found: Vec<_> =
        all.into_iter().filter(|info| asked.finds(info.account.email.as_str())).collect();
    found.sort_by(|a, b| {
        let order = order(&asked.sort, a, b);
        if asked.descending() { order.reverse() } else { order }
    });
    let number = u64::try_from(found.len()).unwrap_or(u64::MAX);
    let (rows, pages) = asked.part(found);
    Ok(page(&Accounts {
        site: portal.site(Some(&admin.person)),
        here: "accounts",
        notice: None,
        troubles: troubles(&admin).await?,
        columns: vec![
            asked.column("E-mail", "email", ""),
            asked.column("Instances", "instances", "num"),
            asked.column("Made", "made", ""),
            asked.column("Last seen", "seen", ""),
            asked.column("Standing", "", ""),
        ],
        rows: rows.iter().map(row).collect(),
        found: words::counted(number, "account"),
        pages,
        q: asked.q,
        sort: asked.sort,
        order: asked.order,
    }))
}

fn order(by: &str, a: &AccountInfo, b: &AccountInfo) -> Ordering {
    let first = match by {
        "instances" => a.usage.instances.cmp(&b.usage.instances),
        "made" => a.account.created_at.cmp(&b.account.created_at),
        "seen" => a.account.signed_in_at.cmp(&b.account.signed_in_at),
        _ => Ordering::Equal,
    };
    first.then_with(|| a.account.email.cmp(&b.account.email))
}

/// An account as a row.
pub(crate) fn row(info: &AccountInfo) -> AdminAccount {
    let account = &info.account;
    AdminAccount {
        id: account.id.to_string(),
        email: account.email.to_string(),
        admin: account.admin,
        suspended: account.state != AccountState::Active,
        confirmed: account.confirmed_at.is_some(),
        instances: format!("{} of {}", info.usage.instances, info.quota.instances),
        created: words::ago(account.created_at),
        seen: account.signed_in_at.map_or_else(|| "never".to_owned(), words::ago),
    }
}
