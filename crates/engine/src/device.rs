//! Which engine to use, as asked for on the command line.

use std::fmt;
use std::str::FromStr;

/// The value of `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CPU, together with a hardware adapter where that helps; never a software adapter.
    #[default]
    Auto,
    /// The CPU engine alone.
    Cpu,
    /// A GPU for whole blocks; an error when there is none.
    Gpu,
    /// The adapter whose name contains this.
    Named(String),
    /// That adapter and the CPU engine on one queue.
    CpuAnd(String),
}

/// The value of `--device` names no engine.
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
