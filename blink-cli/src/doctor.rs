//! `blink doctor`: checks devices, network, clock and files, and says what to do.

mod machine;
mod network;

use blink_api::Registry;
use serde::Serialize;
use serde_json::json;

use crate::args::{DeviceOptions, Global};
use crate::commands::Command;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::record::RecordArguments;
use crate::{configuration, control};

pub(crate) const ABOUT: &str = "\
Checks this machine and its configuration for calls: sound devices, the ports of the signaling node, its bootstrap nodes, the STUN and \
TURN servers of `ice.servers` with their passwords, the kind of NAT, the clock, and the data directory.

Each line is ok, a warning or a problem, with what to do. The exit status is 1 if there is a problem.";

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Problem,
}

/// A line of the report.
#[derive(Debug, Clone, Serialize)]
struct Check {
    /// Area: `sound`, `ports`, `nodes`, `servers`, `nat`, `clock` or `data_dir`.
    check: &'static str,
    status: Status,
    /// Finding.
    found: String,
    /// Advice; absent where nothing is to do.
    advice: Option<String>,
}

impl Check {
    fn new(check: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { check, status, found: found.into(), advice: None }
    }

    fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Runs `blink doctor`.
pub(crate) async fn run(global: &Global, output: &Output, interrupt: &Interrupt) -> Result<(), Failure> {
    let personal = configuration::personal(&Registry::discovered()?, global).build()?;
    let data_dir = personal.settings().data_dir.as_deref();
    // Another process holds the identity and the ports: the checks use a node of their own.
    let state = control::ask(data_dir, Command::State {}).await?;
    let mut alone = Global { ephemeral: true, nodes_of: data_dir.map(Into::into), ..global.clone() };
    if let (Some(_), Some(signaling)) = (&state, personal.settings().signaling.as_deref()) {
        alone.set.push(format!("signalings.{signaling}.listen=[]"));
    }
    let record = RecordArguments::default();
    let alone = configuration::for_call(&alone, &DeviceOptions::default(), (None, None), (&record, None))?;
    let mut worst = Status::Ok;
    let mut show = |checks: Vec<Check>| {
        for check in checks {
            worst = worst.max(check.status);
            tell(&check, output);
        }
    };
    let checks = async {
        output.waiting("looking at the sound devices");
        show(machine::sound(&alone).await);
        output.waiting("starting a signaling node");
        show(network::signaling(&alone, state.as_ref()).await);
        output.waiting("asking the STUN and TURN servers");
        show(network::servers(&alone).await);
        show(vec![machine::clock(std::time::SystemTime::now(), data_dir)]);
        show(machine::data_dir(data_dir, state.is_some()));
        Ok(())
    };
    tokio::select! {
        result = checks => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
    }?;
    output.waited();
    match worst {
        Status::Problem => Err(Failure::call("there are problems, see above")),
        _ => Ok(()),
    }
}

fn tell(check: &Check, output: &Output) {
    let mut value = json!(check);
    value["event"] = "check".into();
    output.json_result(&value);
    let mark = match check.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Problem => "PROBLEM",
    };
    output.result(&format!("{mark:8} {:9} {}", check.check, check.found));
    if let Some(advice) = &check.advice {
        output.result(&format!("{:18} {advice}", ""));
    }
}
