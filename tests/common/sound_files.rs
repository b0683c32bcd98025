//! Sound files of PyTorch and NumPy, and compressed members of archives.

use super::archives::{Header, Member, Zip, pickled, torch_zip};

impl Member {
    /// Compressed.
    pub(crate) fn deflated(name: &str, data: &[u8]) -> Member {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        encoder.write_all(data).unwrap();
        let packed = encoder.finish().unwrap();
        let mut member = Member::new(name, &packed);
        member.both(|header| {
            header.method = 8;
            header.bytes = data.len() as u32;
            header.crc32 = crc32fast::hash(data);
        });
        member
    }

    /// Changes both headers.
    pub(crate) fn both(&mut self, change: impl Fn(&mut Header)) {
        change(&mut self.central);
        change(&mut self.local);
    }
}

/// A sound archive: tensors `a` and `b` of 4 elements each.
pub(crate) fn sound_torch() -> Zip {
    let pickle = pickled::whole(pickled::dict(&[
        ("a", pickled::tensor("0", 4)),
        ("b", pickled::tensor("1", 4)),
    ]));
    torch_zip(pickle, &[("0", vec![7; 16]), ("1", vec![9; 16])])
}

/// An `.npy` file of version 1 with this header text.
pub(crate) fn npy(text: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\0", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data].concat()
}

/// An `.npy` file of two F32.
pub(crate) fn sound_npy() -> Vec<u8> {
    npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", &[5; 8])
}
