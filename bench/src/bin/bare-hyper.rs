//! A bare hyper server: one process, one thread, one port. `bare-hyper PORT`, and again for a second process
//! on the same port: the kernel spreads the connections (SO_REUSEPORT).

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use tokio::net::TcpSocket;
use tokio::runtime::Builder;

/// As long a queue as the template app has.
const BACKLOG: u32 = 4096;

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else {
        eprintln!("usage: bare-hyper PORT");
        return ExitCode::from(2);
    };
    let Err(error) = run(port);
    eprintln!("error: port {port}: {error}");
    ExitCode::FAILURE
}

fn run(port: u16) -> Result<Infallible, Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        // Accepted connections inherit it, which saves a call for each.
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Ok(hatchery_bench::serve(socket.listen(BACKLOG)?).await?)
    })
}
