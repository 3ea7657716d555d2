//! `startclaw accounts`

mod show;

use std::io::{self, BufRead, Write};

use clap::{Args, Subcommand};
use startclaw_api::{
    client::Client,
    wire::{self, CreateAccount, Invite, Quota},
};
use startclaw_model::{Email, Name};

use super::{completions::instance_names, name};
use crate::{
    cli::Globals,
    connect,
    exit::{Exit, Failure},
    output, secret_input,
};

#[derive(Debug, Subcommand)]
pub enum Accounts {
    /// List accounts with their usage and quota
    List,
    /// Create an account and print its one-time link to set a password
    Create {
        /// Its e-mail address
        #[arg(value_parser = email)]
        email: Email,
        /// Grant admin rights
        #[arg(long)]
        admin: bool,
    },
    /// Print a one-time password reset link
    Link(Whose),
    /// Create an invitation and print its one-time link
    Invite {
        /// Restrict the invitation to this address
        #[arg(value_parser = email)]
        email: Option<Email>,
        /// Expires after this many days [default: 7]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: Option<u32>,
    },
    /// List open invitations
    Invitations,
    /// Revoke an invitation
    Revoke {
        /// The invitation's id, as `invitations` shows it
        id: String,
    },
    /// Suspend an account and revoke its sessions (instances keep running)
    Suspend(Whose),
    /// Resume a suspended account
    Resume(Whose),
    /// Grant admin rights
    Admin {
        #[command(flatten)]
        whose: Whose,
        /// Revoke admin rights
        #[arg(long)]
        remove: bool,
    },
    /// Set an account's quota (omitted values stay)
    Quota(SetQuota),
    /// Transfer an instance to an account
    #[command(alias = "give")]
    Transfer {
        #[command(flatten)]
        whose: Whose,
        /// The instance
        #[arg(value_parser = name, add = instance_names())]
        name: Name,
    },
    /// Delete an account and its instances (takes a final backup of each)
    Delete {
        #[command(flatten)]
        whose: Whose,
        /// Do not ask for confirmation
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
    /// Maximum number of instances
    #[arg(long, value_name = "N", required_unless_present_any = ["memory", "disk", "default"])]
    instances: Option<u32>,
    /// Maximum sum of the hard memory limits, in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Maximum size of their data, in MiB
    #[arg(long, value_name = "MIB")]
    disk: Option<u64>,
    /// Use the default quota (`accounts.quota` in the configuration)
    #[arg(long, alias = "usual", conflicts_with_all = ["instances", "memory", "disk"])]
    default: bool,
}

/// Parses an address.
pub fn email(text: &str) -> Result<Email, String> {
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
                show::link(
                    &fresh.link,
                    &format!("This link lets {} set a password", fresh.account.email),
                )
            }
            Self::Link(Whose { email }) => {
                let link = client.account_link(&email).await?;
                if globals.json {
                    return output::json(&link);
                }
                show::link(&link, &format!("This link lets {email} set a new password"))
            }
            Self::Invite { email, days } => {
                let wanted = Invite { email, days };
                let link = client.invite(&wanted).await?;
                if globals.json {
                    return output::json(&link);
                }
                let whom = wanted.email.map_or_else(|| "anyone with the link".into(), String::from);
                show::link(&link, &format!("This link lets {whom} create one account"))
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
                Ok(output::line(&format!("invitation {id} revoked"))?)
            }
            Self::Suspend(Whose { email }) => {
                let account = client.suspend_account(&email).await?;
                print_account(globals, &account, "is suspended and signed out everywhere")
            }
            Self::Resume(Whose { email }) => {
                let account = client.resume_account(&email).await?;
                print_account(globals, &account, "can sign in again")
            }
            Self::Admin { whose, remove } => {
                let account = client.set_admin(&whose.email, !remove).await?;
                let what = if remove { "is no longer an admin" } else { "is now an admin" };
                print_account(globals, &account, what)
            }
            Self::Quota(wanted) => wanted.run(globals, &client).await,
            Self::Transfer { whose, name } => {
                let account = client.transfer(&whose.email, &name).await?;
                print_account(globals, &account, &format!("now owns {name}"))
            }
            Self::Delete { whose, yes } => delete(globals, &client, &whose.email, yes).await,
        }
    }
}

impl SetQuota {
    async fn run(self, globals: &Globals, client: &Client) -> anyhow::Result<()> {
        let email = &self.whose.email;
        let quota = if self.default {
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
            "has a quota of {} with {memory_mib} MiB of memory and {disk_mib} MiB of data",
            counted(instances)
        );
        print_account(globals, &account, &what)
    }
}

async fn delete(
    globals: &Globals,
    client: &Client,
    email: &Email,
    yes: bool,
) -> anyhow::Result<()> {
    if !yes {
        // Also fails for an unknown account before asking.
        let account = find(client, email).await?;
        confirm(email, account.usage.instances)?;
    }
    let account = client.delete_account(email).await?;
    match account.usage.instances {
        0 => print_account(globals, &account, "is deleted"),
        n => {
            let what =
                format!("is being deleted: its {} first, after a final backup of each", go(n));
            print_account(globals, &account, &what)
        }
    }
}

/// One account of the list: the API has no route for a single one.
async fn find(client: &Client, email: &Email) -> anyhow::Result<wire::Account> {
    let found = client.accounts().await?.into_iter().find(|account| account.email == *email);
    let text = || format!("account {email} not found; see: startclaw accounts list");
    found.ok_or_else(|| Failure::new(Exit::NotFound, text()).into())
}

fn confirm(email: &Email, instances: u32) -> anyhow::Result<()> {
    let what = match instances {
        0 => format!("deletes {email}, who has no instances."),
        n => format!("deletes {email} and {}, after a final backup of each.", counted(n)),
    };
    if !secret_input::can_ask() {
        let text = format!("this {what} Confirm with --yes");
        return Err(Failure::new(Exit::Denied, text).into());
    }
    let mut stderr = io::stderr();
    writeln!(stderr, "This {what}")?;
    write!(stderr, "Type the address to continue: ")?;
    stderr.flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    if Email::parse(&typed).is_ok_and(|typed| typed == *email) {
        Ok(())
    } else {
        Err(Failure::new(Exit::Denied, "the address does not match; nothing was deleted").into())
    }
}

fn counted(instances: u32) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}

fn go(instances: u32) -> String {
    format!("{} {}", counted(instances), if instances == 1 { "is removed" } else { "are removed" })
}

fn print_account(globals: &Globals, account: &wire::Account, what: &str) -> anyhow::Result<()> {
    if globals.json {
        return output::json(account);
    }
    Ok(output::line(&format!("{} {what}", account.email))?)
}
