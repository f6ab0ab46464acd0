//! How long a certificate holds, and what must be said of that. Pure: it reads no clock.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// How long before its end a certificate is complained of.
const NOTICE: TimeDelta = TimeDelta::days(14);

/// The time in which a certificate holds, together with its issuers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
    /// Which of the chain ends first, the server's own being 0.
    first_to_end: usize,
}

impl Validity {
    /// The library tells the dates only of a certificate that does not hold, and looks at them before anything else: so
    /// it is asked about the begin and the end of time.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let ask = |seconds| {
            let time = UnixTime::since_unix_epoch(core::time::Duration::from_secs(seconds));
            certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
        };
        let date = |time: UnixTime| DateTime::from_timestamp(i64::try_from(time.as_secs()).ok()?, 0);
        let not_before = match ask(0)? {
            Error::CertNotValidYet { not_before, .. } => date(not_before)?,
            // From before 1970 on.
            _ => DateTime::UNIX_EPOCH,
        };
        let not_after = match ask(u64::from(u32::MAX) * 100)? {
            Error::CertExpired { not_after, .. } => date(not_after)?,
            _ => return None,
        };
        Some(Self { not_before, not_after, first_to_end: 0 })
    }

    /// The time in which all of a chain hold. A root at its end does not count: clients have it, or another.
    pub(super) fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (own, issuers) = chain.split_first()?;
        let is_root = |der| {
            EndEntityCert::try_from(der)
                .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
        };
        let issuers = issuers.iter().filter(|issuer| !is_root(*issuer)).enumerate();
        issuers.map(|(nth, issuer)| Some((nth + 1, Self::of(issuer)?))).try_fold(
            Self::of(own)?,
            |all, one| {
                let (nth, one) = one?;
                let (not_after, first_to_end) = (all.not_after, all.first_to_end).min((one.not_after, nth));
                Some(Self { not_before: all.not_before.max(one.not_before), not_after, first_to_end })
            },
        )
    }

    pub(crate) fn has_ended(&self, now: DateTime<Utc>) -> bool {
        now > self.not_after
    }

    /// Whether clients take it.
    pub(crate) fn holds(&self, now: DateTime<Utc>) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// What an operator should know of it at this moment, if anything.
    pub(crate) fn remark(&self, now: DateTime<Utc>) -> Option<String> {
        let left = self.not_after - now;
        let who = match self.first_to_end {
            0 => "it".to_owned(),
            nth => format!("certificate {} in it", nth + 1),
        };
        if self.has_ended(now) {
            Some(format!("{who} EXPIRED at {}: clients refuse it; renew it", self.not_after))
        } else if now < self.not_before {
            Some(format!("it is not valid before {}: clients refuse it until then", self.not_before))
        } else if left < NOTICE {
            Some(format!("{who} expires in {} days, at {}: renew it", left.num_days(), self.not_after))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    fn day(text: &str) -> DateTime<Utc> {
        format!("{text}T12:00:00Z").parse().unwrap()
    }

    fn validity() -> Validity {
        let mut params = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 3, 1), date_time_ymd(2026, 6, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Validity::of(certificate.der()).unwrap()
    }

    #[test]
    fn the_dates_are_those_of_the_certificate() {
        let validity = validity();
        let shown = [validity.not_before, validity.not_after].map(|date| date.to_string());
        assert_eq!(shown, ["2026-03-01 00:00:00 UTC", "2026-06-01 00:00:00 UTC"]);
    }

    #[test]
    fn a_chain_holds_as_long_as_each_issuer_but_the_root() {
        let (root_key, middle_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = |name: &str, end: i32| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(end, 6, 1));
            params
        };
        let (root, middle) = (authority("root", 2027), authority("middle", 2028));
        let root_certificate = root.self_signed(&root_key).unwrap();
        let middle_certificate = middle.signed_by(&middle_key, &Issuer::new(root, root_key)).unwrap();
        let mut own = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        own.not_after = date_time_ymd(2029, 6, 1);
        let key = KeyPair::generate().unwrap();
        let own = own.signed_by(&key, &Issuer::new(middle, middle_key)).unwrap();
        let chain = [own.der().clone(), middle_certificate.der().clone(), root_certificate.der().clone()];
        let validity = Validity::of_chain(&chain).unwrap();
        assert!(validity.holds(day("2028-05-01")) && !validity.holds(day("2028-07-01")));
        let said = validity.remark(day("2028-07-01")).unwrap();
        assert!(said.starts_with("certificate 2 in it EXPIRED at 2028-06-01"), "{said}");
    }

    #[test]
    fn an_operator_hears_of_an_end_that_is_near_or_past() {
        for (now, remark) in [
            ("2026-02-01", Some("it is not valid before 2026-03-01")),
            ("2026-04-01", None),
            ("2026-05-17", None),
            ("2026-05-20", Some("it expires in 11 days")),
            ("2026-06-02", Some("it EXPIRED at 2026-06-01")),
        ] {
            let said = validity().remark(day(now));
            let fits = match (&said, remark) {
                (Some(said), Some(remark)) => said.starts_with(remark),
                (said, remark) => said.is_none() && remark.is_none(),
            };
            assert!(fits, "{now}: {said:?}");
        }
    }
}
