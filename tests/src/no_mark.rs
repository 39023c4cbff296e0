//! A store without a mark: what happens without one.

use std::io;

use kern_db::{Mark, MarkSink};

/// No mark at all.
#[derive(Debug)]
pub struct NoMark;

impl MarkSink for NoMark {
    fn load(&self) -> io::Result<Option<Mark>> {
        Ok(None)
    }

    fn compare_and_set(&self, _: Option<&Mark>, _: &Mark) -> io::Result<bool> {
        Ok(true)
    }
}
