//! One direction: the wanted device, the one that is being opened, the one in use.

use std::collections::{BTreeMap, VecDeque};

use web_time::{Duration, Instant};

use blink_api::{DeviceChange, DeviceDirection, Error, ErrorKind};

use super::backoff::Backoff;
use super::hosts::Hosts;
use super::{DEFAULT, DeviceAction, DeviceEvent, HostDevice, NONE, OpenId};

/// An opening that takes longer has failed.
const LONGEST_OPENING: Duration = Duration::from_secs(5);
/// Each opening that hangs holds a thread of the owner: with this many, no other one begins.
const MAX_HUNG: usize = 8;

type Outputs = VecDeque<DeviceAction>;

/// Microphone or speaker.
#[derive(Debug)]
pub(super) struct Port {
    direction: DeviceDirection,
    wanted: String,
    /// Devices that the wanted name may stand for; `None` where no device is wanted.
    candidates: Option<Vec<HostDevice>>,
    /// The chosen device was there once.
    is_known: bool,
    in_use: Option<InUse>,
    search: Option<Search>,
    chosen: Backoff,
    fallback: Backoff,
    /// The host has another default than the one in use.
    is_outdated: bool,
    /// The outage was reported.
    is_reported: bool,
    /// The chosen device failed to write, and is not tried again until the user asks: opening a
    /// file truncates it.
    is_given_up: bool,
    /// Openings that took too long and have not ended.
    hung: BTreeMap<OpenId, HostDevice>,
}

#[derive(Debug)]
struct InUse {
    id: OpenId,
    device: HostDevice,
    purpose: Purpose,
    since: Instant,
    /// Which device the host's default was when it was opened.
    default_name: Option<String>,
}

/// Openings of one device after the other, until one succeeds.
#[derive(Debug)]
struct Search {
    purpose: Purpose,
    device: HostDevice,
    rest: VecDeque<HostDevice>,
    /// The opening of `device` and when it has failed; `None` before it begins.
    opening: Option<(OpenId, Instant)>,
    /// Another device is wanted meanwhile: what opens is closed.
    is_stale: bool,
    /// Why a host that knows the name could not open it.
    error: Option<Error>,
}

/// Purpose of an open device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is the wanted one.
    Chosen,
    /// It stands in for the wanted one.
    Fallback,
    /// It was wanted before, and stays until the wanted one is open.
    Previous,
}

impl Port {
    pub(super) fn new(direction: DeviceDirection) -> Self {
        Self {
            direction,
            wanted: NONE.to_owned(),
            candidates: None,
            is_known: false,
            in_use: None,
            search: None,
            chosen: Backoff::default(),
            fallback: Backoff::default(),
            is_outdated: false,
            is_reported: false,
            is_given_up: false,
            hung: BTreeMap::new(),
        }
    }

    pub(super) fn direction(&self) -> DeviceDirection {
        self.direction
    }

    pub(super) fn in_use(&self) -> Option<(OpenId, &HostDevice)> {
        self.in_use.as_ref().map(|in_use| (in_use.id, &in_use.device))
    }

    pub(super) fn is_settled(&self) -> bool {
        match &self.in_use {
            Some(in_use) => in_use.purpose == Purpose::Chosen && self.candidates.is_some(),
            None => self.candidates.is_none(),
        }
    }

    pub(super) fn set_wanted(&mut self, name: &str, candidates: Option<Vec<HostDevice>>, is_known: bool) {
        (self.is_reported, self.is_given_up) = (false, false);
        if self.wanted == name {
            return self.chosen.reset();
        }
        self.wanted = name.to_owned();
        self.candidates = candidates;
        self.is_known = is_known;
        self.is_outdated = false;
        (self.chosen, self.fallback) = (Backoff::default(), Backoff::default());
        if let Some(search) = &mut self.search {
            search.is_stale = true;
        }
        if let Some(in_use) = &mut self.in_use {
            let is_wanted = self.candidates.as_ref().is_some_and(|devices| devices.contains(&in_use.device));
            in_use.purpose = if is_wanted { Purpose::Chosen } else { Purpose::Previous };
            self.is_known |= is_wanted;
        }
    }

    /// Returns whether the opening was one of this direction.
    pub(super) fn handle_opened(&mut self, now: Instant, id: OpenId, hosts: &Hosts, outputs: &mut Outputs) -> bool {
        self.hung.remove(&id);
        let Some(search) = self.take_search(id) else { return false };
        if search.is_stale {
            outputs.push_back(DeviceAction::Close(id));
            return true;
        }
        let (direction, Search { purpose, device, .. }) = (self.direction, search);
        let default_name = hosts.default_name(device.host, direction).filter(|_| device.name == DEFAULT);
        let default_name = default_name.map(str::to_owned);
        let fallback = purpose == Purpose::Fallback;
        let event = DeviceEvent::Changed { direction, device: Some(device.clone()), fallback };
        outputs.push_back(DeviceAction::Use { direction, id: Some(id) });
        let before = self.in_use.replace(InUse { id, device, purpose, since: now, default_name });
        outputs.extend(before.map(|before| DeviceAction::Close(before.id)));
        outputs.push_back(DeviceAction::Report(event));
        self.is_known |= !fallback;
        self.is_outdated = false;
        true
    }

