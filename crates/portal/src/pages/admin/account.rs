//! `/admin/accounts/ID`: one account, and what an admin can do with it.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use startclaw_model::{Account, AccountId, Quota};

use super::{
    accounts::{AdminAccount, row as account_row},
    alerts,
    instances::{AdminInstance, row},
};
use crate::{
    Portal,
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
    auth::Admin,
    error::RejectionKind,
    form::{Field, Sent},
    frame::{CreatedLink, Meter, Notice, Site},
    labels,
    pages::{Done, instances::meters},
};

#[derive(Template)]
#[template(path = "admin/account.html")]
struct AccountPage {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    account: AdminAccount,
    me: bool,
    rows: Vec<AdminInstance>,
    meters: Vec<Meter>,
    form: QuotaForm,
    usual: String,
    made_link: Option<CreatedLink>,
}

#[derive(Default)]
struct QuotaForm {
    instances: Field,
    memory: Field,
    disk: Field,
}

#[derive(Default, Deserialize)]
pub(crate) struct FormData {
    #[serde(default)]
    instances: String,
    #[serde(default)]
    memory: String,
    #[serde(default)]
    disk: String,
}

pub(crate) async fn show(
    State(portal): State<Portal>,
    admin: Admin,
    Path(id): Path<String>,
    Query(done): Query<Done>,
) -> Answer {
    let account = find(&admin, id).await?;
    let form = quota_form(account.quota);
    Ok(page(&whole(&portal, &admin, account, form, done.notice(), None).await?))
}

pub(crate) async fn change(
    State(portal): State<Portal>,
    admin: Admin,
    Path((id, what)): Path<(String, String)>,
    Sent(sent): Sent<FormData>,
) -> Answer {
    let account = find(&admin, id).await?;
    let (accounts, actor) = (admin.user.accounts(), admin.user.actor());
    let me = account.id == admin.user.signed_in().account.id;
    let back = |done: &str| format!("/admin/accounts/{}?done={done}", account.id);
    let (changed, to) = match what.as_str() {
        "suspend" if !me => {
            (accounts.suspend(&actor, account.clone(), true).await, back("suspended"))
        }
        "unsuspend" => {
            (accounts.suspend(&actor, account.clone(), false).await, back("unsuspended"))
        }
        "make-admin" => (accounts.set_admin(&actor, account.clone(), true).await, back("admin")),
        "unmake-admin" if !me => {
            (accounts.set_admin(&actor, account.clone(), false).await, back("admin"))
        }
        "quota" => match read(&sent) {
            Ok(quota) => (accounts.set_quota(&actor, account.clone(), quota).await, back("quota")),
            Err(form) => {
                let page = whole(&portal, &admin, account, *form, None, None).await?;
                return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page));
            }
        },
        "reset-link" => {
            let link = accounts.password_link(&actor, &account).await;
            let link = link.map_err(|e| admin.refuse(e))?;
            let made = CreatedLink {
                title: "Link created".into(),
                text: format!(
                    "{} sets a new password with it, once, until {}. It is shown only now: copy it.",
                    account.email,
                    labels::moment(link.expires_at)
                ),
                url: link.url.expose().to_owned(),
            };
            let form = quota_form(account.quota);
            return Ok(page(&whole(&portal, &admin, account, form, None, Some(made)).await?));
        }
        _ => return Err(admin.refuse(RejectionKind::Nothing)),
    };
    changed.map_err(|e| admin.refuse(e))?;
    Ok(go(&to))
}

async fn find(admin: &Admin, id: String) -> Result<Account, Rejection> {
    admin
        .user
        .accounts()
        .get(&AccountId(id))
        .await
        .map_err(|_| admin.refuse(RejectionKind::Nothing))
}

/// Parses a quota. All fields empty: the default quota. Memory is in MB, data in GB.
fn read(sent: &FormData) -> Result<Option<Quota>, Box<QuotaForm>> {
    let texts = [&sent.instances, &sent.memory, &sent.disk].map(|text| text.trim());
    if texts.iter().all(|text| text.is_empty()) {
        return Ok(None);
    }
    let number = |text: &str, most: u64| {
        let number = text.parse::<u64>().ok().filter(|n| *n <= most);
        let error =
            number.is_none().then(|| format!("A whole number up to {}.", labels::thousands(most)));
        (number.unwrap_or(0), Field { value: text.to_owned(), error })
    };
    let (instances, first) = number(texts[0], 10_000);
    let (memory, second) = number(texts[1], 10_000_000);
    let (disk, third) = number(texts[2], 1_000_000);
    let form = QuotaForm { instances: first, memory: second, disk: third };
    if [&form.instances, &form.memory, &form.disk].iter().any(|field| field.error.is_some()) {
        return Err(Box::new(form));
    }
    Ok(Some(Quota {
        instances: u32::try_from(instances).unwrap_or(u32::MAX),
        memory_mib: memory,
        disk_mib: disk * 1024,
    }))
}

fn quota_form(quota: Option<Quota>) -> QuotaForm {
    let Some(quota) = quota else { return QuotaForm::default() };
    QuotaForm {
        instances: Field::of(quota.instances.to_string()),
        memory: Field::of(quota.memory_mib.to_string()),
        disk: Field::of((quota.disk_mib / 1024).to_string()),
    }
}

async fn whole(
    portal: &Portal,
    admin: &Admin,
    account: Account,
    form: QuotaForm,
    notice: Option<Notice>,
    made_link: Option<CreatedLink>,
) -> Result<AccountPage, Rejection> {
    let all = admin.engine().status_all().await.map_err(|e| admin.refuse(e))?;
    let own = all.iter().filter(|i| i.account.as_ref() == Some(&account.id));
    let rows = own.map(|i| row(admin.engine(), i)).collect();
    let me = account.id == admin.user.signed_in().account.id;
    let info = admin.user.accounts().info(account).await.map_err(|e| admin.refuse(e))?;
    let usual = admin.user.accounts().settings().quota;
    Ok(AccountPage {
        site: portal.site(Some(&admin.user)),
        here: "accounts",
        notice,
        alert_count: alerts(admin).await?,
        account: account_row(&info),
        me,
        rows,
        meters: meters(&info),
        form,
        usual: format!(
            "Default: {}, {} of memory and {} of data.",
            labels::counted(usual.instances.into(), "instance"),
            labels::mib(usual.memory_mib),
            labels::mib(usual.disk_mib)
        ),
        made_link,
    })
}
