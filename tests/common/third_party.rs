//! Keys of other schemes and models that are marked with them, as the library reads and judges them.

use super::keys::{KeyFiles, Model, Npy};
use std::fs;
use tensorseal_core::judge::third_party::{ThirdPartyContext, judge};
use tensorseal_core::judge::watermark::Detection;
use tensorseal_core::watermark::third_party::{
    ThirdPartyError, ThirdPartyKey, ThirdPartyKeyError, ThirdPartyMeasurement, measure,
};
use tensorseal_engine::stream::progress::Progress;

impl Npy {
    pub(crate) fn bytes(values: &[u8]) -> Npy {
        Npy::new("|u1", &[values.len() as u64], values.to_vec())
    }

    pub(crate) fn signs(values: &[i8]) -> Npy {
        let bytes = values.iter().map(|sign| *sign as u8).collect();
        Npy::new("|i1", &[values.len() as u64], bytes)
    }

    pub(crate) fn floats(shape: &[u64], values: &[f32]) -> Npy {
        Npy::new("<f4", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(crate) fn integers(values: &[i64]) -> Npy {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Npy::new("<i8", &[values.len() as u64], bytes)
    }

    /// As 32-bit floats.
    pub(crate) fn as_floats(&self) -> Vec<f32> {
        assert_eq!(self.descr, "<f4");
        self.bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

impl KeyFiles {
    pub(crate) fn try_read(&self) -> Result<ThirdPartyKey, ThirdPartyKeyError> {
        fs::write(self.path(), self.descriptor.to_string()).unwrap();
        ThirdPartyKey::read(&self.path())
    }

    /// Why it is refused.
    pub(crate) fn refusal(&self) -> String {
        self.try_read().unwrap_err().to_string()
    }
}

impl Model {
    pub(crate) fn measure(
        &self,
        key: &ThirdPartyKey,
    ) -> Result<ThirdPartyMeasurement, ThirdPartyError> {
        measure(&self.checkpoint, key, &2.into(), &Progress::default())
    }

    /// What is said of it with one key.
    pub(crate) fn judge(&self, key: &ThirdPartyKey) -> Detection {
        let context = ThirdPartyContext { keys: 1, committed: false };
        judge(key.id(), &self.measure(key).unwrap(), &context)
    }
}
