//! Sending to the service manager. The socket is our own because `sd_notify::notify` knows no abstract names
//! and may block: the master's only thread must not wait for a reader.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::bulletin::{Bulletin, Scene, status};

/// How long to wait after a message that could not be sent.
const RETRY: Duration = Duration::from_millis(250);

/// Keeps the service manager informed. Does nothing where there is none.
#[derive(Debug)]
pub(crate) struct Notifier {
    speaker: Option<Speaker>,
}

#[derive(Debug)]
struct Speaker {
    mouth: Mouth,
    bulletin: Bulletin,
    /// After a failure: when to try again.
    retry_at: Option<Instant>,
}

impl Notifier {
    /// For the service manager of `NOTIFY_SOCKET`, with the watchdog if that is meant for this process.
    pub(crate) fn from_environment() -> Self {
        let speaker = Mouth::from_environment().unwrap_or_else(|error| {
            tracing::warn!("the service manager hears nothing: NOTIFY_SOCKET: {error}");
            None
        });
        let watchdog = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero());
        let bulletin = Bulletin::new(std::process::id(), watchdog);
        Self { speaker: speaker.map(|mouth| Speaker { mouth, bulletin, retry_at: None }) }
    }

    /// Says what is new; to be called after each event. `scene` is looked at only if somebody listens.
    pub(crate) fn after(&mut self, scene: impl FnOnce() -> Scene, now: Instant) {
        if let Some(speaker) = &mut self.speaker {
            speaker.say(scene(), now);
        }
    }

    /// When `after` wants to be called although nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.speaker.as_ref().and_then(|speaker| speaker.retry_at.or(speaker.bulletin.deadline()))
    }
}

impl Speaker {
    fn say(&mut self, scene: Scene, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let (mut lines, bulletin) = self.bulletin.next(scene, now);
        if lines.contains(&NotifyState::Reloading.to_string()) {
            // By it the manager knows an announcement that answers its own wish from an earlier one.
            lines.extend(NotifyState::monotonic_usec_now().ok().map(|time| time.to_string()));
        }
        match self.mouth.send(&lines) {
            Ok(()) => {
                self.bulletin = bulletin;
                self.retry_at = None;
            }
            Err(error) => {
                if self.retry_at.is_none() {
                    tracing::warn!(
                        "cannot tell the service manager at {}: {error}; trying again",
                        self.mouth
                    );
                }
                self.retry_at = Some(now + RETRY);
            }
        }
    }
}

/// Tells the service manager why there is no cluster any more, if there is a service manager.
pub(crate) fn failed(reason: &str) {
    // The reason is on stderr as well: whether it arrives here does not matter.
    if let Ok(Some(mouth)) = Mouth::from_environment() {
        let _ = mouth.send(&[status(&format!("failed: {reason}"))]);
    }
}

/// A socket and where to send.
#[derive(Debug)]
struct Mouth {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Mouth {
    fn from_environment() -> io::Result<Option<Self>> {
        std::env::var_os("NOTIFY_SOCKET")
            .filter(|name| !name.is_empty())
            .map(|name| Self::to(&name))
            .transpose()
    }

    /// A name that begins with `@` is abstract.
    fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let problem = format!("`{}` is neither a path nor an abstract name", name.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    fn send(&self, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.address).map(drop)
    }
}

impl fmt::Display for Mouth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address.as_pathname(), self.address.as_abstract_name()) {
            (Some(path), _) => path.display().fmt(f),
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
            (None, None) => f.write_str("a socket without a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::ClusterState;

    const RUNNING: Scene = Scene {
        state: ClusterState::Running,
        ready: 1,
        wanted: 1,
        alive: 2,
        gave_up: false,
        reloads: 0,
        bounded: false,
    };

    #[test]
    fn a_message_that_finds_nobody_is_sent_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let mouth = Mouth::to(path.as_os_str()).unwrap();
        let mut speaker = Speaker { mouth, bulletin: Bulletin::new(7, None), retry_at: None };
        let now = Instant::now();
        speaker.say(RUNNING, now);
        assert_eq!(speaker.retry_at, Some(now + RETRY));

        let ear = UnixDatagram::bind(&path).unwrap();
        speaker.say(RUNNING, now + RETRY);
        assert_eq!(speaker.retry_at, None);
        let mut bytes = [0; 200];
        let length = ear.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"MAINPID=7\nREADY=1\nSTATUS=running: 1 of 1 worker ready");
    }

    #[test]
    fn a_manager_that_does_not_read_never_blocks_the_master() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _ear = UnixDatagram::bind(&path).unwrap();
        let mouth = Mouth::to(path.as_os_str()).unwrap();
        while mouth.send(&["WATCHDOG=1".to_owned()]).is_ok() {}
        let mut speaker = Speaker { mouth, bulletin: Bulletin::new(7, None), retry_at: None };
        let now = Instant::now();
        speaker.say(RUNNING, now);
        assert_eq!(speaker.retry_at, Some(now + RETRY));
    }

    #[test]
    fn a_name_that_cannot_be_reached_is_refused() {
        let error = Mouth::to(OsStr::new("vsock:2:1234")).unwrap_err().to_string();
        assert_eq!(error, "`vsock:2:1234` is neither a path nor an abstract name");
    }
}
