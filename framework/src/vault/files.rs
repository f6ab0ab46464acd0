//! The certificates of all listeners as they lie on disk, and whether they do.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::secured;
use crate::launch::{Launch, Place};
use crate::tls::{CertificateError, CertificateFiles, Pair, Validity};

/// The contents of the files, by the listeners' names.
pub(super) type Certificates = BTreeMap<String, Vec<Pair>>;

/// A certificate that can be served.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) listener: String,
    pub(super) file: PathBuf,
    pub(super) validity: Validity,
}

impl Held {
    /// What is said when no client takes it: it is over, or has not begun.
    pub(super) fn useless(&self, now: DateTime<Utc>) -> Option<CertificateError> {
        let remark = self.validity.remark(now).filter(|_| !self.validity.holds(now));
        remark.map(|remark| CertificateError::new(&self.file, remark))
    }
}

/// Reads the files of every listener.
pub(super) fn read(launch: &Launch) -> Result<Certificates, CertificateError> {
    let of = |place: &Place| {
        let pairs = place.certificates.iter().map(|files| read_pair(&launch.app_dir, files));
        Ok((place.name.clone(), pairs.collect::<Result<_, _>>()?))
    };
    secured(launch).map(of).collect()
}

fn read_pair(app_dir: &Path, files: &CertificateFiles) -> Result<Pair, CertificateError> {
    Ok(Pair { certificate: read_file(app_dir, &files.certificate)?, key: read_file(app_dir, &files.key)? })
}

/// Whether these files could be served, as far as whoever asks may know: a key need not be readable for everybody.
pub(crate) fn check_files(app_dir: &Path, files: &CertificateFiles) -> Result<(), CertificateError> {
    let hidden = |file: &Path| {
        let path = app_dir.join(file);
        let opened = fs::metadata(&path).and_then(|facts| match facts.is_file() {
            true => fs::File::open(&path).map(drop),
            false => Ok(()),
        });
        opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if hidden(&files.certificate) || hidden(&files.key) {
        return Ok(());
    }
    read_pair(app_dir, files)?.check(files).map(drop)
}

fn read_file(app_dir: &Path, file: &Path) -> Result<String, CertificateError> {
    let path = app_dir.join(file);
    // A pipe without a writer would be waited for.
    let is_file = fs::metadata(&path).map(|facts| facts.is_file());
    if is_file.is_ok_and(|is_file| !is_file) {
        return Err(CertificateError::new(file, "it is no file".to_owned()));
    }
    fs::read_to_string(path).map_err(|error| {
        let advice = "the `certificates` of a listener name files that the agent can read";
        CertificateError::new(file, format!("cannot be read: {error}; {advice}"))
    })
}

/// Checks that each listener has all of its certificates, and that they can be served.
pub(super) fn check(launch: &Launch, certificates: &Certificates) -> Result<Vec<Held>, CertificateError> {
    let mut held = Vec::new();
    for place in secured(launch) {
        let pairs = certificates.get(&place.name).map(Vec::as_slice).unwrap_or_default();
        for (nth, files) in place.certificates.iter().enumerate() {
            let missing = || CertificateError::new(&files.certificate, "it was not read");
            let validity = pairs.get(nth).ok_or_else(missing)?.check(files)?;
            held.push(Held { listener: place.name.clone(), file: files.certificate.clone(), validity });
        }
    }
    Ok(held)
}
