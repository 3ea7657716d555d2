//! `startclaw accounts`

mod show;

use std::io::{self, BufRead, Write};

use clap::{Args, Subcommand};
use startclaw_api::{
    client::Client,
    wire::{self, CreateAccount, Invite, Quota},
};
use startclaw_model::{Email, Name};

use super::name;
use crate::{
    cli::Globals,
    connect,
    exit::{Exit, Failure},
    output, secret_input,
};

#[derive(Debug, Subcommand)]
pub enum Accounts {
    /// List the accounts, with what they have and may have
    List,
    /// Make an account and print the link with which its owner sets a password, this once
    Create {
        /// Its e-mail address
        #[arg(value_parser = email)]
        email: Email,
        /// It sees and administers everything
        #[arg(long)]
        admin: bool,
    },
    /// Print a link with which somebody sets a new password, this once
    Link(Whose),
    /// Print a link with which somebody makes an account, this once
    Invite {
        /// The only address it is for
        #[arg(value_parser = email)]
        email: Option<Email>,
        /// How many days it can be used; 7 when left out
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: Option<u32>,
    },
    /// List the invitations that were not used yet
    Invitations,
    /// Take an invitation back
    Revoke {
        /// The invitation's id, as `invitations` shows it
        id: String,
    },
    /// Keep somebody out, at once; their instances go on
    Suspend(Whose),
    /// Let somebody in again
    Resume(Whose),
    /// Make somebody an admin
    Admin {
        #[command(flatten)]
        whose: Whose,
        /// Make them no admin any more
        #[arg(long)]
        remove: bool,
    },
    /// Set what somebody may have; what is left out stays
    Quota(SetQuota),
    /// Give an instance to an account, whose pages then show it
    Give {
        #[command(flatten)]
        whose: Whose,
        /// The instance
        #[arg(value_parser = name)]
        name: Name,
    },
    /// Delete an account and its instances, after a last backup of each
    Delete {
        #[command(flatten)]
        whose: Whose,
        /// Do not ask for the address again
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct Whose {
    /// The account's e-mail address
    #[arg(value_parser = email)]
    email: Email,
}

#[derive(Debug, Args)]
pub struct SetQuota {
    #[command(flatten)]
    whose: Whose,
    /// How many instances
    #[arg(long, value_name = "N", required_unless_present_any = ["memory", "disk", "usual"])]
    instances: Option<u32>,
    /// The sum of their hard memory limits, in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Their data, in MiB
    #[arg(long, value_name = "MIB")]
    disk: Option<u64>,
    /// What everybody may have (`accounts.quota` in the configuration)
    #[arg(long, conflicts_with_all = ["instances", "memory", "disk"])]
    usual: bool,
}

fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|e| e.to_string())
}

impl Accounts {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        match self {
            Self::List => {
                let accounts = client.accounts().await?;
                if globals.json {
                    return output::json(&wire::Accounts { accounts });
                }
                show::list(&accounts)
            }
            Self::Create { email, admin } => {
                let fresh = client.create_account(&CreateAccount { email, admin }).await?;
                if globals.json {
                    return output::json(&fresh);
                }
                show::link(&fresh.link, &format!("With it {} sets a password", fresh.account.email))
            }
            Self::Link(Whose { email }) => {
                let link = client.account_link(&email).await?;
                if globals.json {
                    return output::json(&link);
                }
                show::link(&link, &format!("With it {email} sets a new password"))
            }
            Self::Invite { email, days } => {
                let wanted = Invite { email, days };
                let link = client.invite(&wanted).await?;
                if globals.json {
                    return output::json(&link);
                }
                let whom = wanted.email.map_or_else(|| "whoever has it".into(), String::from);
                show::link(&link, &format!("With it {whom} makes one account"))
            }
            Self::Invitations => {
                let invitations = client.invitations().await?;
                if globals.json {
                    return output::json(&wire::Invitations { invitations });
                }
                show::invitations(&invitations)
            }
            Self::Revoke { id } => {
                client.revoke_invitation(&id).await?;
                if globals.json {
                    return output::json(&serde_json::json!({ "revoked": id }));
                }
                Ok(output::line(&format!("invitation {id} is good for nothing any more"))?)
            }
            Self::Suspend(Whose { email }) => {
                let account = client.suspend_account(&email).await?;
                tell(globals, &account, "cannot sign in any more, and is signed out everywhere")
            }
            Self::Resume(Whose { email }) => {
                let account = client.resume_account(&email).await?;
                tell(globals, &account, "can sign in again")
            }
            Self::Admin { whose, remove } => {
                let account = client.set_admin(&whose.email, !remove).await?;
                let what = if remove { "is no admin any more" } else { "is an admin now" };
                tell(globals, &account, what)
            }
            Self::Quota(wanted) => wanted.run(globals, &client).await,
            Self::Give { whose, name } => {
                let account = client.give(&whose.email, &name).await?;
                tell(globals, &account, &format!("has {name} now"))
            }
            Self::Delete { whose, yes } => delete(globals, &client, &whose.email, yes).await,
        }
    }
}

