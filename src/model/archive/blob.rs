//! Random access to a bounded part of a file: one member of an archive, or a whole file.
//!
//! What it does not do: buffer, or read past the end of the part. Used by the checkpoint readers of this folder.

use std::io::{self, Read, Seek, SeekFrom};

/// `len` bytes of `inner`, from `start` on.
#[derive(Debug)]
pub(super) struct Blob<R> {
    inner: R,
    start: u64,
    len: u64,
}

impl<R: Read + Seek> Blob<R> {
    /// The part `start .. start + len` of `inner`; refused if `inner` is shorter than that.
    pub(super) fn new(mut inner: R, start: u64, len: u64) -> io::Result<Self> {
        let available = inner.seek(SeekFrom::End(0))?;
        match start.checked_add(len) {
            Some(end) if end <= available => Ok(Blob { inner, start, len }),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{len} bytes announced, the file ends before"),
            )),
        }
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from position `offset` of the part.
    pub(super) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = u64::try_from(buffer.len()).map_err(io::Error::other)?;
        match offset.checked_add(wanted) {
            Some(end) if end <= self.len => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.inner.seek(SeekFrom::Start(self.start + offset))?;
        self.inner.read_exact(buffer)
    }

    /// `len` bytes from position `offset`; the length is checked against the part before any memory is taken.
    pub(super) fn bytes_at(&mut self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }
}
