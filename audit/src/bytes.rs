//! Reading fixed-width little-endian fields from untrusted bytes, with the place of what is wrong.

use crate::error::AuditError;

/// What is left to be read, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], AuditError> {
        let Some((field, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(AuditError::Malformed { at: self.at, what });
        };
        self.rest = rest;
        self.at += N;
        Ok(*field)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, AuditError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, AuditError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, AuditError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self, what: &'static str) -> Result<u128, AuditError> {
        self.array(what).map(u128::from_le_bytes)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), AuditError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(AuditError::Malformed { at: self.at, what: "there are more bytes than fields" })
    }
}
