//! Driving a connection of whichever protocol: until it is done, a phase lasted too long, or the server is cut.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::task::yield_now;

use super::alarm::Alarm;
use super::house::{Seat, Stage};
use super::phase::Phase;

/// Why a connection is no longer served.
pub(super) enum End {
    /// HTTP came to its end; the flag tells whether by a request that is not HTTP.
    Done {
        malformed: bool,
    },
    TimedOut(Phase),
    Cut,
}

/// Drives a connection until it is done, has waited too long, or is cut. A question that has reached this machine
/// counts, also when the runtime has not heard of it yet. `farewell` tells the client that the server leaves; it may be called
/// more than once.
pub(super) async fn attend<C>(connection: &mut C, seat: &Seat, farewell: fn(&mut C)) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut alarm = Alarm::new(seat);
    let mut looked = None;
    loop {
        let end = drive(connection, seat, &mut alarm, farewell).await;
        let moment = seat.phase.moment();
        if !matches!(end, End::TimedOut(_)) || looked == Some(moment) {
            return end;
        }
        looked = Some(moment);
        yield_now().await;
    }
}

async fn drive<C>(connection: &mut C, seat: &Seat, alarm: &mut Alarm<'_>, farewell: fn(&mut C)) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let house = &*seat.house;
    let mut bell = pin!(house.stage_bell().notified());
    let mut heard = None;
    poll_fn(|cx| {
        // The bell is polled before the stage is looked at again, so that no change falls in between.
        while heard != Some(house.stage()) {
            heard = Some(house.stage());
            bell.set(house.stage_bell().notified());
            let _ = bell.as_mut().poll(cx);
        }
        match heard {
            Some(Stage::Cut) => return Poll::Ready(End::Cut),
            Some(Stage::Draining | Stage::Hurried) => farewell(connection),
            Some(Stage::Serving) | None => {}
        }
        if let Poll::Ready(outcome) = Pin::new(&mut *connection).poll(cx) {
            let malformed = outcome.is_err_and(|error| error.is_parse());
            return Poll::Ready(End::Done { malformed });
        }
        if alarm.rings(cx) {
            return Poll::Ready(End::TimedOut(seat.phase.phase()));
        }
        Poll::Pending
    })
    .await
}
