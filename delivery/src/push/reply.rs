//! Reading replies (RESP2) out of a buffer that grows as bytes come in.

/// One reply, reduced to what the push needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`, `+QUEUED` and their like.
    Status,
    /// A number.
    Number(i64),
    /// A string.
    Bytes(Vec<u8>),
    /// No value.
    Nil,
    /// Several replies.
    Many(Vec<Reply>),
    /// An error, first word and rest.
    Error {
        /// The first word.
        code: String,
        /// The rest.
        text: String,
    },
}

/// What was wrong with bytes that should have been a reply: the peer is no Redis, or bytes were lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAReply(pub String);

/// Arrays within arrays, at most. Replies to a push have two levels.
const DEPTH_MAX: usize = 8;
/// Bytes of a string and elements of an array, at most: Redis' own limit of a string.
const LENGTH_MAX: i64 = 512 << 20;

/// Puts replies together. It takes each element as soon as it is complete, so a long array is read once.
#[derive(Debug, Default)]
pub struct Parser {
    /// Arrays that were begun, the outermost first, and how many elements each still lacks.
    open: Vec<(Vec<Reply>, usize)>,
}

/// What stands at the beginning of some bytes.
enum Element {
    Whole(Reply),
    /// An array of so many, at least one.
    Array(usize),
}

impl Parser {
    /// Reads on in `bytes`, from which `used` is moved forward: behind what was taken. `None` if the reply is not complete yet.
    /// After an error the stream is of no more use.
    pub fn read(&mut self, bytes: &[u8], used: &mut usize) -> Result<Option<Reply>, NotAReply> {
        while let Some((element, length)) = element(&bytes[*used..])? {
            *used += length;
            let mut reply = match element {
                Element::Array(_) if self.open.len() >= DEPTH_MAX => return Err(not_a_reply(b"arrays in arrays")),
                Element::Array(count) => {
                    self.open.push((Vec::new(), count));
                    continue;
                }
                Element::Whole(reply) => reply,
            };
            loop {
                let Some((mut many, lacking)) = self.open.pop() else { return Ok(Some(reply)) };
                many.push(reply);
                if lacking > 1 {
                    self.open.push((many, lacking - 1));
                    break;
                }
                reply = Reply::Many(many);
            }
        }
        Ok(None)
    }
}

/// The element that `bytes` begin with, and how many bytes it has.
fn element(bytes: &[u8]) -> Result<Option<(Element, usize)>, NotAReply> {
    let Some(line) = line(bytes)? else { return Ok(None) };
    let length = line.len() + 2;
    let Some((kind, rest)) = line.split_first() else { return Err(not_a_reply(line)) };
    let reply = match kind {
        b'+' => Reply::Status,
        b':' => Reply::Number(number(rest)?),
        b'-' => error(rest),
        b'$' => match number(rest)? {
            -1 => Reply::Nil,
            count @ 0..=LENGTH_MAX => return string(bytes, length, count as usize),
            _ => return Err(not_a_reply(line)),
        },
        b'*' => match number(rest)? {
            -1 => Reply::Nil,
            0 => Reply::Many(Vec::new()),
            count @ 1..=LENGTH_MAX => return Ok(Some((Element::Array(count as usize), length))),
            _ => return Err(not_a_reply(line)),
        },
        _ => return Err(not_a_reply(line)),
    };
    Ok(Some((Element::Whole(reply), length)))
}

/// The line that `bytes` begin with, without its CRLF.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, NotAReply> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => Ok(Some(&bytes[..end - 1])),
        Some(_) => Err(not_a_reply(bytes)),
        None => Ok(None),
    }
}

/// The string of `length` bytes that begins at `start`.
fn string(bytes: &[u8], start: usize, length: usize) -> Result<Option<(Element, usize)>, NotAReply> {
    let end = start + length + 2;
    let Some(content) = bytes.get(start..end) else { return Ok(None) };
    match content.strip_suffix(b"\r\n") {
        Some(content) => Ok(Some((Element::Whole(Reply::Bytes(content.to_vec())), end))),
        None => Err(not_a_reply(&content[length..])),
    }
}

fn number(digits: &[u8]) -> Result<i64, NotAReply> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(|| not_a_reply(digits))
}

fn error(line: &[u8]) -> Reply {
    let line = String::from_utf8_lossy(line);
    let (code, text) = line.split_once(' ').unwrap_or((&line, ""));
    Reply::Error { code: code.to_owned(), text: text.to_owned() }
}

fn not_a_reply(bytes: &[u8]) -> NotAReply {
    let shown = &bytes[..bytes.len().min(40)];
    NotAReply(format!("{:?}", String::from_utf8_lossy(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, NotAReply> {
        let mut used = 0;
        let reply = Parser::default().read(bytes, &mut used);
        assert!(used <= bytes.len());
        reply
    }

    fn whole(bytes: &[u8]) -> Reply {
        let mut used = 0;
        let reply = Parser::default().read(bytes, &mut used).expect("a reply").expect("all of it");
        assert_eq!(used, bytes.len());
        reply
    }

    fn failed(code: &str, text: &str) -> Reply {
        Reply::Error { code: code.into(), text: text.into() }
    }

    #[test]
    fn each_kind() {
        assert_eq!(whole(b"+QUEUED\r\n"), Reply::Status);
        assert_eq!(whole(b":-7\r\n"), Reply::Number(-7));
        assert_eq!(whole(b"$-1\r\n"), Reply::Nil);
        assert_eq!(whole(b"*-1\r\n"), Reply::Nil);
        assert_eq!(whole(b"$4\r\na\r\nb\r\n"), Reply::Bytes(b"a\r\nb".to_vec()));
        assert_eq!(whole(b"$0\r\n\r\n"), Reply::Bytes(Vec::new()));
        assert_eq!(whole(b"*0\r\n"), Reply::Many(Vec::new()));
        assert_eq!(whole(b"-OOM not now\r\n"), failed("OOM", "not now"));
        assert_eq!(whole(b"-BUSY\r\n"), failed("BUSY", ""));
        let nested = whole(b"*3\r\n:1\r\n*1\r\n-X y\r\n$1\r\nz\r\n");
        let inner = Reply::Many(vec![failed("X", "y")]);
        assert_eq!(nested, Reply::Many(vec![Reply::Number(1), inner, Reply::Bytes(b"z".to_vec())]));
    }

    #[test]
    fn a_part_is_not_a_reply_yet_and_never_another_one() {
        let all = b"*2\r\n$5\r\nab\r\nc\r\n*2\r\n:12\r\n-ERR no\r\n";
        for end in 0..all.len() {
            let (mut parser, mut used) = (Parser::default(), 0);
            assert_eq!(parser.read(&all[..end], &mut used), Ok(None), "{end}");
            assert_eq!(parser.read(all, &mut used), Ok(Some(whole(all))), "{end}");
            assert_eq!(used, all.len());
        }
        let (mut parser, mut used) = (Parser::default(), 0);
        for number in [1, 2] {
            assert_eq!(parser.read(b":1\r\n:2\r\n", &mut used), Ok(Some(Reply::Number(number))));
        }
    }

    #[test]
    fn what_is_no_reply_is_told() {
        let deep = b"*1\r\n".repeat(20);
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b":x\r\n",
            b"$-2\r\n",
            b"\r\n",
            b"+OK\n",
            b"$1\r\nab\r\n",
            b"$99999999999\r\n",
            &deep,
        ] {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
