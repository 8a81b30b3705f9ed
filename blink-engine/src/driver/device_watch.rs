//! Watches media hosts for devices that come and go.

use std::sync::Arc;

use blink_api::MediaHost;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::report::Report;

/// Starts a watch of each host whose devices change. The watches end when this is dropped.
pub(super) fn start(hosts: &[(String, Arc<dyn MediaHost>)], reports: &mpsc::Sender<Report>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for (index, (_, host)) in hosts.iter().enumerate() {
        if host.capabilities().hotplug {
            watches.spawn(watch(index, host.clone(), reports.clone()));
        }
    }
    watches
}

async fn watch(index: usize, host: Arc<dyn MediaHost>, reports: mpsc::Sender<Report>) {
    let Some(mut changes) = host.changes() else { return };
    let mut report = list(index, &*host).await;
    loop {
        if let Some(report) = report
            && reports.send(report).await.is_err()
        {
            return;
        }
        report = match changes.recv().await {
            Ok(change) => Some(Report::DeviceChanged(index, change)),
            Err(RecvError::Lagged(_)) => list(index, &*host).await,
            Err(RecvError::Closed) => return,
        };
    }
}

async fn list(index: usize, host: &dyn MediaHost) -> Option<Report> {
    match host.devices().await {
        Ok(devices) => Some(Report::Devices(index, devices)),
        Err(error) => {
            tracing::warn!(%error, "the devices of a media host cannot be listed");
            None
        }
    }
}
