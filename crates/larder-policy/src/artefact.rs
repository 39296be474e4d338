//! What all artefacts are read and checked with: parts of bytes, and a checksum over them.

use crate::{Error, ErrorKind};

/// Takes an artefact apart, from its first byte on.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count);
        let part = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.short(count))?;
        self.at += count;
        Ok(part)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads the checksum of all before it, after which there must be nothing.
    pub(crate) fn checksum(mut self) -> Result<(), Error> {
        let body = self.at;
        let said = u32::from_le_bytes(self.array()?);
        if self.at != self.bytes.len() {
            return Err(bad(format!("byte {}: {} bytes too many", self.at, self.bytes.len() - self.at)));
        }
        let is = crc32c(&self.bytes[..body]);
        if said != is {
            return Err(bad(format!(
                "byte {body}: the checksum is {said:08x}, but {is:08x} is what the bytes have: damaged"
            )));
        }
        Ok(())
    }

    fn short(&self, count: usize) -> Error {
        let left = self.bytes.len() - self.at;
        bad(format!("byte {}: cut short, {count} bytes should follow and {left} do", self.at))
    }
}

pub(crate) fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, format!("model: {message}"))
}

/// CRC-32C, bit by bit: it runs once over some kilobytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1)))
    };
    !bytes.iter().fold(!0, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
