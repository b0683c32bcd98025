//! Which engines to use, as chosen on the command line.

use std::fmt;
use std::str::FromStr;

/// The value of `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The CPU, together with a hardware adapter where that is faster; never a software adapter.
    #[default]
    Auto,
    /// The CPU engine alone.
    Cpu,
    /// A GPU for whole blocks; an error if there is none.
    Gpu,
    /// The first adapter whose name contains this text, for whole blocks.
    Named(String),
    /// The first adapter whose name contains this text, together with the CPU.
    CpuAnd(String),
}

/// An error for a value of `--device` that names no engine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected auto, cpu, gpu, the name of an adapter, or cpu+NAME (`tensorseal devices` lists them)"
)]
pub struct BadDevice;

impl FromStr for DeviceChoice {
    type Err = BadDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "" | "cpu+" => return Err(BadDevice),
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            name => match name.strip_prefix("cpu+") {
                Some(name) => Self::CpuAnd(name.to_owned()),
                None => Self::Named(name.to_owned()),
            },
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::Named(name) => f.write_str(name),
            Self::CpuAnd(name) => write!(f, "cpu+{name}"),
        }
    }
}
