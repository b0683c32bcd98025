//! Describes the bit flips that explain a change: bits, elements and values, as evidence and in words.

use super::Finding;
use super::change::MAX_LISTED as MAX_LISTED_RANGES;
use crate::pinpoint::differing_ranges::DifferingRange;
use crate::pinpoint::explain::{ByteDifference, Explanation, SearchScope};
use crate::pinpoint::search::PinpointedRange;
use crate::seal::TensorSeal;
use serde_json::{Map, Value, json};
use tensorseal_base::dtype::{Dtype, FloatFormat, FloatValue, NumberFormat};
use tensorseal_base::units::grouped;

/// The maximum number of changed elements, and of unexplained ranges, that a finding lists.
const MAX_LISTED: usize = 64;

/// The maximum number of changed elements that the message spells out.
const MAX_SPELLED: usize = 3;

/// A changed element, or a changed byte outside tensors.
#[derive(Debug, Clone, PartialEq)]
struct ChangedElement {
    /// The first byte that differs, from the start of the tensor or of the file.
    byte: u64,
    /// The index in the tensor; `None` for a byte outside tensors.
    element: Option<u64>,
    /// The changed bits of the element or byte; 0 is the least significant.
    bits: Vec<u32>,
    sealed: RenderedValue,
    found: RenderedValue,
}

/// A value in JSON and as text.
#[derive(Debug, Clone, PartialEq)]
struct RenderedValue {
    json: Value,
    text: String,
}

