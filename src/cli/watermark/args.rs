//! Arguments of `tensorseal watermark`.

use crate::cli::args::{Common, MeasurementArgs, OpenArgs, root};
use crate::cli::heading;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;
use tensorseal_core::judge::presence::ExpectedPresence;
use tensorseal_core::watermark;
use tensorseal_core::watermark::payload::Payload;
use tensorseal_core::watermark::strength::Strength;
use tensorseal_core::watermark::third_party::ThirdPartyScheme;
use tensorseal_core::watermark::third_party::scheme::ThirdPartySchemeError;

#[derive(Debug, Subcommand)]
pub(crate) enum WatermarkCommand {
    /// Create a secret key and print its id
    Keygen(KeygenArgs),
    /// Commit to a key, a payload and an unmarked model before releasing the marked one
    Claim(ClaimArgs),
    /// Write a marked copy of a model
    Embed(EmbedArgs),
    /// Look for watermarks in a model
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

    /// How the model is measured.
    pub(crate) fn measuring(&self) -> Option<&MeasurementArgs> {
        match self {
            Self::Embed(args) => Some(&args.measuring),
            Self::Claim(args) => Some(&args.measuring),
            Self::Detect(args) => Some(&args.measuring),
            Self::Keygen(_) => None,
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
    /// Key file to write, readable only by you; must not exist
    #[arg(short, long, value_name = "KEY")]
    pub output: PathBuf,
    /// Note to store in the key file
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub note: String,
}

/// How strong a mark is.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct StrengthArgs {
    /// Strength as the z-score that detection should show [default: 60]
    #[arg(long, value_name = "Z", value_parser = target_z, help_heading = heading::WATERMARK)]
    target_z: Option<f64>,
    /// Strength as the change of each weight, in units of the root mean square of its block
    #[arg(long, value_name = "A", value_parser = alpha, help_heading = heading::WATERMARK)]
    alpha: Option<f64>,
}

impl StrengthArgs {
    /// The strength that the options set, if any.
    pub(crate) fn wanted(&self) -> Option<Strength> {
        self.target_z.map(Strength::TargetZ).or(self.alpha.map(Strength::Alpha))
    }
}

/// What is marked, and how.
#[derive(Debug, Args)]
pub(crate) struct MarkArgs {
    /// Unmarked model: a file or a directory
    pub model: PathBuf,
    /// Watermark key
    #[arg(long, value_name = "KEY", help_heading = heading::WATERMARK)]
    pub key: PathBuf,
    /// Payload of 16 hexadecimal digits [default: none, the watermark shows only its presence]
    #[arg(long, value_name = "HEX16", help_heading = heading::WATERMARK)]
    pub payload: Option<Payload>,
    #[command(flatten)]
    pub strength: StrengthArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ClaimArgs {
    #[command(flatten)]
    pub marking: MarkArgs,
    /// New file to write the claim to [default: standard output]
    #[arg(short, long, value_name = "CLAIM")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pub marking: MarkArgs,
    /// Take payload and strength from this claim, and require the model that it names
    #[arg(long, value_name = "CLAIM", help_heading = heading::WATERMARK, conflicts_with_all = ["payload", "target_z", "alpha"])]
    pub claim: Option<PathBuf>,
    /// Where to write the marked copy; must not exist
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Allow a signal-to-noise ratio below 30 dB, and a model that has a watermark of this key already
    #[arg(long, help_heading = heading::WATERMARK)]
    pub force: bool,
    /// Refused: a marked model is always a copy
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
    /// Model file or directory
    pub model: PathBuf,
    /// Watermark key (repeatable; all keys are tested in one pass)
    #[arg(long, value_name = "KEY", required_unless_present = "original", help_heading = heading::WATERMARK)]
    pub key: Vec<PathBuf>,
    /// Scheme of the keys: ts-spread/1, uchida, deepmarks, emmark, neuralmark, gaussian or signs; or interval,
    /// which compares with --original and needs no key
    #[arg(long, value_name = "SCHEME", default_value = "ts-spread/1", help_heading = heading::WATERMARK)]
    pub scheme: SchemeChoice,
    /// Claim that one of the keys must open; its payload and strength are tested
    #[arg(long, value_name = "CLAIM", help_heading = heading::WATERMARK)]
    pub claim: Option<PathBuf>,
    /// Key id of another scheme, as published before the model (repeatable)
    #[arg(long, value_name = "HEX64", help_heading = heading::WATERMARK)]
    pub key_id: Vec<String>,
    /// Unmarked original, to test the difference from it as well; the base model of --scheme interval
    #[arg(long, value_name = "MODEL", help_heading = heading::WATERMARK)]
    pub original: Option<PathBuf>,
    /// Root of --original as its publisher stated it before the key was created; proves that the original was
    /// not made to fit the key
    #[arg(long, value_name = "blake3:HEX", value_parser = root, requires = "original", help_heading = heading::WATERMARK)]
    pub original_root: Option<[u8; 32]>,
    /// Expected result of every key [default: present]
    #[arg(long, value_enum, help_heading = heading::FAILURE)]
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
    /// The scheme of this program.
    Native,
    /// A published scheme.
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
    /// Pass if every watermark is present: the check of an owner
    Present,
    /// Pass if every watermark is absent: the check before shipping someone else's model
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
