//! The shaders of a tensor's structure and their CPU twins give the same integers, and these tests can
//! fail.

use crate::common::device::{Feed, alone, edges, gpu, is_tried, twins};
use crate::common::{noise, real_model};
use std::fs;
use std::sync::Mutex;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::gpu::pipelines::{KERNELS, LOW_BITS, MAGNITUDES, PAGES, WINDOWS};
use tensorseal_engine::gpu::{DeviceSelector, Gpu};
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::correlation::{Carrier, ElementFormat};
use tensorseal_engine::measure::pages::{PAGE_LEN, PageState};
use tensorseal_engine::measure::structure::{Structure, StructureLayout};
use tensorseal_engine::measure::windows::thresholds;
use tensorseal_engine::measure::{self, BLOCK_LEN, KernelSet, TILE_LEN, WordFormat};

const PHASES: [u32; 4] = [0, 4, 64, 4092];
const COLUMNS: [u32; 7] = [0, 32, 33, 384, 1000, 4096, 1 << 20];

/// Every type whose elements are read, and bytes that have none.
fn all_elements() -> Vec<Option<ElementFormat>> {
    let known: Vec<_> = Dtype::all().filter_map(ElementFormat::from_dtype).map(Some).collect();
    assert!(known.len() >= 7, "{known:?}");
    known.into_iter().chain([None]).collect()
}

fn wanted(layout: StructureLayout) -> KernelSet {
    KernelSet { layout: Some(layout), ..KernelSet::DIGEST }
}

/// The CPU twins, as the run of a tile uses them.
fn expected(bytes: &[u8], offset: u64, layout: StructureLayout) -> Structure {
    twins(bytes, bytes.len(), offset, wanted(layout), &[]).structure.unwrap()
}

/// Names the kernels that differ.
fn differing(a: &Structure, b: &Structure) -> Vec<&'static str> {
    let equal = [
        ("pages", a.pages == b.pages),
        ("windows", a.windows == b.windows),
        ("low_bits", a.low_bits == b.low_bits),
        ("magnitudes", a.magnitudes == b.magnitudes),
    ];
    equal.into_iter().filter(|(_, equal)| !equal).map(|(name, _)| name).collect()
}

fn check(gpu: &Gpu, what: &str, bytes: &[u8], offset: u64, layout: StructureLayout) {
    let expected = expected(bytes, offset, layout);
    let measured = gpu.measure_tile(bytes, offset, wanted(layout), &[]).unwrap().structure.unwrap();
    let differing = differing(&measured, &expected);
    assert!(differing.is_empty(), "{differing:?}: {what} at {offset}, {layout:?}");
}

/// Pages of one word each, seen from this phase; each fifth has one word that differs, its first, its
/// last, or one in between.
fn constant_pages(phase: u32, len: usize) -> Vec<u8> {
    let words = (0..len as u64 / 4).map(|i| {
        let position = u64::from(phase) + 4 * i;
        let (page, place) = (position / PAGE_LEN, position % PAGE_LEN / 4);
        let other = [0, 1023, 517][page as usize / 5 % 3];
        let word = if page % 7 == 0 { 0 } else { 0x3C00_3F80u32.wrapping_mul(page as u32) };
        if page % 5 == 4 && place == other { !word } else { word }
    });
    words.flat_map(u32::to_le_bytes).collect()
}

#[test]
fn every_type_phase_and_row_length_agrees() {
    let (gpu, _alone) = gpu();
    let bytes = noise(11, BLOCK_LEN);
    for elements in all_elements() {
        for (i, columns) in COLUMNS.into_iter().enumerate() {
            for (j, phase) in PHASES.into_iter().enumerate() {
                // The first tile, the next ones, and one far behind.
                let offset = [0, 1 << 20, 5 << 20, 7 << 40][(i + j) % 4];
                check(gpu, "noise", &bytes, offset, StructureLayout { phase, elements, columns });
            }
        }
    }
}

#[test]
fn every_kind_of_content_agrees() {
    let (gpu, _alone) = gpu();
    for (i, elements) in all_elements().into_iter().enumerate() {
        let phase = PHASES[i % 4];
        for (name, bytes) in [
            ("zeros", vec![0; BLOCK_LEN]),
            ("ones", vec![0xFF; BLOCK_LEN]),
            ("edges", edges(2 * BLOCK_LEN)),
            ("constant pages", constant_pages(phase, BLOCK_LEN)),
            ("pages that are constant at no bound", constant_pages(phase ^ 128, BLOCK_LEN)),
        ] {
            check(gpu, name, &bytes, 0, StructureLayout { phase, elements, columns: 1000 });
            check(gpu, name, &bytes, 3 << 20, StructureLayout { phase, elements, columns: 48 });
        }
    }
}

