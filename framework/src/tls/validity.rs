//! How long a certificate holds, and what must be said of that. Pure: it reads no clock.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// How long before its end a certificate is complained of.
const NOTICE: TimeDelta = TimeDelta::days(14);

/// The time in which a certificate holds, and what is known of its issuers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
    /// The issuer that ends first: its number in the chain, the server's own being 1, and its end.
    issuer: Option<(usize, DateTime<Utc>)>,
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
        Some(Self { not_before, not_after, issuer: None })
    }

    /// The time in which the first of a chain holds. Of its issuers the end is noted: many clients know other ways to
    /// an authority, so that one of them that is over need not harm. A root does not count: clients have it, or another.
    pub(super) fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (own, issuers) = chain.split_first()?;
        let is_root = |der| {
            EndEntityCert::try_from(der)
                .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
        };
        let issuers = (2..).zip(issuers).filter(|(_, issuer)| !is_root(*issuer));
        let ends = issuers.filter_map(|(number, issuer)| Some((number, Self::of(issuer)?.not_after)));
        Some(Self { issuer: ends.min_by_key(|(_, end)| *end), ..Self::of(own)? })
    }

    /// Whether clients take it, as far as its own dates go.
    pub(crate) fn holds(&self, now: DateTime<Utc>) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// What an operator should know of it at this moment, if anything.
    pub(crate) fn remark(&self, now: DateTime<Utc>) -> Option<String> {
        let own = self.remark_on_own(now);
        let issuer = self.issuer.and_then(|(number, end)| remark_on_issuer(number, end, now));
        match (own, issuer) {
            (Some(own), Some(issuer)) => Some(format!("{own}; {issuer}")),
            (own, issuer) => own.or(issuer),
        }
    }

    fn remark_on_own(&self, now: DateTime<Utc>) -> Option<String> {
        let left = self.not_after - now;
        if now > self.not_after {
            Some(format!("it EXPIRED at {}: clients refuse it; renew it", self.not_after))
        } else if now < self.not_before {
            Some(format!("it is not valid before {}: clients refuse it until then", self.not_before))
        } else if left < NOTICE {
            Some(format!("it expires in {} days, at {}: renew it", left.num_days(), self.not_after))
        } else {
            None
        }
    }
}

fn remark_on_issuer(number: usize, end: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    let left = end - now;
    let advice = "clients that know no other way to its authority refuse the chain; get a newer chain, or leave it out";
    if now > end {
        Some(format!("the issuer that is certificate {number} in it EXPIRED at {end}: {advice}"))
    } else if left < NOTICE {
        let days = left.num_days();
        Some(format!(
            "the issuer that is certificate {number} in it expires in {days} days, at {end}: then {advice}"
        ))
    } else {
        None
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
    fn an_issuer_at_its_end_is_told_of_and_spoils_nothing() {
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
        assert_eq!(validity.remark(day("2027-07-01")), None, "the root is over");
        for (now, remark) in [
            ("2028-05-25", "the issuer that is certificate 2 in it expires in 6 days"),
            ("2028-07-01", "the issuer that is certificate 2 in it EXPIRED at 2028-06-01"),
        ] {
            let said = validity.remark(day(now)).unwrap();
            assert!(validity.holds(day(now)) && said.starts_with(remark), "{said}");
        }
        assert!(!validity.holds(day("2029-07-01")));
        let both = validity.remark(day("2029-07-01")).unwrap();
        assert!(both.starts_with("it EXPIRED at 2029-06-01") && both.contains("certificate 2"), "{both}");
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
