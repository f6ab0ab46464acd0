//! What the children say, and who may say what. Pure.

use std::time::Instant;

use super::Cluster;
use crate::bus::codec;
use crate::bus::control::{Failure, Hello, Pulse};
use crate::bus::frame::{Frame, Kind, PROTOCOL};
use crate::master::event::{Action, ChildId, Event, Report};
use crate::master::occupant::Knows;
use crate::role::Slot;

impl Cluster {
    /// A child that sends what makes no sense is no member any more, and has a moment to end.
    pub(super) fn on_frame(&mut self, from: ChildId, frame: &Frame, now: Instant, actions: &mut Vec<Action>) {
        let Some(slot) = self.supervisor.slot_of(from).cloned() else {
            return;
        };
        if let Err(problem) = self.take(from, &slot, frame, now, actions) {
            self.forget(from, actions);
            self.lose_link(from, Some(problem), now, actions);
        }
    }

    /// Takes what goes from one process to others; gives back what is anything else, or worth more than a look.
    pub(super) fn on_mail(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) -> Option<Event> {
        match event {
            Event::Mail { from, parcels, .. } => {
                let taken = match self.supervisor.occupant(from) {
                    Some((_, occupant)) if self.relay.has(from) => {
                        occupant.heard = Some(now);
                        self.exchange.take(from, parcels, actions)
                    }
                    _ => Err("it sent mail before its hello".to_owned()),
                };
                let problem = taken.err()?;
                self.forget(from, actions);
                Some(Event::LinkLost { id: from, problem: Some(problem) })
            }
            Event::Undelivered { to, parcel } => {
                self.exchange.undelivered(to, &parcel, actions);
                for (id, topics) in self.exchange.take_dropped() {
                    if let Some(slot) = self.supervisor.slot_of(id) {
                        self.laggards.note(id, slot, topics, now, actions);
                    }
                }
                None
            }
            Event::Left { by, parcels } => {
                let topics = self.exchange.take_back(by, &parcels, actions);
                if let Some(slot) = self.supervisor.slot_of(by).filter(|_| !topics.is_empty()).cloned() {
                    actions.push(Action::Report(Report::MailLost { slot, topics }));
                }
                None
            }
            Event::Confirm { to, number } => {
                self.exchange.confirm(to, number, actions);
                None
            }
            Event::Room { id } => {
                self.exchange.has_room(id, actions);
                None
            }
            other => Some(other),
        }
    }

    fn take(
        &mut self,
        from: ChildId,
        slot: &Slot,
        frame: &Frame,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        check_descriptors(frame)?;
        let greeted = self.relay.has(from);
        let Some((_, occupant)) = self.supervisor.occupant(from) else { return Ok(()) };
        occupant.heard = Some(now);
        match frame.kind() {
            Kind::Hello if greeted => return Err(format!("{slot} said hello twice")),
            Kind::Hello => self.on_hello(from, slot, frame, actions)?,
            Kind::Failed => occupant.last_words = Some(cut(read(frame)?)),
            kind if !greeted => return Err(format!("{slot} sent {kind:?} before its hello")),
            Kind::Ready => occupant.ready(slot, now, actions),
            Kind::ClusterReady => occupant.knows = Knows::Confirmed,
            Kind::Pulse => {
                let pulse = read::<Pulse>(frame)?.bounded();
                self.exchange.note_lost(&occupant.pulse.topics, &pulse.topics);
                occupant.take(pulse);
            }
            Kind::Publish => self.relay.publish(from, frame, actions),
            Kind::Ack => self.relay.acknowledge(from, frame, actions),
            Kind::Observe => self.relay.observe(from, frame.topic(), actions)?,
            Kind::Unobserve => self.relay.unobserve(from, frame.topic(), actions),
            Kind::Watch if frame.number() > 0 => {
                let body = codec::encode("the members", &self.supervisor.present());
                let body = body.map_err(|error| error.to_string())?;
                actions.push(Action::Send { to: from, frame: Frame::new(Kind::News, frame.number(), body) });
            }
            Kind::Watch => self.readers.join(from),
            Kind::Leaving => occupant.part(actions),
            Kind::Unloaded => {
                let count = usize::try_from(frame.number()).unwrap_or(usize::MAX);
                self.exchange.unloaded(from, count, actions);
            }
            Kind::Reopened => {
                let problem = String::from_utf8_lossy(frame.payload());
                self.reopening.answered(from, frame.number(), &problem, actions);
            }
            kind if slot.is_agent() => self.on_agent_frame(kind, from, frame, actions)?,
            Kind::Contribute => {
                if let Some(address) = self.exchange.address(from) {
                    self.gathering.contribute(from, address, frame, actions)?;
                }
            }
            Kind::Retire => self.supervisor.retire(from, words(frame.payload()), now, actions),
            kind => {
                return Err(format!(
                    "{slot} sent a frame of the kind {kind:?}, which is not its own to send"
                ));
            }
        }
        Ok(())
    }

