//! Tests of all schemes: the layers of `testdata/schemes`, variants of them with something changed, and the layouts of
//! codes and scales against plain formulas.

mod configurations;
mod fits;
mod golden;
mod grids;
mod hostile;
mod layers;
mod packings;
mod unfit;

use super::*;
use crate::reader::{self, WeightReader};
use std::path::Path;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_format::OpenOptions;

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &OpenOptions::default()).unwrap()
}

/// Returns all values of a weight, read `piece_len` at a time.
fn values(model: &Checkpoint, weight: &Weight, piece_len: usize) -> Vec<f32> {
    let plan = reader::read_plan(model, [weight].into_iter());
    let files = FileSet::new(&model.files, &plan);
    let reader = WeightReader::new(model, &files);
    let mut all = vec![0.0; weight.elements().unwrap() as usize];
    for (first, piece) in (0..).step_by(piece_len).zip(all.chunks_mut(piece_len)) {
        reader.read_into(weight, first, piece).unwrap();
    }
    all
}
