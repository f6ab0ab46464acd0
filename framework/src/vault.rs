//! The agent's side of TLS: reads the certificates and their keys, watches the files, and publishes what is good to the
//! workers, together with the keys of session tickets. What is wrong with a certificate, `tls` says.

mod files;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

pub(crate) use self::files::check_files;
use self::files::{Certificates, Held, check, read};
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};
use crate::bus::payload::Payload;
use crate::bus::topic;
use crate::error::Result;
use crate::launch::{Launch, Place};
use crate::process::{MasterGone, Process};
use crate::published::publish;
use crate::status::{CertificateStatus, TlsStatus};
use crate::tls::{CertificateError, Secrets, TicketKey, TicketKeys};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long what was read has to stay the same before it is believed: a certificate and its key change one by one.
const SETTLING: Duration = Duration::from_millis(200);

/// How often an operator is reminded of a certificate that ends.
const REMINDER: TimeDelta = TimeDelta::days(1);

type Reading = Result<Certificates, CertificateError>;

/// The certificates of all listeners, as the agent has them. Its `Debug` shows no key.
#[derive(Debug)]
pub(crate) struct Vault {
    process: Process,
    in_force: Mutex<InForce>,
}

#[derive(Debug)]
struct InForce {
    certificates: Certificates,
    held: Vec<Held>,
    /// By group.
    tickets: BTreeMap<String, TicketKeys>,
    /// What lay on disk when it was judged last, be it good or not.
    judged: Reading,
    refused: Option<String>,
    reminded: DateTime<Utc>,
}

impl Vault {
    /// Whether the certificates on disk could be served, for an agent that comes to replace one that works.
    ///
    /// # Errors
    /// When they could not.
    pub(crate) fn inspect(process: &Process) -> Result<(), CertificateError> {
        let (left, _) = left_by_predecessor(process);
        read(process.launch()).and_then(|found| judge(process.launch(), &found, left.as_ref())).map(drop)
    }

    /// Publishes the certificates on disk, or, when they are bad, those that an earlier agent has left. `None` if no
    /// listener speaks TLS.
    ///
    /// # Errors
    /// When the certificates cannot be served and there are no earlier ones, or the master is gone.
    pub(crate) async fn open(process: Process) -> Result<Option<Self>> {
        let launch = process.launch();
        if secured(launch).next().is_none() {
            return Ok(None);
        }
        let (left, tickets) = left_by_predecessor(&process);
        let judged = read(launch);
        let good = judged.clone().and_then(|found| Ok((judge(launch, &found, left.as_ref())?, found)));
        let (held, certificates, refused) = match (good, left) {
            (Ok((held, found)), _) => (held, found, None),
            (Err(error), Some(left)) => (check(launch, &left)?, left, Some(error.to_string())),
            (Err(error), None) => return Err(error.into()),
        };
        let in_force = InForce { certificates, held, tickets, judged, refused, reminded: Utc::now() };
        in_force.remind(in_force.reminded);
        let vault = Self { process, in_force: Mutex::new(in_force) };
        vault.renew_tickets().await?;
        let in_force = vault.in_force.lock().await;
        vault.publish(&in_force).await?;
        vault.tell(&in_force).await?;
        drop(in_force);
        Ok(Some(vault))
    }

    /// Watches the files and renews the keys of tickets, until the agent leaves.
    pub(crate) async fn watch(&self) -> Result {
        // What could not be published when this failed last, and so was not told either.
        let in_force = self.in_force.lock().await;
        self.publish(&in_force).await?;
        self.tell(&in_force).await?;
        drop(in_force);
        while self.process.shutdown().run_until_cancelled(sleep(INTERVAL)).await.is_some() {
            if self.renew_tickets().await? {
                self.publish(&*self.in_force.lock().await).await?;
            }
            let now = Utc::now();
            let mut in_force = self.in_force.lock().await;
            if now - in_force.reminded >= REMINDER {
                in_force.remind(now);
                in_force.reminded = now;
            }
            if let Some(reading) = self.read_settled(&in_force.judged).await? {
                self.judge(&mut in_force, reading).await?;
            }
        }
        Ok(())
    }

    /// What lies on disk, if it is new and stays so for a moment.
    async fn read_settled(&self, known: &Reading) -> Result<Option<Reading>> {
        let read = || {
            let process = self.process.clone();
            spawn_blocking(move || read(process.launch()))
        };
        let first = read().await?;
        if first == *known {
            return Ok(None);
        }
        sleep(SETTLING).await;
        let second = read().await?;
        Ok((first == second).then_some(second))
    }

