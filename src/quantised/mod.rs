//! stub, replaced on merge
use crate::dtype::Dtype;
pub fn decode(_: Dtype, _: &[u8], out: &mut [f32]) {
    out.fill(0.0);
}
