//! Server-sent events: bytes, cut anywhere, become events within bounds.
//!
//! As the HTML standard reads them, with two differences, since here a wrong event is worse than none: bytes that are no
//! UTF-8 are an error and not a replacement character, and an event that the connection's end left without its blank
//! line is given to the caller, who can tell whether it is whole.

/// One event is one line of JSON, a few hundred bytes. The largest hold a whole call at once.
const EVENT_LIMIT: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name, empty where the server gives none.
    pub(super) name: String,
    /// Its lines of data.
    pub(super) data: String,
}

/// Reads events. What it keeps between two calls is at most one event.
#[derive(Default)]
pub(super) struct Decoder {
    /// The line that has begun.
    line: Vec<u8>,
    /// The last line ended with CR, so that an LF is still part of its end.
    after_cr: bool,
    /// A line was read: a byte-order mark may only be in front of the first.
    begun: bool,
    name: String,
    data: Option<String>,
}

impl Decoder {
    /// Takes more bytes and gives the events that they end.
    ///
    /// # Errors
    ///
    /// What is wrong with them: no UTF-8, or an event beyond the limit.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        if !bytes.is_empty() && std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.keep(&bytes[..end])?;
            let skipped = if bytes[end..].starts_with(b"\r\n") { 2 } else { 1 };
            self.after_cr = bytes[end] == b'\r' && end + 1 == bytes.len();
            bytes = &bytes[end + skipped..];
            events.extend(self.end_line()?);
        }
        self.keep(bytes)?;
        Ok(events)
    }

    /// Gives what the end of the connection left open.
    ///
    /// # Errors
    ///
    /// It is no UTF-8.
    pub(super) fn end(mut self) -> Result<Option<Event>, String> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.take())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), String> {
        let event = self.line.len() + bytes.len() + self.name.len() + self.data.as_ref().map_or(0, String::len);
        if event > EVENT_LIMIT {
            return Err(format!("one of its events is larger than {} MiB", EVENT_LIMIT / (1024 * 1024)));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, String> {
        let line = std::mem::take(&mut self.line);
        let mut line = str::from_utf8(&line).map_err(|_| "it is not UTF-8".to_owned())?;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.take());
        }
        // A line that begins with a colon is a comment: its field has no name.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            _ => {}
        }
        Ok(None)
    }

    /// Takes the event that has been read. One without data is none.
    fn take(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = self.data.take().filter(|data| !data.is_empty())?;
        Some(Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads bytes in pieces of one size.
    fn read(bytes: &[u8], size: usize) -> Result<Vec<String>, String> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in bytes.chunks(size) {
            events.extend(decoder.push(piece)?);
        }
        events.extend(decoder.end()?);
        Ok(events.into_iter().map(|event| format!("{}={}", event.name, event.data)).collect())
    }

    #[test]
    fn however_the_bytes_are_cut_the_events_are_the_same() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"data: a\n\ndata: b\n\n", &["=a", "=b"]),
            (b"data: a\r\n\r\ndata: b\r\n\r\n", &["=a", "=b"]),
            (b"data: a\r\rdata: b\r\r", &["=a", "=b"]),
            (b"data: a\r\n\ndata: b\n\r\n", &["=a", "=b"]),
            (b"data: a\r\ndata: b\r\ndata:\r\n\r\n", &["=a\nb\n"]),
            ("data: h\u{e9}\u{1f600}\u{2028}x\n\n".as_bytes(), &["=h\u{e9}\u{1f600}\u{2028}x"]),
            (b"data:a\n\ndata:  b\n\n", &["=a", "= b"]),
            ("\u{feff}data: a\n\n".as_bytes(), &["=a"]),
            (b": ping\n\ndata: a\n: in between\n\n", &["=a"]),
            (b"event: error\ndata: {}\n\ndata: a\n\n", &["error={}", "=a"]),
            (b"event: x\n\ndata: a\n\n", &["=a"]),
            (b"data\n\ndata:\n\nid: 7\nretry: 1\nnews: b\ndata: a\n\n", &["=a"]),
            (b"data: a\n\ndata: [DONE]\n", &["=a", "=[DONE]"]),
            (b"data: a\n\ndata: [DONE]", &["=a", "=[DONE]"]),
            (b"data: a\r", &["=a"]),
            (b"\n\n\r\n", &[]),
            (b"", &[]),
        ];
        for (bytes, wanted) in cases {
            for size in [1, 2, 3, 5, 8, 1024] {
                assert_eq!(read(bytes, size).unwrap(), *wanted, "{:?} by {size}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn an_event_that_is_whole_does_not_wait_for_the_byte_after_it() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"data: a\r\n\r").unwrap().len(), 1);
        assert_eq!(decoder.push(b"").unwrap().len(), 0);
        assert_eq!(decoder.push(b"\ndata: b\r\r").unwrap().len(), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        for bytes in [&b"data: \xff\n\n"[..], b"data: \xc3\n\n", b"data: a\n\ndata: \xc3"] {
            for size in [1, 1024] {
                assert_eq!(read(bytes, size).unwrap_err(), "it is not UTF-8");
            }
        }
    }

    #[test]
    fn an_event_without_end_is_given_up_however_it_is_spread() {
        let lines = |line: &[u8]| {
            let mut decoder = Decoder::default();
            (0..EVENT_LIMIT).find_map(|count| decoder.push(line).err().map(|error| (count, error)))
        };
        for line in [&[b'x'; 4096][..], &[&b"data: "[..], &[b'x'; 4096], b"\n"].concat()] {
            let (count, error) = lines(line).unwrap();
            assert!((1000..=1024).contains(&count), "{count}");
            assert_eq!(error, "one of its events is larger than 4 MiB");
        }
        // Comments are not kept, so that a server may send them as long as it likes.
        let mut decoder = Decoder::default();
        assert!((0..2000).all(|_| decoder.push(&[&b": "[..], &[b'x'; 4096], b"\n"].concat()).is_ok()));
    }
}
