//! Little-endian fields of the records of a zip archive, and its extra fields.

/// Reads fields one after another; `None` where the bytes end.
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

/// What the extra fields of a header hold that a reader may go by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ExtraFields<'a> {
    /// The 64-bit values, if there are any.
    pub zip64: Option<&'a [u8]>,
    /// The name in UTF-8 that some readers prefer.
    pub name: Option<&'a [u8]>,
}

/// `None`: the fields do not fit, or one is there twice.
pub(super) fn extra(bytes: &[u8]) -> Option<ExtraFields<'_>> {
    const ZIP64: u16 = 0x0001;
    const UNICODE_NAME: u16 = 0x7075;
    let mut fields = Fields(bytes);
    let mut found = ExtraFields::default();
    while !fields.0.is_empty() {
        let id = fields.u16()?;
        let length = fields.u16()?;
        let value = fields.bytes(length.into())?;
        let twice = match id {
            ZIP64 => found.zip64.replace(value).is_some(),
            // A version and a checksum stand before the name.
            UNICODE_NAME => found.name.replace(value.get(5..)?).is_some(),
            _ => false,
        };
        if twice {
            return None;
        }
    }
    Some(found)
}

/// Sizes and place of a member as 32 bits can say them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub bytes: u64,
    pub stored: u64,
    /// Of its header; not in the header itself.
    pub offset: Option<u64>,
}

impl Sizes {
    /// The sizes with the 64-bit values in place of those that say "see there". `None`: a value is
    /// missing, or one that was said already is another one there.
    pub(super) fn resolve(self, zip64: Option<&[u8]>) -> Option<Sizes> {
        const SEE_THERE: u64 = 0xFFFF_FFFF;
        let mut wide = Fields(zip64.unwrap_or_default());
        let any = [Some(self.bytes), Some(self.stored), self.offset].contains(&Some(SEE_THERE));
        let mut take = |narrow: u64| match narrow {
            SEE_THERE => wide.u64(),
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
        // Needless values: some readers take them all the same.
        for said in [Some(self.bytes), Some(self.stored), self.offset].into_iter().flatten() {
            if wide.u64().is_some_and(|other| other != said) {
                return None;
            }
        }
        Some(self)
    }
}
