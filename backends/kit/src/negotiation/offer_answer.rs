//! Offer/answer negotiation.

use blink_api::{Error, ErrorKind, Mid, Result, SessionEvent, TrackId, TrackKind};

use super::description::{Description, Format, Role, Section};
use super::{Negotiation, PendingOffer, Remote, find};

impl Negotiation {
    /// [`Session::create_offer`](blink_api::Session::create_offer).
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) where there is nothing to offer.
    pub fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        let restarts = ice_restart && self.generation.is_some();
        if !self.needs_negotiation() && !restarts {
            return Err(Error::new(ErrorKind::State, "there is nothing to offer"));
        }
        let generation = match (&self.offer, self.generation) {
            _ if restarts => self.next_generation,
            (Some(open), _) => open.generation,
            (None, Some(current)) => current,
            (None, None) => 0,
        };
        let (sections, planned) = self.plan_offer();
        self.offer = Some(PendingOffer { generation, planned, sections: sections.clone() });
        self.gather(generation);
        let offer = self.describe(Role::Offer, generation, sections).to_sdp();
        Ok(self.restore(&offer))
    }

    /// Adds the hidden sections to a local description.
    fn restore(&mut self, sdp: &str) -> String {
        let (sdp, section_map) = self.section_map.to_peer(sdp);
        self.section_map = section_map;
        sdp
    }

    /// Existing sections plus those for new tracks and channels, and the sections planned for
    /// tracks.
    fn plan_offer(&self) -> (Vec<Section>, Vec<(TrackId, Mid)>) {
        let mut sections = self.sections.clone();
        let mut planned: Vec<(TrackId, Mid)> = Vec::new();
        for (id, track) in self.tracks.iter().filter(|(_, track)| track.mid.is_none()) {
            let is_free = |mid: &Mid| !self.is_bound(mid) && !planned.iter().any(|(_, planned)| planned == mid);
            let usable =
                |section: &&Section| section.kind == Some(track.kind) && !section.is_rejected && is_free(&section.mid);
            let mid = match sections.iter().find(usable) {
                Some(section) => section.mid.clone(),
                None => add_section(&mut sections, Some(track.kind), self.formats(track.kind).to_vec()),
            };
            planned.push((*id, mid));
        }
        if !self.wanted.is_empty() && !self.has_data() {
            add_section(&mut sections, None, Vec::new());
        }
        for section in sections.iter_mut().filter(|section| section.kind.is_some() && !section.is_rejected) {
            section.sends = self.is_bound(&section.mid) || planned.iter().any(|(_, mid)| *mid == section.mid);
            section.receives = true;
        }
        (sections, planned)
    }

    /// [`Session::accept_offer`](blink_api::Session::accept_offer).
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for text that is no offer,
    /// [`Incompatible`](ErrorKind::Incompatible) where an audio section shares no codec.
    pub fn accept_offer(&mut self, sdp: &str) -> Result<String> {
        let (sdp, section_map) = self.section_map.to_stack(sdp)?;
        let offer = Description::parse(&sdp, Role::Offer)?;
        check_order(&self.sections, &offer.sections)?;
        let formats = offer.sections.iter().map(|section| self.answer_formats(section)).collect::<Result<Vec<_>>>()?;

        let mut sections = Vec::new();
        let mut planned: Vec<(TrackId, Mid)> = Vec::new();
        for (offered, formats) in offer.sections.iter().zip(formats) {
            let is_rejected = offered.is_rejected || (offered.kind.is_some() && formats.is_empty());
            let can_send = offered.receives && !is_rejected;
            if can_send && !self.is_bound(&offered.mid) {
                let is_unplanned = |id: &TrackId| !planned.iter().any(|(planned, _)| planned == id);
                let track = self
                    .tracks
                    .iter()
                    .find(|(id, track)| track.mid.is_none() && Some(track.kind) == offered.kind && is_unplanned(id));
                planned.extend(track.map(|(id, _)| (*id, offered.mid.clone())));
            }
            let has_track = self.is_bound(&offered.mid) || planned.iter().any(|(_, mid)| *mid == offered.mid);
            sections.push(Section {
                mid: offered.mid.clone(),
                kind: offered.kind,
                is_rejected,
                formats,
                sends: can_send && has_track,
                receives: offered.sends && !is_rejected,
            });
        }

        let remote = Remote { ufrag: offer.ufrag, fingerprint: offer.fingerprint, candidates: offer.candidates };
        let restarts = self.remote.as_ref().is_some_and(|known| known.ufrag != remote.ufrag);
        let generation = match self.generation {
            Some(_) if restarts => self.next_generation,
            Some(current) => current,
            // A pending local offer has used credentials of its own.
            None => self.next_generation,
        };
        self.offer = None;
        self.section_map = section_map;
        self.apply_negotiated(sections.clone(), &planned, generation, remote);
        self.gather(generation);
        let answer = self.describe(Role::Answer, generation, sections).to_sdp();
        Ok(self.restore(&answer))
    }

    /// [`Session::accept_answer`](blink_api::Session::accept_answer).
    ///
    /// # Errors
    /// As [`accept_offer`](Self::accept_offer), and [`State`](ErrorKind::State) without a pending
    /// offer.
    pub fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let Some(open) = &self.offer else { return Err(Error::new(ErrorKind::State, "there is no pending offer")) };
        let (sdp, section_map) = self.section_map.to_stack(sdp)?;
        let answer = Description::parse(&sdp, Role::Answer)?;
        check_order(&open.sections, &answer.sections)?;
        if answer.sections.len() != open.sections.len() {
            return Err(Error::new(ErrorKind::Invalid, "the answer has a different number of sections than the offer"));
        }
        let both = open.sections.iter().zip(&answer.sections);
        let sections =
            both.map(|(offered, answered)| negotiated_section(offered, answered)).collect::<Result<Vec<_>>>()?;
        let Some(open) = self.offer.take() else { unreachable!("it was there above") };
        self.section_map = section_map;
        let remote = Remote { ufrag: answer.ufrag, fingerprint: answer.fingerprint, candidates: answer.candidates };
        self.apply_negotiated(sections, &open.planned, open.generation, remote);
        Ok(())
    }

    /// Offered formats that this side supports, with its own codec names and the offer's payload
    /// types.
    fn answer_formats(&self, offered: &Section) -> Result<Vec<Format>> {
        let Some(kind) = offered.kind.filter(|_| !offered.is_rejected) else { return Ok(Vec::new()) };
        let own = self.formats(kind);
        let shared = offered.formats.iter().filter_map(|format| {
            let codec = find(own, &format.codec)?.codec.clone();
            Some(Format { payload_type: format.payload_type, codec })
        });
        let shared: Vec<Format> = shared.collect();
        if shared.is_empty() && kind == TrackKind::Audio {
            return Err(incompatible(&offered.mid));
        }
        Ok(shared)
    }

    /// Applies the result of a negotiation.
    fn apply_negotiated(
        &mut self,
        sections: Vec<Section>,
        planned: &[(TrackId, Mid)],
        generation: u32,
        remote: Remote,
    ) {
        for (id, mid) in planned {
            // A track may have been removed while its offer was pending.
            if let Some(track) = self.tracks.get_mut(id) {
                track.mid = Some(mid.clone());
            }
        }
        let before = std::mem::replace(&mut self.sections, sections);
        self.generation = Some(generation);
        self.remote = Some(remote);
        for section in &before {
            if section.receives && !self.receives(&section.mid) {
                self.events.push_back(SessionEvent::TrackEnded { mid: section.mid.clone() });
            }
        }
        for section in self.sections.iter().filter(|section| section.receives) {
            let is_new = !before.iter().any(|known| known.mid == section.mid && known.receives);
            if let Some(kind) = section.kind.filter(|_| is_new) {
                self.events.push_back(SessionEvent::TrackStarted { mid: section.mid.clone(), kind });
            }
        }
        if self.needs_negotiation() {
            self.events.push_back(SessionEvent::NegotiationNeeded);
        }
    }

    /// Returns whether a track or channel is missing in the latest description, or a removed track
    /// is still in it.
    fn needs_negotiation(&self) -> bool {
        self.tracks.values().any(|track| track.mid.is_none())
            || (!self.wanted.is_empty() && !self.has_data())
            || self.sections.iter().any(|section| section.sends && !self.is_bound(&section.mid))
    }

    fn is_bound(&self, mid: &Mid) -> bool {
        self.tracks.values().any(|track| track.mid.as_ref() == Some(mid))
    }

    fn describe(&mut self, role: Role, generation: u32, sections: Vec<Section>) -> Description {
        self.versions += 1;
        Description {
            role,
            origin: (self.local.session, self.versions),
            ufrag: self.ufrag(generation),
            password: self.password(generation),
            fingerprint: self.local.fingerprint.clone(),
            candidates: Vec::new(),
            sections,
        }
    }
}

