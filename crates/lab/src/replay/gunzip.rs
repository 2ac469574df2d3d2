//! Unpacks gzip (RFC 1952): one member after the other, and zeros behind them, as `gzip -d` does. Tapes
//! and block devices pad with zeros.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Reads what `input` holds, unpacked.
pub(super) struct Gunzip<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            let mut input = self.member.take().expect("it was read from").into_inner();
            if skip_zeros(&mut input)? {
                self.member = Some(GzDecoder::new(input));
            }
        }
        Ok(0)
    }
}

/// Passes over zeros. Whether anything is behind them.
fn skip_zeros(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let zeros = chunk.iter().take_while(|byte| **byte == 0).count();
        let is_all = zeros == chunk.len();
        input.consume(zeros);
        if !is_all {
            return Ok(true);
        }
    }
}
