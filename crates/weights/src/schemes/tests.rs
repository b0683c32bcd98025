//! Tests over all schemes: the layers of `testdata/schemes`, what is made of them by changing something, and how
//! codes and scales lie, against plain formulas.

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

/// Every value of a weight, read `most` at a time.
fn values(model: &Checkpoint, weight: &Weight, most: usize) -> Vec<f32> {
    let plan = reader::read_plan(model, [weight].into_iter());
    let files = FileSet::new(&model.files, &plan);
    let reader = WeightReader::new(model, &files);
    let mut all = vec![0.0; weight.elements().unwrap() as usize];
    for (first, piece) in (0..).step_by(most).zip(all.chunks_mut(most)) {
        reader.read_into(weight, first, piece).unwrap();
    }
    all
}
