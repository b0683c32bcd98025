//! Reads, writes and checks the names of shards: `path:start:end`.

use super::{ManifestError, Resource};

/// Parses the path and the byte range in the name of a shard. The last two colons separate them: a path may contain
/// colons.
pub(super) fn read_name(name: &str) -> Option<(&str, [u64; 2])> {
    let (rest, end) = name.rsplit_once(':')?;
    let (path, start) = rest.rsplit_once(':')?;
    Some((path, [number(start)?, number(end)?]))
}

/// Parses a decimal number in canonical form.
fn number(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}

/// Returns the name of a shard.
pub(super) fn write_name(path: &str, [start, end]: [u64; 2]) -> String {
    format!("{path}:{start}:{end}")
}

/// Checks that the shards of every file are contiguous from byte 0 and have `size` bytes each, except for the last,
/// which has between 1 and `size` bytes. The resources may be in any order.
pub(super) fn check(resources: &[Resource], size: u64) -> Result<(), ManifestError> {
    let mut sorted: Vec<(&str, [u64; 2])> = resources
        .iter()
        .filter_map(|resource| Some((resource.name.as_str(), resource.range?)))
        .collect();
    sorted.sort_unstable();
    let mut previous: Option<(&str, [u64; 2])> = None;
    for (at, &(name, [start, end])) in sorted.iter().enumerate() {
        let name_of = || name.to_owned();
        let expected = match previous {
            Some((same, [_, end])) if same == name => end,
            _ => 0,
        };
        if start != expected {
            return Err(ManifestError::ShardGap { name: name_of(), expected, found: start });
        }
        let found = end.saturating_sub(start);
        let last = sorted.get(at + 1).is_none_or(|(next, _)| *next != name);
        if found == 0 || found > size || (!last && found < size) {
            return Err(ManifestError::ShardLength { name: name_of(), found, size });
        }
        previous = Some((name, [start, end]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards() {
        assert_eq!(read_name("a:0:10"), Some(("a", [0, 10])));
        assert_eq!(read_name("co:lon:1:2:30:40"), Some(("co:lon:1:2", [30, 40])));
        assert_eq!(read_name(":0:1"), Some(("", [0, 1])));
        assert_eq!(write_name("a:b", [0, 7]), "a:b:0:7");
        for wrong in ["a", "a:1", "a:x:1", "a:0:", "a::1", "a:00:1", "a:+0:1", "a: 0:1", "a:-1:1"] {
            assert_eq!(read_name(wrong), None, "{wrong}");
        }
        assert_eq!(read_name(&format!("a:0:{}0", u64::MAX)), None);
    }

    #[test]
    fn shards_follow_each_other() {
        let of = |ranges: &[[u64; 2]]| {
            let resource = |name: &str, &range: &[u64; 2]| Resource {
                name: name.to_owned(),
                range: Some(range),
                digest: Vec::new(),
            };
            let mut resources: Vec<_> = ranges.iter().map(|range| resource("f", range)).collect();
            resources.push(resource("e", &[0, 3]));
            resources.push(resource("g", &[0, 10]));
            check(&resources, 10)
        };
        assert_eq!(of(&[[0, 10], [10, 20], [20, 21]]), Ok(()));
        assert_eq!(of(&[[20, 30], [0, 10], [10, 20]]), Ok(()));
        let name = || "f".to_owned();
        let gap = |expected, found| Err(ManifestError::ShardGap { name: name(), expected, found });
        let length = |found| Err(ManifestError::ShardLength { name: name(), found, size: 10 });
        assert_eq!(of(&[[10, 20]]), gap(0, 10));
        assert_eq!(of(&[[0, 10], [20, 30]]), gap(10, 20));
        assert_eq!(of(&[[0, 10], [5, 10]]), gap(10, 5));
        assert_eq!(of(&[[0, 9], [9, 19]]), length(9));
        assert_eq!(of(&[[0, 11]]), length(11));
        assert_eq!(of(&[[0, 10], [10, 10]]), length(0));
        assert_eq!(of(&[[0, 10], [10, 3]]), length(0));
        assert_eq!(of(&[[0, u64::MAX]]), length(u64::MAX));
    }
}