/// Adds the explanations for all ranges of a changed tensor to its finding, and narrows the ranges of the finding.
pub fn describe_tensor(
    finding: &mut Finding,
    tensor: &TensorSeal,
    places: &[&PinpointedRange<'_>],
) {
    // If elements do not lie in row-major order, a finding has a byte range but no element range.
    let strided =
        tensor.strides.is_some() || finding.byte_range.is_some() && finding.element_range.is_none();
    let changed = |difference: &ByteDifference, _| match strided {
        true => bytes(difference, 0),
        false => elements(tensor.dtype, difference),
    };
    describe(finding, places, &|_| 0, &changed);
    if let Some(hull) = hull(places, &|_| 0) {
        match strided {
            true => finding.byte_range = Some(hull),
            false => *finding = finding.clone().at(tensor.dtype, &tensor.shape, hull),
        }
        // These are whole blocks, unless there are chunk digests.
        let ranges = changed_ranges(places);
        finding.evidence.insert("ranges_total", ranges.len().into());
        finding.evidence.insert("ranges", json!(&ranges[..ranges.len().min(MAX_LISTED_RANGES)]));
    }
}

/// Adds the explanations for bytes outside tensors, or in a file without tensors, to a finding.
pub fn describe_bytes(finding: &mut Finding, places: &[&PinpointedRange<'_>]) {
    // The ranges of such a finding count from the start of the file.
    describe(finding, places, &|place| place.object, &bytes);
    if let Some(hull) = hull(places, &|place| place.object) {
        finding.byte_range = Some(hull);
    }
}

/// What the ranges of a finding about a place count from, less the start of its object.
type RangeBase<'a> = &'a dyn Fn(&DifferingRange<'_>) -> u64;

fn moved([start, end]: [u64; 2], base: u64) -> [u64; 2] {
    [base + start, base + end]
}

fn describe(
    finding: &mut Finding,
    places: &[&PinpointedRange<'_>],
    base: RangeBase<'_>,
    changed: &dyn Fn(&ByteDifference, u64) -> Vec<ChangedElement>,
) {
    if places.is_empty() {
        return;
    }
    let (mut changes, mut explained, mut flipped) = (Vec::new(), 0u64, 0u64);
    let (mut unexplained, mut not_searched) = (Vec::new(), Vec::new());
    for place in places {
        let base = base(&place.range);
        for Explanation { range, searched, differences } in &place.explanations {
            if differences.is_empty() {
                unexplained.push((*searched, moved(*range, base)));
            } else {
                explained += 1;
            }
            flipped += differences.iter().map(|d| u64::from(d.bits())).sum::<u64>();
            changes.extend(differences.iter().flat_map(|difference| changed(difference, base)));
        }
        not_searched.extend(place.not_searched.iter().map(|range| moved(*range, base)));
    }
    let failed: Vec<[u64; 2]> = unexplained.iter().map(|(_, range)| *range).collect();
    finding.evidence.insert(
        "pinpointed",
        json!({
            "bits_flipped": flipped,
            "changes": changes.iter().take(MAX_LISTED).map(ChangedElement::json).collect::<Vec<_>>(),
            "changes_total": changes.len(),
            "explained": explained,
            "unexplained": &failed[..failed.len().min(MAX_LISTED)],
            "unexplained_total": failed.len(),
            "not_searched": &not_searched[..not_searched.len().min(MAX_LISTED)],
            "not_searched_total": not_searched.len(),
        }),
    );
    let mut parts = Vec::new();
    if !changes.is_empty() {
        parts.push(explained_by(flipped, &changes));
    }
    for (searched, tried) in [
        (SearchScope::Bits, "no single bit flip"),
        (
            SearchScope::Chunk,
            "no one or two bit flips, no changed byte and no changed aligned 16-bit word",
        ),
    ] {
        let failed: Vec<[u64; 2]> =
            unexplained.iter().filter(|(how, _)| *how == searched).map(|(_, r)| *r).collect();
        if let Some(named) = named_ranges(&failed, "or") {
            parts.push(format!("{tried} explains {named}"));
        }
    }
    if let Some(named) = named_ranges(&not_searched, "and") {
        parts.push(format!("{named} were not searched for bit flips"));
    }
    for part in parts {
        finding.message.push_str("; ");
        finding.message.push_str(&part);
    }
}

/// Names the first range, and the number of further ranges.
fn named_ranges(all: &[[u64; 2]], and: &str) -> Option<String> {
    let [start, end] = all.first()?;
    let more = match all.len() {
        1 => String::new(),
        2 => format!(" {and} 1 more range"),
        n => format!(" {and} {} more ranges", n - 1),
    };
    Some(format!("bytes {}..{}{more}", grouped(*start), grouped(*end)))
}

/// Returns the blocks or chunks that changed, with adjacent ones joined.
fn changed_ranges(places: &[&PinpointedRange<'_>]) -> Vec<[u64; 2]> {
    let mut all: Vec<[u64; 2]> = Vec::new();
    for found in places {
        let searched = found.explanations.iter().map(|explanation| explanation.range);
        // In order: the ranges that were not searched come last.
        for [start, end] in searched.chain(found.not_searched.iter().copied()) {
            match all.last_mut() {
                Some(last) if last[1] == start => last[1] = end,
                _ => all.push([start, end]),
            }
        }
    }
    all
}

/// Returns the smallest range that contains all changes.
fn hull(places: &[&PinpointedRange<'_>], base: RangeBase<'_>) -> Option<[u64; 2]> {
    let ranges = places.iter().flat_map(|found| {
        let base = base(&found.range);
        let exact = found.explanations.iter().flat_map(|explanation| {
            let bytes = explanation.differences.iter().flat_map(ByteDifference::bytes);
            let exact: Vec<[u64; 2]> = bytes.map(|(at, ..)| [at, at + 1]).collect();
            if exact.is_empty() { vec![explanation.range] } else { exact }
        });
        exact.chain(found.not_searched.iter().copied()).map(move |range| moved(range, base))
    });
    ranges.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])])
}

fn explained_by(flipped: u64, changes: &[ChangedElement]) -> String {
    let spelled: Vec<String> = changes.iter().take(MAX_SPELLED).map(ChangedElement::text).collect();
    let more = match changes.len().saturating_sub(MAX_SPELLED) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    let what = match flipped {
        1 => "single bit flip".to_owned(),
        flipped => format!("{flipped} bit flips"),
    };
    format!("{what}: {}{more}", spelled.join("; "))
}

impl ChangedElement {
    fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("byte".to_owned(), self.byte.into());
        if let Some(element) = self.element {
            fields.insert("element".to_owned(), element.into());
        }
        fields.insert("bits".to_owned(), json!(self.bits));
        fields.insert("sealed".to_owned(), self.sealed.json.clone());
        fields.insert("found".to_owned(), self.found.json.clone());
        Value::Object(fields)
    }

    fn text(&self) -> String {
        let bits: Vec<String> = self.bits.iter().map(u32::to_string).collect();
        let bits = match &bits[..] {
            [only] => format!("bit {only}"),
            [rest @ .., last] => format!("bits {} and {last}", rest.join(", ")),
            [] => String::new(),
        };
        let place = match self.element {
            Some(element) => format!("element {element}"),
            None => format!("byte {}", self.byte),
        };
        format!("{place}, {bits}, {} -> {}", self.sealed.text, self.found.text)
    }
}

/// Returns the elements of a tensor that a difference touches.
fn elements(dtype: Dtype, difference: &ByteDifference) -> Vec<ChangedElement> {
    let width = u64::from(dtype.bits());
    let first_bit = difference.offset * 8;
    let changed = u64::from_le_bytes(difference.sealed) ^ u64::from_le_bytes(difference.found);
    let mut all: Vec<ChangedElement> = Vec::new();
    // Least significant first: within a byte, and bytes within an element.
    for bit in (0..64).filter(|bit| changed >> bit & 1 == 1) {
        let element = (first_bit + bit) / width;
        if all.last().and_then(|last| last.element) != Some(element) {
            // Only six-bit elements can start before the difference; their values are not shown.
            let from = (element * width).saturating_sub(first_bit);
            let code = |bytes: [u8; 8]| {
                let code = u64::from_le_bytes(bytes) >> from;
                value(dtype, if width == 64 { code } else { code & ((1 << width) - 1) })
            };
            all.push(ChangedElement {
                byte: difference.offset + bit / 8,
                element: Some(element),
                bits: Vec::new(),
                sealed: code(difference.sealed),
                found: code(difference.found),
            });
        }
        if let Some(last) = all.last_mut() {
            last.bits.push(((first_bit + bit) % width) as u32);
        }
    }
    all
}

/// Returns the changed bytes of a difference outside tensors.
fn bytes(difference: &ByteDifference, object: u64) -> Vec<ChangedElement> {
    let shown = |byte: u8| RenderedValue { json: json!(byte), text: format!("{byte:#04x}") };
    let changed = |(at, sealed, found): (u64, u8, u8)| ChangedElement {
        byte: object + at,
        element: None,
        bits: (0..8).filter(|bit| (sealed ^ found) >> bit & 1 == 1).collect(),
        sealed: shown(sealed),
        found: shown(found),
    };
    difference.bytes().map(changed).collect()
}

/// Decodes the bits of an element of this type.
fn value(dtype: Dtype, code: u64) -> RenderedValue {
    let whole = |json: Value| RenderedValue { text: json.to_string(), json };
    match dtype.number_format() {
        NumberFormat::Unsigned => whole(code.into()),
        NumberFormat::Signed => {
            let unused = 64 - dtype.bits();
            whole((((code << unused) as i64) >> unused).into())
        }
        NumberFormat::Float(format) if dtype == Dtype::C64 => {
            let (re, im) = (float(&format, code & 0xFFFF_FFFF), float(&format, code >> 32));
            RenderedValue {
                json: json!([re.json, im.json]),
                text: format!("{} + {}i", re.text, im.text),
            }
        }
        NumberFormat::Float(format) => float(&format, code),
        NumberFormat::Packed | NumberFormat::BlockQuantised => {
            RenderedValue { json: Value::Null, text: "not decoded".to_owned() }
        }
    }
}

fn float(format: &FloatFormat, code: u64) -> RenderedValue {
    let named = |name: &str| RenderedValue { json: name.into(), text: name.to_owned() };
    match format.decode(code) {
        FloatValue::Nan => named("NaN"),
        FloatValue::Infinity(false) => named("Infinity"),
        FloatValue::Infinity(true) => named("-Infinity"),
        // Print as many digits as the type needs.
        FloatValue::Finite(x) if format.mantissa_bits <= 23 => {
            RenderedValue { json: json!(x), text: format!("{:?}", x as f32) }
        }
        FloatValue::Finite(x) => RenderedValue { json: json!(x), text: format!("{x:?}") },
    }
}

#[cfg(test)]
mod tests;