    /// Puts what was read in force, or refuses it.
    async fn judge(&self, in_force: &mut InForce, reading: Reading) -> Result {
        in_force.judged = reading.clone();
        let launch = self.process.launch();
        let held = reading.clone().and_then(|found| judge(launch, &found, Some(&in_force.certificates)));
        match (reading, held) {
            (Ok(certificates), Ok(held)) => {
                (in_force.certificates, in_force.held, in_force.refused) = (certificates, held, None);
                self.publish(in_force).await?;
                tracing::info!(
                    "the certificates have changed: new handshakes are answered with the new ones"
                );
                in_force.remind(Utc::now());
            }
            (_, Err(error)) | (Err(error), _) => in_force.refused = Some(error.to_string()),
        }
        Ok(self.tell(in_force).await?)
    }

    /// Makes new keys where the present ones are old enough. Returns whether there are any.
    async fn renew_tickets(&self) -> Result<bool> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut renewed = false;
        let mut in_force = self.in_force.lock().await;
        for place in secured(self.process.launch()) {
            let keys = match in_force.tickets.get(&place.group) {
                Some(keys) if !keys.is_due(now) => continue,
                Some(keys) => keys.rotated(new_key(now)?),
                None => TicketKeys::new(new_key(now)?),
            };
            in_force.tickets.insert(place.group.clone(), keys);
            renewed = true;
        }
        Ok(renewed)
    }

    /// Publishes what each group needs, where that has changed.
    async fn publish(&self, in_force: &InForce) -> Result {
        for (group, tickets) in &in_force.tickets {
            let names: Vec<&String> = self.process.launch().secure(group).map(|place| &place.name).collect();
            let own = in_force.certificates.iter().filter(|(name, _)| names.contains(name));
            let certificates = own.map(|(name, pairs)| (name.clone(), pairs.clone())).collect();
            let secrets = Secrets { certificates, tickets: tickets.clone() };
            let (topic, payload) = (topic::secrets_of(group), codec::encode("the certificates", &secrets)?);
            if self.process.latest_state(&topic).is_none_or(|(_, latest)| !latest.is(&payload)) {
                publish(&self.process, &topic, Payload::of_bytes(payload)).await?;
            }
        }
        Ok(())
    }

    /// Has the status show what is in force.
    async fn tell(&self, in_force: &InForce) -> Result<(), MasterGone> {
        let certificate = |held: &Held| CertificateStatus {
            listener: held.listener.clone(),
            file: held.file.clone(),
            expires: held.validity.not_after,
        };
        let certificates = in_force.held.iter().map(certificate).collect();
        let status = TlsStatus { certificates, refused: in_force.refused.clone() };
        let body = codec::encode("the certificates' status", &status).unwrap_or_default();
        self.process.send(Frame::new(Kind::Certificates, 0, body)).await
    }
}

impl InForce {
    fn remind(&self, now: DateTime<Utc>) {
        let mut listeners: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for held in &self.held {
            if let Some(remark) = held.validity.remark(now) {
                listeners.entry((&held.file, remark)).or_default().push(&held.listener);
            }
        }
        for ((file, remark), listeners) in listeners {
            tracing::warn!("the certificate {} of {}: {remark}", file.display(), listeners.join(", "));
        }
    }
}

/// Whether these certificates can be served. What works is not given up for what no client takes, no more or not yet.
fn judge(
    launch: &Launch,
    found: &Certificates,
    earlier: Option<&Certificates>,
) -> Result<Vec<Held>, CertificateError> {
    let held = check(launch, found)?;
    let now = Utc::now();
    match held.iter().find_map(|held| held.useless(now)).filter(|_| earlier.is_some_and(|it| it != found)) {
        Some(useless) => Err(useless),
        None => Ok(held),
    }
}

/// The listeners of all groups that speak TLS.
fn secured(launch: &Launch) -> impl Iterator<Item = &Place> {
    launch.listeners.iter().filter(|place| !place.certificates.is_empty())
}

/// The certificates and the keys of tickets that the agent before this one had in force, as far as they do.
fn left_by_predecessor(process: &Process) -> (Option<Certificates>, BTreeMap<String, TicketKeys>) {
    let launch = process.launch();
    let (mut certificates, mut tickets) = (Certificates::new(), BTreeMap::new());
    for place in secured(launch) {
        let Some((_, payload)) = process.latest_state(&topic::secrets_of(&place.group)) else { continue };
        if let Ok(secrets) = payload.decode::<Secrets>("the certificates") {
            certificates.extend(secrets.certificates);
            tickets.insert(place.group.clone(), secrets.tickets);
        }
    }
    let whole = check(launch, &certificates).is_ok();
    (whole.then_some(certificates), tickets)
}

fn new_key(now: u64) -> Result<TicketKey> {
    let (mut name, mut key) = ([0; 16], [0; 32]);
    let random = SystemRandom::new();
    let filled = random.fill(&mut name).and_then(|()| random.fill(&mut key));
    filled.map_err(|_| "the system has no random numbers for the keys of tickets")?;
    Ok(TicketKey { name, key, made_at: now })
}