impl SetQuota {
    async fn run(self, globals: &Globals, client: &Client) -> anyhow::Result<()> {
        let email = &self.whose.email;
        let quota = if self.usual {
            None
        } else {
            let now = find(client, email).await?.quota;
            Some(Quota {
                instances: self.instances.unwrap_or(now.instances),
                memory_mib: self.memory.unwrap_or(now.memory_mib),
                disk_mib: self.disk.unwrap_or(now.disk_mib),
            })
        };
        let account = client.set_quota(email, quota).await?;
        let Quota { instances, memory_mib, disk_mib } = account.quota;
        let what = format!(
            "may have {} with {memory_mib} MiB of memory and {disk_mib} MiB of data",
            counted(instances)
        );
        tell(globals, &account, &what)
    }
}

async fn delete(
    globals: &Globals,
    client: &Client,
    email: &Email,
    yes: bool,
) -> anyhow::Result<()> {
    if !yes {
        // Also says that there is no such account before asking anything.
        let account = find(client, email).await?;
        confirm(email, account.usage.instances)?;
    }
    let account = client.delete_account(email).await?;
    match account.usage.instances {
        0 => tell(globals, &account, "is deleted"),
        n => {
            let what = format!("leaves: its {} first, after a last backup of each", go(n));
            tell(globals, &account, &what)
        }
    }
}

/// One account of the list: the API has no other way to look at one.
async fn find(client: &Client, email: &Email) -> anyhow::Result<wire::Account> {
    let found = client.accounts().await?.into_iter().find(|account| account.email == *email);
    let text = || format!("there is no account {email}; startclaw accounts list shows them all");
    found.ok_or_else(|| Failure::new(Exit::NotFound, text()).into())
}

fn confirm(email: &Email, instances: u32) -> anyhow::Result<()> {
    let what = match instances {
        0 => format!("deletes {email}, who has no instances."),
        n => format!("deletes {email} and {}, after a last backup of each.", counted(n)),
    };
    if !secret_input::can_ask() {
        let text = format!("this {what} Say so with --yes");
        return Err(Failure::new(Exit::Denied, text).into());
    }
    let mut stderr = io::stderr();
    writeln!(stderr, "This {what}")?;
    write!(stderr, "Type the address to go on: ")?;
    stderr.flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    if Email::parse(&typed).is_ok_and(|typed| typed == *email) {
        Ok(())
    } else {
        Err(Failure::new(Exit::Denied, "that is another address; nothing was deleted").into())
    }
}

fn counted(instances: u32) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}

fn go(instances: u32) -> String {
    format!("{} {}", counted(instances), if instances == 1 { "goes" } else { "go" })
}

fn tell(globals: &Globals, account: &wire::Account, what: &str) -> anyhow::Result<()> {
    if globals.json {
        return output::json(account);
    }
    Ok(output::line(&format!("{} {what}", account.email))?)
}