/// Adds a section with the first free number as its mid.
fn add_section(sections: &mut Vec<Section>, kind: Option<TrackKind>, formats: Vec<Format>) -> Mid {
    let is_free = |mid: &Mid| !sections.iter().any(|section| section.mid == *mid);
    let mid = (0u64..).map(|n| Mid::new(&n.to_string())).find(is_free).expect("there are more numbers than sections");
    let section = Section { mid: mid.clone(), kind, is_rejected: false, formats, sends: false, receives: false };
    sections.push(section);
    mid
}

/// Checks that sections keep their index (RFC 8829 §5.2.2), with new ones at the end.
fn check_order(known: &[Section], newer: &[Section]) -> Result<()> {
    let fits = |(known, newer): (&Section, &Section)| known.mid == newer.mid && known.kind == newer.kind;
    if newer.len() >= known.len() && known.iter().zip(newer).all(fits) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "the description does not fit the session"))
}

/// Combines an offered section and its answer.
fn negotiated_section(offered: &Section, answered: &Section) -> Result<Section> {
    let is_rejected = offered.is_rejected || answered.is_rejected;
    let mut formats = Vec::new();
    if !is_rejected && offered.kind.is_some() {
        let agreed = |format: &&Format| {
            find(&answered.formats, &format.codec).is_some_and(|answer| answer.payload_type == format.payload_type)
        };
        formats = offered.formats.iter().filter(agreed).cloned().collect();
        if formats.is_empty() {
            return Err(incompatible(&offered.mid));
        }
    }
    Ok(Section {
        mid: offered.mid.clone(),
        kind: offered.kind,
        is_rejected,
        formats,
        sends: offered.sends && answered.receives,
        receives: offered.receives && answered.sends,
    })
}

fn incompatible(mid: &Mid) -> Error {
    Error::new(ErrorKind::Incompatible, "there is no common codec").with("section", mid)
}