#[test]
fn constant_pages_are_called_so() {
    let (gpu, _alone) = gpu();
    for phase in PHASES {
        let bytes = constant_pages(phase, BLOCK_LEN);
        let layout = StructureLayout { phase, elements: None, columns: 0 };
        let measured = gpu.measure_tile(&bytes, 0, wanted(layout), &[]).unwrap();
        let pages = measured.structure.unwrap().pages.pages;
        assert_eq!(pages.len(), 256 + usize::from(phase > 0));
        for (number, page) in pages.iter().enumerate().skip(1).take(254) {
            let state = if number % 5 == 4 { PageState::Mixed } else { PageState::Constant };
            assert_eq!(page.state, state, "page {number}, phase {phase}");
        }
    }
}

#[test]
fn whole_tiles_and_all_kernels_at_once_agree() {
    let (gpu, _alone) = gpu();
    let (bytes, key) = (noise(12, TILE_LEN), [ChipKey([0x5A; 32])]);
    for (dtype, words, columns) in [
        (Dtype::F8_E4M3, WordFormat::Bits8, 32),
        (Dtype::BF16, WordFormat::Bits16, 4095),
        (Dtype::F32, WordFormat::F32, 200),
    ] {
        let elements = ElementFormat::from_dtype(dtype);
        let wanted = KernelSet {
            words: Some(words),
            carrier: Carrier::from_dtype(dtype, [3; 12]),
            layout: Some(StructureLayout { phase: 4092, elements, columns }),
            codes: None,
        };
        // The smaller tile comes after the larger one: nothing of that is left.
        for (blocks, offset) in [(32, 32 << 20), (3, 64 << 20)] {
            let tile = &bytes[..blocks * BLOCK_LEN];
            let expected = measure::measure_tile(tile, offset, wanted, &key);
            let measured = gpu.measure_tile(tile, offset, wanted, &key).unwrap();
            assert!(measured == expected, "{dtype}, {blocks} blocks");
        }
    }
}

/// Weights as they are: all bytes of the real model, read as each type.
#[test]
fn real_weights_agree() {
    let (gpu, _alone) = gpu();
    let model = fs::read(real_model().join("model.safetensors")).unwrap();
    for elements in all_elements() {
        for tile in [8, 60] {
            let bytes = &model[tile * BLOCK_LEN..(tile + 2) * BLOCK_LEN];
            let layout = StructureLayout { phase: 2048, elements, columns: 384 };
            check(gpu, "weights", bytes, (tile * BLOCK_LEN) as u64, layout);
        }
    }
}

#[test]
fn a_stream_of_tiles_merges_to_the_tensor() {
    let (gpu, _alone) = gpu();
    let bytes = noise(13, 9 * BLOCK_LEN);
    for (dtype, columns) in [(Dtype::BF16, 777), (Dtype::F8_E5M2, 1 << 20), (Dtype::F32, 33)] {
        let layout =
            StructureLayout { phase: 1236, elements: ElementFormat::from_dtype(dtype), columns };
        let feed = Feed {
            bytes: &bytes,
            next: Mutex::new(0),
            tiles: 9,
            wanted: wanted(layout),
            keys: Vec::new(),
            done: Mutex::default(),
            before: &|_| {},
        };
        gpu.stream(&feed).map_err(|interrupted| interrupted.error).unwrap();
        let mut sum = Structure::for_range(&layout, 0, bytes.len() as u64);
        let done = feed.done.into_inner().unwrap();
        assert_eq!(done.len(), 9);
        // In whatever order they came.
        for (_, measured) in done.iter().rev() {
            sum.merge(measured.structure.as_ref().unwrap());
        }
        let differing = differing(&sum, &expected(&bytes, 0, layout));
        assert!(differing.is_empty(), "{differing:?}: {dtype}");
    }
}

#[test]
fn rows_of_other_lengths_are_an_error() {
    let (gpu, _alone) = gpu();
    let bytes = vec![0; BLOCK_LEN];
    for columns in [1, 31, (1 << 20) + 1, u32::MAX] {
        let layout =
            StructureLayout { phase: 0, elements: ElementFormat::from_dtype(Dtype::BF16), columns };
        let error = gpu.measure_tile(&bytes, 0, wanted(layout), &[]).unwrap_err();
        assert!(error.to_string().contains(&columns.to_string()), "{error}");
    }
}

/// A change to a shader that must make it differ from its twin, with elements of this type.
struct Mutation {
    kernel: usize,
    from: &'static str,
    to: &'static str,
    dtype: Dtype,
}

const fn change(kernel: usize, dtype: Dtype, from: &'static str, to: &'static str) -> Mutation {
    Mutation { kernel, from, to, dtype }
}

const BARRIER: &str = "workgroupBarrier();";