    /// Learns from the first list of a host which device its default is that is in use.
    pub(super) fn learn_default(&mut self, hosts: &Hosts) {
        let Some(in_use) = self.in_use.as_mut().filter(|in_use| in_use.device.name == DEFAULT) else { return };
        if in_use.default_name.is_none() {
            in_use.default_name = hosts.default_name(in_use.device.host, self.direction).map(str::to_owned);
        }
    }

    pub(super) fn handle_open_failed(&mut self, now: Instant, id: OpenId, error: &Error, outputs: &mut Outputs) {
        self.hung.remove(&id);
        if let Some(search) = self.take_search(id).filter(|search| !search.is_stale) {
            self.fail_candidate(now, search, error, outputs);
        }
    }

    /// Gives up an opening that takes too long.
    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut Outputs) {
        let Some((id, expires)) = self.search.as_ref().and_then(|search| search.opening) else { return };
        if now < expires {
            return;
        }
        let Some(search) = self.take_search(id) else { return };
        self.hung.insert(id, search.device.clone());
        if !search.is_stale {
            self.fail_candidate(now, search, &Error::new(ErrorKind::Timeout, "the device did not open"), outputs);
        }
    }

    /// Goes on with the next device of a search, where there is one.
    fn fail_candidate(&mut self, now: Instant, mut search: Search, error: &Error, outputs: &mut Outputs) {
        let is_unknown = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported);
        if !is_unknown {
            search.error.get_or_insert_with(|| error.clone());
        }
        // The host that knows a name has said what is wrong with it. Of defaults, another host's is
        // as good.
        let goes_on = is_unknown || search.device.name == DEFAULT;
        if let Some(next) = search.rest.pop_front().filter(|_| goes_on) {
            self.search = Some(Search { device: next, ..search });
            return;
        }
        let error = search.error.unwrap_or_else(|| error.clone());
        self.fail(now, search.purpose, error, outputs);
    }

    pub(super) fn handle_lost(&mut self, now: Instant, id: OpenId, error: Option<Error>, outputs: &mut Outputs) {
        let Some(lost) = self.in_use.take_if(|in_use| in_use.id == id) else { return };
        let (direction, device) = (self.direction, lost.device);
        let is_unwritable = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Io);
        self.is_given_up |= is_unwritable && lost.purpose == Purpose::Chosen && device.name != DEFAULT;
        outputs.push_back(DeviceAction::Use { direction, id: None });
        outputs.push_back(DeviceAction::Close(id));
        let chosen = lost.purpose == Purpose::Chosen;
        outputs.push_back(DeviceAction::Report(DeviceEvent::Lost { direction, device, chosen, error }));
        match lost.purpose {
            Purpose::Chosen if self.chosen.lose(now, lost.since) => {
                self.is_reported = false;
                if self.wants_default() {
                    // The default may be another device by now.
                    self.chosen.hurry(now);
                }
            }
            Purpose::Fallback => _ = self.fallback.lose(now, lost.since),
            Purpose::Chosen | Purpose::Previous => {}
        }
    }

    pub(super) fn handle_change(&mut self, now: Instant, host: usize, change: &DeviceChange, outputs: &mut Outputs) {
        match change {
            DeviceChange::Added(info) => {
                let is_wanted = |device: &HostDevice| device.host == host && device.name == info.name;
                if self.candidates.iter().flatten().any(is_wanted) {
                    self.is_known = true;
                    self.chosen.hurry(now);
                } else if self.wants_default() {
                    self.chosen.hurry(now);
                }
                self.fallback.hurry(now);
            }
            DeviceChange::Removed(name) => {
                let is_it = |in_use: &InUse| {
                    let names = [Some(&in_use.device.name), in_use.default_name.as_ref()];
                    in_use.device.host == host && names.contains(&Some(name))
                };
                // A sound server may move a stream to another device without a word: what plays
                // there is not what was chosen.
                if let Some(id) = self.in_use.as_ref().filter(|in_use| is_it(in_use)).map(|in_use| in_use.id) {
                    self.handle_lost(now, id, None, outputs);
                }
            }
            DeviceChange::DefaultChanged(info) => {
                let is_other = |in_use: &InUse| {
                    let is_default = in_use.device.name == DEFAULT && in_use.device.host >= host;
                    is_default && in_use.default_name.as_ref() != Some(&info.name)
                };
                self.is_outdated |= self.in_use.as_ref().is_some_and(is_other);
                if self.wants_default() {
                    self.chosen.hurry(now);
                }
                self.fallback.hurry(now);
            }
            _ => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if let Some(search) = &self.search {
            return search.opening.map(|(_, expires)| expires);
        }
        let chosen = self.chosen.deadline().filter(|_| self.needs(Purpose::Chosen));
        let fallback = self.fallback.deadline().filter(|_| self.needs(Purpose::Fallback));
        chosen.into_iter().chain(fallback).min()
    }

    /// Starts what is due: an opening, or the end of what is not wanted.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        hosts: &Hosts,
        outputs: &mut Outputs,
        next_id: &mut dyn FnMut() -> OpenId,
    ) {
        let direction = self.direction;
        if let Some(in_use) = self.in_use.take_if(|_| self.candidates.is_none()) {
            let event = DeviceEvent::Changed { direction, device: None, fallback: false };
            outputs.push_back(DeviceAction::Use { direction, id: None });
            outputs.push_back(DeviceAction::Close(in_use.id));
            outputs.push_back(DeviceAction::Report(event));
        }
        loop {
            if self.search.is_none() {
                self.begin_search(now, hosts, outputs);
            }
            let Some(mut search) = self.search.take_if(|search| search.opening.is_none()) else { return };
            let is_hung = self.hung.values().any(|device| *device == search.device);
            if !is_hung && self.hung.len() < MAX_HUNG {
                let id = next_id();
                search.opening = Some((id, now + LONGEST_OPENING));
                outputs.push_back(DeviceAction::Open { id, direction, device: search.device.clone() });
                self.search = Some(search);
                return;
            }
            let error = Error::new(ErrorKind::Timeout, "an earlier opening of the device has not ended");
            self.fail_candidate(now, search, &error, outputs);
        }
    }

    fn begin_search(&mut self, now: Instant, hosts: &Hosts, outputs: &mut Outputs) {
        for purpose in [Purpose::Chosen, Purpose::Fallback] {
            let is_chosen = purpose == Purpose::Chosen;
            let backoff = if is_chosen { &self.chosen } else { &self.fallback };
            if !self.needs(purpose) || !backoff.is_due(now) {
                continue;
            }
            let devices = if is_chosen { self.candidates.clone() } else { Some(hosts.defaults(self.direction)) };
            let mut rest = VecDeque::from(devices.unwrap_or_default());
            if is_chosen { &mut self.chosen } else { &mut self.fallback }.begin(now);
            let Some(device) = rest.pop_front() else {
                let error = Error::new(ErrorKind::NotFound, "no media host has such devices");
                self.fail(now, purpose, error, outputs);
                continue;
            };
            self.search = Some(Search { purpose, device, rest, opening: None, is_stale: false, error: None });
            return;
        }
    }

    /// Whether a device is missing.
    fn needs(&self, purpose: Purpose) -> bool {
        let in_use = self.in_use.as_ref().map(|in_use| in_use.purpose);
        let is_outdated = self.is_outdated && in_use == Some(purpose);
        match purpose {
            Purpose::Chosen => {
                let is_wanted = self.candidates.is_some() && !self.is_given_up;
                is_wanted && (in_use != Some(Purpose::Chosen) || is_outdated)
            }
            Purpose::Fallback => {
                // Another microphone than the chosen one is opened only in place of one that was
                // there once: it would be heard by surprise. A speaker does no harm.
                let may_stand_in = self.is_known || self.direction == DeviceDirection::Sink;
                let is_wanted = self.candidates.is_some() && !self.wants_default();
                let is_missing = in_use.is_none() && self.chosen.is_failing();
                is_wanted && may_stand_in && (is_missing || is_outdated)
            }
            Purpose::Previous => false,
        }
    }

    fn fail(&mut self, now: Instant, purpose: Purpose, error: Error, outputs: &mut Outputs) {
        self.is_outdated = false;
        if purpose != Purpose::Chosen {
            return self.fallback.fail(now);
        }
        self.chosen.fail(now);
        if !std::mem::replace(&mut self.is_reported, true) {
            let direction = self.direction;
            outputs.push_back(DeviceAction::Report(DeviceEvent::Unavailable { direction, error }));
        }
    }

    fn take_search(&mut self, id: OpenId) -> Option<Search> {
        let mut search = self.search.take_if(|search| search.opening.is_some_and(|(opening, _)| opening == id))?;
        search.opening = None;
        Some(search)
    }

    fn wants_default(&self) -> bool {
        // `HOST/default` is a default too.
        self.candidates.iter().flatten().any(|device| device.name == DEFAULT)
    }
}
