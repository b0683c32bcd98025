//! Compares a model with its seal.
//!
//! Both sides have the form of a seal: what was sealed, and what was found. One cause gives one finding: a tensor
//! that only moved is not also reported as missing and added, and a missing file is not also reported as a hundred
//! missing tensors.

use super::finding::Finding;
use super::{change, links};
use crate::seal::layout::DamagedFiles;
use crate::seal::{FileSeal, Seal, TensorSeal};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::severity::Severity;
use tensorseal_base::units;
use tensorseal_format::Format;

/// A seal of at least this many tensors belongs to another model if less than a tenth of them is found.
const MIN_TENSORS_FOR_SHARE: usize = 8;

/// How a model is compared with its seal.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntegrityOptions {
    /// Whether the container layout (sharding, order, header text) is ignored.
    pub content_only: bool,
}

/// The differences between a model and its seal.
#[derive(Debug, Default)]
pub struct Differences {
    /// All differences, the most severe first.
    pub findings: Vec<Finding>,
    /// By path of a damaged file, the severity of the worst difference that is not reported because the damage explains
    /// it. The structural problems of that file are at least as severe.
    pub explained: BTreeMap<String, Severity>,
}

/// Returns all differences between a seal and a model.
///
/// Structural findings about `damaged` files exist already; differences that follow from them are not reported.
pub fn compare(
    sealed: &Seal,
    found: &Seal,
    damaged: &DamagedFiles,
    options: IntegrityOptions,
) -> Differences {
    if let Some(finding) = other_model(sealed, found) {
        return Differences { findings: vec![finding], explained: BTreeMap::new() };
    }
    let mut comparison = SealComparer::new(sealed, found, damaged, options);
    comparison.tensors();
    comparison.pair_renamed();
    comparison.outdated_finding();
    comparison.tensor_findings();
    comparison.files();
    comparison.whole_files();
    let mut findings = comparison.findings;
    findings.extend(links::compare(&sealed.links, &found.links));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Differences { findings, explained: comparison.suppressed }
}

fn other_model(sealed: &Seal, found: &Seal) -> Option<Finding> {
    if sealed.tensors.is_empty() || found.tensors.is_empty() {
        return None;
    }
    let digests: HashSet<_> = found.tensors.iter().map(|tensor| tensor.blake3).collect();
    let names: HashSet<_> = found.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let total = sealed.tensors.len();
    let intact = sealed.tensors.iter().filter(|t| digests.contains(&t.blake3)).count();
    let named = sealed.tensors.iter().filter(|t| names.contains(t.name.as_str())).count();
    let nothing_in_common = intact == 0 && named == 0;
    if !nothing_in_common && (total < MIN_TENSORS_FOR_SHARE || intact * 10 > total) {
        return None;
    }
    let message = match named {
        0 => format!("the seal belongs to another model: none of its {total} tensors was found"),
        _ => format!(
            "the seal belongs to another model: of its {total} tensors, {named} were found by name and {intact} by content"
        ),
    };
    Some(
        Finding::new("integrity/other-model", message)
            .with("tensors_sealed", total)
            .with("tensors_found", found.tensors.len())
            .with("tensors_intact", intact)
            .with("names_in_common", named),
    )
}

struct SealComparer<'a> {
    sealed: &'a Seal,
    found: &'a Seal,
    damaged: &'a DamagedFiles,
    options: IntegrityOptions,
    findings: Vec<Finding>,
    /// Pairs of sealed and found tensors whose bytes differ.
    changed: Vec<(&'a TensorSeal, &'a TensorSeal)>,
    /// Pairs of equal tensors that moved to another file or offset.
    moved: Vec<(&'a TensorSeal, &'a TensorSeal)>,
    /// Pairs of tensors with the same bytes for which the seal does not record the order of elements.
    outdated: Vec<(&'a TensorSeal, &'a TensorSeal)>,
    missing: Vec<&'a TensorSeal>,
    added: Vec<&'a TensorSeal>,
    found_files: HashMap<&'a str, &'a FileSeal>,
    /// Where the data of each file starts, as sealed and as found, so that a longer header does not count as a move.
    bases: [HashMap<&'a str, u64>; 2],
    /// Files in which tensors were added, removed or changed their type, so that the tensors behind them moved.
    restructured: BTreeSet<&'a str>,
    /// Files that need no further findings.
    explained: BTreeSet<&'a str>,
    /// See [`Differences::explained`].
    suppressed: BTreeMap<String, Severity>,
}