    /// What only the agent may send.
    fn on_agent_frame(
        &mut self,
        kind: Kind,
        from: ChildId,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        match kind {
            Kind::StandBy => {
                if let Some((_, occupant)) = self.supervisor.occupant(from) {
                    occupant.stands_by = true;
                }
            }
            Kind::Reopen => {
                self.reopening.begin(Some((from, frame.number())), self.relay.members(), actions);
            }
            Kind::Everywhere => self.everywhere.ask(from, frame, actions)?,
            Kind::Duties => self.duties = read(frame)?,
            Kind::Certificates => {
                let earlier = std::mem::replace(&mut self.tls, read(frame)?);
                if let Some(problem) =
                    self.tls.refused.clone().filter(|_| self.tls.refused != earlier.refused)
                {
                    actions.push(Action::Report(Report::CertificatesRefused { problem }));
                }
            }
            Kind::ConfigRefused => {
                self.config_refused = read(frame)?;
                if let Some(problem) = self.config_refused.clone() {
                    actions.push(Action::Report(Report::ConfigRefused { problem }));
                }
            }
            kind => {
                return Err(format!(
                    "the agent sent a frame of the kind {kind:?}, which only the master sends"
                ));
            }
        }
        Ok(())
    }

    fn on_hello(
        &mut self,
        from: ChildId,
        slot: &Slot,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let hello: Hello = read(frame)?;
        if hello.protocol != PROTOCOL {
            return Err(format!("it speaks protocol {}, and this master speaks {PROTOCOL}", hello.protocol));
        }
        if hello.slot != *slot || self.builds.get(&hello.generation) != Some(&hello.build) {
            return Err(format!("it says that it is {} of build {}", hello.slot, hello.build));
        }
        self.relay.join(from, slot, actions);
        if slot.is_agent() {
            self.gathering.admit(from, actions);
        }
        self.trace.greet(from, actions);
        let replaces = slot.is_agent() && self.supervisor.agent().occupants.len() > 1;
        let (slot, generation) = (slot.clone(), hello.generation);
        actions.push(Action::Welcome { to: from, slot, generation, replaces });
        if hello.packed {
            actions.push(Action::Pack { to: from });
        }
        Ok(())
    }
}

/// Of what goes to the master only a large state has a descriptor. What is lost on the way, only the master can tell,
/// unless it is the answer to what it sent.
fn check_descriptors(frame: &Frame) -> Result<(), String> {
    match (frame.descriptors().len(), frame.kind()) {
        (_, kind) if frame.came_without_descriptors() && kind != Kind::Ack => {
            Err(format!("it sent a frame of the kind {kind:?} that says its descriptors were lost"))
        }
        (0, _) => Ok(()),
        (1, Kind::Publish) if frame.is_in_memory() => Ok(()),
        (count, kind) => Err(format!("it sent a frame of the kind {kind:?} with {count} descriptors")),
    }
}

fn read<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<T, String> {
    codec::decode(&format!("a frame of the kind {:?}", frame.kind()), frame.payload())
        .map_err(|e| e.to_string())
}

/// Last words are kept for as long as nobody else ends in the slot, so that they must have a limit.
fn cut(words: Failure) -> Failure {
    let cut = |text: String, limit| text.chars().take(limit).collect();
    Failure { reason: cut(words.reason, 2000), detail: cut(words.detail, 8000) }
}

