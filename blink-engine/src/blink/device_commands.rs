//! Devices: which there are, which are used, and how loud they are.

use blink_api::{DeviceDirection, Result};
use tokio::sync::watch;

use super::Blink;
use crate::driver::command::Command;
use crate::levels::Levels;
use blink_proto::call::Device;

impl Blink {
    /// The devices of all media hosts, the preferred host's first. Names that take a parameter are
    /// patterns, such as `wav:PATH`.
    ///
    /// A host that does not answer within 2 s is left out.
    ///
    /// # Errors
    /// Those of the media hosts, where none lists any; [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        self.ask(|reply| Command::Devices { reply }).await?
    }

    /// Chooses the microphone: a name of any media host, `HOST/NAME`, `default` or `none`.
    ///
    /// Without a call it is used from the next one on. In a call it is opened now, and the one
    /// before is used until then: receivers and recordings see no gap, no click and the same track,
    /// and muting stays as it is. The future is ready when the microphone is in use.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a name that no media host knows, with
    /// similar names; those of opening the device, [`State`](blink_api::ErrorKind::State) where
    /// another one is chosen before this one is open, [`Closed`](blink_api::ErrorKind::Closed). The
    /// microphone stays what it was.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_microphone(&self, name: impl Into<String>) -> Result<()> {
        self.choose(DeviceDirection::Source, name.into()).await
    }

    /// Chooses the speaker, as [`set_microphone`](Blink::set_microphone) the microphone. The one
    /// before fades out while the new one fades in; volumes stay as they are.
    ///
    /// # Errors
    /// As [`set_microphone`](Blink::set_microphone).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_speaker(&self, name: impl Into<String>) -> Result<()> {
        self.choose(DeviceDirection::Sink, name.into()).await
    }

    /// Audio levels of the current call, for meters: at most 10 times a second, and this device's
    /// own as well, before muting. Empty without a call.
    ///
    /// Do not hold what [`borrow`](watch::Receiver::borrow) returns for long: the next levels wait
    /// for it, and meters of others with them.
    #[must_use]
    pub fn levels(&self) -> watch::Receiver<Levels> {
        self.levels.clone()
    }

    async fn choose(&self, direction: DeviceDirection, name: String) -> Result<()> {
        self.ask(|reply| Command::ChooseDevice { direction, name, reply }).await?
    }
}
