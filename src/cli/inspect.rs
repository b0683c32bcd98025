//! `tensorseal inspect`: what is in a model, from its headers alone.

use super::args::{General, InspectArgs};
use super::{CommandResult, output};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tensorseal_core::verbs::inspect::{InspectOptions, Inspection, inspect, pattern};
use tensorseal_format::Checkpoint;
use tensorseal_report::human::{Palette, shown};
use tensorseal_report::table::{Align, Cell, Table};
use tensorseal_report::units::{bytes, grouped};

/// Runs the verb.
pub(super) fn run(args: &InspectArgs, general: &General) -> CommandResult {
    let mut options = InspectOptions::default();
    options.opening = args.opening.options();
    options.fail_on = args.common.fail_on;
    let Inspection { report, model } = inspect(&args.model, &options)?;
    output::finish(&report, (&args.common, general), &|out, palette| {
        dtypes(&model, out)?;
        if args.full { listed(&model, out) } else { groups(&model, palette, out) }
    })
}

fn dtypes(model: &Checkpoint, out: &mut dyn Write) -> io::Result<()> {
    let mut by_dtype: BTreeMap<&str, (u64, Vec<usize>)> = BTreeMap::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        let (elements, tensors) = by_dtype.entry(tensor.dtype.name()).or_default();
        *elements += tensor.stored_element_count();
        tensors.push(index);
    }
    let rows = by_dtype.into_iter().map(|(dtype, (elements, tensors))| {
        let (count, size) = (tensors.len() as u64, model.distinct_bytes(tensors));
        vec![dtype.into(), grouped(count).into(), grouped(elements).into(), bytes(size).into()]
    });
    let table = Table::new()
        .column("dtype", Align::Left)
        .column("tensors", Align::Right)
        .column("elements", Align::Right)
        .column("size", Align::Right);
    output::table(table, &rows.collect::<Vec<Vec<Cell>>>(), out)
}

fn listed(model: &Checkpoint, out: &mut dyn Write) -> io::Result<()> {
    let rows = model.tensors.iter().map(|t| {
        let file = &model.files[t.file].path;
        let cells =
            [shown(&t.name), t.dtype.to_string(), shape(&t.shape), bytes(t.bytes), shown(file)];
        cells.map(Cell::from).to_vec()
    });
    let table = Table::new()
        .column("tensor", Align::Left)
        .column("dtype", Align::Left)
        .column("shape", Align::Left)
        .column("size", Align::Right)
        .column("file", Align::Left);
    output::table(table, &rows.collect::<Vec<_>>(), out)
}

/// Tensors whose names differ in numbers only, and that have the same type and shape, are one line.
fn groups(model: &Checkpoint, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let mut order: Vec<(String, String, String)> = Vec::new();
    let mut alike: BTreeMap<(String, String, String), Vec<usize>> = BTreeMap::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        let name = pattern(&tensor.name);
        let key = (name, tensor.dtype.to_string(), shape(&tensor.shape));
        let tensors = alike.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        tensors.push(index);
    }
    order.sort();
    let rows = order.into_iter().filter_map(|key| {
        let tensors = alike.get(&key)?;
        let (count, size) = (tensors.len(), model.distinct_bytes(tensors.iter().copied()));
        let times = if count > 1 { format!("× {count}") } else { String::new() };
        let cells = [shown(&key.0), key.1.clone(), key.2.clone(), times, bytes(size)];
        Some(cells.map(Cell::from).to_vec())
    });
    let table = Table::new()
        .column("tensor", Align::Left)
        .column("dtype", Align::Left)
        .column("shape", Align::Left)
        .column("", Align::Left)
        .column("size", Align::Right);
    output::table(table, &rows.collect::<Vec<_>>(), out)?;
    if model.tensors.iter().any(|t| pattern(&t.name) != t.name) {
        writeln!(out, "{}", palette.dim("* matches any number; --full lists every tensor"))?;
    }
    Ok(())
}

fn shape(shape: &[u64]) -> String {
    let parts: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("[{}]", parts.join(", "))
}
