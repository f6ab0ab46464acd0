//! The programs of the generations: each one's executable, held open, and what its processes are told. A crash in a
//! generation is repaired with that generation's program, whatever lies on disk by then.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::crew::FIRST;
use super::event::Prepared;
use crate::bus::CodecError;
use crate::bus::codec;
use crate::image::Image;
use crate::launch::Launch;

/// Reads the settings anew, for the processes of a new generation.
pub(crate) type Refresh = Arc<dyn Fn() -> Result<Launch, String> + Send + Sync>;

/// One generation's program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) image: Image,
    pub(crate) launch: Launch,
    pub(crate) welcome: Bytes,
}

impl Program {
    fn new(image: Image, launch: Launch) -> Result<Self, CodecError> {
        let welcome = codec::encode("the welcome", &launch)?.into();
        Ok(Self { image, launch, welcome })
    }
}

/// The programs of the generations that may still start processes.
pub(crate) struct Programs {
    /// Where the executable lies.
    path: PathBuf,
    refresh: Refresh,
    known: BTreeMap<u64, Program>,
}

impl Programs {
    /// With what this process itself runs as the first generation's.
    pub(crate) fn new(launch: Launch, refresh: Refresh) -> io::Result<Self> {
        let image = Image::of_self()?;
        let path = own_path(&image)?;
        let first = Program::new(image, launch).map_err(io::Error::other)?;
        Ok(Self { path, refresh, known: BTreeMap::from([(FIRST, first)]) })
    }

    /// What the processes of a generation say that they run.
    pub(crate) fn build(&self, generation: u64) -> io::Result<String> {
        self.of(generation).ok_or(io::ErrorKind::NotFound)?.image.build()
    }

    pub(crate) fn of(&self, generation: u64) -> Option<&Program> {
        self.known.get(&generation)
    }

    /// Opens what lies on disk now as the program of `generation`.
    pub(crate) fn prepare(&mut self, generation: u64) -> Result<Prepared, String> {
        let problem = |error: io::Error| format!("{} cannot be started: {error}", self.path.display());
        let mut launch = (self.refresh)()?;
        let image = Image::open(&self.path).map_err(problem)?;
        let build = image.build().map_err(problem)?;
        let newest = self.known.last_key_value().map(|(_, program)| program);
        // How many workers share the processors, and what was bound, is known to the master alone.
        launch.workers = newest.map_or(1, |program| program.launch.workers);
        // Messages are addressed as the first generation knew the groups, for as long as the master lives.
        launch.roll = newest.map_or(launch.roll, |program| program.launch.roll.clone());
        let known = newest.map_or(&[][..], |program| &program.launch.groups);
        for group in &mut launch.groups {
            group.udp = known
                .iter()
                .find(|known| known.name == group.name)
                .map(|known| known.udp.clone())
                .unwrap_or_default();
        }
        // And the sockets stay those that there are, whatever the configuration says by now.
        launch.listeners = newest.map(|program| program.launch.listeners.clone()).unwrap_or_default();
        let in_force = newest.and_then(|program| program.image.build().ok());
        let changed = in_force.as_ref() != Some(&build);
        let program = Program::new(image, launch).map_err(|error| error.to_string())?;
        self.known.insert(generation, program);
        Ok(Prepared { build, changed })
    }

    /// Forgets the programs of all other generations.
    pub(crate) fn settle(&mut self, generation: u64) {
        self.known.retain(|known, _| *known == generation);
    }
}

/// The path by which this program was started, if it still leads here: behind a link such as `current/shop` the next
/// release will lie. Otherwise that of the file itself.
fn own_path(image: &Image) -> io::Result<PathBuf> {
    let called = std::env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
    let called = called.and_then(|path| std::path::absolute(path).ok());
    let leads_here =
        |path: &Path| Image::open(path).and_then(|found| found.build()).ok() == image.build().ok();
    match called.filter(|path| leads_here(path)) {
        Some(path) => Ok(path),
        None => std::env::current_exe(),
    }
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs")
            .field("path", &self.path)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}
