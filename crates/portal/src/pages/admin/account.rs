//! `/admin/accounts/ID`: one account, and what an admin can do with it.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::StatusCode,
};
use serde::Deserialize;
use startclaw_model::{Account, Quota};

use super::{
    accounts::{AdminAccount, row as account_row},
    alerts,
    instances::{AdminInstance, row},
};
use crate::{
    access::Admin,
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
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

pub(crate) async fn show(admin: Admin, Path(id): Path<String>, Query(done): Query<Done>) -> Answer {
    let account = admin.account(id).await?;
    let form = quota_form(account.quota.unwrap_or(admin.default_quota()));
    Ok(page(&whole(&admin, account, form, done.notice(), None).await?))
}

pub(crate) async fn change(
    admin: Admin,
    Path((id, what)): Path<(String, String)>,
    Sent(sent): Sent<FormData>,
) -> Answer {
    let account = admin.account(id).await?;
    let (me, usual) = (admin.is(&account), admin.default_quota());
    let done = match what.as_str() {
        "suspend" if !me => {
            admin.suspend(&account, true).await?;
            "suspended"
        }
        "unsuspend" => {
            admin.suspend(&account, false).await?;
            "unsuspended"
        }
        "make-admin" => {
            admin.set_admin(&account, true).await?;
            "admin"
        }
        "unmake-admin" if !me => {
            admin.set_admin(&account, false).await?;
            "admin"
        }
        "quota" => match read(&sent, account.quota.unwrap_or(usual), usual) {
            Ok(quota) => {
                admin.set_quota(&account, quota).await?;
                "quota"
            }
            Err(form) => {
                let page = whole(&admin, account, *form, None, None).await?;
                return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page));
            }
        },
        "reset-link" => return reset_link(&admin, account).await,
        _ => return Err(admin.refuse(RejectionKind::Nothing)),
    };
    Ok(go(&format!("/admin/accounts/{}?done={done}", account.id)))
}

async fn reset_link(admin: &Admin, account: Account) -> Answer {
    let link = admin.password_link(&account).await?;
    let made = CreatedLink {
        title: "Link created".into(),
        text: format!(
            "{} sets a new password with it, once, until {}. It is shown only now: copy it.",
            account.email,
            labels::moment(link.expires_at, admin.time_zone())
        ),
        url: link.url.expose().to_owned(),
    };
    let form = quota_form(account.quota.unwrap_or(admin.default_quota()));
    Ok(page(&whole(admin, account, form, None, Some(made)).await?))
}

/// Parses a quota that replaces `present`; an empty field takes its default. Memory is in MB, data in
/// GB. The default quota is `None`, so that it follows a change of the setting.
fn read(sent: &FormData, present: Quota, default: Quota) -> Result<Option<Quota>, Box<QuotaForm>> {
    let mut form = QuotaForm::default();
    let instances = number(&sent.instances, default.instances.into(), 10_000, &mut form.instances);
    let memory = number(&sent.memory, default.memory_mib, 10_000_000, &mut form.memory);
    let disk = number(&sent.disk, default.disk_mib / 1024, 1_000_000, &mut form.disk);
    let (Some(instances), Some(memory), Some(disk)) = (instances, memory, disk) else {
        return Err(Box::new(form));
    };
    let quota = Quota {
        instances: u32::try_from(instances).unwrap_or(u32::MAX),
        memory_mib: memory,
        // One that is no whole number of GB is kept when it is sent back as it was shown.
        disk_mib: [present, default]
            .iter()
            .map(|quota| quota.disk_mib)
            .find(|mib| mib / 1024 == disk)
            .unwrap_or(disk * 1024),
    };
    Ok((quota != default).then_some(quota))
}

/// The number in a text, `default` if it is empty; `None`, with an error in `field`, if it is none
/// up to `most`.
fn number(text: &str, default: u64, most: u64, field: &mut Field) -> Option<u64> {
    let text = text.trim();
    let number = match text {
        "" => Some(default),
        text => text.parse().ok().filter(|n| *n <= most),
    };
    let error =
        number.is_none().then(|| format!("A whole number up to {}.", labels::thousands(most)));
    *field = Field { value: text.to_owned(), error };
    number
}

fn quota_form(quota: Quota) -> QuotaForm {
    QuotaForm {
        instances: Field::of(quota.instances.to_string()),
        memory: Field::of(quota.memory_mib.to_string()),
        disk: Field::of((quota.disk_mib / 1024).to_string()),
    }
}

async fn whole(
    admin: &Admin,
    account: Account,
    form: QuotaForm,
    notice: Option<Notice>,
    made_link: Option<CreatedLink>,
) -> Result<AccountPage, Rejection> {
    let all = admin.instances().await?;
    let own = all.iter().filter(|i| i.account.as_ref() == Some(&account.id));
    let rows = own.map(|i| row(admin, i)).collect();
    let me = admin.is(&account);
    let info = admin.info(account).await?;
    let usual = admin.default_quota();
    Ok(AccountPage {
        site: admin.site(),
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