impl<'a> SealComparer<'a> {
    fn new(
        sealed: &'a Seal,
        found: &'a Seal,
        damaged: &'a DamagedFiles,
        options: IntegrityOptions,
    ) -> Self {
        Self {
            sealed,
            found,
            damaged,
            options,
            findings: Vec::new(),
            changed: Vec::new(),
            moved: Vec::new(),
            outdated: Vec::new(),
            missing: Vec::new(),
            added: Vec::new(),
            found_files: found.files.iter().map(|file| (file.path.as_str(), file)).collect(),
            bases: [data_starts(sealed), data_starts(found)],
            restructured: BTreeSet::new(),
            explained: BTreeSet::new(),
            suppressed: BTreeMap::new(),
        }
    }

    /// Suppresses a finding that the damage of its file explains, and records its severity.
    fn suppress(&mut self, path: &str, finding: &Finding) {
        let worst = self.suppressed.entry(path.to_owned()).or_insert(finding.severity);
        *worst = finding.severity.max(*worst);
    }

    /// Reports a finding about a file, unless the damage of the file explains it.
    fn report(&mut self, path: &str, explained: bool, finding: Finding) {
        if explained {
            self.suppress(path, &finding);
        } else {
            self.findings.push(finding);
        }
    }

    /// Sorts tensors by how they differ.
    fn tensors(&mut self) {
        let by_name: HashMap<_, _> =
            self.found.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        for sealed in &self.sealed.tensors {
            let Some(found) = by_name.get(sealed.name.as_str()).copied() else {
                self.missing.push(sealed);
                continue;
            };
            if sealed.dtype != found.dtype {
                let message = format!("dtype is {}, sealed as {}", found.dtype, sealed.dtype);
                self.structure("integrity/dtype-changed", message, found);
                self.restructured.insert(&found.file);
            } else if sealed.is_outdated_for(found) {
                match sealed.blake3 == found.blake3 {
                    true => self.outdated.push((sealed, found)),
                    false => self.changed.push((sealed, found)),
                }
            } else if sealed.shape != found.shape {
                let message = format!("shape is {:?}, sealed as {:?}", found.shape, sealed.shape);
                self.structure("integrity/shape-changed", message, found);
            } else if sealed.strides != found.strides {
                let words = |tensor: &TensorSeal| match &tensor.strides {
                    Some(strides) => format!("strides {strides:?}"),
                    None => "row-major".to_owned(),
                };
                let message =
                    format!("order of elements is {}, sealed as {}", words(found), words(sealed));
                self.structure("integrity/order-changed", message, found);
            } else if sealed.blake3 != found.blake3 {
                self.changed.push((sealed, found));
            } else if sealed.file != found.file || self.place(0, sealed) != self.place(1, found) {
                self.moved.push((sealed, found));
            }
        }
        let names: HashSet<_> = self.sealed.tensors.iter().map(|t| t.name.as_str()).collect();
        self.added.extend(self.found.tensors.iter().filter(|t| !names.contains(t.name.as_str())));
    }

    /// Returns the position of a tensor in the data of its file.
    fn place(&self, side: usize, tensor: &TensorSeal) -> u64 {
        tensor.offset - self.bases[side].get(tensor.file.as_str()).copied().unwrap_or(0)
    }

    fn structure(&mut self, rule: &'static str, message: String, found: &TensorSeal) {
        self.findings.push(Finding::new(rule, message).in_file(&found.file).in_tensor(&found.name));
    }