/// What a process says in its own words, cut to a line that fits a log.
fn words(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).chars().take(500).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::bus::head::Route;
    use crate::bus::parcel::Parcel;
    use crate::bus::peer::Address;
    use crate::events::{Member, Present, Standing};
    use crate::master::crew::Crew;
    use crate::master::exchange::Exchange;
    use crate::master::rules::CrewRules;
    use crate::master::settings::ClusterSettings;
    use crate::master::supervisor::Supervisor;

    /// A cluster that has started its agent.
    fn cluster(now: Instant) -> (Cluster, ChildId, u64) {
        let settings = ClusterSettings::default();
        let rules = CrewRules::new(&settings, Duration::from_secs(30));
        let supervisor = Supervisor::new((&settings).into(), Crew::agent(rules, now), []);
        let (exchange, build) = (Exchange::new(1 << 20), "a build".to_owned());
        let mut cluster =
            Cluster::new((&settings).into(), (&settings).into(), supervisor, exchange, build, now);
        let actions = cluster.on(Event::Started, now);
        let [Action::Spawn { id, generation, .. }] = actions[..] else { panic!("{actions:?}") };
        cluster.on(Event::Spawned { id, pid: 7 }, now);
        (cluster, id, generation)
    }

    /// What is done for an agent whose hello says this of `packed`.
    fn greet(cluster: &mut Cluster, id: ChildId, generation: u64, packed: Option<bool>) -> Vec<Action> {
        let slot = serde_json::to_value(Slot::Agent).unwrap();
        let mut hello =
            json!({ "protocol": PROTOCOL, "build": "a build", "slot": slot, "generation": generation });
        if let (Value::Object(hello), Some(packed)) = (&mut hello, packed) {
            hello.insert("packed".to_owned(), packed.into());
        }
        let frame = Frame::new(Kind::Hello, 0, codec::encode("a hello", &hello).unwrap());
        cluster.on(Event::Frame { from: id, frame }, Instant::now())
    }

    /// Of that, what concerns packed frames.
    fn after_hello(packed: Option<bool>) -> Vec<&'static str> {
        let (mut cluster, id, generation) = cluster(Instant::now());
        let actions = greet(&mut cluster, id, generation, packed);
        let told = actions.iter().filter_map(|action| match action {
            Action::Welcome { .. } => Some("welcome"),
            Action::Pack { .. } => Some("pack"),
            _ => None,
        });
        told.collect()
    }

    /// A question of the agent to itself.
    fn question(from: ChildId, number: u64) -> Event {
        let route = Route { to: Address::AGENT, from: Address { pid: 7, ..Address::AGENT }, time: 0 };
        let question = Parcel::Frame(Frame::about(Kind::Ask, "words", number, b"").on(route));
        Event::Mail { from, parcels: vec![question], taken: None }
    }

    /// The kinds of the frames that are sent.
    fn sent(actions: &[Action]) -> Vec<Kind> {
        let kind = |action: &Action| match action {
            Action::Send { frame, .. } => Some(frame.kind()),
            _ => None,
        };
        actions.iter().filter_map(kind).collect()
    }

    #[test]
    fn who_asked_one_whose_link_is_lost_hears_it_before_its_exit() {
        let now = Instant::now();
        let (mut cluster, id, generation) = cluster(now);
        greet(&mut cluster, id, generation, None);
        let asked = cluster.on(question(id, 1), now);
        assert!(matches!(asked[..], [Action::Deliver { .. }]), "{asked:?}");
        assert_eq!(sent(&cluster.on(Event::LinkLost { id, problem: None }, now)), [Kind::Refusal]);
        assert_eq!(sent(&cluster.on(Event::LinkLost { id, problem: None }, now)), []);
    }

    #[test]
    fn who_is_cut_off_while_it_leaves_answers_no_more_gets_nothing_new_and_may_go() {
        let now = Instant::now();
        let (mut cluster, id, generation) = cluster(now);
        greet(&mut cluster, id, generation, None);
        cluster.on(question(id, 1), now);
        assert_eq!(sent(&cluster.on(Event::StopSignal { fast: false }, now)), [Kind::Shutdown]);
        let asked = cluster.on(question(id, 2), now);
        assert!(matches!(asked[..], [Action::Deliver { .. }]), "{asked:?}");
        let cut_off = || Event::LinkLost { id, problem: Some("it makes no sense".to_owned()) };
        let told = [Kind::Refusal, Kind::Cancel, Kind::Refusal, Kind::Cancel, Kind::Farewell];
        assert_eq!(sent(&cluster.on(cut_off(), now)), told);
        assert_eq!(sent(&cluster.on(cut_off(), now)), [], "it is told once");
        let asked = cluster.on(question(id, 3), now);
        assert!(!asked.iter().any(|action| matches!(action, Action::Deliver { .. })), "{asked:?}");
    }

    #[test]
    fn who_asks_is_told_who_is_there() {
        let now = Instant::now();
        let (mut cluster, id, generation) = cluster(now);
        greet(&mut cluster, id, generation, None);
        let told = cluster.on(Event::Frame { from: id, frame: Frame::new(Kind::Watch, 3, vec![]) }, now);
        let [Action::Send { to, frame }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((*to, frame.kind(), frame.number()), (id, Kind::News, 3));
        let present: Vec<Present> = codec::decode("members", frame.payload()).unwrap();
        let member = Member::new(&Slot::Agent, Some(7), generation);
        assert_eq!(present, [Present { member, standing: Standing::Starting }]);
    }

    #[test]
    fn many_messages_come_in_one_frame_behind_the_welcome_and_only_to_who_has_asked_for_that() {
        assert_eq!(after_hello(None), ["welcome"]);
        assert_eq!(after_hello(Some(false)), ["welcome"]);
        assert_eq!(after_hello(Some(true)), ["welcome", "pack"]);
    }
}
