//! The answer to an HTTP request, read from any stream.

use std::io::{self, BufRead};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The head's lines after the first.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads one answer: as many bytes as it announces, or up to the end of the connection.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let first = read_line(stream)?;
        let code = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, first))?;
        let mut headers = Vec::new();
        loop {
            match read_line(stream)? {
                line if line.is_empty() => break,
                line => headers.push(line),
            }
        }
        let mut answer = Self { code, headers, body: String::new() };
        match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                let mut body = vec![0; length];
                stream.read_exact(&mut body)?;
                answer.body = String::from_utf8_lossy(&body).into_owned();
            }
            None => drop(stream.read_to_string(&mut answer.body)?),
        }
        Ok(answer)
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
