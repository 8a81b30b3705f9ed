//! `blink bench setup`: from the answer to the first sample of audio at both ends.

mod cold;
mod observed;
mod onset_host;
mod time_line;

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Configuration, Context, Registry, Signaling, SystemClock, Transport};
use blink_conformance::impaired::{ImpairedNetwork, ImpairedSignaling, ImpairedTransport, Impairments};
use blink_engine::{Blink, CallConfig, Event, EventItem};
use serde::{Deserialize, Serialize};

use self::observed::{ObservedSignaling, ObservedTransport};
use self::onset_host::OnsetHost;
use self::time_line::{Step, TimeLine};
use super::latency::quantile;
use crate::args::{BenchSetupArguments, Global};
use crate::backends;
use crate::configuration;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Time limit of a call's setup.
const LONGEST: Duration = Duration::from_secs(30);

/// Transports of caller and callee.
type Pair = (String, String);

/// Last line of `--json`.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    rtt_ms: u64,
    loss_percent: f64,
    cold: bool,
    results: Vec<Row>,
}

/// Figures of one pair of transports.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    caller: String,
    callee: String,
    calls: usize,
    /// First sample of audio, at the end that plays it later.
    median_ms: f64,
    p95_ms: f64,
    /// Median time line.
    steps: Vec<StepRow>,
}

/// Times of a step in milliseconds since `answer_call`; `None` at an end where it does not occur.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StepRow {
    step: Step,
    caller_ms: Option<f64>,
    callee_ms: Option<f64>,
}

/// Setup of one call: a row for each step.
type Setup = Vec<StepRow>;

