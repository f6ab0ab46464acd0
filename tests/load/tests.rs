//! Every kind of failure, as small servers bring it about that misbehave on purpose; `lasting` has those of
//! events, WebSockets and HTTP/2.

mod lasting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Failure, Load, Mode, Report, Share};
use crate::retry::{one_of, should};

/// How a connection ends before an answer.
const ENDS: [Failure; 2] = [Failure::ResetBeforeAnswer, Failure::ClosedBeforeAnswer];

const WHO: &str = r#"{"pid":7,"generation":3}"#;

/// A server that does this with each connection, one after the other, as long as the tests run; its address.
fn server(serve: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        listener.incoming().map_while(Result::ok).for_each(|mut stream| serve(&mut stream))
    });
    address
}

/// Reads the head of a request; whether there was one.
fn hear(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return false;
        }
        head.push(byte[0]);
    }
    true
}

fn say(stream: &mut TcpStream, words: &str) {
    let _ = stream.write_all(words.as_bytes());
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A load of one client that does not wait long.
fn one(address: &str, mode: Mode) -> Load {
    Load::new(address).mode(mode).clients(1).requests(1).patience(Duration::from_secs(5))
}

#[track_caller]
fn assert_fails(report: &Report, failure: Failure) {
    let failures: Vec<_> = report.failures.iter().map(|(failure, count)| (*failure, *count)).collect();
    assert_eq!(failures, [(failure, 1)], "{report}");
    assert_eq!(report.sent, report.answered + report.handed_back + report.failed());
}

#[test]
fn where_nobody_listens_is_refused() {
    // Bound, so that nobody else gets the port, and not listening.
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let socket = socket.unwrap();
    rustix::net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap().to_string();
    for mode in [Mode::NewConnection, Mode::KeepAlive, Mode::Http2, Mode::WebSocket, Mode::Events] {
        assert_fails(&one(&address, mode).run(), Failure::Refused);
    }
}

#[test]
fn a_connection_that_ends_before_the_answer_was_reset_or_closed() {
    // What is closed with something unread in it is reset by the kernel.
    let resetting = server(|stream| drop(stream.read(&mut [0])));
    let closing = server(|stream| assert!(hear(stream)));
    for mode in [Mode::NewConnection, Mode::KeepAlive, Mode::WebSocket, Mode::Events] {
        assert_fails(&one(&resetting, mode).run(), Failure::ResetBeforeAnswer);
        assert_fails(&one(&closing, mode).run(), Failure::ClosedBeforeAnswer);
    }
    let posted = one(&resetting, Mode::NewConnection).posting(1 << 20).run();
    assert_fails(&posted, Failure::ResetBeforeAnswer);
}

#[test]
fn a_connection_that_ends_within_the_answer_was_reset_or_truncated() {
    let parts = [
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"pid\":",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ];
    for part in parts {
        let truncating = server(move |stream| {
            hear(stream);
            say(stream, part);
        });
        assert_fails(&one(&truncating, Mode::KeepAlive).run(), Failure::Truncated);
        let resetting = server(move |stream| {
            let _ = stream.read(&mut [0]);
            say(stream, part);
        });
        assert_fails(&one(&resetting, Mode::KeepAlive).run(), Failure::ResetWithinAnswer);
    }
}

#[test]
fn silence_is_a_time_out_wherever_it_begins() {
    let silent_after = |words: &'static str| {
        server(move |stream| {
            hear(stream);
            say(stream, words);
            let _ = stream.read(&mut [0]);
        })
    };
    let (mute, halting) =
        (silent_after(""), silent_after("HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"pid\":"));
    let table = [
        (&mute, Mode::NewConnection),
        (&mute, Mode::WebSocket),
        (&mute, Mode::Events),
        (&halting, Mode::KeepAlive),
        (&halting, Mode::Events),
    ];
    for (address, mode) in table {
        assert_fails(&one(address, mode).patience(Duration::from_millis(100)).run(), Failure::TimedOut);
    }
}

#[test]
fn a_wrong_status_a_wrong_body_and_no_http_at_all_are_told_apart() {
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned();
    let table = [
        (unavailable, Failure::WrongStatus(503)),
        (whole("who knows"), Failure::WrongBody),
        ("220 mail.example.org ESMTP\r\n".to_owned(), Failure::Garbled),
        (format!("{}HTTP/1.1 200 OK\r\n", whole(WHO)), Failure::Garbled),
    ];
    for (words, failure) in table {
        let address = server(move |stream| {
            hear(stream);
            say(stream, &words);
        });
        assert_fails(&one(&address, Mode::KeepAlive).run(), failure);
    }
    let deaf = server(|stream| {
        hear(stream);
        say(stream, &whole("another body"));
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_fails(&one(&deaf, Mode::KeepAlive).posting(12).run(), Failure::WrongBody);
}

#[test]
fn a_kept_connection_that_is_closed_under_the_clients_feet_is_a_failure() {
    let address = server(|stream| {
        hear(stream);
        say(stream, &whole(WHO));
        hear(stream);
    });
    let report = one(&address, Mode::KeepAlive).requests(2).run();
    assert_fails(&report, Failure::ClosedBeforeAnswer);
    assert_eq!((report.answered, report.failed_on[&Some(7)]), (1, 1));
    assert!(
        report.to_string().contains("1 answers on its connection of process 7, generation 3"),
        "{report}"
    );
}

#[test]
fn a_connection_that_breaks_while_its_client_pauses_is_noticed_when_the_load_ends() {
    let address = server(|stream| {
        hear(stream);
        say(stream, &whole(WHO));
    });
    // On a busy machine a short pause is over before the end.
    one_of([50, 500, 5000].map(Duration::from_millis), |pause| {
        let load = Load::new(&address).clients(1).pausing(pause);
        let report = load.run_while(|| {});
        assert!(report.failures.keys().all(|failure| ENDS.contains(failure)), "{report}");
        should(report.sent <= 2, || format!("the pause of {pause:?} was over"))?;
        assert_eq!((report.answered, report.failed()), (1, 1), "{report}");
        Ok(())
    });
}

#[test]
fn an_answer_that_says_close_is_obeyed() {
    let address = server(|stream| {
        hear(stream);
        say(stream, &whole(WHO).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    });
    let report = one(&address, Mode::KeepAlive).requests(3).run();
    report.assert_flawless();
    assert_eq!(report.by_pid[&7], Share { generation: 3, answers: 3 });
    assert_eq!(report.generations(), [3].into());
}

#[test]
fn an_answer_before_the_request_was_read_is_an_answer() {
    let address = server(|stream| {
        hear(stream);
        say(stream, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_fails(&one(&address, Mode::NewConnection).posting(1 << 20).run(), Failure::WrongStatus(413));
}

#[test]
fn a_load_lasts_as_long_as_its_deed_and_is_bounded_in_count_and_time() {
    let address = server(|stream| {
        hear(stream);
        say(stream, &whole(WHO));
    });
    let load = Load::new(&address).mode(Mode::NewConnection).clients(16);
    let report = load.clone().run_while(|| assert!(TcpStream::connect(&address).is_ok()));
    report.assert_flawless();
    assert!(report.sent >= 16 && report.slowest > Duration::ZERO, "{report}");
    assert_eq!(load.clone().requests(100).run().answered, 100);
    let report = load.clone().pausing(Duration::from_millis(100)).longest(Duration::from_secs(1)).run();
    assert!((1..=16 * 11).contains(&report.answered), "{report}");
    let ended = load.requests(1).begin();
    hatchery::testing::eventually("it is over", || ended.is_over().then_some(()));
    assert_eq!(ended.so_far().answered, 1);
}
