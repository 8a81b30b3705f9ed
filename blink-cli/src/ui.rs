//! `blink ui`: the program to keep open, full-screen in a terminal.

mod action;
mod control_lane;
mod draw;
mod engine_input;
mod full_screen;
mod keys;
mod path_views;
mod perform;
mod prompt;
mod session;
mod state;
mod terminal_input;
#[cfg(test)]
mod tests;
mod theme;

use clap::Args;
use tokio::sync::mpsc;

use self::control_lane::ControlLane;
use self::perform::Workshop;
use self::session::Session;
use self::state::{Own, State};
use self::theme::Theme;
use crate::args::{Command, DeviceOptions, Global, ListenArguments};
use crate::event_text::Names;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::record::{RecordArguments, recordings};
use crate::{configuration, engine, listen, screen_output};

/// Results that wait for the screen; those who have more wait.
const OUTCOMES: usize = 256;

/// Text of `blink ui --help`.
pub(crate) const ABOUT: &str = "\
Shows contacts, past calls and the current call on the whole terminal: accept and reject calls, mute, deafen, record, add people, choose \
devices, set the volume of each participant, and see the level and the path of each. `blink` without a command in a terminal is the same. \
The keys are on the screen; `?` explains them.

Colours are used unless NO_COLOR is set. Recordings go to `recording.directory`, else below `data_dir`, else to `blink-recordings`. The \
ring tone plays on the speaker, or on `ui.ring_speaker`, where `none` turns it off; `ui.bell=false` turns off the bell.";

#[derive(Debug, Default, Args)]
pub(crate) struct UiArguments {
    /// No screen: print events line by line, and read commands as lines (`help` lists them), for
    /// screen readers and pipes. Ends with `quit` or the end of the input
    #[arg(long)]
    pub(crate) plain: bool,
    #[command(flatten)]
    pub(crate) devices: DeviceOptions,
}

/// The command that a terminal gets without any.
pub(crate) fn by_default() -> Option<Command> {
    screen_output::is_terminal().then(|| Command::Ui(UiArguments::default()))
}

/// Runs until the user quits.
pub(crate) async fn run(
    arguments: &UiArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if arguments.plain {
        return plain(arguments, global, output, interrupt).await;
    }
    check_terminal(global)?;
    let record = (&RecordArguments::default(), None);
    let configuration = configuration::for_call(global, &arguments.devices, (None, None), record)?;
    let settings = configuration.settings();
    listen::refuse_second(settings.data_dir.as_deref()).await?;
    let blink = engine::start(&configuration, interrupt).await?;
    let mut events = blink.events();
    let (sender, outcomes) = mpsc::channel(OUTCOMES);
    let workshop = Workshop {
        blink: blink.clone(),
        configuration: configuration.clone(),
        recordings: recordings(settings),
        outcomes: sender,
    };
    let control = match ControlLane::start(&blink, &configuration).await {
        Ok(control) => control,
        Err(failure) => {
            blink.shutdown().await;
            return Err(failure);
        }
    };
    let own = Own { endpoint: blink.endpoint(), is_kept: settings.data_dir.is_some() };
    let state = State::new(own, configuration.effective(), (&settings.microphone, &settings.speaker));
    let session = Session {
        state,
        theme: Theme::from_environment(|name| std::env::var(name).ok()),
        blink: blink.clone(),
        configuration: &configuration,
        workshop,
        outcomes,
        control,
    };
    let result = session.run(&mut events, interrupt).await;
    let names = Names::default();
    engine::stop(blink, events, output, |event| {
        // A recording is completed by the end.
        if let Some(words) = crate::record::words(event) {
            output.result(&words);
        }
        tracing::debug!(event = crate::event_text::words(event, &names), "while ending");
    })
    .await;
    result
}

/// Runs without a screen, until the input ends.
async fn plain(
    arguments: &UiArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let listen = ListenArguments {
        answer: false,
        devices: arguments.devices.clone(),
        input: None,
        video: None,
        record: RecordArguments::default(),
        out: None,
        interactive: true,
    };
    listen::run(&listen, global, output, interrupt).await
}

/// Checks that there is a terminal for the screen.
fn check_terminal(global: &Global) -> Result<(), Failure> {
    if !screen_output::is_terminal() {
        return Err(Failure::input("standard input and output must be a terminal; --plain needs none"));
    }
    if global.json {
        return Err(Failure::input("--json: a screen is no JSON; use `blink ui --plain --json`"));
    }
    if global.verbose > 0 && screen_output::shows_errors() {
        return Err(Failure::input(
            "-v: the log would cover the screen; write it to a file, as in `blink ui -v 2>log`",
        ));
    }
    Ok(())
}
