//! Random plugging, choosing, hanging and dying, with what must hold at every moment.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const NAMES: [&str; 5] = ["default", "usb", "headset", "cpal/usb", "none"];

/// Hosts whose devices come and go, and an owner that opens them in random time.
struct Owner {
    manager: DeviceManager,
    random: ChaCha8Rng,
    start: Instant,
    now: u64,
    /// Devices that are there, by host.
    devices: [Vec<&'static str>; 2],
    /// Openings that will end: when they were asked for, and when they end.
    openings: BTreeMap<u64, ([u64; 2], DeviceDirection, HostDevice)>,
    /// Openings that succeeded and are not closed.
    open: BTreeMap<u64, (DeviceDirection, HostDevice)>,
    used: BTreeMap<bool, u64>,
    /// When the reports of the last second came.
    reports: Vec<u64>,
    /// Whether openings may fail or hang although the device is there.
    is_troubled: bool,
    seed: u64,
}

impl Owner {
    fn new(seed: u64) -> Self {
        let host = |name: &str| HostEntry { name: name.to_owned(), sources: true, sinks: true };
        Self {
            manager: DeviceManager::new(vec![host("cpal"), host("synthetic")]),
            random: ChaCha8Rng::seed_from_u64(seed),
            start: Instant::now(),
            now: 0,
            devices: [vec!["usb"], vec!["headset"]],
            openings: BTreeMap::new(),
            open: BTreeMap::new(),
            used: BTreeMap::new(),
            reports: Vec::new(),
            is_troubled: true,
            seed,
        }
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn exists(&self, device: &HostDevice) -> bool {
        let there = &self.devices[device.host];
        !there.is_empty() && (device.name == "default" || there.contains(&device.name.as_str()))
    }

    fn drain(&mut self) {
        while let Some(action) = self.manager.poll() {
            match action {
                DeviceAction::Open { id, direction, device } => {
                    let hangs = self.is_troubled && self.random.random_bool(0.1);
                    let takes = self.random.random_range(if hangs { 5_000..20_000 } else { 0..300 });
                    // One that takes 5 s is given up.
                    let is_live = |asked: u64| asked + 5_000 > self.now;
                    let live = self.openings.values().filter(|([asked, _], of, _)| *of == direction && is_live(*asked));
                    assert_eq!(live.count(), 0, "seed {}: two openings at once", self.seed);
                    self.openings.insert(id.0, ([self.now, self.now + takes], direction, device));
                }
                DeviceAction::Use { direction, id } => {
                    let is_source = direction == DeviceDirection::Source;
                    if let Some(OpenId(id)) = id {
                        assert_eq!(self.open[&id].0, direction, "seed {}: what is used is open", self.seed);
                        self.used.insert(is_source, id);
                    } else {
                        self.used.remove(&is_source);
                    }
                }
                DeviceAction::Close(OpenId(id)) => {
                    assert!(self.open.remove(&id).is_some(), "seed {}: closed once", self.seed);
                    assert!(!self.used.values().any(|used| *used == id), "seed {}: closed while in use", self.seed);
                }
                DeviceAction::Report(_) => self.reports.push(self.now),
            }
        }
        // What is open is in use, and nothing else is.
        let open: Vec<_> = self.open.keys().copied().collect();
        let mut used: Vec<_> = self.used.values().copied().collect();
        used.sort_unstable();
        assert_eq!(open, used, "seed {}", self.seed);
        let recent = self.now.saturating_sub(1_000);
        self.reports.retain(|at| *at > recent);
        assert!(self.reports.len() <= 32, "seed {}: a storm of {} reports", self.seed, self.reports.len());
    }

    fn end_openings(&mut self) {
        let ended: Vec<_> = self.openings.extract_if(.., |_, ([_, ends], ..)| *ends <= self.now).collect();
        for (id, (_, direction, device)) in ended {
            let fails = self.is_troubled && self.random.random_bool(0.2);
            if self.exists(&device) && !fails {
                self.open.insert(id, (direction, device));
                self.manager.handle_opened(self.at(), OpenId(id));
            } else {
                let kind = if fails { ErrorKind::Busy } else { ErrorKind::NotFound };
                self.manager.handle_open_failed(self.at(), OpenId(id), Error::new(kind, "no"));
            }
            self.drain();
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += 10;
            self.end_openings();
            while self.manager.deadline().is_some_and(|due| due <= self.at()) {
                self.manager.handle_timeout(self.at());
                self.drain();
            }
        }
    }

    fn disturb(&mut self) {
        let direction = BOTH[self.random.random_range(0..2)];
        let host = self.random.random_range(0..2);
        let name = ["usb", "headset"][self.random.random_range(0..2)];
        let now = self.at();
        match self.random.random_range(0..6) {
            0 => self.manager.set_wanted(now, direction, NAMES[self.random.random_range(0..NAMES.len())]),
            1 => {
                self.devices[host].retain(|there| *there != name);
                // Some hosts tell, some streams die, some do neither.
                if self.random.random_bool(0.5) {
                    self.manager.handle_change(now, host, DeviceChange::Removed(name.to_owned()));
                }
            }
            2 | 3 => {
                if !self.devices[host].contains(&name) {
                    self.devices[host].push(name);
                }
                let info = DeviceInfo::new(name, name, direction, TrackKind::Audio);
                if self.random.random_bool(0.5) {
                    self.manager.handle_change(now, host, DeviceChange::Added(info));
                }
            }
            4 => {
                let open: Vec<_> = self.open.keys().copied().collect();
                let gone = open.into_iter().find(|_| self.random.random_bool(0.5));
                for _ in 0..self.random.random_range(1..50) {
                    gone.into_iter().for_each(|id| self.manager.handle_lost(now, OpenId(id), None));
                }
            }
            _ => {
                let mut info = DeviceInfo::new(name, name, direction, TrackKind::Audio);
                info.is_default = true;
                self.manager.handle_change(now, host, DeviceChange::DefaultChanged(info));
            }
        }
        self.drain();
    }
}

#[test]
fn whatever_happens_one_device_is_in_use_and_in_the_end_the_wanted_one() {
    for seed in 0..300 {
        let mut owner = Owner::new(seed);
        for _ in 0..200 {
            owner.disturb();
            let pause = owner.random.random_range(0..2_000);
            owner.run(pause);
        }
        // All is well again.
        owner.is_troubled = false;
        owner.devices = [vec!["usb"], vec!["headset"]];
        let wanted = NAMES[owner.random.random_range(0..NAMES.len() - 1)];
        let now = owner.at();
        BOTH.into_iter().for_each(|direction| owner.manager.set_wanted(now, direction, wanted));
        owner.drain();
        // What died without a word is told by those who write to it.
        let dead: Vec<_> =
            owner.open.iter().filter(|(_, (_, device))| !owner.exists(device)).map(|(id, _)| *id).collect();
        dead.into_iter().for_each(|id| owner.manager.handle_lost(now, OpenId(id), None));
        owner.drain();
        owner.run(40_000);
        for direction in BOTH {
            let (_, device) =
                owner.manager.in_use(direction).unwrap_or_else(|| panic!("seed {seed}: {wanted} is not open"));
            let expected = if wanted == "cpal/usb" { "usb" } else { wanted };
            assert!(owner.exists(device) && device.name == expected, "seed {seed}: {device:?} for {wanted}");
        }
    }
}