    /// Pairs missing and added tensors with the same content as renamed tensors.
    fn pair_renamed(&mut self) {
        let mut by_content: HashMap<_, Vec<&TensorSeal>> = HashMap::new();
        for found in self.added.iter().rev() {
            let key = (found.blake3, found.dtype, &found.shape, &found.strides);
            by_content.entry(key).or_default().push(found);
        }
        let mut renamed = HashSet::new();
        let findings = &mut self.findings;
        self.missing.retain(|sealed| {
            let key = (sealed.blake3, sealed.dtype, &sealed.shape, &sealed.strides);
            let Some(found) = by_content.get_mut(&key).and_then(Vec::pop) else { return true };
            renamed.insert(found.name.as_str());
            let message = format!("renamed: sealed as {:?}, content unchanged", sealed.name);
            let mut finding = Finding::new("integrity/tensor-renamed", message)
                .in_file(&found.file)
                .in_tensor(&found.name);
            finding.other_tensor = Some(sealed.name.clone());
            findings.push(finding);
            false
        });
        self.added.retain(|found| !renamed.contains(found.name.as_str()));
    }

    /// Reports tensors for which the seal does not record the order of elements, in one finding.
    fn outdated_finding(&mut self) {
        let Some((_, first)) = self.outdated.first() else { return };
        let count = self.outdated.len();
        let message = format!(
            "sealed by an older version that did not record the order of elements: the bytes of {} match the seal, but their order cannot be verified ({:?}); seal the model again",
            units::count(count as u64, "tensor"),
            first.name
        );
        let finding = Finding::new("integrity/seal-outdated", message)
            .in_file(&first.file)
            .in_tensor(&first.name)
            .with("tensors", count);
        self.findings.push(finding);
    }

    fn tensor_findings(&mut self) {
        let unpaired = self.missing.iter().chain(&self.added).map(|tensor| tensor.file.as_str());
        self.restructured.extend(unpaired);
        self.changed_findings();
        self.moved_findings();
        for sealed in std::mem::take(&mut self.missing) {
            // A missing or damaged file is one finding, not one for each of its tensors.
            let path = sealed.file.as_str();
            if !self.found_files.contains_key(path) {
                continue;
            }
            let message = "sealed, but missing from the model";
            let finding = Finding::new("integrity/tensor-missing", message)
                .in_file(path)
                .in_tensor(&sealed.name);
            self.report(path, self.damaged.contains(path), finding);
        }
        for found in std::mem::take(&mut self.added) {
            if self.sealed.file(&found.file).is_none() {
                continue;
            }
            self.findings.push(
                Finding::new("integrity/tensor-added", "not in the seal")
                    .in_file(&found.file)
                    .in_tensor(&found.name),
            );
        }
    }

    /// Reports changed tensors; two swapped tensors give one finding.
    fn changed_findings(&mut self) {
        let sealed_as: HashMap<_, _> =
            self.changed.iter().map(|(sealed, _)| (sealed.blake3, *sealed)).collect();
        let now: HashMap<_, _> =
            self.changed.iter().map(|(_, found)| (found.name.as_str(), *found)).collect();
        for (sealed, found) in &self.changed {
            let Some(partner) = sealed_as.get(&found.blake3) else {
                self.findings.push(change::changed(sealed, found));
                continue;
            };
            let swapped =
                now.get(partner.name.as_str()).is_some_and(|other| other.blake3 == sealed.blake3);
            if swapped && partner.name < sealed.name {
                continue;
            }
            let message = if swapped {
                format!(
                    "swapped with {:?}: each holds the content that was sealed as the other",
                    partner.name
                )
            } else {
                format!("holds the content that was sealed as {:?}", partner.name)
            };
            let mut finding = change::changed(sealed, found);
            finding.message = message;
            finding.other_tensor = Some(partner.name.clone());
            self.findings.push(finding);
        }
    }