/// Measures every pair of transports, or one.
pub(super) async fn run(
    arguments: &BenchSetupArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    arguments.check()?;
    let mut results = Vec::new();
    for pair in pairs(arguments) {
        let measuring = measure_pair(&pair, arguments, global, output);
        let setups = tokio::select! {
            setups = measuring => setups?,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        results.push(row(pair, &setups)?);
    }
    output.waited();
    let report = Report { rtt_ms: arguments.rtt, loss_percent: arguments.loss, cold: arguments.cold, results };
    output.table(&table(&report));
    output.json_result(&report);
    Ok(())
}

fn pairs(arguments: &BenchSetupArguments) -> Vec<Pair> {
    match &arguments.pair[..] {
        [caller, callee] => vec![(caller.clone(), callee.clone())],
        _ => {
            let all = backends::DEMO_TRANSPORTS;
            let with = |caller: &'static str| all.map(move |callee| (caller.to_owned(), callee.to_owned()));
            all.into_iter().flat_map(with).collect()
        }
    }
}

async fn measure_pair(
    pair: &Pair,
    arguments: &BenchSetupArguments,
    global: &Global,
    output: &Output,
) -> Result<Vec<Setup>, Failure> {
    let mut setups = Vec::new();
    // The first call of a process prepares what the others find.
    let warm_up = usize::from(!arguments.cold);
    for number in 0..arguments.repeat + warm_up {
        output.waiting(format!("{} to {}: call {} of {}", pair.0, pair.1, number + 1, arguments.repeat + warm_up));
        setups.push(match arguments.cold && arguments.repeat > 1 {
            true => cold::measure(pair, arguments).await?,
            false => measure(pair, arguments, global, number as u64).await?,
        });
    }
    Ok(setups.split_off(warm_up))
}

/// Measures one call between two new engines.
async fn measure(
    (caller, callee): &Pair,
    arguments: &BenchSetupArguments,
    global: &Global,
    seed: u64,
) -> Result<Setup, Failure> {
    let registry = Registry::discovered()?;
    let impairments = Impairments {
        delay: Duration::from_millis(arguments.rtt) / 2,
        loss: arguments.loss / 100.0,
        in_order: true,
        ..Impairments::NONE
    };
    let network = (impairments != Impairments::NONE).then(|| ImpairedNetwork::new(impairments, seed));
    let start = |transport: &str| {
        let configuration = configure(&registry, global, transport);
        let (network, signaling) = (network.clone(), Impairments { loss: 0.0, ..impairments });
        async move { End::start(configuration?, network.as_ref(), signaling, seed).await }
    };
    let (alice, bob) = (start(caller).await?, start(callee).await?);
    let result = alice.call(&bob).await;
    for end in [alice, bob] {
        // The result is complete; an engine that does not shut down in time ends with the program.
        tokio::time::timeout(LONGEST, end.blink.shutdown()).await.ok();
    }
    result
}

fn configure(registry: &Registry, global: &Global, transport: &str) -> Result<Configuration, Failure> {
    let mut builder = configuration::base(registry, global);
    for setting in backends::laboratory() {
        builder = builder.set_argument("bench", &setting);
    }
    let builder = builder
        .set("bench", "transport", transport.to_owned())
        .set("bench", "microphone", "default")
        .set("bench", "speaker", "default");
    Ok(configuration::options(builder, global).build()?)
}

/// One end of the call.
struct End {
    blink: Blink,
    line: TimeLine,
}

impl End {
    async fn start(
        configuration: Configuration,
        network: Option<&Arc<ImpairedNetwork>>,
        impairments: Impairments,
        seed: u64,
    ) -> Result<Self, Failure> {
        let context = Context { clock: Arc::new(SystemClock), shared: configuration.registry().shared() };
        let mut transport = configuration.create::<dyn Transport>(&context).await?;
        let mut signaling = configuration.create::<dyn Signaling>(&context).await?;
        if let Some(network) = network {
            transport = Arc::new(ImpairedTransport::new(transport, network));
            signaling = Arc::new(ImpairedSignaling::new(signaling, impairments, seed));
        }
        let line = TimeLine::default();
        let blink = Blink::builder(&configuration)
            .transport(Arc::new(ObservedTransport { inner: transport, line: line.clone() }))
            .signaling(Arc::new(ObservedSignaling { inner: signaling, line: line.clone() }))
            .media_host("bench", Arc::new(OnsetHost { line: line.clone() }))
            .start()
            .await?;
        Ok(Self { blink, line })
    }

    /// Calls the other end, which answers. Returns when both have played audio.
    async fn call(&self, callee: &Self) -> Result<Setup, Failure> {
        let address = callee.blink.addresses().await?.pop();
        let address = address.ok_or_else(|| Failure::call("the signaling has no address"))?;
        self.blink.connect(&address).await?;
        let (caller_joins, callee_joins) = (self.watch_joining(), callee.watch_joining());
        let mut events = callee.blink.events();
        self.blink.offer_call(&[callee.blink.did()], CallConfig::default()).await?;
        let ringing = async {
            loop {
                match events.next().await {
                    Some(EventItem::Event(Event::IncomingCall { call, .. })) => return Ok(call),
                    Some(_) => {}
                    None => return Err(Failure::call("an engine stopped")),
                }
            }
        };
        let late = |what: &'static str| move |_| Failure::call(format!("{what} within {} s", LONGEST.as_secs()));
        let call = tokio::time::timeout(LONGEST, ringing).await.map_err(late("the call does not ring"))??;
        let zero = Instant::now();
        self.line.begin(zero);
        callee.line.begin(zero);
        callee.blink.answer_call(call).await?;
        let played = async { tokio::join!(self.line.reached(Step::Played), callee.line.reached(Step::Played)) };
        tokio::time::timeout(LONGEST, played).await.map_err(late("no audio is played"))?;
        caller_joins.abort();
        callee_joins.abort();
        let (caller, callee) = (self.line.times(), callee.line.times());
        let row = |step| {
            let of = |times: &[(Step, f64)]| times.iter().find(|(reached, _)| *reached == step).map(|(_, at)| *at);
            StepRow { step, caller_ms: of(&caller), callee_ms: of(&callee) }
        };
        Ok(Step::ALL.map(row).to_vec())
    }

    /// Notes when the other end has proved who it is.
    fn watch_joining(&self) -> tokio::task::JoinHandle<()> {
        let (mut events, line) = (self.blink.events(), self.line.clone());
        tokio::spawn(async move {
            while let Some(item) = events.next().await {
                if matches!(item, EventItem::Event(Event::ParticipantJoined { .. })) {
                    line.note(Step::Verified);
                }
            }
        })
    }
}

fn row((caller, callee): Pair, setups: &[Setup]) -> Result<Row, Failure> {
    let sorted = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let played = |setup: &Setup| {
        let row = setup.iter().find(|row| row.step == Step::Played)?;
        Some(row.caller_ms?.max(row.callee_ms?))
    };
    let first_audio = sorted(&mut setups.iter().filter_map(played));
    if first_audio.is_empty() {
        return Err(Failure::call(format!("{caller} to {callee}: no call was measured")));
    }
    let median = |of: &dyn Fn(&StepRow) -> Option<f64>, step: Step| {
        let times = sorted(&mut setups.iter().flatten().filter(|row| row.step == step).filter_map(of));
        (!times.is_empty()).then(|| quantile(&times, 0.5))
    };
    let steps = Step::ALL.map(|step| StepRow {
        step,
        caller_ms: median(&|row| row.caller_ms, step),
        callee_ms: median(&|row| row.callee_ms, step),
    });
    Ok(Row {
        caller,
        callee,
        calls: first_audio.len(),
        median_ms: quantile(&first_audio, 0.5),
        p95_ms: quantile(&first_audio, 0.95),
        steps: steps.to_vec(),
    })
}

fn table(report: &Report) -> String {
    let mut lines = vec![format!(
        "From the answer to the first sample at both ends, round trip {} ms, loss {} %{}",
        report.rtt_ms,
        report.loss_percent,
        if report.cold { ", first call of a process" } else { "" },
    )];
    for row in &report.results {
        lines.push(String::new());
        lines.push(format!(
            "{} calls {}: median {:.1} ms, p95 {:.1} ms ({} calls)",
            row.caller, row.callee, row.median_ms, row.p95_ms, row.calls
        ));
        lines.push(format!("  {:<28}{:>10}{:>10}", "median time line, ms", "caller", "callee"));
        let mut steps = row.steps.clone();
        let first = |step: &StepRow| step.caller_ms.into_iter().chain(step.callee_ms).fold(f64::INFINITY, f64::min);
        steps.retain(|step| first(step).is_finite());
        steps.sort_by(|one, other| first(one).total_cmp(&first(other)));
        for step in steps {
            let time = |time: Option<f64>| time.map_or_else(String::new, |time| format!("{time:.1}"));
            lines.push(format!("  {:<28}{:>10}{:>10}", step.step, time(step.caller_ms), time(step.callee_ms)));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(caller: f64, callee: f64) -> Setup {
        vec![
            StepRow { step: Step::OfferMade, caller_ms: Some(1.0), callee_ms: None },
            StepRow { step: Step::Played, caller_ms: Some(caller), callee_ms: Some(callee) },
        ]
    }

    #[test]
    fn the_later_end_counts_and_steps_have_medians() {
        let setups = [setup(30.0, 20.0), setup(10.0, 50.0), setup(40.0, 5.0)];
        let row = row(("a".to_owned(), "b".to_owned()), &setups).unwrap();
        assert_eq!((row.median_ms, row.p95_ms, row.calls), (40.0, 50.0, 3));
        let played = row.steps.iter().find(|row| row.step == Step::Played).unwrap();
        assert_eq!((played.caller_ms, played.callee_ms), (Some(30.0), Some(20.0)));
        let offer = row.steps.iter().find(|row| row.step == Step::OfferMade).unwrap();
        assert_eq!((offer.caller_ms, offer.callee_ms), (Some(1.0), None));
    }
}