const MUTATIONS: &[Mutation] = &[
    // Products and sums of 64 bits: a carry dropped, a half dropped.
    change(PAGES, Dtype::BF16, "+ select(0u, 1u, low < a.x)", ""),
    change(PAGES, Dtype::BF16, "+ (second >> 16u)", ""),
    change(PAGES, Dtype::BF16, "+ (first >> 16u)", ""),
    change(PAGES, Dtype::BF16, "product.y + a.y * b", "product.y"),
    // Pages counted from the start of the tile, keys from the start of the part.
    change(PAGES, Dtype::BF16, "first + i - params.head", "first + i"),
    change(PAGES, Dtype::BF16, "max(first, params.head) - params.head", "first"),
    change(PAGES, Dtype::BF16, "keys[i]", "keys[(i - params.head) & 1023u]"),
    // The last part of a page, what differs, the last step and the barriers of the reduction.
    change(PAGES, Dtype::BF16, "at < words", "at + 1u < words"),
    change(PAGES, Dtype::BF16, "part == 0u && touched", "part == 0u && begin + 1024u < words"),
    change(PAGES, Dtype::BF16, "word ^ any_word", "0u"),
    change(PAGES, Dtype::BF16, "sums[thread], 0u, MIXED", "sums[thread], any_word, MIXED"),
    change(PAGES, Dtype::BF16, "width > 0u; width", "width > 1u; width"),
    change(PAGES, Dtype::BF16, BARRIER, ""),
    change(PAGES, Dtype::BF16, "workgroupBarrier();\n    }\n    if part", "}\n    if part"),
    // Windows: thresholds, magnitudes, lanes, the reduction.
    change(WINDOWS, Dtype::F16, "value >= params.thresholds[0]", "value > params.thresholds[0]"),
    change(WINDOWS, Dtype::BF16, "value >= params.thresholds[1]", "value > params.thresholds[1]"),
    change(WINDOWS, Dtype::F32, "value >= params.thresholds[2]", "value > params.thresholds[2]"),
    change(WINDOWS, Dtype::F8_E4M3, "params.thresholds[2]", "params.thresholds[1]"),
    change(WINDOWS, Dtype::F32, "0x7FFFFFFFu >> (32u - bits)", "0xFFFFFFFFu >> (32u - bits)"),
    change(WINDOWS, Dtype::F8_E5M2, "shift < 32u", "shift < 24u"),
    change(WINDOWS, Dtype::BF16, "low | (high << 16u)", "high | (low << 16u)"),
    change(WINDOWS, Dtype::BF16, "sum.middle.w, sum.high.xyz", "sum.low.w, sum.high.xyz"),
    change(WINDOWS, Dtype::BF16, "width > 0u; width", "width > 1u; width"),
    change(WINDOWS, Dtype::BF16, BARRIER, ""),
    change(WINDOWS, Dtype::BF16, "workgroupBarrier();\n    }\n    if part", "}\n    if part"),
    change(WINDOWS, Dtype::BF16, "if part == 0u {", "if part == 0u && window > 0u {"),
    // Streams: widths, what does not fit a word, lags, halves of a stretch, the order of bits.
    change(LOW_BITS, Dtype::BF16, "stream_bits(3u, 7u", "stream_bits(3u, 6u"),
    change(LOW_BITS, Dtype::BF16, "made >> ((4u * k - filled) & 31u)", "made"),
    change(LOW_BITS, Dtype::BF16, "word |= made << filled", "word = (word << (4u * k)) | made"),
    change(LOW_BITS, Dtype::F16, "(low >> 8u) | (high << 24u)", "(low >> 7u) | (high << 25u)"),
    change(LOW_BITS, Dtype::F16, "high ^ (high >> 8u)", "high ^ (high >> 7u)"),
    change(LOW_BITS, Dtype::F16, "| (high << 31u)", ""),
    change(LOW_BITS, Dtype::F32, "& 0x7FFFFFFFu)", ")"),
    change(LOW_BITS, Dtype::F32, "& 0x00FFFFFFu)", ")"),
    change(LOW_BITS, Dtype::F32, "if half_made", "if !half_made"),
    // Bytes: equal ones at once, the streams' tables, the lowest byte of an element.
    change(LOW_BITS, Dtype::BF16, "tables[table + first], 4u", "tables[table + first], 1u"),
    change(LOW_BITS, Dtype::BF16, "let table = stream * VALUES", "let table = 0u"),
    change(LOW_BITS, Dtype::BF16, "stream < COUNTED", "stream < COUNTED - 1u"),
    change(LOW_BITS, Dtype::F32, "v & vec4<u32>(0xFFu)", "(v >> vec4<u32>(8u)) & vec4<u32>(0xFFu)"),
    change(LOW_BITS, Dtype::BF16, "low | next", "low"),
    // The batches, the blocks, the adding up, and both barriers of a batch.
    change(LOW_BITS, Dtype::BF16, "done + unit", "unit"),
    change(LOW_BITS, Dtype::F32, "group.x / PARTS_A_BLOCK", "0u * group.x"),
    change(LOW_BITS, Dtype::BF16, "i < THREADS; i += ADDERS", "i < THREADS - 1u; i += ADDERS"),
    change(LOW_BITS, Dtype::BF16, BARRIER, ""),
    change(LOW_BITS, Dtype::BF16, "overwrite them.\n        workgroupBarrier();", "\n"),
    change(LOW_BITS, Dtype::BF16, "workgroupBarrier();\n    if thread < C", "if thread < C"),
    // Steps: what is finite, what is kept of the mantissa.
    change(MAGNITUDES, Dtype::BF16, "value < params.limit", "value <= params.limit"),
    change(MAGNITUDES, Dtype::F8_E4M3, "value < params.limit", "true"),
    change(MAGNITUDES, Dtype::F8_E5M2, "mantissa_bits < KEPT_BITS", "mantissa_bits > KEPT_BITS"),
    change(MAGNITUDES, Dtype::F32, "const KEPT_BITS = 4u", "const KEPT_BITS = 5u"),
    // Rows: where they begin and end, the next one in a unit, the last one of a workgroup.
    change(MAGNITUDES, Dtype::BF16, "params.first_column + first_unit", "first_unit"),
    change(MAGNITUDES, Dtype::BF16, "element < here", "element <= here"),
    change(MAGNITUDES, Dtype::BF16, "row = unit_row + 1u", "row = unit_row"),
    change(MAGNITUDES, Dtype::BF16, "sum = next_row", "sum = 0u"),
    change(MAGNITUDES, Dtype::BF16, "i <= last_row - first_row", "i < last_row - first_row"),
    change(MAGNITUDES, Dtype::BF16, BARRIER, ""),
    // Columns: where they begin, the rest of a panel, the element in its word.
    change(MAGNITUDES, Dtype::BF16, "position - params.first_column;", "position;"),
    change(MAGNITUDES, Dtype::F8_E4M3, "element % a_word * bits", "0u"),
    change(MAGNITUDES, Dtype::BF16, "element < elements", "element + 1u < elements"),
    change(
        MAGNITUDES,
        Dtype::BF16,
        "workgroupBarrier();\n    if thread < panel",
        "if thread < panel",
    ),
    change(MAGNITUDES, Dtype::BF16, "row < params.rows &&", "row + 1u < params.rows &&"),
    change(MAGNITUDES, Dtype::BF16, "+ thread / panel", ""),
    change(MAGNITUDES, Dtype::BF16, "params.rows + column", "params.rows + column + 1u"),
];