    /// Reports moved tensors: one finding for all moves across files, and one for each file with moves inside it.
    fn moved_findings(&mut self) {
        let mut moves: BTreeMap<bool, BTreeMap<&str, Vec<_>>> = BTreeMap::new();
        for (sealed, found) in &self.moved {
            let across = sealed.file != found.file;
            // All moves across files have one cause: the model was resharded.
            let group = if across { "" } else { found.file.as_str() };
            moves.entry(across).or_default().entry(group).or_default().push((*sealed, *found));
        }
        for (across, groups) in moves {
            for tensors in groups.into_values() {
                let Some((sealed, found)) = tensors.first() else { continue };
                let count = tensors.len();
                if !across && self.restructured.contains(found.file.as_str()) {
                    continue;
                }
                let subject = units::count(count as u64, "unchanged tensor");
                let message = if across {
                    self.explain_split(&tensors);
                    format!(
                        "{subject} moved to other files ({:?}: from {:?} to {:?}): the model was resharded",
                        sealed.name, sealed.file, found.file
                    )
                } else {
                    format!(
                        "{subject} moved to other offsets ({:?}: from {} to {})",
                        sealed.name, sealed.offset, found.offset
                    )
                };
                let mut finding = Finding::new("integrity/tensor-moved", message)
                    .in_file(&found.file)
                    .in_tensor(&found.name)
                    .with("tensors", count);
                if self.options.content_only {
                    finding.severity = Severity::Low;
                }
                // Files that were added, removed or changed with them have no findings of their own.
                finding.stands_for_others = across;
                self.findings.push(finding);
            }
        }
    }

    /// Marks files that were added, removed or changed only because the model was resharded.
    fn explain_split(&mut self, moved: &[(&'a TensorSeal, &'a TensorSeal)]) {
        let mut moved_from: HashMap<&str, usize> = HashMap::new();
        let mut moved_to: HashMap<&str, usize> = HashMap::new();
        for (sealed, found) in moved {
            *moved_from.entry(&sealed.file).or_default() += 1;
            *moved_to.entry(&found.file).or_default() += 1;
        }
        let all = |seal: &'a Seal, counts: &HashMap<&str, usize>| -> Vec<&'a str> {
            let mut total: HashMap<&'a str, usize> = HashMap::new();
            for tensor in &seal.tensors {
                *total.entry(&tensor.file).or_default() += 1;
            }
            total.into_iter().filter(|(f, n)| counts.get(f) == Some(n)).map(|(f, _)| f).collect()
        };
        self.explained.extend(all(self.sealed, &moved_from));
        self.explained.extend(all(self.found, &moved_to));
        let indexes = self.sealed.files.iter().chain(&self.found.files).map(|f| f.path.as_str());
        self.explained.extend(indexes.filter(|path| is_index(path)));
    }

    fn files(&mut self) {
        let (sealed, found) = (self.sealed, self.found);
        for file in &sealed.files {
            let path = file.path.as_str();
            if self.explained.contains(path) || (self.options.content_only && is_index(path)) {
                continue;
            }
            match self.found_files.get(path).copied() {
                None => self.file_missing(file),
                Some(now) if file.outside.is_some() && now.outside.is_some() => {
                    self.gaps(file, now);
                }
                Some(now) if file.blake3 != now.blake3 || file.outside.is_some() => {
                    let message = format!(
                        "content differs from the seal ({} bytes, sealed with {} bytes)",
                        now.bytes, file.bytes
                    );
                    let finding = Finding::new("integrity/file-changed", message)
                        .in_file(path)
                        .with("bytes_sealed", file.bytes)
                        .with("bytes_found", now.bytes);
                    self.report(path, self.damaged.contains(path), finding);
                }
                Some(_) => {}
            }
        }
        for file in &found.files {
            let path = file.path.as_str();
            let is_explained = sealed.file(path).is_some() || self.explained.contains(path);
            if is_explained || (self.options.content_only && is_index(path)) {
                continue;
            }
            let tensors = found.tensors.iter().filter(|t| t.file == file.path).count();
            self.findings.push(
                Finding::new("integrity/file-added", "not in the seal")
                    .in_file(path)
                    .with("bytes", file.bytes)
                    .with("tensors", tensors),
            );
        }
    }

    /// Compares the digests of whole files, where both sides have them. The parts of the files were compared before, so
    /// a remaining difference means that the seal contradicts itself.
    fn whole_files(&mut self) {
        let differ =
            |a: Option<[u8; 32]>, b: Option<[u8; 32]>| a.is_some() && b.is_some() && a != b;
        for file in &self.sealed.files {
            let path = file.path.as_str();
            let Some(now) = self.found_files.get(path).copied() else { continue };
            let layout = file.outside.is_some() || is_index(path);
            let is_reported = (self.options.content_only && layout)
                || self.explained.contains(path)
                || self.damaged.contains(path)
                || self.findings.iter().any(|finding| finding.file.as_deref() == Some(path));
            if !is_reported && (differ(file.sha256, now.sha256) || differ(file.blake3, now.blake3))
            {
                let message = "the seal contradicts itself: its digests of the whole file do not match those of its parts";
                self.findings.push(Finding::new("integrity/seal-invalid", message).in_file(path));
            }
        }
    }

