//! Shards that say by their names how many there are: `model-00001-of-00002.safetensors`.

/// What the name of a shard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardName<'a> {
    /// What stands before the numbers, directories included.
    pub stem: &'a str,
    /// The ending, without the dot.
    pub extension: &'a str,
    /// How many there are.
    pub count: u64,
    /// Which it is: from 1 on, or from 0 on.
    pub number: u64,
}

impl<'a> ShardName<'a> {
    /// Of the path of a shard.
    pub(crate) fn parse(path: &'a str) -> Option<ShardName<'a>> {
        let numbers = |text: &str| match text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())
        {
            true => text.parse().ok(),
            false => None,
        };
        let (front, ending) = path.rsplit_once('.')?;
        let (front, count) = front.rsplit_once("-of-")?;
        let (stem, number) = front.rsplit_once('-')?;
        let (number, count) = (numbers(number)?, numbers(count)?);
        (number <= count).then_some(ShardName { stem, extension: ending, count, number })
    }

    /// The name of another one.
    pub(crate) fn sibling(&self, number: u64) -> String {
        let ShardName { stem, extension: ending, count, .. } = self;
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        format!("{stem}-{number:05}-of-{count:05}.{ending}")
    }

    /// What all of a set have in common.
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
