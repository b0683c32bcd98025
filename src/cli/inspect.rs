//! `tensorseal inspect`: what is in a model, from its headers alone.

use super::args::InspectArgs;
use super::output::table;
use super::{Outcome, output};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::judge::structure;
use tensorseal::report::human::{Palette, shown};
use tensorseal::report::units::{bytes, grouped};
use tensorseal::report::{Coverage, Model, Report};
use tensorseal::verbs::{Inputs, opening};

pub fn run(args: &InspectArgs) -> Outcome {
    let model = opening::open_sound(&args.model, args.opening.options())?;
    let mut report = Report::new("inspect", &args.model.display().to_string());
    report.model = Model::listed(&model);
    report.coverage = Coverage::of(&model, None, 0);
    report.findings.extend(model.remarks.iter().map(structure::finding));
    report.tensors = Some(json!(
        model
            .tensors
            .iter()
            .map(|t| {
                let mut listed = json!({
                    "name": t.name,
                    "dtype": t.dtype.name(),
                    "shape": t.shape,
                    "file": model.files[t.file].path,
                    "offset": t.offset,
                    "bytes": t.bytes,
                    "group": pattern(&t.name).0,
                });
                if let Some(strides) = &t.strides {
                    listed["strides"] = json!(strides);
                }
                listed
            })
            .collect::<Vec<_>>()
    ));
    report.findings.extend(structure::of_weights(&model));
    report.judge(args.common.fail_on);
    opening::withhold_without_weights(&mut report, &model);
    Inputs::default().settle(&[&model])?;
    output::finish(&report, &args.common, &|out, palette| {
        dtypes(&model, out)?;
        if args.full { listed(&model, out) } else { groups(&model, palette, out) }
    })
}

/// Replaces the numbers between the dots of a name by `*`; also gives those numbers.
fn pattern(name: &str) -> (String, Vec<u64>) {
    let mut numbers = Vec::new();
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| match part.parse() {
            Ok(number) => {
                numbers.push(number);
                "*"
            }
            Err(_) => part,
        })
        .collect();
    (parts.join("."), numbers)
}

fn dtypes(model: &Checkpoint, out: &mut dyn Write) -> io::Result<()> {
    let mut by_dtype: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for tensor in &model.tensors {
        let row = by_dtype.entry(tensor.dtype.name()).or_default();
        *row = (row.0 + 1, row.1 + tensor.stored_elements(), row.2 + tensor.bytes);
    }
    let rows = by_dtype.into_iter().map(|(dtype, (tensors, elements, size))| {
        vec![dtype.to_owned(), grouped(tensors), grouped(elements), bytes(size)]
    });
    table(
        &["dtype", "tensors", "elements", "size"],
        &[false, true, true, true],
        rows.collect(),
        out,
    )
}

fn listed(model: &Checkpoint, out: &mut dyn Write) -> io::Result<()> {
    let rows = model.tensors.iter().map(|t| {
        let file = &model.files[t.file].path;
        vec![shown(&t.name), t.dtype.to_string(), shape(&t.shape), bytes(t.bytes), shown(file)]
    });
    let header = ["tensor", "dtype", "shape", "size", "file"];
    table(&header, &[false, false, false, true, false], rows.collect(), out)
}

/// Tensors whose names differ in numbers only, and that have the same type and shape, are one line.
fn groups(model: &Checkpoint, palette: Palette, out: &mut dyn Write) -> io::Result<()> {
    let mut order: Vec<(String, String, String)> = Vec::new();
    let mut sums: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
    for tensor in &model.tensors {
        let name = pattern(&tensor.name).0;
        let key = (name, tensor.dtype.to_string(), shape(&tensor.shape));
        let row = sums.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            (0, 0)
        });
        *row = (row.0 + 1, row.1 + tensor.bytes);
    }
    order.sort();
    let rows = order.into_iter().filter_map(|key| {
        let (count, size) = sums.get(&key)?;
        let times = if *count > 1 { format!("× {count}") } else { String::new() };
        Some(vec![shown(&key.0), key.1.clone(), key.2.clone(), times, bytes(*size)])
    });
    let header = ["tensor", "dtype", "shape", "", "size"];
    table(&header, &[false, false, false, false, true], rows.collect(), out)?;
    if model.tensors.iter().any(|t| !pattern(&t.name).1.is_empty()) {
        writeln!(out, "{}", palette.dim("* stands for a number; --full lists every tensor"))?;
    }
    Ok(())
}

fn shape(shape: &[u64]) -> String {
    let parts: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_dots_are_one_pattern() {
        assert_eq!(pattern("h.12.attn.c_attn.weight"), ("h.*.attn.c_attn.weight".into(), vec![12]));
        assert_eq!(pattern("conv2d.w1"), ("conv2d.w1".into(), vec![]));
    }
}