    fn file_missing(&mut self, file: &FileSeal) {
        let tensors = self.sealed.tensors.iter().filter(|t| t.file == file.path).count();
        let message = match tensors {
            0 => "sealed, but missing".to_owned(),
            _ => format!("sealed, but missing, with {}", units::count(tensors as u64, "tensor")),
        };
        let mut finding = Finding::new("integrity/file-missing", message)
            .in_file(&file.path)
            .with("tensors", tensors);
        if tensors > 0 {
            finding.severity = Severity::Critical;
        }
        self.findings.push(finding);
    }

    /// Compares the gaps of a file. A changed layout and an unreadable header have findings of their own; this
    /// reports a header that differs although it describes the same layout.
    fn gaps(&mut self, sealed: &FileSeal, found: &FileSeal) {
        let others = self.damaged.others.contains(&sealed.path);
        if self.options.content_only || self.layout(0, sealed) != self.layout(1, found) && !others {
            return;
        }
        let digests = |file: &FileSeal| -> BTreeMap<[u64; 2], [u8; 32]> {
            file.outside.iter().flatten().map(|gap| (gap.range, gap.blake3)).collect()
        };
        let (before, now) = (digests(sealed), digests(found));
        // In a truncated or extended file, only the ranges that still exist can be compared.
        let differs = |range: &&[u64; 2]| match now.get(*range) {
            Some(digest) => before.get(*range) != Some(digest),
            None => !others,
        };
        let Some(range) =
            before.keys().chain(now.keys()).find(|r| before.contains_key(*r) && differs(r))
        else {
            return;
        };
        let is_interpreted = is_interpreted(&found.path, self.found);
        let message = match is_interpreted {
            true => {
                "bytes outside the tensors differ from the seal; in this format they determine which objects a loader creates"
            }
            false => {
                "bytes outside the tensors (header, metadata) differ from the seal; tensor names, types, shapes and offsets match"
            }
        };
        let mut finding = Finding::new("integrity/header-changed", message).in_file(&sealed.path);
        if is_interpreted {
            finding.severity = Severity::High;
        }
        finding.byte_range = Some(*range);
        self.report(&sealed.path, self.damaged.headers.contains(&sealed.path), finding);
    }

    fn layout(&self, side: usize, file: &FileSeal) -> BTreeSet<TensorPlacement<'a>> {
        let seal = [self.sealed, self.found][side];
        let tensors = seal.tensors.iter().filter(|tensor| tensor.file == file.path);
        tensors.map(|t| (self.place(side, t), t.name.as_str(), t.dtype, &t.shape[..])).collect()
    }
}

/// The position in the data, the name, the type and the shape of a tensor.
type TensorPlacement<'a> = (u64, &'a str, Dtype, &'a [u64]);

/// Returns where the data of each file starts: at its first tensor.
fn data_starts(seal: &Seal) -> HashMap<&str, u64> {
    let mut starts: HashMap<&str, u64> = HashMap::new();
    for tensor in &seal.tensors {
        let start = starts.entry(&tensor.file).or_insert(tensor.offset);
        *start = tensor.offset.min(*start);
    }
    starts
}

/// Returns whether a loader executes or evaluates the bytes outside the tensors: a pickle is a program, and the
/// header of a NumPy array is a Python expression.
fn is_interpreted(path: &str, seal: &Seal) -> bool {
    let format = Format::from_name(&seal.model.format).or_else(|| Format::from_path(path));
    format.is_none_or(Format::executes_metadata)
}

/// Returns whether a file is a shard index, which is part of the container layout and not of the content.
fn is_index(path: &str) -> bool {
    path.ends_with(".safetensors.index.json")
}
