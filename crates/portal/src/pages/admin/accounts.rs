//! `/admin/accounts`: all accounts.

use std::cmp::Ordering;

use askama::Template;
use axum::extract::Query;
use startclaw_accounts::AccountInfo;
use startclaw_model::AccountState;

use super::{
    alerts,
    table::{Column, List, Table, TableQuery},
};
use crate::{
    access::Admin,
    answer::{Answer, page},
    assets::Page as _,
    frame::{Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "admin/accounts.html")]
struct Accounts {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    table: Table<AdminAccount>,
}

const LIST: List<AccountInfo> = List {
    path: "/admin/accounts",
    one: "account",
    searched_by: "e-mail",
    wants: |asked, info| asked.finds(info.account.email.as_str()),
    columns: &[
        Column("E-mail", "email", "", |a, b| a.account.email.cmp(&b.account.email)),
        Column("Instances", "instances", "num", |a, b| a.usage.instances.cmp(&b.usage.instances)),
        Column("Created", "made", "", |a, b| a.account.created_at.cmp(&b.account.created_at)),
        Column("Last seen", "seen", "", |a, b| a.account.signed_in_at.cmp(&b.account.signed_in_at)),
        Column("Status", "", "", |_, _| Ordering::Equal),
    ],
};

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

pub(crate) async fn show(admin: Admin, Query(asked): Query<TableQuery>) -> Answer {
    let all = admin.accounts().await?;
    Ok(page(&Accounts {
        site: admin.site(),
        here: "accounts",
        notice: None,
        alert_count: alerts(&admin).await?,
        table: LIST.table(asked, all, row),
    }))
}

pub(crate) fn row(info: &AccountInfo) -> AdminAccount {
    let account = &info.account;
    AdminAccount {
        id: account.id.to_string(),
        email: account.email.to_string(),
        admin: account.admin,
        suspended: account.state != AccountState::Active,
        confirmed: account.confirmed_at.is_some(),
        instances: format!("{} of {}", info.usage.instances, info.quota.instances),
        created: labels::ago(account.created_at),
        seen: account.signed_in_at.map_or_else(|| "never".to_owned(), labels::ago),
    }
}
