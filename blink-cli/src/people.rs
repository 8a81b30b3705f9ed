//! `blink contacts`: the people that can be called by name.

use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::SystemTime;

use blink_api::{Did, ErrorKind, Registry};
use blink_engine::DataDirectory;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::args::Global;
use crate::commands::Command;
use crate::contacts::{Contact, Contacts, safety_words};
use crate::failure::Failure;
use crate::output::Output;
use crate::terminal_text::escape;
use crate::{configuration, profile, target};

pub(crate) const ABOUT: &str = "\
Keeps people by name, in the data directory: `blink call NAME` then calls them, events show their names, and with `call.from = \"known\"` \
only they can make this device ring.

A contact is as trustworthy as the way its invite came. `blink contacts verify NAME` shows eight safety words, which are the same on both \
sides: compare them by voice or in person.";

#[derive(Debug, Args)]
pub(crate) struct ContactsArguments {
    #[command(subcommand)]
    command: Option<ContactsCommand>,
}

#[derive(Debug, Subcommand)]
enum ContactsCommand {
    /// List the contacts (the default)
    List,
    /// Add a person; the same name with the same DID replaces the addresses
    Add {
        /// Name, at most 64 characters
        name: String,
        /// Invite (`blink:…`), DID or DID@ADDRESS
        #[arg(value_name = "INVITE|DID[@ADDRESS]")]
        who: Vec<String>,
    },
    /// Remove a person
    Remove {
        /// Name of the contact
        name: String,
    },
    /// Rename a person
    Rename {
        /// Name of the contact
        name: String,
        /// New name
        new: String,
    },
    /// Show the safety words of a person, and ask whether they are the same on the other side
    Verify {
        /// Name of the contact
        name: String,
        /// Mark the contact as verified without asking
        #[arg(long, conflicts_with = "clear")]
        yes: bool,
        /// Mark the contact as not verified
        #[arg(long)]
        clear: bool,
    },
}

/// Runs `blink contacts`.
pub(crate) async fn run(arguments: &ContactsArguments, global: &Global, output: &Output) -> Result<(), Failure> {
    let registry = Registry::discovered()?;
    let configuration = configuration::personal(&registry, global).build()?;
    let data_dir = profile::required(&configuration)?;
    match arguments.command.as_ref().unwrap_or(&ContactsCommand::List) {
        ContactsCommand::List => return list(&Contacts::load(data_dir)?, output),
        ContactsCommand::Add { name, who } => {
            let invite = target::invite(who, SystemTime::now())?;
            let added = Contacts::update(data_dir, |contacts| contacts.add(name, invite).cloned())?;
            told("added", &added, output);
            if !added.verified {
                output.event(&format!("compare the safety words by voice: blink contacts verify \"{}\"", added.name));
            }
        }
        ContactsCommand::Remove { name } => {
            told("removed", &Contacts::update(data_dir, |contacts| contacts.remove(name))?, output);
        }
        ContactsCommand::Rename { name, new } => {
            let renamed = Contacts::update(data_dir, |contacts| {
                contacts.rename(name, new)?;
                contacts.require(new).cloned()
            })?;
            told("renamed", &renamed, output);
        }
        ContactsCommand::Verify { name, yes, clear } => {
            let contact = Contacts::load(data_dir)?.require(name)?.clone();
            verify(data_dir, own_did(data_dir).await?, &contact, (*yes, *clear), output)?;
        }
    }
    crate::control::reload_contacts(data_dir).await;
    Ok(())
}

fn list(contacts: &Contacts, output: &Output) -> Result<(), Failure> {
    output.json_result(&json!({ "event": "contacts", "contacts": contacts.iter().map(json).collect::<Vec<_>>() }));
    let width = contacts.iter().map(|contact| contact.name.chars().count()).max().unwrap_or(0);
    for contact in contacts.iter() {
        let verified = if contact.verified { "verified" } else { "not verified" };
        output.result(&format!("{:width$}  {}  {verified}", escape(&contact.name), contact.did));
    }
    if contacts.iter().next().is_none() {
        output.event("no contacts: add one with blink contacts add NAME blink:…");
    }
    Ok(())
}

/// A contact as JSON, without the passwords of its servers.
pub(crate) fn json(contact: &Contact) -> Value {
    json!({
        "name": contact.name, "did": contact.did, "addresses": contact.addresses, "nodes": contact.nodes,
        "servers": contact.servers.iter().map(|server| &server.url).collect::<Vec<_>>(), "verified": contact.verified,
    })
}

fn told(what: &str, contact: &Contact, output: &Output) {
    output.json_result(&json!({ "event": "contact", "change": what, "contact": json(contact) }));
    output.result(&format!("{what} {}: {}", contact.name, contact.did));
}

fn verify(
    data_dir: &Path,
    own: Did,
    contact: &Contact,
    (yes, clear): (bool, bool),
    output: &Output,
) -> Result<(), Failure> {
    let set = |verified| Contacts::update(data_dir, |contacts| contacts.set_verified(&contact.name, verified));
    let words = safety_words(&own, &contact.did);
    let mut verified = contact.verified && !clear;
    if !clear {
        output.result(&format!("safety words of you and {}:", contact.name));
        output.result(&format!("  {}", words[..words.len() / 2].join(" ")));
        output.result(&format!("  {}", words[words.len() / 2..].join(" ")));
    }
    if yes || (!clear && ask(output)?) {
        verified = true;
    }
    set(verified)?;
    output.json_result(&json!({
        "event": "safety_words", "name": contact.name, "did": contact.did, "words": words, "verified": verified,
    }));
    output.event(&format!("{} is {}verified", contact.name, if verified { "" } else { "not " }));
    Ok(())
}

/// Asks on a terminal; elsewhere nothing is confirmed.
fn ask(output: &Output) -> Result<bool, Failure> {
    if output.is_json() || !std::io::stdin().is_terminal() || !output.is_terminal() {
        return Ok(false);
    }
    let asked = output.question("Does the other side see the same words? [y/N]");
    let mut answer = String::new();
    asked
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::input(format!("cannot ask: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The own DID, also while another process uses the data directory.
async fn own_did(data_dir: &Path) -> Result<Did, Failure> {
    if let Some(state) = crate::control::ask(Some(data_dir), Command::State {}).await? {
        return Ok(state["did"].as_str().unwrap_or_default().parse()?);
    }
    match DataDirectory::open(data_dir).and_then(|kept| kept.endpoint()) {
        Ok(endpoint) => Ok(endpoint.did),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::input("there is no identity yet: run `blink id` first"))
        }
        Err(error) => Err(error.into()),
    }
}
