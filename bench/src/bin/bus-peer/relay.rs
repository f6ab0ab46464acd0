//! Relays that do as little as they can: they start their ends, each with a socket as its standard input, and pass on what
//! these say, in one thread.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream as Link;

use crate::wire::find_by_length;

/// What a relay takes in one read.
const CHUNK: usize = 64 << 10;

/// Starts an end for each of `roles`, with these words for it, and does with them what a relay does.
pub(crate) fn relay<'a, F>(
    roles: impl Iterator<Item = &'a str>,
    words: &[String],
    pass_on: impl FnOnce(Vec<Link>) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ends = Vec::new();
        let mut children = Vec::new();
        for role in roles {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(role).args(words).stdin(Stdio::from(OwnedFd::from(theirs)));
            children.push(command.spawn()?);
            ends.push(Link::from_std(ours)?);
        }
        pass_on(ends).await
    })
}

/// Passes what the last of them says on to all others, without a look at it.
pub(crate) async fn pass_on_bytes(mut ends: Vec<Link>) -> io::Result<()> {
    let Some(mut sender) = ends.pop() else { return Ok(()) };
    let mut bytes = vec![0; CHUNK];
    loop {
        let count = sender.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        for receiver in &mut ends {
            // One that has got everything may be gone.
            let _ = receiver.write_all(&bytes[..count]).await;
        }
    }
}

/// Passes every frame of the last of them on to all others.
pub(crate) async fn pass_on_frames(mut ends: Vec<Link>) -> io::Result<()> {
    let Some(sender) = ends.pop() else { return Ok(()) };
    let receivers: Vec<&Link> = ends.iter().collect();
    pass_on_from(&sender, &receivers).await
}

/// Passes every frame of each of two on to the other.
pub(crate) async fn pass_on_both_ways(ends: Vec<Link>) -> io::Result<()> {
    let [one, other] = &ends[..] else { return Ok(()) };
    let (there, back) = ([other], [one]);
    tokio::try_join!(pass_on_from(one, &there), pass_on_from(other, &back)).map(drop)
}

/// All whole frames of a read go to a receiver together, each as a slice of its own.
async fn pass_on_from(sender: &Link, receivers: &[&Link]) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(CHUNK);
        sender.readable().await?;
        match sender.try_read_buf(&mut bytes) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            other => other?,
        };
        let mut end = 0;
        let mut frames = Vec::new();
        while let Some((length, _)) = find_by_length(&bytes[end..]) {
            frames.push(end..end + length);
            end += length;
        }
        for receiver in receivers {
            let mut slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(&bytes[frame.clone()])).collect();
            // One that has got everything may be gone.
            let _ = write_slices(receiver, &mut slices).await;
        }
        bytes.advance(end);
    }
}

async fn write_slices(to: &Link, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match to.try_write_vectored(slices) {
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
