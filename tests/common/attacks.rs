//! Attacks on weights and accidents that happen to them: each done to one tensor of a sound model, with
//! what it must be found as.

pub(crate) mod accidents;
pub(crate) mod hidden;
pub(crate) mod payloads;
pub(crate) mod tampering;
pub(crate) mod victim;

use std::ops::Range;
use victim::{Float, Placed, Target, Victim};

/// What a report must say of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It must be found.
    Always,
    /// It is tried for the record: without a baseline nothing tells it from sound weights for certain.
    Never,
    /// It must be found in tensors of at least so many elements: of BF16, of F16.
    From(usize, usize),
}

impl Demand {
    fn of(self, placed: &Placed) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::From(bf16, f16) => {
                placed.elements() >= if placed.float == Float::BF16 { bf16 } else { f16 }
            }
        }
    }
}

type Deed = Box<dyn Fn(&mut Target) -> Range<usize> + Send + Sync>;

/// An attack at a strength.
pub(crate) struct Attack {
    pub name: &'static str,
    pub strength: String,
    /// Any of these rules counts as caught.
    pub rules: &'static [&'static str],
    /// The severity it must have at least.
    pub least: &'static str,
    /// Whether the place must be said, not the tensor alone.
    pub local: bool,
    demand: Demand,
    deed: Deed,
}

/// What was done.
pub(crate) struct Done {
    pub tensor: String,
    /// The bytes that were attacked, from the start of the tensor's data.
    pub range: Range<usize>,
    /// Whether it must be found.
    pub required: bool,
    before: Vec<u8>,
}

impl Attack {
    fn new(
        name: &'static str,
        strength: impl Into<String>,
        rules: &'static [&'static str],
        deed: impl Fn(&mut Target) -> Range<usize> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            strength: strength.into(),
            rules,
            least: "medium",
            local: false,
            demand: Demand::Always,
            deed: Box::new(deed),
        }
    }

    fn local(mut self) -> Self {
        self.local = true;
        self
    }

    fn least(mut self, severity: &'static str) -> Self {
        self.least = severity;
        self
    }

    fn demand(mut self, demand: Demand) -> Self {
        self.demand = demand;
        self
    }

    /// Attacks a tensor; `sibling` is another one, of the same type and shape.
    pub(crate) fn apply(&self, file: &mut Victim, tensor: &str, sibling: &str) -> Done {
        let sibling_start = file.placed(sibling).range.start;
        let sibling = file.data(sibling).to_vec();
        let placed = file.placed(tensor).clone();
        let data = &mut file.bytes[placed.range.clone()];
        let before = data.to_vec();
        let range =
            (self.deed)(&mut Target { data, placed: &placed, sibling: &sibling, sibling_start });
        Done { tensor: tensor.to_owned(), range, required: self.demand.of(&placed), before }
    }
}

impl Done {
    /// Puts the tensor right again.
    pub(crate) fn undo(self, file: &mut Victim) {
        let range = file.placed(&self.tensor).range.clone();
        file.bytes[range].copy_from_slice(&self.before);
    }
}
