//! What one run of a duty has registered with its process, and how that ends with the run: the answers and feeds by what
//! each says of its end, the states by giving up their names.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A run of a duty; or all else in a process, which is over with the process alone. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tenure {
    registered: Arc<Mutex<Registered>>,
}

#[derive(Default)]
struct Registered {
    is_over: bool,
    ends: Vec<End>,
    claims: Vec<Weak<Claim>>,
}

/// Why a name was not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// Somebody has it.
    Taken,
    /// The run that wants it is over.
    Over,
}

impl Tenure {
    /// Has this done when it is over; at once, in a task of its own, and `false`, if it is already.
    pub(crate) fn add(&self, end: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut registered = self.registered();
        if registered.is_over {
            drop(registered);
            tokio::spawn(end);
            return false;
        }
        registered.ends.push(Box::pin(end));
        true
    }

    /// Ends all that was registered; what comes later has no place any more. Returns when all has ended.
    pub(crate) async fn end(&self) {
        let Registered { ends, claims, .. } =
            std::mem::replace(&mut *self.registered(), Registered { is_over: true, ..Registered::default() });
        claims.iter().filter_map(Weak::upgrade).for_each(|claim| claim.release());
        join_all(ends).await;
    }

    fn registered(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure").field("is_over", &self.registered().is_over).finish_non_exhaustive()
    }
}

/// The names of the states that this process publishes, each by one claim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    held: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    last: Arc<AtomicU64>,
}

/// A name that nobody else in this process publishes, until this is dropped or its tenure is over.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    name: &'static str,
    number: u64,
}

impl Claims {
    /// Claims a name for as long as `tenure` lasts at most.
    pub(crate) fn claim(&self, name: &'static str, tenure: &Tenure) -> Result<Arc<Claim>, Unclaimed> {
        let mut registered = tenure.registered();
        if registered.is_over {
            return Err(Unclaimed::Over);
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut held = self.held();
        if held.contains_key(name) {
            return Err(Unclaimed::Taken);
        }
        held.insert(name, number);
        let claim = Arc::new(Claim { claims: self.clone(), name, number });
        registered.claims.retain(|claim| claim.strong_count() > 0);
        registered.claims.push(Arc::downgrade(&claim));
        Ok(claim)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether the name is still this one's.
    pub(crate) fn is_held(&self) -> bool {
        self.claims.held().get(self.name) == Some(&self.number)
    }

    fn release(&self) {
        let mut held = self.claims.held();
        if held.get(self.name) == Some(&self.number) {
            held.remove(self.name);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_name_has_one_claim_until_that_is_dropped() {
        let (claims, tenure) = (Claims::default(), Tenure::default());
        let first = claims.claim("flags", &tenure).unwrap();
        assert_eq!(claims.claim("flags", &tenure).unwrap_err(), Unclaimed::Taken);
        let _other = claims.claim("prices", &tenure).unwrap();
        drop(first);
        let second = claims.claim("flags", &tenure).unwrap();
        assert!(second.is_held());
    }

    #[tokio::test]
    async fn what_a_run_has_claimed_is_free_when_it_is_over_and_its_own_no_more() {
        let (claims, tenure, next) = (Claims::default(), Tenure::default(), Tenure::default());
        let kept = claims.claim("flags", &tenure).unwrap();
        tenure.end().await;
        assert!(!kept.is_held());
        assert_eq!(claims.claim("flags", &tenure).unwrap_err(), Unclaimed::Over);
        let anew = claims.claim("flags", &next).unwrap();
        drop(kept);
        assert!(anew.is_held(), "an earlier claim takes nothing with it");
    }

    #[tokio::test]
    async fn what_was_registered_has_ended_when_the_run_is_over() {
        let tenure = Tenure::default();
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        assert!(tenure.add(async move { ended.store(true, Ordering::Relaxed) }));
        assert!(!has_ended.load(Ordering::Relaxed));
        tenure.end().await;
        assert!(has_ended.load(Ordering::Relaxed));
        assert!(!tenure.add(async {}), "what comes too late is ended at once");
    }
}
