//! Reads the little-endian fields of zip records, and the extra fields.

/// Reads consecutive fields. Returns `None` at the end of the bytes.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*taken))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*taken))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*taken))
    }
}

/// The extra fields of a header that some readers use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ExtraFields<'a> {
    /// The 64-bit values, if there are any.
    pub zip64: Option<&'a [u8]>,
    /// The UTF-8 name, which some readers prefer.
    pub name: Option<&'a [u8]>,
}

/// Parses the extra fields. Returns `None` if they are invalid or if one occurs twice.
pub(super) fn extra(bytes: &[u8]) -> Option<ExtraFields<'_>> {
    const ZIP64: u16 = 0x0001;
    const UNICODE_NAME: u16 = 0x7075;
    let mut fields = Fields(bytes);
    let mut extra = ExtraFields::default();
    while !fields.0.is_empty() {
        let id = fields.u16()?;
        let length = fields.u16()?;
        let value = fields.bytes(length.into())?;
        let is_duplicate = match id {
            ZIP64 => extra.zip64.replace(value).is_some(),
            // A version and a checksum come before the name.
            UNICODE_NAME => extra.name.replace(value.get(5..)?).is_some(),
            _ => false,
        };
        if is_duplicate {
            return None;
        }
    }
    Some(extra)
}

/// The sizes and the position of a member in 32-bit fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub bytes: u64,
    pub stored: u64,
    /// The position of the local header; `None` in the local header itself.
    pub offset: Option<u64>,
}

impl Sizes {
    /// Replaces the values that refer to the 64-bit values. Returns `None` if such a value is missing, or if a
    /// 64-bit value contradicts a 32-bit value.
    pub(super) fn resolve(self, zip64: Option<&[u8]>) -> Option<Sizes> {
        const IN_ZIP64: u64 = 0xFFFF_FFFF;
        let mut wide = Fields(zip64.unwrap_or_default());
        let any = [Some(self.bytes), Some(self.stored), self.offset].contains(&Some(IN_ZIP64));
        let mut take = |narrow: u64| match narrow {
            IN_ZIP64 => wide.u64(),
            narrow => Some(narrow),
        };
        if any {
            let (bytes, stored) = (take(self.bytes)?, take(self.stored)?);
            let offset = match self.offset {
                Some(offset) => Some(take(offset)?),
                None => None,
            };
            return Some(Sizes { bytes, stored, offset });
        }
        // The 64-bit values are not needed, but some readers use them anyway.
        for narrow in [Some(self.bytes), Some(self.stored), self.offset].into_iter().flatten() {
            if wide.u64().is_some_and(|other| other != narrow) {
                return None;
            }
        }
        Some(self)
    }
}
