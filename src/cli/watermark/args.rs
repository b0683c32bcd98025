//! Arguments of `tensorseal watermark`.

use crate::cli::args::{Common, MeasurementArgs, OpenArgs, root};
use crate::judge::presence::ExpectedPresence;
use crate::watermark;
use crate::watermark::payload::Payload;
use crate::watermark::strength::Strength;
use crate::watermark::third_party::ThirdPartyScheme;
use crate::watermark::third_party::scheme::ThirdPartySchemeError;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Debug, Subcommand)]
pub(crate) enum WatermarkCommand {
    /// Make a secret key and print its id
    Keygen(KeygenArgs),
    /// Commit to a key, a payload and an unmarked model, before the marked one is released
    Claim(ClaimArgs),
    /// Write a marked copy of a model
    Embed(EmbedArgs),
    /// Look for the marks of keys in a model
    Detect(DetectArgs),
}

impl WatermarkCommand {
    /// The verbs that report: name, model and where to.
    pub(crate) fn reported(&self) -> Option<(&'static str, &PathBuf, &Common)> {
        match self {
            Self::Embed(args) => Some(("watermark embed", &args.marking.model, &args.common)),
            Self::Detect(args) => Some(("watermark detect", &args.model, &args.common)),
            Self::Keygen(_) | Self::Claim(_) => None,
        }
    }

    /// The model, and the original that it is compared with.
    pub(crate) fn models(&self) -> (Option<&PathBuf>, Option<&PathBuf>) {
        match self {
            Self::Embed(args) => (Some(&args.marking.model), None),
            Self::Claim(args) => (Some(&args.marking.model), None),
            Self::Detect(args) => (Some(&args.model), args.original.as_ref()),
            Self::Keygen(_) => (None, None),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where to write the key: readable by you alone, never over something else
    #[arg(short, long, value_name = "KEY")]
    pub output: PathBuf,
    /// A note to keep in the key file
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub note: String,
    /// Print only the key id
    #[arg(long, short)]
    pub quiet: bool,
}

/// How strong a mark is.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct StrengthArgs {
    /// Strength, by the z that detection is to show (default: 60)
    #[arg(long, value_name = "Z", value_parser = target_z)]
    target_z: Option<f64>,
    /// Strength, by the share of a block's root mean square that each weight moves
    #[arg(long, value_name = "A", value_parser = alpha)]
    alpha: Option<f64>,
}

impl StrengthArgs {
    /// What was asked for, if anything was.
    pub(crate) fn wanted(&self) -> Option<Strength> {
        self.target_z.map(Strength::TargetZ).or(self.alpha.map(Strength::Alpha))
    }
}

/// What is marked, and how.
#[derive(Debug, Args)]
pub(crate) struct MarkArgs {
    /// The unmarked model: a file or a directory
    pub model: PathBuf,
    /// The key of the mark
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// What the mark is to say: 16 hexadecimal digits; a mark without payload shows presence only
    #[arg(long, value_name = "HEX16")]
    pub payload: Option<Payload>,
    #[command(flatten)]
    pub strength: StrengthArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ClaimArgs {
    #[command(flatten)]
    pub marking: MarkArgs,
    /// Write the claim to a new file instead of standard output
    #[arg(short, long, value_name = "CLAIM")]
    pub output: Option<PathBuf>,
    /// Print only the claim and errors
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pub marking: MarkArgs,
    /// Embed exactly what was claimed: payload and strength of this claim, on the model it names
    #[arg(long, value_name = "CLAIM", conflicts_with_all = ["payload", "target_z", "alpha"])]
    pub claim: Option<PathBuf>,
    /// Where to write the marked model: a new file for a file, a new directory for a directory
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Also below 30 dB, and over a mark of the same key
    #[arg(long)]
    pub force: bool,
    /// Refused: a marked model is always a new one
    #[arg(long, hide = true)]
    pub in_place: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// A file or a directory
    pub model: PathBuf,
    /// The key of a mark (repeatable: all are looked for in one pass)
    #[arg(long, value_name = "KEY", required_unless_present = "original")]
    pub key: Vec<PathBuf>,
    /// The scheme of the keys: ts-spread/1, uchida, deepmarks, emmark, neuralmark, gaussian, signs, or
    /// interval, which has no key and compares with --original
    #[arg(long, value_name = "SCHEME", default_value = "ts-spread/1")]
    pub scheme: SchemeChoice,
    /// A claim that one of the keys must open: its payload and strength are those tested
    #[arg(long, value_name = "CLAIM")]
    pub claim: Option<PathBuf>,
    /// Id of a key of another scheme, from a publication that is older than the model (repeatable)
    #[arg(long, value_name = "HEX64")]
    pub key_id: Vec<String>,
    /// Also correlate the difference from this unmarked model; the base model of --scheme interval
    #[arg(long, value_name = "MODEL")]
    pub original: Option<PathBuf>,
    /// Root of the original, from a publication that is older than the key
    #[arg(long, value_name = "blake3:HEX", value_parser = root, requires = "original")]
    pub original_root: Option<[u8; 32]>,
    /// Pass when every mark is present (the default), or when every mark is absent
    #[arg(long, value_enum)]
    pub expect: Option<Expect>,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

/// The scheme of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemeChoice {
    /// Our own.
    Native,
    /// One of others.
    ThirdParty(ThirdPartyScheme),
}

impl FromStr for SchemeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == watermark::SCHEME {
            return Ok(Self::Native);
        }
        text.parse().map(Self::ThirdParty).map_err(|error| match error {
            ThirdPartySchemeError::Unknown => format!("{error}, and {}", watermark::SCHEME),
            refused => refused.to_string(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Expect {
    /// The check of an owner
    Present,
    /// The check of whoever must not ship another's model
    Absent,
}

impl From<Expect> for ExpectedPresence {
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Present => Self::Present,
            Expect::Absent => Self::Absent,
        }
    }
}

fn target_z(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|z| (1.0..=1e6).contains(z));
    number.ok_or("expected a number from 1 to 1000000".to_owned())
}

fn alpha(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|alpha| *alpha > 0.0 && *alpha < 1.0);
    number.ok_or("expected a number between 0 and 1, such as 0.001".to_owned())
}
