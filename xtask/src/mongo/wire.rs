//! As much of MongoDB's wire protocol as it takes to ask whether somebody is there.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long to wait for anything, once.
const WAIT: Duration = Duration::from_secs(2);
/// The largest message a server sends or takes.
const BYTES_MAX: usize = 48_000_000;
const OP_MSG: i32 = 2013;
/// In the flags of an `OP_MSG`: nobody answers it.
const MORE_TO_COME: u8 = 2;

/// Does a server answer `ping` there?
pub(super) fn answers(address: SocketAddr) -> bool {
    let asked = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.write_all(&ping())?;
        message(&mut stream)
    };
    asked().is_ok_and(|answer| is_ok(&answer))
}

/// One message, its head included.
pub(super) fn message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let bytes = usize::try_from(i32::from_le_bytes(length)).unwrap_or_default();
    if !(16..=BYTES_MAX).contains(&bytes) {
        return Err(io::Error::other("no message of MongoDB"));
    }
    let mut message = length.to_vec();
    message.resize(bytes, 0);
    from.read_exact(message.get_mut(4..).unwrap_or_default())?;
    Ok(message)
}

/// Whether somebody answers this message.
pub(super) fn wants_answer(message: &[u8]) -> bool {
    let is_msg = message.get(12..16) == Some(&OP_MSG.to_le_bytes());
    !is_msg || message.get(16).is_none_or(|flags| flags & MORE_TO_COME == 0)
}

/// `{ping: 1, $db: "admin"}` as an `OP_MSG`.
fn ping() -> Vec<u8> {
    let mut body = b"\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0".to_vec();
    let mut document = i32::try_from(body.len() + 4).unwrap_or_default().to_le_bytes().to_vec();
    document.append(&mut body);
    // Request 1, in answer to nothing; no flags; one section that is the document.
    let mut rest = [1, 0, OP_MSG, 0].map(i32::to_le_bytes).concat();
    rest.push(0);
    rest.append(&mut document);
    let mut message = i32::try_from(rest.len() + 4).unwrap_or_default().to_le_bytes().to_vec();
    message.append(&mut rest);
    message
}

fn is_ok(answer: &[u8]) -> bool {
    let ok = [b"\x01ok\0".as_slice(), &1.0_f64.to_le_bytes()].concat();
    answer.windows(ok.len()).any(|bytes| bytes == ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let sent = ping();
        assert_eq!(message(&mut sent.as_slice()).ok(), Some(sent.clone()));
        assert!(message(&mut &sent[..sent.len() - 1]).is_err());
        assert!(message(&mut b"HTTP/1.1 400 Bad Request".as_slice()).is_err());
    }

    #[test]
    fn a_message_without_answer_is_known_by_its_flag() {
        let mut sent = ping();
        assert!(wants_answer(&sent));
        sent[16] = MORE_TO_COME;
        assert!(!wants_answer(&sent));
    }

    #[test]
    fn only_a_success_is_one() {
        assert!(is_ok(b"..\x01ok\0\0\0\0\0\0\0\xf0\x3f\0"));
        assert!(!is_ok(b"..\x01ok\0\0\0\0\0\0\0\0\0\0"));
    }
}
