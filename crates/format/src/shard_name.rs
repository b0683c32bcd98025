//! Parses the names of numbered shards: `model-00001-of-00002.safetensors`.

/// The parts of the name of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardName<'a> {
    /// The path before the numbers, including directories.
    pub stem: &'a str,
    /// The extension without the dot.
    pub extension: &'a str,
    /// The number of shards.
    pub count: u64,
    /// The number of this shard, counted from 1 or from 0.
    pub number: u64,
}

impl<'a> ShardName<'a> {
    /// Parses the path of a shard. Returns `None` if the name has no such numbers.
    pub(crate) fn parse(path: &'a str) -> Option<ShardName<'a>> {
        let numbers = |text: &str| match text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())
        {
            true => text.parse().ok(),
            false => None,
        };
        let (front, extension) = path.rsplit_once('.')?;
        let (front, count) = front.rsplit_once("-of-")?;
        let (stem, number) = front.rsplit_once('-')?;
        let (number, count) = (numbers(number)?, numbers(count)?);
        (number <= count).then_some(ShardName { stem, extension, count, number })
    }

    /// The file name of another shard of the same set.
    pub(crate) fn sibling(&self, number: u64) -> String {
        let ShardName { stem, extension, count, .. } = self;
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        format!("{stem}-{number:05}-of-{count:05}.{extension}")
    }

    /// What all shards of a set have in common: stem, extension and count.
    pub(crate) fn set_key(&self) -> (&'a str, &'a str, u64) {
        (self.stem, self.extension, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_many_there_are() {
        let of = |path| ShardName::parse(path).map(|name| (name.stem, name.number, name.count));
        assert_eq!(of("a/model-00001-of-00002.safetensors"), Some(("a/model", 1, 2)));
        assert_eq!(of("model-00000-of-00002.bin"), Some(("model", 0, 2)));
        for path in ["model.bin", "model-1-of-2.bin", "model-00003-of-00002.bin", "-of-.bin", "x"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
