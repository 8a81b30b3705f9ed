//! Commands of other processes of this user, over the control socket, while a screen is shown.

use std::sync::Arc;

use blink_api::Configuration;
use blink_engine::{Blink, Event};
use tokio::task::JoinHandle;

use crate::commands::{Executor, Reply, Request};
use crate::control::Server;
use crate::engine;
use crate::event_text::Names;
use crate::failure::{Failure, one_line};
use crate::output::Output;
use crate::record::recordings;

/// The socket, its commands, and the events that its connections see.
pub(super) struct ControlLane {
    output: Arc<Output>,
    task: JoinHandle<()>,
}

impl ControlLane {
    /// Starts to serve, where there is a data directory.
    ///
    /// # Errors
    /// Those of the contacts, such as a damaged file.
    pub(super) async fn start(blink: &Blink, configuration: &Configuration) -> Result<Self, Failure> {
        let settings = configuration.settings();
        let data_dir = settings.data_dir.clone();
        let output = Arc::new(Output::silent());
        let mut server = Server::start(data_dir.as_deref(), &output);
        let executor = Executor::new(blink, data_dir, recordings(settings)).await?;
        let mut executor = executor.with_recorders(&settings.recorders).with_settings(configuration);
        let shared = Arc::clone(&output);
        let task = tokio::spawn(async move {
            loop {
                let line = server.line().await;
                execute(&line, &mut executor, &shared).await;
            }
        });
        Ok(Self { output, task })
    }

    /// Tells the connections of an event.
    pub(super) fn show(&self, names: &Names, event: &Event) {
        engine::show(&self.output, names, event);
    }
}

impl Drop for ControlLane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn execute(line: &str, executor: &mut Executor, output: &Output) {
    let request = match Request::parse(line) {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(invalid) => return engine::refuse(output, invalid),
    };
    let refused = |error: blink_api::Error| Reply::Refused { error: one_line(&error.to_string()) };
    let reply = executor.run(&request.command).await.unwrap_or_else(refused);
    engine::reply(output, &executor.names(), &reply, Some(&request));
}
