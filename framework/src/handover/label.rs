//! What is written on a connection that is handed over: by which listener it came, and the client's address. Pure.
//!
//! ```text
//! 0     1       2     4          20     24     28
//! door  family  port  address    flow   scope        family: 0 for none, 4 or 6
//! ```

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Every label is this long, so that the bytes that lie somewhere tell how many there are.
pub(super) const LENGTH: usize = 28;

const FOUR: u8 = 4;
const SIX: u8 = 6;

pub(super) fn write(door: u8, client: Option<SocketAddr>) -> [u8; LENGTH] {
    let mut label = [0; LENGTH];
    label[0] = door;
    let Some(client) = client else { return label };
    label[2..4].copy_from_slice(&client.port().to_be_bytes());
    match client {
        SocketAddr::V4(client) => {
            label[1] = FOUR;
            label[4..8].copy_from_slice(&client.ip().octets());
        }
        SocketAddr::V6(client) => {
            label[1] = SIX;
            label[4..20].copy_from_slice(&client.ip().octets());
            label[20..24].copy_from_slice(&client.flowinfo().to_be_bytes());
            label[24..28].copy_from_slice(&client.scope_id().to_be_bytes());
        }
    }
    label
}

pub(super) fn read(label: &[u8; LENGTH]) -> (u8, Option<SocketAddr>) {
    let (door, family) = (label[0], label[1]);
    let port = u16::from_be_bytes(part(label, 2));
    let client = match family {
        FOUR => SocketAddr::new(IpAddr::from(part::<4>(label, 4)), port),
        SIX => {
            let address = Ipv6Addr::from(part::<16>(label, 4));
            let [flow, scope] = [20, 24].map(|at| u32::from_be_bytes(part(label, at)));
            SocketAddrV6::new(address, port, flow, scope).into()
        }
        _ => return (door, None),
    };
    (door, Some(client))
}

fn part<const N: usize>(label: &[u8; LENGTH], at: usize) -> [u8; N] {
    std::array::from_fn(|nth| label[at + nth])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let link_local = SocketAddrV6::new("fe80::1:2".parse().unwrap(), 65_535, 7, 3).into();
        for client in [None, Some("203.0.113.9:7001".parse().unwrap()), Some(link_local)] {
            assert_eq!(read(&write(254, client)), (254, client));
        }
    }
}