#[test]
fn a_wrong_shader_is_seen() {
    let _alone = alone();
    let mut unseen = Vec::new();
    for (index, mutation) in MUTATIONS.iter().enumerate() {
        let elements = ElementFormat::from_dtype(mutation.dtype).unwrap();
        let layout = StructureLayout { phase: 1240, elements: Some(elements), columns: 100 };
        // Constant pages, and the least of every class; then noise with zeros in it.
        let mut bytes = edges(2 * BLOCK_LEN);
        bytes[..BLOCK_LEN / 2].copy_from_slice(&constant_pages(layout.phase, BLOCK_LEN / 2));
        let places = bytes[BLOCK_LEN / 2..].chunks_mut(elements.width).step_by(2003);
        for (place, least) in places.zip(thresholds(&elements).into_iter().cycle()) {
            place.copy_from_slice(&least.to_le_bytes()[..elements.width]);
        }
        bytes[BLOCK_LEN..].copy_from_slice(&noise(14, BLOCK_LEN));
        bytes[BLOCK_LEN + 5000..BLOCK_LEN + 9000].fill(0);
        let offset = 3 << 20;
        let mut sources = KERNELS.map(|kernel| kernel.source());
        let source = &mut sources[mutation.kernel];
        assert!(source.contains(mutation.from), "{:?} is not in the shader", mutation.from);
        if !is_tried(index) {
            continue;
        }
        *source = source.replacen(mutation.from, mutation.to, 1);
        let gpu = Gpu::with_sources(&DeviceSelector::Any, &sources).unwrap();
        let measured = gpu.measure_tile(&bytes, offset, wanted(layout), &[]).unwrap();
        let differing = differing(&measured.structure.unwrap(), &expected(&bytes, offset, layout));
        // It is seen, and by the name of its kernel alone.
        let Mutation { kernel, from, to, dtype } = mutation;
        if differing != [KERNELS[*kernel].name] {
            unseen.push(format!("{dtype}: {from:?} -> {to:?}: {differing:?}"));
        }
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
}
